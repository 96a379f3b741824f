using System.Threading.Channels;

namespace Superserve.Kubernetes.Queueing;

/// <summary>
/// Keys that want work. A key is in here once however often it is added; it is never with two workers at once; and one that is
/// added while a worker has it comes again when the worker is done.
/// </summary>
public sealed class WorkQueue<TKey> : IDisposable
    where TKey : notnull
{
    /// <summary>A timer takes no more than 49 days; who asked for longer is woken early, which does no harm.</summary>
    private static readonly TimeSpan MaxDelay = TimeSpan.FromDays(1);

    private readonly Lock _gate = new();
    private readonly Channel<TKey> _ready = Channel.CreateUnbounded<TKey>();
    private readonly Dictionary<TKey, long> _dirty = [];
    private readonly Dictionary<TKey, long> _processing = [];
    private readonly Dictionary<TKey, int> _failures = [];
    private readonly Dictionary<TKey, Delayed> _delayed = [];
    private readonly Backoff _backoff;
    private readonly KubernetesMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly long _epoch;
    private bool _closed;

    /// <summary>Makes an empty queue; without <paramref name="backoff"/> failures wait from 5 ms to 5 minutes.</summary>
    public WorkQueue(string name, KubernetesMetrics metrics, TimeProvider time, Backoff? backoff = null)
    {
        Name = name;
        _metrics = metrics;
        _time = time;
        _epoch = time.GetTimestamp();
        _backoff = backoff ?? new Backoff(TimeSpan.FromMilliseconds(10), TimeSpan.FromMinutes(5));
        metrics.ObserveQueue(name, LongestRunning);
    }

    /// <summary>Its name in metrics.</summary>
    public string Name { get; }

    /// <summary>Adds a key, now.</summary>
    public void Add(TKey key)
    {
        lock (_gate)
        {
            if (_closed || !_dirty.TryAdd(key, _time.GetTimestamp())) return;
            _metrics.Added(Name);
            if (!_processing.ContainsKey(key)) MakeReady(key);
        }
    }

    /// <summary>Adds a key later. Of several delays of one key the earliest counts.</summary>
    public void AddAfter(TKey key, TimeSpan delay)
    {
        if (delay <= TimeSpan.Zero)
        {
            Add(key);
            return;
        }

        if (delay > MaxDelay) delay = MaxDelay;
        lock (_gate)
        {
            if (_closed) return;
            TimeSpan due = _time.GetElapsedTime(_epoch) + delay;
            if (_delayed.TryGetValue(key, out Delayed? known))
            {
                if (known.Due <= due) return;
                known.Timer!.Dispose();
            }

            Delayed delayed = new(due);
            _delayed[key] = delayed;
            delayed.Timer = _time.CreateTimer(_ => Ripen(key, delayed), null, delay, Timeout.InfiniteTimeSpan);
        }
    }

    /// <summary>Adds a key whose work failed, later the more often it has.</summary>
    public void AddAfterFailure(TKey key)
    {
        int failures;
        lock (_gate) _failures[key] = failures = _failures.GetValueOrDefault(key) + 1;
        _metrics.Retried(Name);
        AddAfter(key, _backoff.After(failures));
    }

    /// <summary>The key's work succeeded: its next failure is its first.</summary>
    public void Forget(TKey key)
    {
        lock (_gate) _failures.Remove(key);
    }

    /// <summary>Waits for a key, which is the caller's until <see cref="Done"/>. Not taken: the queue is closed and empty.</summary>
    public async Task<(bool Taken, TKey Key)> TakeAsync(CancellationToken cancellationToken)
    {
        while (await _ready.Reader.WaitToReadAsync(cancellationToken))
        {
            cancellationToken.ThrowIfCancellationRequested();
            lock (_gate)
            {
                if (!_ready.Reader.TryRead(out TKey? key)) continue;
                _dirty.Remove(key, out long added);
                _processing[key] = _time.GetTimestamp();
                _metrics.DepthChanged(Name, -1);
                _metrics.Taken(Name, _time.GetElapsedTime(added));
                return (true, key);
            }
        }

        return (false, default!);
    }

    /// <summary>The caller's work on the key has ended, well or not.</summary>
    public void Done(TKey key)
    {
        lock (_gate)
        {
            if (!_processing.Remove(key, out long since)) return;
            _metrics.Worked(Name, _time.GetElapsedTime(since));
            if (!_dirty.ContainsKey(key)) return;
            if (_closed) _dirty.Remove(key);
            else MakeReady(key);
        }
    }

    /// <summary>Takes no more keys, and forgets the delayed ones. What waits is still handed out.</summary>
    public void Close()
    {
        lock (_gate)
        {
            _closed = true;
            foreach (Delayed delayed in _delayed.Values) delayed.Timer!.Dispose();
            _delayed.Clear();
            _ready.Writer.TryComplete();
        }
    }

    /// <inheritdoc />
    public void Dispose() => Close();

    private void MakeReady(TKey key)
    {
        _ready.Writer.TryWrite(key);
        _metrics.DepthChanged(Name, 1);
    }

    private void Ripen(TKey key, Delayed delayed)
    {
        lock (_gate)
        {
            // An earlier delay may have taken this one's place while its timer was about to fire.
            if (_delayed.GetValueOrDefault(key) != delayed) return;
            _delayed.Remove(key);
            delayed.Timer?.Dispose();
        }

        Add(key);
    }

    private double LongestRunning()
    {
        lock (_gate) return _processing.Count == 0 ? 0 : _time.GetElapsedTime(_processing.Values.Min()).TotalSeconds;
    }

    private sealed class Delayed(TimeSpan due)
    {
        public TimeSpan Due { get; } = due;

        public ITimer? Timer { get; set; }
    }
}
