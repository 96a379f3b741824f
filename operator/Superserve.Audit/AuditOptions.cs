using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace Superserve.Audit;

/// <summary>What an installation says of its audit service; the chart renders it from its values as <c>audit.json</c>.</summary>
public sealed record AuditOptions
{
    /// <summary>The namespace of the audit service and of the operator.</summary>
    [Required, RegularExpression("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
    public string Namespace { get; init; } = "superserve-system";

    /// <summary>The Service that sidecars and operator reach it by.</summary>
    [Required, RegularExpression("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
    public string ServiceName { get; init; } = "superserve-audit";

    /// <summary>The address that all ports are opened on.</summary>
    [Required]
    public string ListenAddress { get; init; } = "::";

    /// <summary>Events and questions: gRPC over TLS.</summary>
    [Range(1, 65535)]
    public int Port { get; init; } = 16446;

    /// <summary>/healthz and /readyz.</summary>
    [Range(1, 65535)]
    public int HealthPort { get; init; } = 16021;

    /// <summary>/metrics.</summary>
    [Range(1, 65535)]
    public int MetricsPort { get; init; } = 16090;

    /// <summary>A directory with <c>tls.crt</c>, <c>tls.key</c> and <c>ca.crt</c>.</summary>
    [Required]
    public string CertificateDirectory { get; init; } = "/etc/superserve/tls";

    /// <summary>The database file of SQLite, made where it is not there. Its folder has to be on a volume that stays.</summary>
    public string? SqliteFile { get; init; } = "/var/lib/superserve/audit.db";

    /// <summary>A file with the connection string of a PostgreSQL database; with it nothing is in SQLite.</summary>
    public string? PostgresConnectionStringFile { get; init; }

    /// <summary>Events that are older are deleted.</summary>
    [Range(1, 3650)]
    public int RetentionDays { get; init; } = 30;

    /// <summary>The oldest events are deleted while the database has more bytes than this.</summary>
    [Range(1L << 20, 1L << 50)]
    public long MaxBytes { get; init; } = 8L << 30;

    /// <summary>The service account of the operator's pods, in the same namespace: it alone may ask.</summary>
    [Required, RegularExpression("^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
    public string OperatorServiceAccount { get; init; } = "superserve-operator";

    /// <summary>How many connections one address may have open: a node that hides its pods behind its own has one for each sandbox.</summary>
    [Range(16, 100_000)]
    public int MaxConnectionsPerAddress { get; init; } = 1024;

    /// <summary>Writes every stored event to the standard output, a JSON object a line.</summary>
    public bool Stdout { get; init; }

    /// <summary>Where stored events go as OTLP logs over gRPC, as http://collector:4317; null for nowhere.</summary>
    [RegularExpression("^https?://.+$")]
    public string? OtlpEndpoint { get; init; }

    /// <summary>The least level that is logged.</summary>
    [AllowedValues("Trace", "Debug", "Information", "Warning", "Error", "Critical", "None")]
    public string LogLevel { get; init; } = "Information";
}

/// <summary>Checks the attributes, without reflection.</summary>
[OptionsValidator]
public sealed partial class AuditOptionsValidator : IValidateOptions<AuditOptions>;
