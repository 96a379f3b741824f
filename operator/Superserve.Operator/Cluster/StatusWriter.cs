using System.Collections.Concurrent;
using k8s;
using k8s.Models;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Writing;

namespace Superserve.Operator.Cluster;

/// <summary>
/// Writes the status of one kind, and remembers what it wrote until the cache shows something newer: a reconciliation that comes
/// sooner would otherwise see its own status missing, and tell of the same change again.
/// </summary>
public sealed class StatusWriter<T>(Applier applier)
    where T : class, IKubernetesObject<V1ObjectMeta>
{
    private readonly ConcurrentDictionary<ObjectKey, (string SeenVersion, T Written)> _written = new();

    /// <summary>The object as it is, as far as is known.</summary>
    public T Latest(T cached) =>
        _written.TryGetValue(ObjectKey.Of(cached), out (string SeenVersion, T Written) entry)
            && entry.SeenVersion == cached.Metadata.ResourceVersion && entry.Written.Metadata.Uid == cached.Metadata.Uid
            ? entry.Written : cached;

    /// <summary>Writes the whole status, unless it is that already.</summary>
    public async Task WriteAsync(T cached, object status, CancellationToken cancellationToken)
    {
        ObjectKey key = ObjectKey.Of(cached);
        T latest = Latest(cached);
        try
        {
            T written = await applier.ApplyAsync(key, new { status }, latest, "status", cancellationToken);
            if (!ReferenceEquals(written, latest)) _written[key] = (cached.Metadata.ResourceVersion, written);
        }
        catch (ApiException exception) when (exception.IsNotFound)
        {
            // Deleted a moment ago: nobody is left to tell.
        }
    }

    /// <summary>The object is gone.</summary>
    public void Forget(ObjectKey key) => _written.TryRemove(key, out _);
}
