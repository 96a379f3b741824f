using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;

namespace Superserve.Audit.Tests.Fixture;

/// <summary>Metrics of one test, and what was counted.</summary>
internal sealed class Meters : IDisposable
{
    private readonly ServiceProvider _services = new ServiceCollection().AddMetrics().BuildServiceProvider();
    private readonly MeterListener _listener = new();
    private readonly ConcurrentDictionary<string, long> _counts = [];

    public Meters()
    {
        Factory = _services.GetRequiredService<IMeterFactory>();
        Watch(_listener, Factory, _counts);
        Metrics = new AuditMetrics(Factory);
    }

    public IMeterFactory Factory { get; }

    public AuditMetrics Metrics { get; }

    /// <summary>What an instrument has counted; its name without <c>superserve.audit.</c>, then its labels' values.</summary>
    public long this[string name] => _counts.GetValueOrDefault(name);

    public IEnumerable<string> Names => _counts.Keys;

    public static void Watch(MeterListener listener, IMeterFactory factory, ConcurrentDictionary<string, long> counts)
    {
        listener.InstrumentPublished = (instrument, own) =>
        {
            if (instrument.Meter.Scope == factory && instrument.Meter.Name == AuditMetrics.MeterName) own.EnableMeasurementEvents(instrument);
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) =>
        {
            string name = instrument.Name["superserve.audit.".Length..];
            foreach (KeyValuePair<string, object?> tag in tags) name += $" {tag.Value}";
            if (instrument is Gauge<long>) counts[name] = value;
            else counts.AddOrUpdate(name, value, (_, before) => before + value);
        });
        listener.Start();
    }

    public void Dispose()
    {
        _listener.Dispose();
        _services.Dispose();
    }
}
