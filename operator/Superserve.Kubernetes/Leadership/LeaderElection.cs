using k8s.Models;
using Microsoft.Extensions.Logging;

namespace Superserve.Kubernetes.Leadership;

/// <summary>
/// At most one process leads. A candidate takes a Lease that nobody has changed for its duration, as measured by the candidate's own
/// monotonic clock since it saw the last change; the times in the Lease are for people, and no two machines' clocks are compared.
/// A leader stops by itself, before that duration is over, unless a renewal succeeded.
/// </summary>
public sealed partial class LeaderElection
{
    private readonly ILeaseStore _leases;
    private readonly LeaderElectionOptions _options;
    private readonly Action _exit;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private volatile Term? _term;

    private string? _seenVersion;
    private long _seenAt;
    private V1Lease? _written;

    /// <summary>
    /// Runs nothing yet. <paramref name="exit"/> ends the process; it is called when leadership was lost and what ran under it may still
    /// be running: that nothing of it writes any more is certain only when the process is gone.
    /// </summary>
    public LeaderElection(
        ILeaseStore leases, LeaderElectionOptions options, Action exit, KubernetesMetrics metrics, TimeProvider time, ILogger<LeaderElection> logger)
    {
        options.Validate();
        _leases = leases;
        _options = options;
        _exit = exit;
        _time = time;
        _logger = logger;
        metrics.ObserveLeader(options.Name, () => IsLeader);
    }

    /// <summary>Whether this process leads at this moment.</summary>
    public bool IsLeader => _term?.IsRunning == true;

    /// <summary>
    /// Waits to become leader and runs <paramref name="lead"/>, whose token is cancelled when leadership is lost or
    /// <paramref name="stop"/> is. When stopped it waits for <paramref name="lead"/> to end, and only then gives the Lease up.
    /// </summary>
    public async Task RunAsync(Func<CancellationToken, Task> lead, CancellationToken stop)
    {
        using Term term = await AcquireAsync(stop);
        _term = term;
        LogLeading(_options.Identity);
        // Not disposed: that would cut the work off from a cancellation which may still be on its way to it.
        CancellationTokenSource leading = CancellationTokenSource.CreateLinkedTokenSource(term.Ended, stop);
        Task work = LeadAsync(lead, leading.Token);

        while (term.IsRunning && !stop.IsCancellationRequested && !work.IsCompleted)
        {
            await Task.WhenAny(PauseAsync(leading.Token), work);
            if (!term.IsRunning || leading.IsCancellationRequested || work.IsCompleted) break;
            await RenewAsync(term, leading.Token);
        }

        bool lost = !term.IsRunning;
        if (!lost) lost = !await EndsInTimeAsync(work, leading, term);
        if (lost)
        {
            term.End();
            _ = leading.CancelAsync();
            LogLost(_options.Identity);
            _exit();
            return;
        }

        await ReleaseAsync(term);
        await work;
        stop.ThrowIfCancellationRequested();
    }

    private async Task<Term> AcquireAsync(CancellationToken stop)
    {
        while (true)
        {
            long? sent = await AttemptAsync(null, stop);
            if (sent is { } at)
            {
                Term term = new(_time, _options.RenewDeadline, at);
                // An answer that took this long proves nothing any more. The others see us as leader and wait; so do we.
                if (term.IsRunning) return term;
                term.Dispose();
            }

            await PauseAsync(stop);
            stop.ThrowIfCancellationRequested();
        }
    }

    private async Task RenewAsync(Term term, CancellationToken cancellationToken)
    {
        if (await AttemptAsync(term, cancellationToken) is not { } sent) return;
        if (sent == NotOurs || !term.TryExtend(sent)) term.End();
    }

    private const long NotOurs = long.MinValue;

