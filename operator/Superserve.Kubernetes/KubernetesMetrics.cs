using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace Superserve.Kubernetes;

/// <summary>
/// What the runtime counts, under the names that dashboards for controllers already know (a Prometheus exporter writes
/// <c>workqueue.depth</c> as <c>workqueue_depth</c>). Labels are names of controllers, queues and kinds, never of objects.
/// </summary>
public sealed class KubernetesMetrics : IDisposable
{
    /// <summary>The meter's name.</summary>
    public const string MeterName = "Superserve.Kubernetes";

    private static readonly InstrumentAdvice<double> Buckets =
        new() { HistogramBucketBoundaries = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900] };

    private readonly Meter _meter;
    private readonly Counter<long> _reconciles;
    private readonly Histogram<double> _reconcileTime;
    private readonly Counter<long> _adds;
    private readonly Counter<long> _retries;
    private readonly UpDownCounter<long> _depth;
    private readonly Histogram<double> _queueTime;
    private readonly Histogram<double> _workTime;
    private readonly Counter<long> _watchRestarts;
    private readonly Counter<long> _unreadable;
    private readonly Counter<long> _events;
    private readonly ConcurrentDictionary<string, Func<double>> _longestRunning = new();
    private readonly ConcurrentDictionary<string, Func<bool>> _leading = new();

    /// <summary>Registers the instruments.</summary>
    public KubernetesMetrics(IMeterFactory meters)
    {
        _meter = meters.Create(MeterName);
        _reconciles = _meter.CreateCounter<long>("controller_runtime.reconcile", description: "Reconciliations, by controller and result (success, requeue_after, error, cancelled).");
        _reconcileTime = _meter.CreateHistogram("controller_runtime.reconcile.time", "s", "How long one reconciliation takes, by controller.", advice: Buckets);
        _depth = _meter.CreateUpDownCounter<long>("workqueue.depth", description: "Keys that wait for a worker, by queue.");
        _adds = _meter.CreateCounter<long>("workqueue.adds", description: "Keys added, by queue.");
        _retries = _meter.CreateCounter<long>("workqueue.retries", description: "Keys added again after a failure, by queue.");
        _queueTime = _meter.CreateHistogram("workqueue.queue.duration", "s", "How long a key waits for a worker, by queue.", advice: Buckets);
        _workTime = _meter.CreateHistogram("workqueue.work.duration", "s", "How long a worker holds a key, by queue.", advice: Buckets);
        _watchRestarts = _meter.CreateCounter<long>("informer.watch.restarts", description: "Watches that ended, by kind and reason (closed, truncated, deadline, expired, unreadable, error).");
        _unreadable = _meter.CreateCounter<long>("informer.objects.unreadable", description: "Objects skipped because they could not be read, by kind.");
        _events = _meter.CreateCounter<long>("events.recorded", description: "Events, by outcome (sent, failed, dropped).");
        _meter.CreateObservableGauge("workqueue.longest.running.processor", Longest, "s", "How long the slowest worker has held its key, by queue.");
        _meter.CreateObservableGauge("leader_election.master.status", Leading, description: "1 while this process holds the lease, by lease.");
    }

    internal void Reconciled(string controller, string result, TimeSpan duration)
    {
        _reconciles.Add(1, Label("controller", controller), Label("result", result));
        _reconcileTime.Record(duration.TotalSeconds, Label("controller", controller));
    }

    internal void Added(string queue) => _adds.Add(1, Label("name", queue));

    internal void Retried(string queue) => _retries.Add(1, Label("name", queue));

    internal void DepthChanged(string queue, int by) => _depth.Add(by, Label("name", queue));

    internal void Taken(string queue, TimeSpan waited) => _queueTime.Record(waited.TotalSeconds, Label("name", queue));

    internal void Worked(string queue, TimeSpan duration) => _workTime.Record(duration.TotalSeconds, Label("name", queue));

    internal void WatchEnded(string kind, string reason) => _watchRestarts.Add(1, Label("kind", kind), Label("reason", reason));

    internal void ObjectUnreadable(string kind) => _unreadable.Add(1, Label("kind", kind));

    internal void EventRecorded(string outcome) => _events.Add(1, Label("outcome", outcome));

    internal void ObserveQueue(string queue, Func<double> longestRunning) => _longestRunning[queue] = longestRunning;

    internal void ObserveLeader(string lease, Func<bool> isLeader) => _leading[lease] = isLeader;

    /// <inheritdoc />
    public void Dispose() => _meter.Dispose();

    private IEnumerable<Measurement<double>> Longest() =>
        _longestRunning.Select(queue => new Measurement<double>(queue.Value(), Label("name", queue.Key)));

    private IEnumerable<Measurement<int>> Leading() =>
        _leading.Select(lease => new Measurement<int>(lease.Value() ? 1 : 0, Label("name", lease.Key)));

    private static KeyValuePair<string, object?> Label(string name, string value) => new(name, value);
}
