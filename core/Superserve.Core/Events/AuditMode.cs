namespace Superserve.Core.Events;

/// <summary>What happens to a request that uses a secret while events cannot be kept.</summary>
public enum AuditMode
{
    /// <summary>It goes on, and the lost event is counted.</summary>
    BestEffort,

    /// <summary>It is refused.</summary>
    Required,
}
