namespace Superserve.Sidecar.Http1;

/// <summary>Why a request was taken from its service.</summary>
internal enum LeaseEnd
{
    /// <summary>It was not.</summary>
    None,

    /// <summary>The exchange is over, and the connection is another request's.</summary>
    Over,

    /// <summary>The client is gone.</summary>
    ClientLeft,

    /// <summary>Nothing happened for too long.</summary>
    Idle,

    /// <summary>The connection failed.</summary>
    Failed,
}

/// <summary>One request's hold of a connection to a service. Whoever ends it first decides: a late word ends nothing of the next request's.</summary>
internal sealed class ServiceLease(ServiceConnection service)
{
    private int _end;

    public LeaseEnd Ended => (LeaseEnd)Volatile.Read(ref _end);

    /// <summary>Ends the exchange and closes the connection, unless it is over.</summary>
    public void End(LeaseEnd end)
    {
        if (TryEnd(end)) service.Dispose();
    }

    /// <summary>The exchange is over; false where something else has ended it.</summary>
    public bool TryRelease() => TryEnd(LeaseEnd.Over);

    private bool TryEnd(LeaseEnd end) => Interlocked.CompareExchange(ref _end, (int)end, (int)LeaseEnd.None) == (int)LeaseEnd.None;
}
