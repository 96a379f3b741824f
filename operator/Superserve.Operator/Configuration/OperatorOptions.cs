using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;
using Superserve.Operator.Admission.Pods;

namespace Superserve.Operator.Configuration;

/// <summary>What an installation says of its operator; the chart renders it from its values as <c>operator.json</c>.</summary>
public sealed record OperatorOptions
{
    /// <summary>The operator's own namespace, where its Lease, its CA and its key are.</summary>
    [Required, RegularExpression("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
    public string Namespace { get; init; } = "superserve-system";

    /// <summary>The Service that the API server and the sidecars reach the replicas by.</summary>
    [Required, RegularExpression("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
    public string ServiceName { get; init; } = "superserve-operator";

    /// <summary>The cluster's domain.</summary>
    [Required]
    public string ClusterDomain { get; init; } = "cluster.local";

    /// <summary>CIDRs that are special beside the built-in ones: the cluster's pods, Services and nodes, where they are not private.</summary>
    [MaxLength(256)]
    public IReadOnlyList<string> ClusterRanges { get; init; } = [];

    /// <summary>What happens to requests with a secret while events cannot be kept, where a binding does not say it.</summary>
    [AllowedValues("BestEffort", "Required")]
    public string Audit { get; init; } = "BestEffort";

    /// <summary>The address that all ports are opened on.</summary>
    [Required]
    public string ListenAddress { get; init; } = "::";

    /// <summary>Admission, over TLS.</summary>
    [Range(1, 65535)]
    public int WebhookPort { get; init; } = 16443;

    /// <summary>Delivery to sidecars: gRPC over TLS.</summary>
    [Range(1, 65535)]
    public int DeliveryPort { get; init; } = 16444;

    /// <summary>/healthz and /readyz.</summary>
    [Range(1, 65535)]
    public int HealthPort { get; init; } = 16021;

    /// <summary>/metrics.</summary>
    [Range(1, 65535)]
    public int MetricsPort { get; init; } = 16090;

    /// <summary>The aggregated API of the audit log, over TLS; open where <see cref="AuditAddress"/> is set.</summary>
    [Range(1, 65535)]
    public int AuditApiPort { get; init; } = 16445;

    /// <summary>Where the operator asks the audit service, as host:port; null for an installation without one.</summary>
    [RegularExpression(@"^(\[[0-9a-fA-F:.]+\]|[^:\s]+):[0-9]{1,5}$")]
    public string? AuditAddress { get; init; }

    /// <summary>The audit service's Service, by whose name its certificate is checked; with certificates of the operator's own, issued too.</summary>
    [Required, RegularExpression("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
    public string AuditServiceName { get; init; } = "superserve-audit";

    /// <summary>The operator's own projected token for the audit service, read anew for each call.</summary>
    [Required]
    public string AuditTokenFile { get; init; } = "/var/run/secrets/superserve/token";

    /// <summary>The name of the webhook configurations whose caBundle the operator keeps.</summary>
    [Required]
    public string WebhookConfigurationName { get; init; } = "superserve";

    /// <summary>
    /// A directory with <c>tls.crt</c>, <c>tls.key</c> and <c>ca.crt</c> as cert-manager writes them; null where the operator makes
    /// its own certificates.
    /// </summary>
    public string? CertificateDirectory { get; init; }

    /// <summary>Names and addresses that the serving certificate has beside the Service's.</summary>
    public IReadOnlyList<string> ExtraServingNames { get; init; } = [];

    /// <summary>A catalog file with providers of the installation's own; null for none.</summary>
    public string? ProvidersFile { get; init; }

    /// <summary>How long a replica that was told to end goes on answering, until nobody sends it anything new.</summary>
    [Range(0, 300)]
    public int DrainSeconds { get; init; } = 5;

    /// <summary>
    /// How many connections to the delivery port one address may have open: a node that hides its pods behind its own address has one
    /// for each sandbox. An address may have a sixteenth of it, and 64 at least, at the door at one time.
    /// </summary>
    [Range(16, 100_000)]
    public int MaxConnectionsPerAddress { get; init; } = 1024;

    /// <summary>What sandboxes are given.</summary>
    [ValidateObjectMembers]
    public SidecarOptions Sidecar { get; init; } = new();
}

/// <summary>The sidecars that admission puts into pods.</summary>
public sealed record SidecarOptions
{
    /// <summary>The image.</summary>
    [Required]
    public string Image { get; init; } = "ghcr.io/superserve-k8s/superserve-sidecar:0.1.0";

    /// <summary>When the kubelet pulls it.</summary>
    [RegularExpression("^(Always|IfNotPresent|Never)$")]
    public string ImagePullPolicy { get; init; } = "IfNotPresent";

    /// <summary>Transparent, or Explicit, which is no boundary for the network.</summary>
    public CaptureMode Capture { get; init; } = CaptureMode.Transparent;

    /// <summary>Runtime classes whose pods are captured explicitly in any case: those without nftables, as gVisor's.</summary>
    public IReadOnlyList<string> ExplicitRuntimeClasses { get; init; } = [];

    /// <summary>Resource requests, by resource.</summary>
    public IReadOnlyDictionary<string, string> Requests { get; init; } = new Dictionary<string, string> { ["cpu"] = "10m", ["memory"] = "64Mi" };

    /// <summary>Resource limits, by resource.</summary>
    public IReadOnlyDictionary<string, string> Limits { get; init; } = new Dictionary<string, string> { ["memory"] = "256Mi" };

    /// <summary>What sidecars log.</summary>
    [RegularExpression("^(Trace|Debug|Information|Warning|Error|Critical|None)$")]
    public string LogLevel { get; init; } = "Information";

    /// <summary>How long sidecars act on what they last heard while no operator answers, as 24h; null for as long as it takes.</summary>
    [RegularExpression("^[1-9][0-9]{0,4}[smhd]$")]
    public string? MaxSnapshotAge { get; init; } = "24h";

    /// <summary>Gives the sidecar NET_ADMIN: before Linux 5.17 NET_RAW is not enough to mark a socket.</summary>
    public bool NetAdmin { get; init; }

    /// <summary>Further options of the sidecar's command line.</summary>
    public IReadOnlyList<string> ExtraArgs { get; init; } = [];

    /// <summary>Where sidecars find the operator, as host:port; null for the Service.</summary>
    public string? OperatorAddress { get; init; }

    /// <summary>Where sidecars send their events, as host:port; null for an installation without an audit service.</summary>
    public string? AuditAddress { get; init; }
}

/// <summary>Checks the attributes, without reflection.</summary>
[OptionsValidator]
public sealed partial class OperatorOptionsValidator : IValidateOptions<OperatorOptions>;
