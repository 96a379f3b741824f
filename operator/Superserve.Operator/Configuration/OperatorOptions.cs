using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

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

    /// <summary>The address that all ports are opened on.</summary>
    [Required]
    public string ListenAddress { get; init; } = "::";

    /// <summary>Admission, over TLS.</summary>
    [Range(1, 65535)]
    public int WebhookPort { get; init; } = 16443;

    /// <summary>/healthz and /readyz.</summary>
    [Range(1, 65535)]
    public int HealthPort { get; init; } = 16021;

    /// <summary>/metrics.</summary>
    [Range(1, 65535)]
    public int MetricsPort { get; init; } = 16090;

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
}

/// <summary>Checks the attributes, without reflection.</summary>
[OptionsValidator]
public sealed partial class OperatorOptionsValidator : IValidateOptions<OperatorOptions>;
