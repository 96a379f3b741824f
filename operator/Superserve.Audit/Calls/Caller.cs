using Grpc.Core;

namespace Superserve.Audit.Calls;

/// <summary>Whom a token proves its bearer to be, and until when.</summary>
public sealed record Caller(string Namespace, string Pod, string Uid, string ServiceAccount, DateTimeOffset Until);

/// <summary>Says whose a token is.</summary>
public interface ICallerReviewer
{
    /// <summary>Asks whoever knows.</summary>
    /// <exception cref="CallerRefusedException">It is nobody's that may call, or nobody can be asked.</exception>
    Task<Caller> ReviewAsync(string token, CancellationToken cancellationToken);
}

/// <summary>A call is not taken.</summary>
/// <param name="reason">The metric's label.</param>
/// <param name="status">What the caller's library sees.</param>
/// <param name="message">What happened and what to do; nothing of a token.</param>
public sealed class CallerRefusedException(string reason, StatusCode status, string message) : Exception(message)
{
    /// <summary>The metric's label.</summary>
    public string Reason => reason;

    /// <summary>What the caller's library sees.</summary>
    public StatusCode Status => status;
}
