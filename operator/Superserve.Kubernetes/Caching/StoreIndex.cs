using k8s;
using k8s.Models;

namespace Superserve.Kubernetes.Caching;

/// <summary>A way to find a store's objects by a computed value.</summary>
public sealed class StoreIndex<T>
    where T : class, IKubernetesObject<V1ObjectMeta>
{
    private readonly Func<T, IEnumerable<string>> _values;
    private readonly Lock _gate;
    private readonly Dictionary<string, Dictionary<ObjectKey, T>> _objects = new(StringComparer.Ordinal);

    internal StoreIndex(Func<T, IEnumerable<string>> values, Lock gate)
    {
        _values = values;
        _gate = gate;
    }

    /// <summary>The objects with this value.</summary>
    public IReadOnlyList<T> Find(string value)
    {
        lock (_gate) return _objects.TryGetValue(value, out Dictionary<ObjectKey, T>? found) ? [.. found.Values] : [];
    }

    internal void Add(ObjectKey key, T value)
    {
        foreach (string name in _values(value))
        {
            if (!_objects.TryGetValue(name, out Dictionary<ObjectKey, T>? found)) _objects[name] = found = [];
            found[key] = value;
        }
    }

    internal void Remove(ObjectKey key, T value)
    {
        foreach (string name in _values(value))
            if (_objects.TryGetValue(name, out Dictionary<ObjectKey, T>? found) && found.Remove(key) && found.Count == 0)
                _objects.Remove(name);
    }
}
