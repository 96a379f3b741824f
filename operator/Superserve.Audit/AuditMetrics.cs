using System.Diagnostics.Metrics;
using Superserve.Protocol.Audit;

namespace Superserve.Audit;

/// <summary>What the audit service counts. Labels come from enumerations, never from what was sent.</summary>
public sealed class AuditMetrics
{
    /// <summary>The meter's name.</summary>
    public const string MeterName = "Superserve.Audit";

    private static readonly InstrumentAdvice<double> WriteBuckets =
        new() { HistogramBucketBoundaries = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] };

    private readonly Counter<long> _stored;
    private readonly Counter<long> _duplicates;
    private readonly Counter<long> _overflowed;
    private readonly Counter<long> _corrected;
    private readonly Counter<long> _refused;
    private readonly Counter<long> _failedWrites;
    private readonly Counter<long> _deleted;
    private readonly Counter<long> _exportDropped;
    private readonly Histogram<double> _write;
    private readonly Histogram<double> _query;
    private readonly Gauge<long> _waiting;
    private readonly Gauge<long> _rows;
    private readonly Gauge<long> _bytes;

    /// <summary>Registers the instruments.</summary>
    public AuditMetrics(IMeterFactory meters)
    {
        Meter meter = meters.Create(MeterName);
        _stored = meter.CreateCounter<long>("superserve.audit.stored", description: "Events that were stored, by log.");
        _duplicates = meter.CreateCounter<long>("superserve.audit.duplicates", description: "Events that came again and were stored already, by log.");
        _overflowed = meter.CreateCounter<long>("superserve.audit.overflowed", description: "Events that sidecars had no room for and so never sent, by log.");
        _corrected = meter.CreateCounter<long>("superserve.audit.times.corrected", description: "Events whose time could not be right and became the time at which they came, by log.");
        _refused = meter.CreateCounter<long>("superserve.audit.refused", description: "Calls that were refused, by reason.");
        _failedWrites = meter.CreateCounter<long>("superserve.audit.writes.failed", description: "Write transactions that the database did not take; their batches were not acknowledged.");
        _deleted = meter.CreateCounter<long>("superserve.audit.deleted", description: "Events that were deleted, by log and cause (age, size).");
        _exportDropped = meter.CreateCounter<long>("superserve.audit.export.dropped", description: "Stored events that were not passed on, by exporter (stdout, otlp).");
        _write = meter.CreateHistogram("superserve.audit.write.duration", "s", "How long a write transaction takes.", advice: WriteBuckets);
        _query = meter.CreateHistogram("superserve.audit.query.duration", "s", "How long a question takes.", advice: WriteBuckets);
        _waiting = meter.CreateGauge<long>("superserve.audit.waiting", description: "Batches that wait to be stored.");
        _rows = meter.CreateGauge<long>("superserve.audit.rows", description: "Events in the store, by log; of PostgreSQL roughly.");
        _bytes = meter.CreateGauge<long>("superserve.audit.bytes", "By", "Bytes that the store has in use; of PostgreSQL an estimate.");
    }

    internal void Stored(Log log, int events, int duplicates, long overflowed, int corrected)
    {
        KeyValuePair<string, object?> of = Of(log);
        if (events > 0) _stored.Add(events, of);
        if (duplicates > 0) _duplicates.Add(duplicates, of);
        if (overflowed > 0) _overflowed.Add(overflowed, of);
        if (corrected > 0) _corrected.Add(corrected, of);
    }

    internal void Refused(string reason) => _refused.Add(1, new KeyValuePair<string, object?>("reason", reason));

    internal void Written(TimeSpan time) => _write.Record(time.TotalSeconds);

    internal void WriteFailed() => _failedWrites.Add(1);

    internal void Asked(TimeSpan time) => _query.Record(time.TotalSeconds);

    internal void Waiting(int batches) => _waiting.Record(batches);

    internal void Deleted(Log log, string cause, int events) => _deleted.Add(events, Of(log), new KeyValuePair<string, object?>("cause", cause));

    internal void ExportDropped(string exporter, long events) => _exportDropped.Add(events, new KeyValuePair<string, object?>("exporter", exporter));

    internal void Size(Log log, long rows) => _rows.Record(rows, Of(log));

    internal void Size(long bytes) => _bytes.Record(bytes);

    private static KeyValuePair<string, object?> Of(Log log) => new("log", log == Log.Requests ? "requests" : "network");
}
