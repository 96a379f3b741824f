using System.Diagnostics.Metrics;
using Superserve.Protocol.Audit;
using Superserve.Sidecar.Delivery;
using Superserve.Sidecar.Metrics;

namespace Superserve.Sidecar.Events;

/// <summary>What is counted of events on their way to the audit service.</summary>
internal sealed class AuditMetrics
{
    private readonly Meter _meter;
    private readonly TimeProvider _time;
    private readonly Counter<long> _sent;
    private readonly Counter<long> _failed;
    private volatile string? _failing;

    /// <summary>Registers the instruments.</summary>
    public AuditMetrics(IMeterFactory meters, TimeProvider time)
    {
        _time = time;
        _meter = meters.Create(SidecarMetrics.MeterName);
        _sent = _meter.CreateCounter<long>("superserve.sidecar.audit.events.sent", description: "Events that the audit service has stored, by log.");
        _failed = _meter.CreateCounter<long>("superserve.sidecar.audit.batches.failed", description: "Batches that were not acknowledged and are sent again, by log and reason.");
        _meter.CreateObservableGauge("superserve.sidecar.audit.failing", () => _failing is { } reason ? [new(1, new KeyValuePair<string, object?>("reason", reason))] : Array.Empty<Measurement<int>>(),
            description: "1 while events cannot be sent, with the last reason.");
        foreach (Log log in (Log[])[Log.Requests, Log.Network]) _sent.Add(0, Label(log));
    }

    public static string NameOf(Log log) => log == Log.Requests ? "requests" : "network";

    /// <summary>Shows what is in the journals.</summary>
    public void Observe(AuditLog log)
    {
        (Log Log, Journal Journal)[] journals = [(Log.Requests, log.Requests), (Log.Network, log.Network)];
        _meter.CreateObservableCounter("superserve.sidecar.audit.events.recorded", () => journals.Select(each => new Measurement<long>((long)each.Journal.Counts.Recorded, Label(each.Log))),
            description: "Events that were written to the journal, by log.");
        _meter.CreateObservableGauge("superserve.sidecar.audit.journal.used", () => journals.Select(each => new Measurement<long>(each.Journal.State.Used, Label(each.Log))), "By",
            "Events that are not acknowledged, by log.");
        _meter.CreateObservableGauge("superserve.sidecar.audit.journal.age", () => journals.Select(each => new Measurement<double>(Age(each.Journal).TotalSeconds, Label(each.Log))), "s",
            "How long the oldest event that is not acknowledged has waited, by log; 0 where there is none.");
    }

    public void Sent(Log log, int records)
    {
        _failing = null;
        _sent.Add(records, Label(log));
    }

    public void Failed(Log log, StreamEnd end)
    {
        _failing = end.Label;
        _failed.Add(1, Label(log), new KeyValuePair<string, object?>("reason", end.Label));
    }

    private TimeSpan Age(Journal journal) => journal.State.Since is { } since && _time.GetUtcNow() - since is { Ticks: > 0 } age ? age : TimeSpan.Zero;

    private static KeyValuePair<string, object?> Label(Log log) => new("log", NameOf(log));
}
