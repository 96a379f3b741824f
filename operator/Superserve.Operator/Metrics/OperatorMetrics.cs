using System.Diagnostics.Metrics;

namespace Superserve.Operator.Metrics;

/// <summary>The ports that are open to the cluster.</summary>
public enum TlsPort
{
    /// <summary>Admission.</summary>
    Webhook,

    /// <summary>Delivery.</summary>
    Delivery,

    /// <summary>Events, and questions about them: the audit service's.</summary>
    Audit,

    /// <summary>The aggregated API of the audit log.</summary>
    AuditApi,
}

/// <summary>What the operator counts beside its runtime. Labels come from enumerations, never from objects.</summary>
public sealed class OperatorMetrics : IDisposable
{
    /// <summary>The meter's name.</summary>
    public const string MeterName = "Superserve.Operator";

    private static readonly InstrumentAdvice<double> AdmissionBuckets =
        new() { HistogramBucketBoundaries = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] };

    private readonly Meter _meter;
    private readonly Counter<long> _admissions;
    private readonly Histogram<double> _admissionTime;
    private readonly Counter<long> _connectionsRefused;
    private readonly Counter<long> _auditRequests;

    /// <summary>Registers the instruments.</summary>
    public OperatorMetrics(IMeterFactory meters)
    {
        _meter = meters.Create(MeterName);
        _admissions = _meter.CreateCounter<long>("superserve.admission.requests", description: "Admission requests, by webhook and outcome (allowed, denied, error).");
        _admissionTime = _meter.CreateHistogram("superserve.admission.duration", "s", "How long an admission takes, by webhook.", advice: AdmissionBuckets);
        _connectionsRefused = _meter.CreateCounter<long>("superserve.connections.refused", description: "Connections that were cut since their address had too many, by port (webhook, delivery, audit, audit_api).");
        _auditRequests = _meter.CreateCounter<long>("superserve.audit_api.requests", description: "Requests to the API of the audit log, by resource (none for discovery and what was refused before) and HTTP status.");
    }

    /// <summary>An admission request was answered.</summary>
    public void Admitted(string webhook, string outcome, TimeSpan duration)
    {
        _admissions.Add(1, new("webhook", webhook), new KeyValuePair<string, object?>("outcome", outcome));
        _admissionTime.Record(duration.TotalSeconds, new KeyValuePair<string, object?>("webhook", webhook));
    }

    /// <summary>A connection was cut: its address has as many as it may have.</summary>
    public void ConnectionRefused(TlsPort port) =>
        _connectionsRefused.Add(1, new KeyValuePair<string, object?>("port", port switch { TlsPort.Webhook => "webhook", TlsPort.Delivery => "delivery", TlsPort.Audit => "audit", _ => "audit_api" }));

    /// <summary>A request to the audit log's API was answered.</summary>
    public void AuditAsked(string resource, int status) =>
        _auditRequests.Add(1, new("resource", resource), new KeyValuePair<string, object?>("status", status));

    /// <inheritdoc />
    public void Dispose() => _meter.Dispose();
}
