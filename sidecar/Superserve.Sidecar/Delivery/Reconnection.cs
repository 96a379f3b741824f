namespace Superserve.Sidecar.Delivery;

/// <summary>How long to wait ahead of the next stream. Jittered: all sidecars lose an operator at the same moment.</summary>
internal static class Reconnection
{
    /// <summary>No wait is longer.</summary>
    public static readonly TimeSpan MaxDelay = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan FirstDelay = TimeSpan.FromMilliseconds(500);

    /// <summary>The wait.</summary>
    /// <param name="end">How the last stream ended.</param>
    /// <param name="failures">How many streams in a row ended soon; 0 after one that lasted.</param>
    /// <param name="random">From 0 to 1.</param>
    public static TimeSpan Delay(StreamEnd end, int failures, double random)
    {
        // A person has to act: asking often only fills the operator's log.
        if (end.Reason is EndReason.Refused) return MaxDelay * (0.5 + (random / 2));
        TimeSpan backoff = FirstDelay * Math.Pow(2, Math.Clamp(failures, 0, 16));
        TimeSpan longest = end.Delay > backoff ? end.Delay : backoff;
        return (longest < MaxDelay ? longest : MaxDelay) * random;
    }
}
