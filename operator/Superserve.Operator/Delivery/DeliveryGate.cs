namespace Superserve.Operator.Delivery;

/// <summary>How many may be at the door, and inside.</summary>
internal sealed class DeliveryGate(DeliveryLimits limits)
{
    private int _handshakes;

    /// <summary>A place for a handshake, until it is disposed.</summary>
    /// <exception cref="EndingException">There is none, or this replica takes nobody.</exception>
    public IDisposable Enter(SandboxRegistry registry)
    {
        if (registry.IsDraining) throw new EndingException(Ending.Draining);
        if (registry.Count >= limits.Streams) throw new EndingException(Ending.TooManyStreams);
        if (Interlocked.Increment(ref _handshakes) <= limits.Handshakes) return new Place(this);
        Interlocked.Decrement(ref _handshakes);
        throw new EndingException(Ending.Busy);
    }

    private sealed class Place(DeliveryGate gate) : IDisposable
    {
        public void Dispose() => Interlocked.Decrement(ref gate._handshakes);
    }
}
