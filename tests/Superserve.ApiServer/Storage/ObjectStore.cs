using System.Globalization;

namespace Superserve.ApiServer.Storage;

/// <summary>
/// All objects, one counter for all of them, and the history that watches resume from. Every revision is exactly one change,
/// so that the history is indexed by revision. An object in here is never changed again.
/// </summary>
internal sealed class ObjectStore(int historyLimit)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, SortedDictionary<string, JsonObject>> _objects = new(StringComparer.Ordinal);
    private readonly List<Change> _history = [];
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _compacted;

    /// <summary>Raised after each change, in the writer's thread and outside of the lock.</summary>
    public event Action<Change>? Committed;

    /// <summary>The revision of the latest change.</summary>
    public long Revision
    {
        get { lock (_gate) return LastRevision; }
    }

    private long LastRevision => _compacted + _history.Count;

    public JsonObject? Get(ObjectKey key)
    {
        lock (_gate) return Find(key);
    }

    /// <summary>A consistent list with the revision that it holds at; an empty namespace is all of them.</summary>
    public (IReadOnlyList<JsonObject> Items, long Revision) List(string resource, string inNamespace = "")
    {
        lock (_gate) return ([.. Select(resource, inNamespace).Values], LastRevision);
    }

    /// <summary>Everything, of all resources.</summary>
    public IReadOnlyList<(string Resource, JsonObject Value)> All()
    {
        lock (_gate) return [.. _objects.SelectMany(resource => resource.Value.Values.Select(value => (resource.Key, value)))];
    }

    /// <summary>The list as it was at a revision, while the history still says so.</summary>
    public IReadOnlyList<JsonObject> ListAt(string resource, string inNamespace, long revision)
    {
        lock (_gate)
        {
            if (revision < _compacted) throw ApiErrors.Expired($"The provided resource version is too old: {revision} ({_compacted})");
            if (revision > LastRevision) throw new ApiException(504, "Timeout", $"Too large resource version: {revision}, current: {LastRevision}");
            SortedDictionary<string, JsonObject> items = Select(resource, inNamespace);
            for (int index = _history.Count - 1; index >= 0 && _history[index].Revision > revision; index--)
            {
                Change change = _history[index];
                if (change.Key.Resource != resource || (inNamespace.Length > 0 && change.Key.Namespace != inNamespace)) continue;
                if (change.Previous is null) items.Remove(Path(change.Key));
                else items[Path(change.Key)] = change.Previous;
            }

            return [.. items.Values];
        }
    }

    /// <summary>Stores a new object; null where one of that name exists.</summary>
    public JsonObject? Create(ObjectKey key, JsonObject value)
    {
        Change change;
        lock (_gate)
        {
            if (Find(key) is not null) return null;
            change = Commit(ChangeType.Added, key, value, null);
        }

        Committed?.Invoke(change);
        return change.Object;
    }

    /// <summary>Replaces an object if it is still the expected one; null where it is not.</summary>
    public JsonObject? Replace(ObjectKey key, JsonObject expected, JsonObject value)
    {
        Change change;
        lock (_gate)
        {
            if (!ReferenceEquals(Find(key), expected)) return null;
            change = Commit(ChangeType.Modified, key, value, expected);
        }

        Committed?.Invoke(change);
        return change.Object;
    }

    /// <summary>Removes an object if it is still the expected one; null where it is not. <paramref name="last"/> is what watchers see.</summary>
    public JsonObject? Remove(ObjectKey key, JsonObject expected, JsonObject last)
    {
        Change change;
        lock (_gate)
        {
            if (!ReferenceEquals(Find(key), expected)) return null;
            change = Commit(ChangeType.Deleted, key, last, expected);
        }

        Committed?.Invoke(change);
        return change.Object;
    }

    /// <summary>The changes after a revision, or null where they are no longer all known.</summary>
    public IReadOnlyList<Change>? ChangesAfter(long revision)
    {
        lock (_gate)
        {
            if (revision < _compacted) return null;
            int first = (int)Math.Min(revision - _compacted, _history.Count);
            return _history.GetRange(first, _history.Count - first);
        }
    }

    /// <summary>Completes with the next change after a revision; at once where there is one.</summary>
    public Task WaitForChangeAsync(long revision)
    {
        lock (_gate) return LastRevision > revision ? Task.CompletedTask : _changed.Task;
    }

    /// <summary>The oldest revision that a watch can resume from.</summary>
    public long OldestRevision
    {
        get { lock (_gate) return _compacted; }
    }

    /// <summary>Forgets the history: who has seen less than now gets 410.</summary>
    public void Compact()
    {
        lock (_gate)
        {
            _compacted = LastRevision;
            _history.Clear();
        }
    }

    private Change Commit(ChangeType type, ObjectKey key, JsonObject value, JsonObject? previous)
    {
        long revision = LastRevision + 1;
        value.Metadata()["resourceVersion"] = revision.ToString(CultureInfo.InvariantCulture);
        if (!_objects.TryGetValue(key.Resource, out SortedDictionary<string, JsonObject>? items)) _objects[key.Resource] = items = new(StringComparer.Ordinal);
        if (type == ChangeType.Deleted) items.Remove(Path(key));
        else items[Path(key)] = value;

        Change change = new(revision, type, key, value, previous);
        _history.Add(change);
        if (_history.Count > historyLimit)
        {
            int dropped = _history.Count / 2;
            _history.RemoveRange(0, dropped);
            _compacted += dropped;
        }

        TaskCompletionSource changed = _changed;
        _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        changed.SetResult();
        return change;
    }

    private JsonObject? Find(ObjectKey key) => _objects.GetValueOrDefault(key.Resource)?.GetValueOrDefault(Path(key));

    private SortedDictionary<string, JsonObject> Select(string resource, string inNamespace)
    {
        SortedDictionary<string, JsonObject> result = new(StringComparer.Ordinal);
        if (!_objects.TryGetValue(resource, out SortedDictionary<string, JsonObject>? items)) return result;
        string prefix = inNamespace + "/";
        foreach ((string path, JsonObject item) in items)
        {
            if (inNamespace.Length == 0 || path.StartsWith(prefix, StringComparison.Ordinal)) result.Add(path, item);
        }

        return result;
    }

    private static string Path(ObjectKey key) => $"{key.Namespace}/{key.Name}";
}
