using k8s;
using k8s.Models;

namespace Superserve.Kubernetes.Caching;

/// <summary>The objects that an informer knows. They are shared: whoever changes one has to copy it first.</summary>
public sealed class Store<T>
    where T : class, IKubernetesObject<V1ObjectMeta>
{
    private readonly Lock _gate = new();
    private readonly Dictionary<ObjectKey, T> _objects = [];
    private readonly List<StoreIndex<T>> _indexes = [];
    private readonly StoreIndex<T> _byNamespace;

    internal Store() => _byNamespace = AddIndex(value => [value.Metadata.NamespaceProperty ?? ""]);

    /// <summary>How many there are.</summary>
    public int Count
    {
        get
        {
            lock (_gate) return _objects.Count;
        }
    }

    /// <summary>One object, or null.</summary>
    public T? Get(ObjectKey key)
    {
        lock (_gate) return _objects.GetValueOrDefault(key);
    }

    /// <summary>All objects, in no order.</summary>
    public IReadOnlyList<T> List()
    {
        lock (_gate) return [.. _objects.Values];
    }

    /// <summary>The objects of one namespace.</summary>
    public IReadOnlyList<T> InNamespace(string name) => _byNamespace.Find(name);

    /// <summary>
    /// Finds objects by values that <paramref name="values"/> computes from each of them ("the bindings that name this secret").
    /// It must not throw.
    /// </summary>
    public StoreIndex<T> AddIndex(Func<T, IEnumerable<string>> values)
    {
        lock (_gate)
        {
            StoreIndex<T> index = new(values, _gate);
            foreach ((ObjectKey key, T value) in _objects) index.Add(key, value);
            _indexes.Add(index);
            return index;
        }
    }

    internal IReadOnlyList<Change<T>> Set(T value)
    {
        lock (_gate) return [.. SetLocked(ObjectKey.Of(value), value)];
    }

    internal IReadOnlyList<Change<T>> Remove(T last)
    {
        lock (_gate) return RemoveLocked(ObjectKey.Of(last)) is null ? [] : [new(ChangeKind.Deleted, last)];
    }

    /// <summary>
    /// Makes the store equal to a list. What is missing from it was deleted while nobody watched, except for what is in
    /// <paramref name="keep"/>: objects that are there but could not be read.
    /// </summary>
    internal IReadOnlyList<Change<T>> Replace(Dictionary<ObjectKey, T> listed, HashSet<ObjectKey> keep)
    {
        lock (_gate)
        {
            List<Change<T>> changes = [];
            foreach (ObjectKey key in _objects.Keys.Where(key => !listed.ContainsKey(key) && !keep.Contains(key)).ToList())
                changes.Add(new(ChangeKind.Deleted, RemoveLocked(key)!));
            foreach ((ObjectKey key, T value) in listed) changes.AddRange(SetLocked(key, value));
            return changes;
        }
    }

    private List<Change<T>> SetLocked(ObjectKey key, T value)
    {
        T? old = _objects.GetValueOrDefault(key);
        if (old is not null && old.Metadata.Uid == value.Metadata.Uid && old.Metadata.ResourceVersion == value.Metadata.ResourceVersion) return [];
        RemoveLocked(key);
        _objects[key] = value;
        foreach (StoreIndex<T> index in _indexes) index.Add(key, value);
        if (old is null) return [new(ChangeKind.Added, value)];
        // The same name with another UID is another object: the first was deleted unseen.
        return old.Metadata.Uid == value.Metadata.Uid
            ? [new(ChangeKind.Updated, value, old)]
            : [new(ChangeKind.Deleted, old), new(ChangeKind.Added, value)];
    }

    private T? RemoveLocked(ObjectKey key)
    {
        if (!_objects.Remove(key, out T? old)) return null;
        foreach (StoreIndex<T> index in _indexes) index.Remove(key, old);
        return old;
    }
}
