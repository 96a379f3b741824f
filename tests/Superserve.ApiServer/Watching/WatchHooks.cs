namespace Superserve.ApiServer.Watching;

/// <summary>What a test can do to watches: what networks and servers do to them, at the moment that the test chooses.</summary>
public sealed class WatchHooks
{
    private readonly Lock _gate = new();
    private readonly HashSet<Watch> _active = [];
    private TaskCompletionSource? _thawed;
    private int _refusals;

    /// <summary>How many watches are open.</summary>
    public int Active
    {
        get { lock (_gate) return _active.Count; }
    }

    /// <summary>How many watches were opened so far.</summary>
    public int Opened { get; private set; }

    /// <summary>Closes every open watch in the middle, as a lost connection does.</summary>
    public void Drop()
    {
        foreach (Watch watch in Snapshot()) watch.Abort();
    }

    /// <summary>From now on watches stay open and say nothing, as behind a dead middlebox: neither events nor bookmarks nor an end.</summary>
    public void Freeze()
    {
        lock (_gate) _thawed ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>Ends a freeze: what happened meanwhile is sent.</summary>
    public void Thaw()
    {
        lock (_gate)
        {
            _thawed?.SetResult();
            _thawed = null;
        }
    }

    /// <summary>Sends every open watch an ERROR event with code 410, and closes it.</summary>
    public void Expire()
    {
        foreach (Watch watch in Snapshot()) watch.Expire();
    }

    /// <summary>Answers the next watches with the status 410 in place of a stream.</summary>
    public void RefuseNext(int count)
    {
        lock (_gate) _refusals = count;
    }

    internal bool TakeRefusal()
    {
        lock (_gate)
        {
            if (_refusals == 0) return false;
            _refusals--;
            return true;
        }
    }

    internal Task? Frozen
    {
        get { lock (_gate) return _thawed?.Task; }
    }

    internal void Add(Watch watch)
    {
        lock (_gate)
        {
            _active.Add(watch);
            Opened++;
        }
    }

    internal void Remove(Watch watch)
    {
        lock (_gate) _active.Remove(watch);
    }

    private Watch[] Snapshot()
    {
        lock (_gate) return [.. _active];
    }
}
