using System.Diagnostics.Metrics;
using OpenTelemetry.Metrics;
using Superserve.Core.Events;
using Superserve.Core.Snapshots;
using Superserve.Core.Swapping;

namespace Superserve.Sidecar.Metrics;

/// <summary>Why an event is lost, as a metric's label.</summary>
internal static class DropReason
{
    public const string Full = "full";
    public const string Unwritten = "unwritten";
    public const string Refused = "refused";
}

/// <summary>
/// What the sidecar counts. Labels take their values from the snapshot and from enumerations, never from what a sandbox sends,
/// so that it cannot make series without end.
/// </summary>
internal sealed class SidecarMetrics : IDisposable
{
    /// <summary>The meter's name.</summary>
    public const string MeterName = "Superserve.Sidecar";

    private const string SwapsName = "superserve.sidecar.swaps";

    /// <summary>Room for all series that an instrument can have is taken at once; only one has more than a few.</summary>
    private const int MostSeries = 64;

    private readonly Meter _meter;
    private readonly TimeProvider _time;
    private readonly Counter<long> _swaps;
    private readonly Counter<long> _requests;
    private readonly Histogram<double> _duration;
    private readonly Histogram<double> _added;
    private readonly Counter<long> _connections;
    private readonly Counter<long> _bytes;
    private readonly UpDownCounter<long> _open;
    private readonly Counter<long> _minted;
    private readonly Counter<long> _dropped;
    private readonly Counter<long> _scrubbed;
    private readonly Counter<long> _packets;
    private readonly Counter<long> _rejected;
    private readonly Counter<long> _queries;
    private Snapshot? _snapshot;

