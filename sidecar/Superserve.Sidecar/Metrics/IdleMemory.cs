using System.Globalization;
using System.Runtime;
using System.Runtime.InteropServices;

namespace Superserve.Sidecar.Metrics;

/// <summary>
/// Gives memory back to the system once it is quiet: after the start, which reads a few hundred certificates, and after load. The
/// collector does it by itself only while there is something to do.
/// </summary>
internal sealed partial class IdleMemory : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);

    /// <summary>Less than this in an interval is quiet.</summary>
    private const long Quiet = 512 * 1024;

    /// <summary>Less than this since the last time is not worth a collection.</summary>
    private const long Worthwhile = 4 * 1024 * 1024;

    private const int TrimTicks = 30;
    private const int DontNeed = 4;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        long before = 0, collectedAt = 0, ticks = 0;
        // The system's clock: this is about the machine's memory, whatever time the rules go by.
        using PeriodicTimer timer = new(Interval, TimeProvider.System);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            long allocated = GC.GetTotalAllocatedBytes();
            bool isQuiet = allocated - before < Quiet;
            before = allocated;
            // What OpenSSL frees lies scattered, and is given back only so; under load once in a while.
            if (++ticks % TrimTicks == 0) _ = malloc_trim(0);
            if (!isQuiet || allocated - collectedAt < Worthwhile) continue;
            collectedAt = allocated;
            GCSettings.LargeObjectHeapCompactionMode = GCLargeObjectHeapCompactionMode.CompactOnce;
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            _ = malloc_trim(0);
            ForgetCode();
        }
    }

    /// <summary>
    /// Lets go of code and constants, most of which only the start needed: what is used again comes back from the page cache. Only
    /// of mappings that cannot be written and have not a page of their own, so that nothing is lost.
    /// </summary>
    private static void ForgetCode()
    {
        (nint Start, nint End) mapping = default;
        foreach (string line in File.ReadLines("/proc/self/smaps"))
        {
            // 564cd1e2b000-564cd279a000 r-xp 0001e000 fe:00 123 /path, and below it lines as "Anonymous: 0 kB".
            string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (fields[0] == "Anonymous:")
            {
                if (mapping != default && fields[1] == "0") _ = madvise(mapping.Start, (nuint)(mapping.End - mapping.Start), DontNeed);
                mapping = default;
            }
            else if (!fields[0].EndsWith(':'))
            {
                bool isFile = fields.Length >= 6 && fields[5].StartsWith('/') && !fields[1].Contains('w') && fields[1][0] == 'r';
                mapping = isFile ? Range(fields[0]) : default;
            }
        }

        static (nint, nint) Range(string text)
        {
            int dash = text.IndexOf('-');
            return (nint.Parse(text.AsSpan(0, dash), NumberStyles.HexNumber, CultureInfo.InvariantCulture), nint.Parse(text.AsSpan(dash + 1), NumberStyles.HexNumber, CultureInfo.InvariantCulture));
        }
    }

    /// <summary>What OpenSSL has freed; glibc alone has this.</summary>
    [LibraryImport("libc")]
    private static partial int malloc_trim(nint pad);

    [LibraryImport("libc")]
    private static partial int madvise(nint address, nuint length, int advice);
}
