using System.Security.Cryptography;

namespace Superserve.Kubernetes;

/// <summary>Waits that double from <paramref name="First"/> to <paramref name="Max"/>, each shortened by up to half at random.</summary>
public sealed record Backoff(TimeSpan First, TimeSpan Max)
{
    /// <summary>The wait after so many failures in a row, the first being 1.</summary>
    public TimeSpan After(int failures)
    {
        // 2^30 times anything is above every sensible bound; without the cap the product overflows.
        double ceiling = Math.Min(Max.TotalMilliseconds, First.TotalMilliseconds * Math.Pow(2, Math.Clamp(failures - 1, 0, 30)));
        return TimeSpan.FromMilliseconds(ceiling * (1 - (Fraction() / 2)));
    }

    /// <summary>A random number in [0, 1).</summary>
    internal static double Fraction() => RandomNumberGenerator.GetInt32(1 << 24) / (double)(1 << 24);
}