    /// <summary>
    /// Tries once to take or renew the Lease. Returns when the write that succeeded was sent; null if none did;
    /// <see cref="NotOurs"/> if a leader finds somebody else's name.
    /// </summary>
    private async Task<long?> AttemptAsync(Term? term, CancellationToken cancellationToken)
    {
        // One request that hangs must leave time for another before the term ends.
        using CancellationTokenSource deadline = new(_options.RenewDeadline / 2, _time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            // WaitAsync: even a request that ignores its cancellation does not keep us from ending.
            return await TryWriteAsync(term, either.Token).WaitAsync(either.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            LogAttemptFailed(_options.Identity, "no answer in time");
            return null;
        }
        catch (OperationCanceledException) when (term is not null)
        {
            return null;
        }
        catch (Exception exception) when (exception is not OperationCanceledException)
        {
            // Whatever it was, the next attempt may do better, and the term's end does not wait for it.
            LogAttemptFailed(_options.Identity, exception.Message);
            return null;
        }
    }

    private async Task<long?> TryWriteAsync(Term? term, CancellationToken cancellationToken)
    {
        V1Lease? lease = await _leases.ReadAsync(cancellationToken);
        cancellationToken.ThrowIfCancellationRequested();
        if (lease?.Metadata.ResourceVersion is { } version && version != _seenVersion)
        {
            _seenVersion = version;
            _seenAt = _time.GetTimestamp();
        }

        string? holder = lease?.Spec?.HolderIdentity;
        bool leading = term is not null;
        if (leading && holder != _options.Identity) return NotOurs;
        // Our own name without leadership is a write whose answer we never got: it binds us as it binds the others.
        if (!leading && !string.IsNullOrEmpty(holder) && _time.GetElapsedTime(_seenAt) <= DurationOf(lease!)) return null;

        // The read may have taken until after the term's end: then nothing is written any more.
        if (term is { IsRunning: false }) return null;
        long sent = _time.GetTimestamp();
        V1Lease? written = await _leases.WriteAsync(Next(lease, leading), cancellationToken);
        if (written is null) return null;
        _written = written;
        return sent;
    }

    private V1Lease Next(V1Lease? lease, bool leading)
    {
        DateTime now = MicroTime.Of(_time.GetUtcNow());
        // A write that changes nothing is not stored, and the others would not see the renewal.
        if (lease?.Spec?.RenewTime == now) now = now.AddMicroseconds(1);
        return new V1Lease
        {
            ApiVersion = "coordination.k8s.io/v1",
            Kind = "Lease",
            Metadata = lease?.Metadata ?? new V1ObjectMeta { NamespaceProperty = _options.Namespace, Name = _options.Name },
            Spec = new V1LeaseSpec
            {
                HolderIdentity = _options.Identity,
                LeaseDurationSeconds = (int)Math.Ceiling(_options.LeaseDuration.TotalSeconds),
                AcquireTime = leading ? lease?.Spec?.AcquireTime ?? now : now,
                RenewTime = now,
                LeaseTransitions = (lease?.Spec?.LeaseTransitions ?? 0) + (leading || lease is null ? 0 : 1),
            },
        };
    }

    /// <summary>The holder may have been started with a longer duration than ours.</summary>
    private TimeSpan DurationOf(V1Lease lease)
    {
        TimeSpan theirs = TimeSpan.FromSeconds(lease.Spec.LeaseDurationSeconds ?? 0);
        return theirs > _options.LeaseDuration ? theirs : _options.LeaseDuration;
    }

    /// <summary>Tells the work to end and waits for it while the term lasts.</summary>
    private static async Task<bool> EndsInTimeAsync(Task work, CancellationTokenSource leading, Term term)
    {
        await leading.CancelAsync();
        try
        {
            await work.WaitAsync(term.Ended);
        }
        catch (Exception) when (work.IsCompleted)
        {
            // However it ended, it ended; the caller awaits it again for its exception.
        }
        catch (OperationCanceledException)
        {
            return false;
        }

        return true;
    }

    /// <summary>Lets the next leader start at once. Nothing runs under our name any more, so nothing can go wrong that a wait would mend.</summary>
    private async Task ReleaseAsync(Term term)
    {
        V1Lease? lease = _written;
        if (lease is null || !term.IsRunning) return;
        CancellationToken ended = term.Ended;
        _term = null;
        try
        {
            lease.Spec.HolderIdentity = "";
            lease.Spec.LeaseDurationSeconds = 1;
            lease.Spec.RenewTime = MicroTime.Of(_time.GetUtcNow());
            if (await _leases.WriteAsync(lease, ended).WaitAsync(ended) is not null) LogReleased(_options.Identity);
        }
        catch (Exception exception)
        {
            // The others wait for the duration then, as after a crash.
            LogAttemptFailed(_options.Identity, exception.Message);
        }
    }

    private static async Task LeadAsync(Func<CancellationToken, Task> lead, CancellationToken cancellationToken) => await lead(cancellationToken);

    /// <summary>Waits for the retry period, up to a fifth longer so that candidates do not meet; returns early when cancelled.</summary>
    private async Task PauseAsync(CancellationToken cancellationToken) =>
        await Task.Delay(_options.RetryPeriod * (1 + (Backoff.Fraction() / 5)), _time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    [LoggerMessage(120, LogLevel.Information, "{Identity} leads.")]
    private partial void LogLeading(string identity);

    [LoggerMessage(121, LogLevel.Error, "{Identity} no longer leads and exits; another replica takes over. Look for what kept it from the API server.")]
    private partial void LogLost(string identity);

    [LoggerMessage(122, LogLevel.Information, "{Identity} gave its leadership up.")]
    private partial void LogReleased(string identity);

    [LoggerMessage(123, LogLevel.Warning, "{Identity} could not write the Lease: {Error}. It tries again.")]
    private partial void LogAttemptFailed(string identity, string error);
}
