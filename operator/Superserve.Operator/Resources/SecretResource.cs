using System.Text.Json.Serialization;
using k8s;
using k8s.Models;
using Superserve.Core.Secrets;
using Superserve.Kubernetes;

namespace Superserve.Operator.Resources;

/// <summary>The Superserve Secret, as in <c>crds/secrets.superserve.ai.yaml</c>, which is the source of truth.</summary>
[KubernetesEntity(Group = ResourceGroup.Name, ApiVersion = ResourceGroup.Version, Kind = "Secret", PluralName = "secrets")]
public sealed record SecretResource : IKubernetesObject<V1ObjectMeta>
{
    /// <inheritdoc />
    public string ApiVersion { get; set; } = ResourceGroup.ApiVersion;

    /// <inheritdoc />
    public string Kind { get; set; } = "Secret";

    /// <inheritdoc />
    public V1ObjectMeta Metadata { get; set; } = new();

    /// <summary>What the owner wants.</summary>
    public SecretResourceSpec? Spec { get; init; }

    /// <summary>What the operator found.</summary>
    public SecretResourceStatus? Status { get; init; }

    /// <summary>The core Secret that it names.</summary>
    [JsonIgnore]
    public ObjectKey? CoreSecret =>
        Spec?.ValueFrom?.SecretKeyRef?.Name is { Length: > 0 } name ? new ObjectKey(Metadata.NamespaceProperty, name) : null;
}

/// <summary>What an owner writes; all but the credential's place is the same in local mode.</summary>
public sealed record SecretResourceSpec : SecretSpec
{
    /// <summary>Where the credential is.</summary>
    public SecretValueSource? ValueFrom { get; init; }
}

/// <summary>Where a credential is.</summary>
public sealed record SecretValueSource
{
    /// <summary>A key of a core Secret in the same namespace.</summary>
    public SecretKeyReference? SecretKeyRef { get; init; }
}

/// <summary>A key of a core Secret.</summary>
public sealed record SecretKeyReference
{
    /// <summary>The core Secret's name.</summary>
    public string? Name { get; init; }

    /// <summary>The key in its data.</summary>
    public string? Key { get; init; }
}

/// <summary>What the operator found out about a Superserve Secret.</summary>
public sealed record SecretResourceStatus
{
    /// <summary>Ready says whether sandboxes can use the secret now.</summary>
    public IReadOnlyList<ResourceCondition>? Conditions { get; init; }

    /// <summary>The generation of the spec that the status speaks of.</summary>
    public long? ObservedGeneration { get; init; }

    /// <summary>The scheme, or per-host.</summary>
    public string? AuthType { get; init; }

    /// <summary>The hosts that may get the credential, a provider's included.</summary>
    public IReadOnlyList<string>? Hosts { get; init; }

    /// <summary>The hosts in one line, for tables.</summary>
    public string? HostSummary { get; init; }

    /// <summary>Sandboxes that have a stand-in for the credential now.</summary>
    public int? BoundSandboxes { get; init; }

    /// <summary>When the credential last changed.</summary>
    public DateTimeOffset? LastRotatedAt { get; init; }

    /// <summary>When a request last carried the credential.</summary>
    public DateTimeOffset? LastUsedAt { get; init; }

    /// <summary>Requests that carried the credential, as the audit log counts.</summary>
    public long? UsedCount { get; init; }

    /// <summary>Requests with the stand-in that were refused, or failed.</summary>
    public long? RefusedCount { get; init; }
}