    /// <summary>Registers the instruments.</summary>
    public SidecarMetrics(IMeterFactory meters, TimeProvider time)
    {
        _time = time;
        _meter = meters.Create(MeterName);
        _swaps = _meter.CreateCounter<long>(SwapsName, description: "Requests with a stand-in, by secret, host and outcome (swapped, or the refusal's reason).");
        _requests = _meter.CreateCounter<long>("superserve.sidecar.requests", description: "Inspected requests, by outcome (forwarded, or the refusal's reason).");
        _duration = _meter.CreateHistogram<double>("superserve.sidecar.request.duration", "s", "From a request's head to the end of its answer.",
            advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600] });
        _added = _meter.CreateHistogram<double>("superserve.sidecar.added.latency", "s", "What the sidecar itself adds ahead of the service's answer: judging the request and writing the answer's head.",
            advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25] });
        _connections = _meter.CreateCounter<long>("superserve.sidecar.connections", description: "Connections of the sandbox that ended, by kind and verdict.");
        _bytes = _meter.CreateCounter<long>("superserve.sidecar.connection.bytes", "By", "Bytes of the sandbox's connections, by direction (sent, received) and verdict.");
        _open = _meter.CreateUpDownCounter<long>("superserve.sidecar.connections.open", description: "Connections of the sandbox that are open.");
        _minted = _meter.CreateCounter<long>("superserve.sidecar.certificates.minted", description: "Certificates minted for intercepted hosts.");
        _dropped = _meter.CreateCounter<long>("superserve.sidecar.events.dropped", description: "Events that are lost, by kind and reason (full: there was no room, unwritten: the end came first, refused: the audit service takes it for invalid).");
        _packets = _meter.CreateCounter<long>("superserve.sidecar.packets.dropped", description: "Packets of the sandbox that were neither TCP nor DNS and were blocked, by protocol; a lower bound.");
        _scrubbed = _meter.CreateCounter<long>("superserve.sidecar.responses.scrubbed", description: "Answers in which a credential was replaced by its stand-in.");
        _rejected = _meter.CreateCounter<long>("superserve.sidecar.configurations.rejected", description: "Changed configurations that were not used because of a mistake in them.");
        _queries = _meter.CreateCounter<long>("superserve.dns.queries", description: "DNS queries of the sandbox, by verdict and response.");
        _meter.CreateObservableGauge("superserve.sidecar.snapshot.revision", () => _snapshot?.Revision ?? 0, description: "The snapshot in force.");
        _meter.CreateObservableGauge("superserve.sidecar.snapshot.age", () => _snapshot is { } snapshot ? (_time.GetUtcNow() - snapshot.CreatedAt).TotalSeconds : 0, "s", "How long the snapshot has been in force.");

        // A series that does not exist cannot be alerted on: all kinds of lost events count from zero.
        foreach (string kind in (string[])["request", "connection", "dns"]) Dropped(0, kind, DropReason.Full);
        _rejected.Add(0);
        _minted.Add(0);
        _scrubbed.Add(0);
    }

    /// <summary>How many series an instrument may have; null for as many as there are by default.</summary>
    public static MetricStreamConfiguration? Bound(Instrument instrument) =>
        instrument.Name == SwapsName ? null : new MetricStreamConfiguration { CardinalityLimit = MostSeries };

    public void SnapshotTaken(Snapshot snapshot) => Volatile.Write(ref _snapshot, snapshot);

    public void ConfigurationRejected() => _rejected.Add(1);

    public void CertificateMinted() => _minted.Add(1);

    public void EventDropped(string kind, string reason) => Dropped(1, kind, reason);

    /// <summary>Packets that the rules of the pod's network blocked; a lower bound.</summary>
    public void PacketsDropped(string protocol, long packets) => _packets.Add(packets, new KeyValuePair<string, object?>("protocol", protocol));

    public void ResponseScrubbed() => _scrubbed.Add(1);

    /// <summary>A secret's use in one request; <paramref name="refusal"/> null for a swap that was forwarded.</summary>
    public void Swapped(BoundSecret secret, string host, int port, RefusalReason? refusal) =>
        _swaps.Add(1,
            new KeyValuePair<string, object?>("secret", secret.Name),
            new KeyValuePair<string, object?>("host", secret.Definition.ForHost(host, port)?.Pattern.ToString() ?? "other"),
            new KeyValuePair<string, object?>("outcome", refusal?.WireName() ?? "swapped"));

    public void RequestEnded(RefusalReason? refusal, TimeSpan duration, TimeSpan? added)
    {
        KeyValuePair<string, object?> outcome = new("outcome", refusal?.WireName() ?? "forwarded");
        _requests.Add(1, outcome);
        _duration.Record(duration.TotalSeconds, outcome);
        if (added is { } latency) _added.Record(latency.TotalSeconds);
    }

    public void ConnectionOpened() => _open.Add(1);

    public void ConnectionClosed() => _open.Add(-1);

    public void ConnectionEnded(string kind, ConnectionVerdict verdict, long sent, long received)
    {
        KeyValuePair<string, object?> label = Label(verdict);
        _connections.Add(1, new KeyValuePair<string, object?>("kind", kind), label);
        _bytes.Add(sent, new KeyValuePair<string, object?>("direction", "sent"), label);
        _bytes.Add(received, new KeyValuePair<string, object?>("direction", "received"), label);
    }

    /// <summary>A DNS query was answered, with one of the codes that the sidecar gives.</summary>
    public void NameLookedUp(ConnectionVerdict verdict, string response) =>
        _queries.Add(1, Label(verdict), new KeyValuePair<string, object?>("response", response));

    private void Dropped(long count, string kind, string reason) => _dropped.Add(count, new KeyValuePair<string, object?>("kind", kind), new KeyValuePair<string, object?>("reason", reason));

    private static KeyValuePair<string, object?> Label(ConnectionVerdict verdict) => new("verdict", verdict switch
    {
        ConnectionVerdict.Allowed => "allowed",
        ConnectionVerdict.Blocked => "blocked",
        _ => "failed",
    });

    /// <inheritdoc />
    public void Dispose() => _meter.Dispose();
}
