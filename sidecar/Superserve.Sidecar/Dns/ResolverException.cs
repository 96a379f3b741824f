namespace Superserve.Sidecar.Dns;

/// <summary>Why a name has no address.</summary>
internal enum ResolverFailure
{
    /// <summary>There is no such name (NXDOMAIN).</summary>
    NoSuchName,

    /// <summary>There is the name, without an address.</summary>
    NoAddress,

    /// <summary>No server answered in time.</summary>
    Unanswered,

    /// <summary>Every server that answered said that it cannot, or what makes no sense.</summary>
    ServerFailed,

    /// <summary>Too many queries are under way.</summary>
    Busy,
}

/// <summary>A name that was not resolved.</summary>
internal sealed class ResolverException(ResolverFailure failure, string message) : IOException(message)
{
    public ResolverFailure Failure { get; } = failure;
}
