namespace Superserve.Sidecar.Dns;

/// <summary>Lets through so many at once, and so many a second in the long run.</summary>
internal sealed class TokenBucket(double capacity, double perSecond, TimeProvider time)
{
    private readonly Lock _lock = new();
    private double _taken;
    private long _lookedAt;

    public bool TryTake()
    {
        lock (_lock)
        {
            long now = time.GetTimestamp();
            _taken = Math.Max(0, _taken - (time.GetElapsedTime(_lookedAt, now).TotalSeconds * perSecond));
            _lookedAt = now;
            if (_taken + 1 > capacity) return false;
            _taken++;
            return true;
        }
    }
}
