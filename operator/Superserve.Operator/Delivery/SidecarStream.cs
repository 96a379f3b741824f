using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Superserve.Kubernetes;
using Superserve.Operator.Metrics;
using Superserve.Protocol;

namespace Superserve.Operator.Delivery;

/// <summary>
/// One open stream. What goes out waits in it: of snapshots only the newest, so that a sidecar that does not read costs no more
/// memory than one that does. It ends once, with the first reason that comes.
/// </summary>
internal sealed partial class SidecarStream : IDisposable
{
    private const int MaxUnacknowledged = 16;

    private static readonly TimeSpan RenewalRetry = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan LastWord = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan MaxTimer = TimeSpan.FromDays(1);

    private readonly DeliveryLimits _limits;
    private readonly TokenReviewer _reviewer;
    private readonly PodVetting _vetting;
    private readonly DeliveryMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly InboundBudget _budget;
    private readonly CancellationTokenSource _ended = new();
    private readonly SemaphoreSlim _signal = new(0, 1);
    private readonly Lock _gate = new();
    private readonly Queue<(long Revision, long? Since)> _unacknowledged = [];
    private Ending? _ending;
    private Snapshot? _snapshot;
    private string? _trust;
    private Goodbye? _goodbye;
    private bool _isHeartbeatDue;
    private SnapshotParts? _sent;
    private long? _changed;
    private long? _since;
    private long _revision;
    private DateTimeOffset _until;
    private ITimer? _lifetime;

    /// <summary>A stream of a vetted sandbox that has said Hello.</summary>
    public SidecarStream(
        SandboxFacts sandbox, ProvenPod proven, Hello hello, DeliveryLimits limits, TokenReviewer reviewer, PodVetting vetting, DeliveryMetrics metrics, TimeProvider time, ILogger logger)
    {
        Sandbox = sandbox;
        Capture = hello.Capture;
        Version = hello.Version;
        _until = proven.Until;
        _limits = limits;
        _reviewer = reviewer;
        _vetting = vetting;
        _metrics = metrics;
        _time = time;
        _logger = logger;
        _budget = new InboundBudget(limits, time);
        Opened = time.GetTimestamp();
    }

    /// <summary>The pod as it was when the stream was opened.</summary>
    public SandboxFacts Sandbox { get; }

    /// <summary>How the sandbox's connections come to the sidecar.</summary>
    public string Capture { get; }

    /// <summary>The sidecar's version.</summary>
    public string Version { get; }

    /// <summary>When it was opened.</summary>
    public long Opened { get; }

    /// <summary>The Superserve Secrets that its snapshot depends on; the registry's.</summary>
    public IReadOnlySet<string> SecretNames { get; set; } = new HashSet<string>();

    /// <summary>Since when its snapshot waits for a credential to be read; the registry's.</summary>
    public long? PendingSince { get; set; }

    /// <summary>What the sidecar last said of a snapshot; null while it said nothing.</summary>
    public bool? TookSnapshot { get; private set; }

    /// <summary>Why it ended; null while it has not.</summary>
    public Ending? Ended => _ending;

    /// <summary>Whether the last message was cut short: the rest of the call is not worth waiting for.</summary>
    public bool IsCut { get; private set; }

    /// <summary>Called when <see cref="TookSnapshot"/> changed.</summary>
    public Action<SidecarStream>? Acknowledged { get; set; }

    /// <summary>Something changed that may change the snapshot: from now on the time counts.</summary>
    public void MarkChanged()
    {
        lock (_gate) _changed ??= _time.GetTimestamp();
    }

    /// <summary>Whether a snapshot would bring anything new, beside the secrets of some stand-ins. The first one brings nothing but them.</summary>
    public bool Lacks(Snapshot snapshot, IReadOnlyCollection<string> except) => _sent?.IsLike(new SnapshotParts(snapshot), except) == false;

    /// <summary>Sends a snapshot, unless it is like the one before.</summary>
    public void Post(Snapshot snapshot)
    {
        SnapshotParts parts = new(snapshot);
        lock (_gate)
        {
            long? since = _changed;
            _changed = null;
            if (_sent?.IsLike(parts, []) == true) return;
            _sent = parts;
            _snapshot = snapshot;
            _since ??= since;
        }

        Signal();
    }

    /// <summary>Sends what the sidecar may trust the operator by.</summary>
    public void PostTrust(string authorities)
    {
        lock (_gate) _trust = authorities;
        Signal();
    }

    /// <summary>Asks the sidecar to go elsewhere.</summary>
    public void PostGoodbye(TimeSpan delay)
    {
        lock (_gate) _goodbye = new Goodbye { DelayMilliseconds = (uint)delay.TotalMilliseconds };
        Signal();
    }

