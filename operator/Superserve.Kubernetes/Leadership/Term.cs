namespace Superserve.Kubernetes.Leadership;

/// <summary>
/// One time of leading. It ends by itself, a fixed while after the last renewal that counted was <em>sent</em>; only a renewal that
/// is known to have succeeded before that moves its end. Once over it stays over.
/// </summary>
internal sealed class Term : IDisposable
{
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _ended = new();
    private readonly TimeProvider _time;
    private readonly TimeSpan _length;
    private readonly ITimer _timer;
    private long _sent;
    private bool _over;

    public Term(TimeProvider time, TimeSpan length, long sent)
    {
        _time = time;
        _length = length;
        _sent = sent;
        _timer = time.CreateTimer(_ => OnTimer(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        OnTimer();
    }

    /// <summary>Cancelled when the term is over.</summary>
    public CancellationToken Ended => _ended.Token;

    /// <summary>Asks the clock, not only the timer: a process that was paused must not lead until its timer gets to run.</summary>
    public bool IsRunning
    {
        get
        {
            lock (_gate) return !_over && Remaining > TimeSpan.Zero;
        }
    }

    /// <summary>How long the term lasts if it is not renewed.</summary>
    public TimeSpan Remaining => _length - _time.GetElapsedTime(Volatile.Read(ref _sent));

    /// <summary>Counts a renewal that was sent at <paramref name="sent"/> and has succeeded; false when it came too late.</summary>
    public bool TryExtend(long sent)
    {
        lock (_gate)
        {
            if (_over || Remaining <= TimeSpan.Zero) return false;
            Volatile.Write(ref _sent, sent);
            return true;
        }
    }

    public void End()
    {
        lock (_gate)
        {
            if (_over) return;
            _over = true;
        }

        // What is registered with the token runs elsewhere: none of it may hold up the end of leadership.
        _ = _ended.CancelAsync();
    }

    // The token's source has nothing to dispose of, and may be telling others just now.
    public void Dispose() => _timer.Dispose();

    private void OnTimer()
    {
        if (IsRunning) _timer.Change(Remaining > TimeSpan.Zero ? Remaining + TimeSpan.FromMilliseconds(1) : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
        else End();
    }
}
