using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Superserve.Operator.Metrics;

namespace Superserve.Operator.Tests.Admission;

/// <summary>What the operator's metrics counted, as "webhook outcome".</summary>
internal sealed class AdmissionCounts : IMeterFactory
{
    private readonly MeterListener _listener = new();
    private readonly ConcurrentDictionary<string, long> _sums = new();
    private Meter? _meter;

    public AdmissionCounts()
    {
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter == _meter) listener.EnableMeasurementEvents(instrument);
        };
        _listener.SetMeasurementEventCallback<long>((_, value, labels, _) =>
            _sums.AddOrUpdate(string.Join(' ', labels.ToArray().Select(label => label.Value)), value, (_, sum) => sum + value));
        _listener.Start();
        Metrics = new OperatorMetrics(this);
    }

    public OperatorMetrics Metrics { get; }

    public IReadOnlyDictionary<string, long> All => _sums;

    public Meter Create(MeterOptions options) => _meter = new Meter(options);

    public void Dispose() => _listener.Dispose();
}
