using k8s;
using k8s.Models;

namespace Superserve.Operator.Resources;

/// <summary>The SandboxBinding, as in <c>crds/sandboxbindings.superserve.ai.yaml</c>, which is the source of truth.</summary>
[KubernetesEntity(Group = ResourceGroup.Name, ApiVersion = ResourceGroup.Version, Kind = "SandboxBinding", PluralName = "sandboxbindings")]
public sealed record SandboxBindingResource : IKubernetesObject<V1ObjectMeta>
{
    /// <inheritdoc />
    public string ApiVersion { get; set; } = ResourceGroup.ApiVersion;

    /// <inheritdoc />
    public string Kind { get; set; } = "SandboxBinding";

    /// <inheritdoc />
    public V1ObjectMeta Metadata { get; set; } = new();

    /// <summary>What the owner wants.</summary>
    public SandboxBindingSpec? Spec { get; init; }

    /// <summary>What the operator found.</summary>
    public SandboxBindingStatus? Status { get; init; }
}

/// <summary>Which pods are sandboxes, what they get, and where they may connect to.</summary>
public sealed record SandboxBindingSpec
{
    /// <summary>The pods of the namespace that are sandboxes.</summary>
    public LabelSelector? Selector { get; init; }

    /// <summary>Environment variables and the Superserve Secrets whose stand-ins they get.</summary>
    public IReadOnlyList<SecretBinding>? Secrets { get; init; }

    /// <summary>Where the sandboxes may connect to.</summary>
    public NetworkSpec? Network { get; init; }

    /// <summary>BoundHosts or All; null as the network rules have it.</summary>
    public string? Interception { get; init; }

    /// <summary>Names that All leaves alone.</summary>
    public IReadOnlyList<string>? Passthrough { get; init; }

    /// <summary>When the binding ends.</summary>
    public DateTimeOffset? ExpiresAt { get; init; }

    /// <summary>BestEffort or Required; null as the installation has it.</summary>
    public string? Audit { get; init; }
}

/// <summary>Pods by their labels.</summary>
public sealed record LabelSelector
{
    /// <summary>Labels that a pod must have.</summary>
    public IReadOnlyDictionary<string, string>? MatchLabels { get; init; }

    /// <summary>Conditions on labels; all must hold.</summary>
    public IReadOnlyList<LabelExpression>? MatchExpressions { get; init; }
}

/// <summary>A condition on one label.</summary>
public sealed record LabelExpression
{
    /// <summary>The label's key.</summary>
    public string? Key { get; init; }

    /// <summary>In, NotIn, Exists or DoesNotExist.</summary>
    public string? Operator { get; init; }

    /// <summary>What it is compared with.</summary>
    public IReadOnlyList<string>? Values { get; init; }
}

/// <summary>One variable with one secret's stand-in.</summary>
public sealed record SecretBinding
{
    /// <summary>The environment variable.</summary>
    public string? Env { get; init; }

    /// <summary>A Superserve Secret of the same namespace.</summary>
    public string? SecretName { get; init; }

    /// <summary>The containers that get it; null means all.</summary>
    public IReadOnlyList<string>? Containers { get; init; }
}

/// <summary>Network rules as they are written.</summary>
public sealed record NetworkSpec
{
    /// <summary>Names and CIDRs that may be reached.</summary>
    public IReadOnlyList<string>? AllowOut { get; init; }

    /// <summary>Names and CIDRs that may not.</summary>
    public IReadOnlyList<string>? DenyOut { get; init; }

    /// <summary>Enforce or LogOnly.</summary>
    public string? Mode { get; init; }

    /// <summary>Ports that others may connect to; null as Kubernetes has it.</summary>
    public IReadOnlyList<int>? AllowIn { get; init; }
}

/// <summary>What the operator found out about a SandboxBinding.</summary>
public sealed record SandboxBindingStatus
{
    /// <summary>Ready says whether the selected pods are sandboxes with their secrets.</summary>
    public IReadOnlyList<ResourceCondition>? Conditions { get; init; }

    /// <summary>The generation of the spec that the status speaks of.</summary>
    public long? ObservedGeneration { get; init; }

    /// <summary>Sandboxes that the binding selects.</summary>
    public int? SandboxCount { get; init; }

    /// <summary>Those whose sidecar is connected.</summary>
    public int? ConnectedCount { get; init; }

    /// <summary>The bound secrets in one line, for tables.</summary>
    public string? SecretSummary { get; init; }

    /// <summary>At most 50 of them.</summary>
    public IReadOnlyList<SandboxStatus>? Sandboxes { get; init; }
}

/// <summary>One sandbox of a binding.</summary>
public sealed record SandboxStatus
{
    /// <summary>The pod's name.</summary>
    public string? Pod { get; init; }

    /// <summary>The pod's UID.</summary>
    public string? Uid { get; init; }

    /// <summary>Whether its sidecar is connected and has the newest snapshot.</summary>
    public bool? Connected { get; init; }

    /// <summary>What it has.</summary>
    public IReadOnlyList<BoundSecretStatus>? Secrets { get; init; }
}

/// <summary>One variable of one sandbox.</summary>
public sealed record BoundSecretStatus
{
    /// <summary>The environment variable.</summary>
    public string? Env { get; init; }

    /// <summary>The Superserve Secret.</summary>
    public string? SecretName { get; init; }

    /// <summary>Whether the credential is gone.</summary>
    public bool? Revoked { get; init; }
}
