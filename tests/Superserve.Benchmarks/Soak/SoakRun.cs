using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;

namespace Superserve.Benchmarks.Soak;

/// <summary>
/// Mixed traffic through the built sidecar for as long as one likes, and whether it leaves anything behind: memory, handles, slower
/// answers, wrong ones.
/// </summary>
internal sealed class SoakRun(int minutes, int perSecond = SoakRun.PerSecond)
{
    /// <summary>Leaves half a core to others.</summary>
    public const int PerSecond = 30;

    private const int MaxUnderWay = 1000;

    /// <summary>How much more resident memory there may be at the end than after the beginning.</summary>
    private const double MemoryGrowth = 0.2;

    /// <summary>Handles that come and go with what is under way at the moment.</summary>
    private const int HandleSlack = 50;

    /// <summary>Minutes until as many connections to services end, unused, as there come.</summary>
    private const int LeastFilling = 2;

    private const int ShownFailures = 5;

    private static readonly TimeSpan SampleInterval = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan RotationInterval = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>Longer than connections to services are kept when idle.</summary>
    private static readonly TimeSpan Quiet = TimeSpan.FromSeconds(90);

    private readonly List<Sample> _samples = [];
    private readonly ConcurrentQueue<string> _failures = new();
    private int _underWay;
    private int _late;

    private readonly record struct Sample(TimeSpan At, long Memory, long Private, int Handles, int Threads);

    private readonly record struct Minute(double Kept50, double Kept99, double New50, double New99);

    /// <summary>Runs it; whether the sidecar is as it was.</summary>
    public async Task<bool> RunAsync()
    {
        await using SoakPod pod = await SoakPod.StartAsync();
        using SoakTraffic traffic = new(pod);
        Sample before = Look(pod, TimeSpan.Zero);
        Console.WriteLine($"Mixed traffic for {minutes} minutes, {perSecond} actions a second. Idle: {before.Memory / 1e6:0.0} MB, {before.Handles} handles, {before.Threads} threads.");
        Console.WriteLine();
        Console.WriteLine("| minute | actions | failed | under way | resident, MB | of that own | handles | threads | processor, % | kept connection p50, ms | p99 | new connection p50, ms | p99 |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        List<Minute> took = [];
        long started = Stopwatch.GetTimestamp();
        using CancellationTokenSource end = new(TimeSpan.FromMinutes(minutes), TimeProvider.System);
        Task generating = GenerateAsync(traffic, started, end.Token), rotating = EveryAsync(RotationInterval, pod.Rotate, end.Token);
        for (int minute = 1; minute <= minutes; minute++)
        {
            TimeSpan cpu = pod.Cpu;
            while (Stopwatch.GetElapsedTime(started) < TimeSpan.FromMinutes(minute))
            {
                await Task.Delay(SampleInterval, TimeProvider.System);
                if (await pod.WhyEndedAsync() is { } why) throw new InvalidOperationException($"The sidecar has ended: {why}");
                _samples.Add(Look(pod, Stopwatch.GetElapsedTime(started)));
            }

            Sample now = _samples[^1];
            (double[] kept, double[] fresh) = traffic.TakeLatencies();
            took.Add(new Minute(At(kept, 0.5), At(kept, 0.99), At(fresh, 0.5), At(fresh, 0.99)));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"| {minute} | {traffic.Actions.Sum(action => action.Done)} | {traffic.Actions.Sum(action => action.Failed)} | {_underWay} | {now.Memory / 1e6:0.0} | {now.Private / 1e6:0.0} | {now.Handles} | {now.Threads} | {(pod.Cpu - cpu) / TimeSpan.FromMinutes(1) * 100:0} | {took[^1].Kept50:0.0} | {took[^1].Kept99:0.0} | {took[^1].New50:0.0} | {took[^1].New99:0.0} |"));
        }

