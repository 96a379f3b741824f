namespace Superserve.Kubernetes.Controllers;

/// <summary>How a reconciliation ended that did not throw.</summary>
public readonly record struct Result(TimeSpan? RequeueAfter)
{
    /// <summary>Nothing to do until something changes.</summary>
    public static Result Done => default;

    /// <summary>Look again later, whatever happens until then.</summary>
    public static Result Again(TimeSpan after) => new(after);
}
