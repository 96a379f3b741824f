using System.Diagnostics.Metrics;

namespace Superserve.Operator.Metrics;

/// <summary>What delivery counts. Labels are reasons, never names of objects.</summary>
public sealed class DeliveryMetrics
{
    private static readonly InstrumentAdvice<double> PropagationBuckets =
        new() { HistogramBucketBoundaries = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] };

    private readonly UpDownCounter<long> _connected;
    private readonly Histogram<double> _propagation;
    private readonly Counter<long> _snapshots;
    private readonly Counter<long> _rejected;
    private readonly Counter<long> _refused;
    private readonly Counter<long> _closed;

    /// <summary>Registers the instruments.</summary>
    public DeliveryMetrics(IMeterFactory meters)
    {
        Meter meter = meters.Create(OperatorMetrics.MeterName);
        _connected = meter.CreateUpDownCounter<long>("superserve.delivery.connected", description: "Sidecars that have a stream to this replica.");
        _propagation = meter.CreateHistogram("superserve.delivery.propagation", "s", "From a change as this replica saw it to the sidecar's acknowledgement.", advice: PropagationBuckets);
        _snapshots = meter.CreateCounter<long>("superserve.delivery.snapshots", description: "Snapshots that were sent.");
        _rejected = meter.CreateCounter<long>("superserve.delivery.snapshots.rejected", description: "Snapshots that a sidecar could not take.");
        _refused = meter.CreateCounter<long>("superserve.delivery.refused", description: "Streams that were not opened, by reason.");
        _closed = meter.CreateCounter<long>("superserve.delivery.closed", description: "Streams that ended, by reason.");
    }

    internal void Opened() => _connected.Add(1);

    internal void Closed(string reason)
    {
        _connected.Add(-1);
        _closed.Add(1, new KeyValuePair<string, object?>("reason", reason));
    }

    internal void Refused(string reason) => _refused.Add(1, new KeyValuePair<string, object?>("reason", reason));

    internal void Sent() => _snapshots.Add(1);

    internal void Rejected() => _rejected.Add(1);

    internal void Propagated(TimeSpan time) => _propagation.Record(time.TotalSeconds);
}
