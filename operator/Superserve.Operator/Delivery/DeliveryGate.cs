using System.Net;
using Superserve.Operator.Configuration;
using Superserve.Operator.Connections;

namespace Superserve.Operator.Delivery;

/// <summary>How many may be at the door, of one address and in all, and inside.</summary>
internal sealed class DeliveryGate(DeliveryLimits limits, OperatorOptions options)
{
    private readonly AddressLimit _shares = new(Math.Max(64, options.MaxConnectionsPerAddress / 16));
    private int _handshakes;

    /// <summary>A place for a handshake, until it is disposed.</summary>
    /// <exception cref="EndingException">There is none, or none for this address, or this replica takes nobody.</exception>
    public IDisposable Enter(SandboxRegistry registry, IPAddress? address)
    {
        if (registry.IsDraining) throw new EndingException(Ending.Draining);
        if (registry.Count >= limits.Streams) throw new EndingException(Ending.TooManyStreams);
        IDisposable share = _shares.Enter(address) ?? throw new EndingException(Ending.Busy);
        if (Interlocked.Increment(ref _handshakes) <= limits.Handshakes) return new Place(this, share);
        Interlocked.Decrement(ref _handshakes);
        share.Dispose();
        throw new EndingException(Ending.Busy);
    }

    private sealed class Place(DeliveryGate gate, IDisposable share) : IDisposable
    {
        public void Dispose()
        {
            Interlocked.Decrement(ref gate._handshakes);
            share.Dispose();
        }
    }
}