        await generating;
        await rotating;
        await WhileUnderWayAsync();
        // What is kept for reuse goes too.
        traffic.Dispose();
        await Task.Delay(Quiet, TimeProvider.System);
        return Judge(traffic, took, before, Look(pod, Stopwatch.GetElapsedTime(started)));
    }

    private static double At(double[] sorted, double part) => sorted.Length == 0 ? double.NaN : sorted[(int)(sorted.Length * part)];

    private static Sample Look(SoakPod pod, TimeSpan at)
    {
        (long memory, long own) = pod.Memory;
        return new Sample(at, memory, own, Directory.GetFileSystemEntries($"/proc/{pod.SidecarId}/fd").Length, Directory.GetDirectories($"/proc/{pod.SidecarId}/task").Length);
    }

    private static async Task EveryAsync(TimeSpan interval, Action action, CancellationToken cancellation)
    {
        using PeriodicTimer timer = new(interval);
        try
        {
            while (await timer.WaitForNextTickAsync(cancellation)) action();
        }
        catch (OperationCanceledException)
        {
            // The end.
        }
    }

    /// <summary>Starts actions at a fixed rate, whatever becomes of those before.</summary>
    private async Task GenerateAsync(SoakTraffic traffic, long started, CancellationToken cancellation)
    {
        for (long number = 0; !cancellation.IsCancellationRequested; number++)
        {
            TimeSpan wait = TimeSpan.FromSeconds((double)number / perSecond) - Stopwatch.GetElapsedTime(started);
            if (wait > TimeSpan.Zero) await Task.Delay(wait, TimeProvider.System, CancellationToken.None);
            if (Volatile.Read(ref _underWay) >= MaxUnderWay) Interlocked.Increment(ref _late);
            else _ = DoAsync(traffic.Next());
        }
    }

    private async Task DoAsync(SoakAction action)
    {
        Interlocked.Increment(ref _underWay);
        try
        {
            using CancellationTokenSource timeout = new(Patience, TimeProvider.System);
            await Task.Run(() => action.RunAsync(timeout.Token), CancellationToken.None);
        }
        catch (Exception exception)
        {
            // Whatever it was: nothing here is meant to fail.
            Interlocked.Increment(ref action.Failed);
            Exception root = exception;
            while (root.InnerException is { } inner) root = inner;
            _failures.Enqueue($"{TimeProvider.System.GetUtcNow():HH:mm:ss} {action.Name}: {exception.GetType().Name}: {exception.Message}{(root == exception ? "" : $" ({root.GetType().Name}: {root.Message})")}");
        }
        finally
        {
            Interlocked.Increment(ref action.Done);
            Interlocked.Decrement(ref _underWay);
        }
    }

    private async Task WhileUnderWayAsync()
    {
        while (Volatile.Read(ref _underWay) > 0) await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System);
    }

    /// <summary>What fills the caches does not count. Of the rest the first third is held against the last one.</summary>
    private bool Judge(SoakTraffic traffic, List<Minute> took, Sample before, Sample after)
    {
        int filling = Math.Min(Math.Max(minutes / 6, LeastFilling), minutes / 2);
        Sample[] settled = [.. _samples.Where(sample => sample.At > TimeSpan.FromMinutes(filling))];
        Sample[] first = settled[..(settled.Length / 3)], last = settled[^(settled.Length / 3)..];
        Minute[] later = [.. took.Skip(filling)];
        int third = Math.Max(1, later.Length / 3);
        Minute[] firstMinutes = later[..third], lastMinutes = later[^third..];
        (double memory, double memoryThen) = (Median(first, sample => sample.Memory), Median(last, sample => sample.Memory));
        (double handles, double handlesThen) = (Median(first, sample => sample.Handles), Median(last, sample => sample.Handles));
        int failed = traffic.Actions.Sum(action => action.Failed);
        bool memoryIsFlat = memoryThen <= memory * (1 + MemoryGrowth);
        bool handlesAreFlat = handlesThen <= handles * 1.1 + HandleSlack && after.Handles <= before.Handles + HandleSlack;

        Console.WriteLine();
        Console.WriteLine("| action | done | failed |");
        Console.WriteLine("|---|---|---|");
        foreach (SoakAction action in traffic.Actions) Console.WriteLine($"| {action.Name} | {action.Done} | {action.Failed} |");
        Console.WriteLine();
        foreach (string failure in _failures.Take(ShownFailures)) Console.WriteLine(failure);
        if (_failures.Count > ShownFailures) Console.WriteLine($"… and {_failures.Count - ShownFailures} more.");
        Console.WriteLine();
        Console.WriteLine("| median of | the first third | the last third |  |");
        Console.WriteLine("|---|---|---|---|");
        Say("resident memory, MB", memory / 1e6, memoryThen / 1e6, memoryIsFlat);
        Say("of that own, MB", Median(first, sample => sample.Private) / 1e6, Median(last, sample => sample.Private) / 1e6, null);
        Say("handles", handles, handlesThen, handlesAreFlat);
        Say("threads", Median(first, sample => sample.Threads), Median(last, sample => sample.Threads), null);
        Say("p50 on a kept connection, ms", Median(firstMinutes, minute => minute.Kept50), Median(lastMinutes, minute => minute.Kept50), null);
        Say("p99 on a kept connection, ms", Median(firstMinutes, minute => minute.Kept99), Median(lastMinutes, minute => minute.Kept99), null);
        Say("p50 on a new connection, ms", Median(firstMinutes, minute => minute.New50), Median(lastMinutes, minute => minute.New50), null);
        Say("p99 on a new connection, ms", Median(firstMinutes, minute => minute.New99), Median(lastMinutes, minute => minute.New99), null);
        Console.WriteLine();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Quiet.TotalSeconds} s after the last action: {after.Memory / 1e6:0.0} MB ({before.Memory / 1e6:0.0} at the start), {after.Handles} handles ({before.Handles}), {after.Threads} threads ({before.Threads})."));
        Console.WriteLine($"{failed} of {traffic.Actions.Sum(action => action.Done)} actions failed; {_late} were left out, as too many were under way.");
        bool isGood = memoryIsFlat && handlesAreFlat && failed == 0 && _late == 0;
        Console.WriteLine(isGood ? "The sidecar is as it was." : "The sidecar is not as it was, or not all was answered as it should be.");
        return isGood;

        static void Say(string what, double then, double now, bool? isGood) =>
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {what} | {then:0.0} | {now:0.0} | {(now - then) / then * 100:+0.0;-0.0;0} %{(isGood == false ? ", TOO MUCH" : "")} |"));
    }

    private static double Median<T>(IReadOnlyCollection<T> of, Func<T, double> value) => of.Count == 0 ? double.NaN : of.Select(value).Order().ElementAt(of.Count / 2);
}
