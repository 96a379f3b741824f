using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace Superserve.Testing.Network;

/// <summary>
/// A network namespace of a test: a machine of its own as far as the network goes, without a way out. Takes root. Its end ends what runs
/// in it.
/// </summary>
public sealed partial class NetworkNamespace : IAsyncDisposable
{
    private const int CloneNewNet = 0x40000000;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly List<RunningProgram> _programs = [];

    private NetworkNamespace(string name) => Name = name;

    /// <summary>What <c>ip netns</c> calls it.</summary>
    public string Name { get; }

    /// <summary>A new one, with loopback up.</summary>
    public static async Task<NetworkNamespace> CreateAsync(string role)
    {
        NetworkNamespace made = new($"superserve-{role}-{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(4))}");
        await IpAsync("netns", "add", made.Name);
        await made.RunAsync("ip", "link", "set", "lo", "up");
        return made;
    }

    /// <summary>Runs <c>ip</c> outside of any namespace; it must succeed.</summary>
    public static async Task IpAsync(params string[] arguments)
    {
        await using RunningProgram program = RunningProgram.Start("ip", arguments);
        Outcome outcome = await program.EndAsync(Patience);
        if (outcome.Status != 0) throw new InvalidOperationException($"ip {string.Join(' ', arguments)}: {outcome} Tests of the network need root and the kernel's network namespaces.");
    }

    /// <summary>Runs a program in it to its end; it must succeed.</summary>
    public async Task<Outcome> RunAsync(string program, params string[] arguments)
    {
        Outcome outcome = await TryAsync(program, arguments);
        if (outcome.Status != 0) throw new InvalidOperationException($"{program} {string.Join(' ', arguments)}: {outcome}");
        return outcome;
    }

    /// <summary>Runs a program in it to its end, however that is.</summary>
    public async Task<Outcome> TryAsync(string program, params string[] arguments)
    {
        await using RunningProgram running = Start(program, arguments);
        return await running.EndAsync(Patience);
    }

    /// <summary>Starts a program in it, which ends with the namespace at the latest.</summary>
    public RunningProgram Start(string program, params string[] arguments)
    {
        RunningProgram started = RunningProgram.Start("ip", ["netns", "exec", Name, program, .. arguments]);
        lock (_programs) _programs.Add(started);
        return started;
    }

    /// <summary>
    /// Does something in it on a thread of its own. A socket stays in the namespace that it was made in, wherever it is used later.
    /// </summary>
    public T Enter<T>(Func<T> action)
    {
        T result = default!;
        Exception? failure = null;
        Thread thread = new(() =>
        {
            try
            {
                using SafeFileHandle file = File.OpenHandle($"/run/netns/{Name}");
                if (setns(file, CloneNewNet) != 0) throw new InvalidOperationException($"setns failed with {Marshal.GetLastPInvokeError()}: the tests of the network need root.");
                result = action();
            }
            catch (Exception exception)
            {
                failure = exception;
            }
        });
        thread.Start();
        thread.Join();
        return failure is null ? result : throw new InvalidOperationException($"In {Name}: {failure.Message}", failure);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (RunningProgram program in _programs) await program.DisposeAsync();
        await IpAsync("netns", "delete", Name);
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setns(SafeFileHandle descriptor, int type);
}

/// <summary>A program that a test started; its end is the program's.</summary>
public sealed class RunningProgram : IAsyncDisposable
{
    private readonly Process _process;
    private readonly Task<string> _errors;
    private readonly List<string> _lines = [];
    private readonly Task _reading;

    private RunningProgram(Process process)
    {
        _process = process;
        _errors = process.StandardError.ReadToEndAsync();
        _reading = ReadLinesAsync();
    }

    /// <summary>Its process id: what starts a program in a namespace, or with fewer privileges, becomes that program.</summary>
    public int Id => _process.Id;

    /// <summary>The lines that it has printed so far.</summary>
    public IReadOnlyList<string> Lines
    {
        get
        {
            lock (_lines) return [.. _lines];
        }
    }

    /// <summary>Whether it has ended by itself.</summary>
    public bool HasEnded => _process.HasExited;

    internal static RunningProgram Start(string program, string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        // Other users run these too: nothing out of somebody's home.
        start.Environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        // What the tests show of a sandbox without proxy variables counts on a machine that has some, too.
        foreach (string proxy in start.Environment.Keys.Where(name => name.EndsWith("_proxy", StringComparison.OrdinalIgnoreCase)).ToArray()) start.Environment.Remove(proxy);
        return new RunningProgram(Process.Start(start) ?? throw new InvalidOperationException($"{program} did not start."));
    }

    /// <summary>Gives it a line to read.</summary>
    public async Task WriteLineAsync(string line)
    {
        await _process.StandardInput.WriteLineAsync(line);
        await _process.StandardInput.FlushAsync();
    }

    /// <summary>Waits until it has printed a line that satisfies a condition.</summary>
    public async Task<string> LineAsync(Func<string, bool> condition, string what)
    {
        string? found = null;
        await Eventually.True(() => (found = Lines.FirstOrDefault(condition)) is not null || _reading.IsCompleted, what);
        found ??= Lines.FirstOrDefault(condition);
        return found ?? throw new InvalidOperationException($"The program ended without {what}:\n{string.Join('\n', Lines)}\n{await _errors}");
    }

    /// <summary>Waits for its end.</summary>
    public async Task<Outcome> EndAsync(TimeSpan patience)
    {
        _process.StandardInput.Close();
        using CancellationTokenSource timeout = new(patience, TimeProvider.System);
        await _process.WaitForExitAsync(timeout.Token);
        await _reading.WaitAsync(timeout.Token);
        return new Outcome(_process.ExitCode, string.Concat(Lines.Select(line => line + "\n")), await _errors.WaitAsync(timeout.Token));
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            if (!_process.HasExited) _process.Kill(entireProcessTree: true);
            await _process.WaitForExitAsync();
            await _reading;
        }
        catch (InvalidOperationException)
        {
            // It was disposed before.
        }

        _process.Dispose();
    }

    private async Task ReadLinesAsync()
    {
        while (await _process.StandardOutput.ReadLineAsync() is { } line)
            lock (_lines) _lines.Add(line);
    }
}
