namespace Superserve.Operator.Delivery;

/// <summary>How many messages a sidecar may send: a burst, then so many a second, and one for each that it was sent.</summary>
internal sealed class InboundBudget(DeliveryLimits limits, TimeProvider time)
{
    private readonly Lock _gate = new();
    private double _left = limits.Burst;
    private long _at = time.GetTimestamp();

    /// <summary>A message went out, which has an answer.</summary>
    public void Sent()
    {
        lock (_gate) _left = Math.Min(_left + 1, 2.0 * limits.Burst);
    }

    /// <summary>A message came in; false when it is one too many.</summary>
    public bool TryTake(int cost)
    {
        lock (_gate)
        {
            long now = time.GetTimestamp();
            _left = Math.Min(_left + (time.GetElapsedTime(_at, now).TotalSeconds * limits.MessagesPerSecond), 2.0 * limits.Burst) - cost;
            _at = now;
            return _left >= 0;
        }
    }
}
