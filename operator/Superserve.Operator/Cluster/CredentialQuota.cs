using System.Collections.Immutable;
using Superserve.Kubernetes;
using Superserve.Operator.Resources;

namespace Superserve.Operator.Cluster;

/// <summary>
/// Which core Secrets of one namespace are watched: each costs every replica a watch, and whoever may write Superserve Secrets could
/// name as many as they like. The oldest Superserve Secrets come first, so that a newcomer takes nothing from those that work, and so
/// that all replicas choose the same ones.
/// </summary>
internal sealed class CredentialQuota
{
    /// <summary>Core Secrets of one namespace.</summary>
    public const int Max = 256;

    private readonly SortedSet<Named> _all = new(Comparer<Named>.Create((one, other) =>
        one.Created != other.Created ? one.Created.CompareTo(other.Created) : string.CompareOrdinal(one.Name, other.Name)));
    private readonly Dictionary<string, Named> _byName = new(StringComparer.Ordinal);

    /// <summary>The names of the core Secrets that are watched. Replaced whole: others read it meanwhile.</summary>
    public ImmutableHashSet<string> Chosen { get; private set; } = [];

    /// <summary>Whether some that are named are not watched.</summary>
    public bool IsExceeded { get; private set; }

    /// <summary>Whether no Superserve Secret of the namespace names any.</summary>
    public bool IsEmpty => _all.Count == 0;

    /// <summary>Takes a change in, and says which core Secrets are watched from now on, and which no longer.</summary>
    public (ImmutableHashSet<string> Added, ImmutableHashSet<string> Removed) Take(SecretResource secret, ObjectKey? coreSecret)
    {
        string name = secret.Metadata.Name;
        if (_byName.Remove(name, out Named? before)) _all.Remove(before);
        if (coreSecret is { } key)
        {
            Named now = new(secret.Metadata.CreationTimestamp ?? default, name, key.Name);
            _byName[name] = now;
            _all.Add(now);
        }

        ImmutableHashSet<string>.Builder chosen = ImmutableHashSet.CreateBuilder<string>(StringComparer.Ordinal);
        bool isExceeded = false;
        foreach (Named candidate in _all)
        {
            if (chosen.Contains(candidate.CoreSecret)) continue;
            isExceeded = chosen.Count == Max;
            if (isExceeded) break;
            chosen.Add(candidate.CoreSecret);
        }

        ImmutableHashSet<string> old = Chosen;
        (Chosen, IsExceeded) = (chosen.ToImmutable(), isExceeded);
        return (Chosen.Except(old), old.Except(Chosen));
    }

    private sealed record Named(DateTime Created, string Name, string CoreSecret);
}
