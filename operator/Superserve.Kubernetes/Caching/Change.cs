namespace Superserve.Kubernetes.Caching;

/// <summary>What happened to an object.</summary>
public enum ChangeKind
{
    /// <summary>It is new, or newly selected.</summary>
    Added,

    /// <summary>It is not what it was.</summary>
    Updated,

    /// <summary>It is gone, or no longer selected.</summary>
    Deleted,
}

/// <summary>
/// A change in the store. <paramref name="Object"/> is the object now, for a deletion as last known;
/// <paramref name="Old"/> is what an update replaced.
/// </summary>
public readonly record struct Change<T>(ChangeKind Kind, T Object, T? Old = null)
    where T : class;
