namespace Superserve.Kubernetes;

/// <summary>
/// Times of the API's MicroTime, which the API server reads only with a fraction, while the client's serializer leaves out a
/// fraction of zero: one request in ten million would be refused.
/// </summary>
internal static class MicroTime
{
    public static DateTime Of(DateTimeOffset time)
    {
        DateTime utc = time.UtcDateTime;
        return utc.Ticks % TimeSpan.TicksPerSecond == 0 ? utc.AddMicroseconds(1) : utc;
    }
}
