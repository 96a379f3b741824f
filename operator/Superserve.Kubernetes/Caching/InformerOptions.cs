namespace Superserve.Kubernetes.Caching;

/// <summary>What an informer looks at, and how.</summary>
public sealed record InformerOptions
{
    /// <summary>Only this namespace; null for all, and for cluster-scoped kinds.</summary>
    public string? Namespace { get; init; }

    /// <summary>Only objects whose labels match.</summary>
    public string? LabelSelector { get; init; }

    /// <summary>Only objects whose fields match.</summary>
    public string? FieldSelector { get; init; }

    /// <summary>
    /// Whose entry of <c>managedFields</c> is kept, for <see cref="Writing.Applier"/> to compare with. All others, often half of
    /// an object, are dropped.
    /// </summary>
    public string? FieldManager { get; init; }

    /// <summary>Objects per page of a list.</summary>
    public int PageSize { get; init; } = 500;

    /// <summary>How long the server keeps a watch open; each is longer by up to half at random, so that they do not end together.</summary>
    public TimeSpan WatchTimeout { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How much later the informer itself gives a watch up, should the server not have.</summary>
    public TimeSpan DeadlineSlack { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Waits between attempts.</summary>
    public Backoff Backoff { get; init; } = new(TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(30));
}