    /// <summary>Ends it. Whoever is first says why.</summary>
    public void End(Ending ending)
    {
        if (Interlocked.CompareExchange(ref _ending, ending, null) is null) _ = _ended.CancelAsync();
    }

    /// <summary>Looks at the pod once more, and ends where it may have nothing any more; false where the API server could not be asked.</summary>
    public async Task<bool> VetAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _vetting.VetAsync(new ProvenPod(Sandbox.Pod, Sandbox.Uid, _until), cancellationToken);
            return true;
        }
        catch (EndingException exception) when (exception.Ending.Status == StatusCode.Unavailable)
        {
            return false;
        }
        catch (EndingException exception)
        {
            End(exception.Ending);
            return true;
        }
    }

    /// <summary>Serves it to its end.</summary>
    public async Task<Ending> RunAsync(IAsyncStreamReader<SidecarMessage> reader, IServerStreamWriter<OperatorMessage> writer, CancellationToken left)
    {
        using CancellationTokenRegistration gone = left.UnsafeRegister(_ => End(Ending.SidecarLeft), null);
        using ITimer heartbeat = _time.CreateTimer(_ => Beat(), null, _limits.Heartbeat, _limits.Heartbeat);
        using ITimer lifetime = _time.CreateTimer(_ => CheckLifetime(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _lifetime = lifetime;
        CheckLifetime();
        await Task.WhenAll(GuardAsync(() => ReadAsync(reader)), GuardAsync(() => WriteAsync(writer)));
        return _ending!;
    }

    /// <summary>Lets go of what it holds; not of <c>_ended</c>, which holds nothing, and which somebody may be cancelling still.</summary>
    public void Dispose() => _signal.Dispose();

    // ---- in ---------------------------------------------------------------------------------------------------------------

    private async Task ReadAsync(IAsyncStreamReader<SidecarMessage> reader)
    {
        while (true)
        {
            using CancellationTokenSource silence = new(_limits.Silence, _time);
            using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(silence.Token, _ended.Token);
            try
            {
                if (!await reader.MoveNext(either.Token))
                {
                    End(Ending.SidecarLeft);
                    return;
                }
            }
            catch (OperationCanceledException) when (silence.IsCancellationRequested)
            {
                End(Ending.Silent);
                return;
            }
            catch (RpcException)
            {
                End(Ending.Unreadable);
                return;
            }

            SidecarMessage message = reader.Current;
            if (!_budget.TryTake(message.MessageCase == SidecarMessage.MessageOneofCase.Renewal ? _limits.RenewalCost : 1))
            {
                End(Ending.Flooding);
                return;
            }

            switch (message.MessageCase)
            {
                case SidecarMessage.MessageOneofCase.Acknowledgement:
                    Take(message.Acknowledgement);
                    break;
                case SidecarMessage.MessageOneofCase.Renewal:
                    if (!await RenewAsync(message.Renewal.Token)) return;
                    CheckLifetime();
                    break;
                case SidecarMessage.MessageOneofCase.Hello:
                    End(Ending.Unexpected);
                    return;
                // A heartbeat; or what a newer sidecar says, which means nothing yet.
                default:
                    break;
            }
        }
    }

    private void Take(Acknowledgement acknowledgement)
    {
        if (acknowledgement.Revision < 1 || acknowledgement.Revision > Volatile.Read(ref _revision))
        {
            End(Ending.Unexpected);
            return;
        }

        bool took = acknowledgement.Error.Length == 0;
        lock (_gate)
        {
            while (_unacknowledged.TryPeek(out (long Revision, long? Since) sent) && sent.Revision <= acknowledgement.Revision)
            {
                _unacknowledged.Dequeue();
                if (took && sent.Since is { } since) _metrics.Propagated(_time.GetElapsedTime(since));
            }
        }

        if (!took)
        {
            // The sidecar's text is not shown: what runs in that pod must not write into our log.
            _metrics.Rejected();
            LogRejected(Sandbox.Pod, acknowledgement.Revision);
        }

        if (TookSnapshot == took) return;
        TookSnapshot = took;
        Acknowledged?.Invoke(this);
    }

    /// <summary>Asks about a new token, for as long as the old one lasts.</summary>
    private async Task<bool> RenewAsync(string token)
    {
        while (true)
        {
            try
            {
                ProvenPod proven = await _reviewer.ReviewAsync(token, _ended.Token);
                if (proven.Pod != Sandbox.Pod || proven.Uid != Sandbox.Uid)
                {
                    End(Ending.RenewalOfAnotherPod);
                    return false;
                }

                // What was a sandbox when the stream was opened has to be one still.
                await _vetting.VetAsync(proven, _ended.Token);
                lock (_gate) _until = proven.Until;
                return true;
            }
            catch (EndingException exception) when (exception.Ending.Status == StatusCode.Unavailable)
            {
                await Task.Delay(RenewalRetry, _time, _ended.Token);
            }
            catch (EndingException exception)
            {
                End(exception.Ending.Status == StatusCode.PermissionDenied ? exception.Ending : Ending.RenewalRefused);
                return false;
            }
        }
    }

    // ---- out --------------------------------------------------------------------------------------------------------------

    private async Task WriteAsync(IServerStreamWriter<OperatorMessage> writer)
    {
        while (true)
        {
            await _signal.WaitAsync(_ended.Token);
            while (Next() is { } message)
            {
                // gRPC aborts the call of a write that is cancelled, and the sidecar would seem to have left: the reason comes first. A
                // message that is under way when the stream ends otherwise goes out, if that is soon: the sidecar is to hear why.
                using CancellationTokenSource patience = new(_limits.Write, _time);
                using CancellationTokenSource cut = new(Timeout.InfiniteTimeSpan, _time);
                using CancellationTokenRegistration stalled = patience.Token.UnsafeRegister(_ => End(Ending.Stalled), null);
                using CancellationTokenRegistration last = _ended.Token.UnsafeRegister(_ => cut.CancelAfter(_ending == Ending.Stalled ? TimeSpan.Zero : LastWord), null);
                try
                {
                    await writer.WriteAsync(message, cut.Token);
                }
                catch (OperationCanceledException)
                {
                    IsCut = true;
                    throw;
                }

                _budget.Sent();
                if (message.MessageCase == OperatorMessage.MessageOneofCase.Snapshot) _metrics.Sent();
            }
        }
    }

    /// <summary>The next message, in the order of need; null when none waits.</summary>
    private OperatorMessage? Next()
    {
        lock (_gate)
        {
            if (_trust is { } authorities)
            {
                _trust = null;
                return new OperatorMessage { Trust = new Trust { Authorities = authorities } };
            }

            if (_snapshot is { } snapshot)
            {
                snapshot.Revision = ++_revision;
                snapshot.CreatedAt = Timestamp.FromDateTimeOffset(_time.GetUtcNow());
                if (_unacknowledged.Count == MaxUnacknowledged) _unacknowledged.Dequeue();
                _unacknowledged.Enqueue((_revision, _since));
                (_snapshot, _since) = (null, null);
                return new OperatorMessage { Snapshot = snapshot };
            }

            if (_goodbye is { } goodbye)
            {
                _goodbye = null;
                return new OperatorMessage { Goodbye = goodbye };
            }

            if (!_isHeartbeatDue) return null;
            _isHeartbeatDue = false;
            return new OperatorMessage { Heartbeat = new Heartbeat() };
        }
    }

    private void Beat()
    {
        lock (_gate) _isHeartbeatDue = true;
        Signal();
    }

    private void Signal()
    {
        lock (_gate)
            if (_ending is null && _signal.CurrentCount == 0) _signal.Release();
    }

    // ---- end --------------------------------------------------------------------------------------------------------------

    private async Task GuardAsync(Func<Task> loop)
    {
        try
        {
            await loop();
        }
        catch (Exception exception) when (_ending is not null || exception is OperationCanceledException or IOException)
        {
            // It has ended, or the connection broke.
            End(Ending.SidecarLeft);
        }
        catch (Exception exception)
        {
            // Whatever it was, it costs one stream. Only its type: a text could quote a message.
            LogFault(Sandbox.Pod, exception.GetType());
            End(Ending.Fault);
        }
    }

    private void CheckLifetime()
    {
        TimeSpan left;
        lock (_gate) left = _until - _time.GetUtcNow();
        if (left <= TimeSpan.Zero) End(Ending.TokenExpired);
        else _lifetime!.Change(left < MaxTimer ? left : MaxTimer, Timeout.InfiniteTimeSpan);
    }

    [LoggerMessage(342, LogLevel.Error, "The sidecar of {Pod} could not take snapshot {Revision} and keeps the one before, so that revocations do not reach it. Its own log says why.")]
    private partial void LogRejected(ObjectKey pod, long revision);

    [LoggerMessage(343, LogLevel.Error, "The stream of {Pod} ended by a mistake of the operator's: {Error}.")]
    private partial void LogFault(ObjectKey pod, System.Type error);
}
