using System.Security.Cryptography;
using System.Threading.Channels;
using k8s;
using k8s.Models;
using Microsoft.Extensions.Logging;
using Superserve.Kubernetes.Api;

namespace Superserve.Kubernetes.Writing;

/// <summary>
/// Tells a user about an object with Events. Repeats become a count on the first one, written at most once a minute; one object
/// gets no more than a few different notes for one reason; and what cannot be sent in time is dropped and counted.
/// </summary>
public sealed partial class EventRecorder
{
    private const int MaxTopics = 1024;
    private const int MaxNotesPerTopic = 10;
    private const int MaxNote = 1024;
    private const int QueueLength = 1024;

    private static readonly ResourceKind Kind = ResourceKind.Of<Eventsv1Event>();
    private static readonly TimeSpan NotePeriod = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan CountPeriod = TimeSpan.FromMinutes(1);

    private readonly KubernetesConnection _connection;
    private readonly string _controller;
    private readonly string _instance;
    private readonly KubernetesMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Lock _gate = new();
    private readonly Dictionary<(string Uid, string Reason), Topic> _topics = [];
    private readonly Channel<Series> _unsent = Channel.CreateBounded<Series>(QueueLength);

    /// <summary>Reports as <paramref name="controller"/>, such as <c>superserve.ai/operator</c>, in its replica <paramref name="instance"/>.</summary>
    public EventRecorder(
        KubernetesConnection connection,
        string controller,
        string instance,
        KubernetesMetrics metrics,
        TimeProvider time,
        ILogger<EventRecorder> logger)
    {
        _connection = connection;
        _controller = controller;
        _instance = instance;
        _metrics = metrics;
        _time = time;
        _logger = logger;
    }

    /// <summary>Something normal happened: <paramref name="action"/> is what was done, <paramref name="reason"/> why, both in CamelCase.</summary>
    public void Normal(IKubernetesObject<V1ObjectMeta> about, string reason, string action, string note) =>
        Record(about, "Normal", reason, action, note);

    /// <summary>Something happened that someone should look at.</summary>
    public void Warning(IKubernetesObject<V1ObjectMeta> about, string reason, string action, string note) =>
        Record(about, "Warning", reason, action, note);

    /// <summary>Sends what is recorded, until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        await foreach (Series series in _unsent.Reader.ReadAllAsync(cancellationToken))
        {
            try
            {
                await SendAsync(series, cancellationToken);
                _metrics.EventRecorded("sent");
            }
            catch (Exception exception) when (!cancellationToken.IsCancellationRequested)
            {
                // An Event is a courtesy: its loss must cost no more than a line in the log.
                _metrics.EventRecorded("failed");
                LogFailed(series.Event.Reason, exception.Message);
            }
        }
    }

    private void Record(IKubernetesObject<V1ObjectMeta> about, string type, string reason, string action, string note)
    {
        if (note.Length > MaxNote) note = note[..(MaxNote - 1)] + "…";
        lock (_gate)
        {
            long now = _time.GetTimestamp();
            Topic topic = TopicOf((about.Metadata.Uid ?? "", reason), now);
            if (topic.Notes.TryGetValue(note, out Series? series) && series.Event.Type == type)
            {
                series.Count++;
                series.LastSeen = _time.GetUtcNow();
                if (series.IsQueued || _time.GetElapsedTime(series.Queued) < CountPeriod) return;
            }
            else
            {
                if (topic.Notes.Count >= MaxNotesPerTopic)
                {
                    _metrics.EventRecorded("dropped");
                    return;
                }

                topic.Notes[note] = series = new Series(NewEvent(about, type, reason, action, note), _time.GetUtcNow());
            }

            series.Queued = now;
            series.IsQueued = _unsent.Writer.TryWrite(series);
            if (!series.IsQueued) _metrics.EventRecorded("dropped");
        }
    }

    /// <summary>One object's one reason. Now and then it forgets the notes that came no more; of too many topics the oldest goes.</summary>
    private Topic TopicOf((string Uid, string Reason) key, long now)
    {
        if (_topics.TryGetValue(key, out Topic? topic) && _time.GetElapsedTime(topic.Begun, now) < NotePeriod) return topic;
        if (topic is null && _topics.Count >= MaxTopics) _topics.Remove(_topics.MinBy(other => other.Value.Begun).Key);
        Topic next = new(now);
        foreach ((string note, Series series) in topic?.Notes ?? [])
            if (_time.GetElapsedTime(series.Queued, now) < NotePeriod) next.Notes[note] = series;
        return _topics[key] = next;
    }

    private Eventsv1Event NewEvent(IKubernetesObject<V1ObjectMeta> about, string type, string reason, string action, string note) => new()
    {
        ApiVersion = Kind.ApiVersion,
        Kind = Kind.Kind,
        Metadata = new V1ObjectMeta
        {
            // The object's name, as every client does, and enough chance that no two replicas meet.
            Name = $"{about.Metadata.Name}.{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8))}",
            NamespaceProperty = about.Metadata.NamespaceProperty ?? "default",
        },
        EventTime = MicroTime.Of(_time.GetUtcNow()),
        ReportingController = _controller,
        ReportingInstance = _instance,
        Type = type,
        Reason = reason,
        Action = action,
        Note = note,
        Regarding = new V1ObjectReference
        {
            ApiVersion = about.ApiVersion,
            Kind = about.Kind,
            Name = about.Metadata.Name,
            NamespaceProperty = about.Metadata.NamespaceProperty,
            Uid = about.Metadata.Uid,
            ResourceVersion = about.Metadata.ResourceVersion,
        },
    };

    private async Task SendAsync(Series series, CancellationToken cancellationToken)
    {
        Eventsv1Event value = series.Event;
        ObjectKey key = ObjectKey.Of(value);
        lock (_gate)
        {
            series.IsQueued = false;
            if (series.Count > 1) value.Series = new Eventsv1EventSeries { Count = series.Count, LastObservedTime = MicroTime.Of(series.LastSeen) };
        }

        if (series.IsCreated)
        {
            try
            {
                await _connection.SendAsync<Eventsv1Event>(
                    HttpMethod.Patch, Kind.ObjectPath(key), new { series = value.Series }, "application/merge-patch+json", cancellationToken);
                return;
            }
            catch (ApiException exception) when (exception.IsNotFound)
            {
                // Events live for an hour: this one is made again, with its count.
            }
        }

        await _connection.SendAsync<Eventsv1Event>(HttpMethod.Post, Kind.CollectionPath(key.Namespace), value, cancellationToken: cancellationToken);
        series.IsCreated = true;
    }

    [LoggerMessage(130, LogLevel.Debug, "An Event ({Reason}) was not sent: {Error}")]
    private partial void LogFailed(string reason, string error);

    private sealed class Topic(long begun)
    {
        public long Begun { get; } = begun;

        public Dictionary<string, Series> Notes { get; } = new(StringComparer.Ordinal);
    }

    private sealed class Series(Eventsv1Event value, DateTimeOffset seen)
    {
        public Eventsv1Event Event { get; } = value;

        public int Count { get; set; } = 1;

        public DateTimeOffset LastSeen { get; set; } = seen;

        public long Queued { get; set; }

        public bool IsQueued { get; set; }

        public bool IsCreated { get; set; }
    }
}
