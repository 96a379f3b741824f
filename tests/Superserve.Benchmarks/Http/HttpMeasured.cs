namespace Superserve.Benchmarks.Http;

/// <summary>Requests or bytes, in how long, what the proxy's processors did for it, and how long a request took, in milliseconds.</summary>
internal readonly record struct HttpMeasured(long Amount, TimeSpan Time, TimeSpan Cpu, double P50 = 0, double P99 = 0)
{
    public double PerSecond => Amount / Time.TotalSeconds;

    /// <summary>Of latencies in any order.</summary>
    public static HttpMeasured OfLatencies(double[] milliseconds, TimeSpan time, TimeSpan cpu)
    {
        Array.Sort(milliseconds);
        return new HttpMeasured(milliseconds.Length, time, cpu, milliseconds[milliseconds.Length / 2], milliseconds[(int)(milliseconds.Length * 0.99)]);
    }
}
