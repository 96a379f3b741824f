using System.Diagnostics.Metrics;
using Superserve.Sidecar.Metrics;

namespace Superserve.Sidecar.Delivery;

/// <summary>What is counted of the stream to the operator.</summary>
internal sealed class DeliveryMetrics
{
    private readonly Counter<long> _ended;
    private readonly Counter<long> _rejected;
    private readonly Meter _meter;
    private volatile bool _isConnected;

    /// <summary>Registers the instruments.</summary>
    public DeliveryMetrics(IMeterFactory meters)
    {
        _meter = meters.Create(SidecarMetrics.MeterName);
        _meter.CreateObservableGauge("superserve.sidecar.operator.connected", () => _isConnected ? 1 : 0, description: "Whether the operator is connected and has been heard on this stream.");
        _ended = _meter.CreateCounter<long>("superserve.sidecar.operator.streams.ended", description: "Streams to the operator that ended or could not be opened, each followed by a reconnect, by reason.");
        _rejected = _meter.CreateCounter<long>("superserve.sidecar.snapshots.rejected", description: "Snapshots of the operator that could not be used; the one before stayed in force.");
        _rejected.Add(0);
    }

    public void Connected() => _isConnected = true;

    public void Ended(StreamEnd end)
    {
        _isConnected = false;
        _ended.Add(1, new KeyValuePair<string, object?>("reason", end.Label));
    }

    public void SnapshotRejected() => _rejected.Add(1);

    /// <summary>Shows how old the snapshot may be.</summary>
    public void ObserveSilence(Func<TimeSpan> silence) =>
        _meter.CreateObservableGauge("superserve.sidecar.operator.silence", () => silence().TotalSeconds, "s", "How long ago the operator last confirmed the snapshot in force, or since the start.");
}
