namespace Superserve.Sidecar.Delivery;

/// <summary>Why a stream to the operator, or a call to the audit service, ended.</summary>
internal enum EndReason
{
    /// <summary>No connection could be made, or it broke.</summary>
    Unreachable,

    /// <summary>The operator's certificate is not trusted.</summary>
    Untrusted,

    /// <summary>The operator does not accept the sidecar's token.</summary>
    Refused,

    /// <summary>There is no token to show.</summary>
    NoToken,

    /// <summary>The operator was not heard for too long.</summary>
    Silent,

    /// <summary>The operator asked to connect to another replica.</summary>
    Goodbye,

    /// <summary>The operator ended the stream.</summary>
    Ended,

    /// <summary>What came was no message of the protocol.</summary>
    Malformed,

    /// <summary>What was sent is taken for invalid.</summary>
    Invalid,
}

/// <summary>How a stream or a call ended.</summary>
/// <param name="Reason">Why.</param>
/// <param name="Text">What happened and what to do, for people.</param>
internal readonly record struct StreamEnd(EndReason Reason, string Text)
{
    /// <summary>How long the operator asked to wait at most.</summary>
    public TimeSpan Delay { get; init; }

    /// <summary>The reason as a metric's label.</summary>
    public string Label => Reason switch
    {
        EndReason.Unreachable => "unreachable",
        EndReason.Untrusted => "untrusted",
        EndReason.Refused => "refused",
        EndReason.NoToken => "no_token",
        EndReason.Silent => "silent",
        EndReason.Goodbye => "goodbye",
        EndReason.Ended => "ended",
        EndReason.Invalid => "invalid",
        _ => "malformed",
    };
}
