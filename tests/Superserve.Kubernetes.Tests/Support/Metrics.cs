using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace Superserve.Kubernetes.Tests.Support;

/// <summary>Metrics, and what was counted in them, as lines "instrument label=value …".</summary>
internal sealed class Metrics : IMeterFactory
{
    private readonly MeterListener _listener = new();
    private readonly ConcurrentDictionary<string, double> _sums = new();
    private Meter? _meter;

    public Metrics()
    {
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter == _meter) listener.EnableMeasurementEvents(instrument);
        };
        _listener.SetMeasurementEventCallback<long>((instrument, value, labels, _) => Count(instrument, value, labels));
        _listener.SetMeasurementEventCallback<double>((instrument, _, labels, _) => Count(instrument, 1, labels));
        _listener.Start();
        Kubernetes = new KubernetesMetrics(this);
    }

    public KubernetesMetrics Kubernetes { get; }

    public double this[string line] => _sums.GetValueOrDefault(line);

    public Meter Create(MeterOptions options) => _meter = new Meter(options);

    public void Dispose() => _listener.Dispose();

    private void Count(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> labels)
    {
        string line = instrument.Name;
        foreach ((string name, object? label) in labels) line += $" {name}={label}";
        _sums.AddOrUpdate(line, value, (_, sum) => sum + value);
    }
}
