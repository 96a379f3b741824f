using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;

namespace Superserve.Benchmarks.Faults;

/// <summary>When, from the fault's point of view.</summary>
internal enum Phase
{
    /// <summary>Everything happens for the first time.</summary>
    Warming,

    Before,
    During,
    After,
}

/// <summary>Requests with a secret at a fixed rate, each with a target of its own, whatever becomes of those before.</summary>
internal sealed class Traffic(FaultPod pod, int perSecond)
{
    private readonly ConcurrentQueue<(Phase Phase, double Milliseconds)> _took = new();
    private readonly CancellationTokenSource _end = new();
    private readonly List<Task> _underWay = [];
    private Task _generating = Task.CompletedTask;
    private int _asked;
    private int _failed;
    private int _refused;
    private long _last;

    public Phase Phase { get; set; }

    public int Asked => Volatile.Read(ref _asked);

    /// <summary>Requests that got no answer, or another one than they should.</summary>
    public int Failed => Volatile.Read(ref _failed);

    /// <summary>Requests that the sidecar refused since their event could not be kept.</summary>
    public int Refused => Volatile.Read(ref _refused);

    /// <summary>Of the failed ones, what it was.</summary>
    public string? Failure { get; private set; }

    public void Start() => _generating = GenerateAsync();

    /// <summary>Ends it; everything is answered then.</summary>
    public async Task EndAsync()
    {
        await _end.CancelAsync();
        await _generating;
        await Task.WhenAll(_underWay);
    }

    /// <summary>One more request, in between; false where it was refused.</summary>
    public async Task<bool> AskAsync(string rest = "")
    {
        Interlocked.Increment(ref _asked);
        Phase phase = Phase;
        long began = Stopwatch.GetTimestamp();
        try
        {
            (HttpStatusCode status, string? reason) = await pod.AskAsync($"/{Interlocked.Increment(ref _last)}{rest}");
            if ((status, reason) == (HttpStatusCode.ServiceUnavailable, FaultRun.Unavailable))
            {
                Interlocked.Increment(ref _refused);
                return false;
            }

            if (status == HttpStatusCode.OK && rest.Length == 0) _took.Enqueue((phase, Stopwatch.GetElapsedTime(began).TotalMilliseconds));
            else if (status != HttpStatusCode.OK) Fail($"{status} {reason}");
        }
        catch (Exception exception) when (exception is HttpRequestException or OperationCanceledException or ObjectDisposedException)
        {
            Fail($"{exception.GetType().Name}: {exception.Message}");
        }

        return true;
    }

    public double P99(Phase phase)
    {
        double[] sorted = [.. _took.Where(each => each.Phase == phase).Select(each => each.Milliseconds).Order()];
        return sorted.Length == 0 ? double.NaN : sorted[(int)(sorted.Length * 0.99)];
    }

    private void Fail(string what)
    {
        Interlocked.Increment(ref _failed);
        Failure = what;
    }

    private async Task GenerateAsync()
    {
        long started = Stopwatch.GetTimestamp();
        for (long number = 0; !_end.IsCancellationRequested; number++)
        {
            TimeSpan wait = TimeSpan.FromSeconds((double)number / perSecond) - Stopwatch.GetElapsedTime(started);
            if (wait > TimeSpan.Zero) await Task.Delay(wait, TimeProvider.System);
            _underWay.Add(Task.Run(() => AskAsync()));
        }
    }
}
