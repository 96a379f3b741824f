using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Superserve.Benchmarks.Http;

/// <summary>Waits on a thread that blocks, more exactly than timers do.</summary>
internal static partial class Clock
{
    private const int Monotonic = 1, Absolute = 1;

    /// <summary>Waits until a time of <see cref="Stopwatch"/>'s clock, whose ticks are nanoseconds.</summary>
    public static void Wait(long until)
    {
        Time time = new() { Seconds = (nint)(until / Stopwatch.Frequency), Nanoseconds = (nint)(until % Stopwatch.Frequency) };
        // A signal may cut it short.
        while (clock_nanosleep(Monotonic, Absolute, time, 0) != 0 && Stopwatch.GetTimestamp() < until)
        {
            // The same time once more.
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Time
    {
        public nint Seconds;
        public nint Nanoseconds;
    }

    [LibraryImport("libc")]
    private static partial int clock_nanosleep(int clock, int flags, in Time time, nint remaining);
}
