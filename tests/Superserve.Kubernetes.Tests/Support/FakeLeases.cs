using System.Globalization;
using k8s;
using k8s.Models;
using Superserve.Kubernetes.Leadership;

namespace Superserve.Kubernetes.Tests.Support;

/// <summary>The one Lease as etcd keeps it: a write succeeds only on the version that it was made from.</summary>
internal sealed class FakeLeases : ILeaseStore
{
    private readonly Lock _gate = new();
    private string? _stored;
    private int _version;

    /// <summary>Every write that arrived, by the holder in it, with whether it was taken.</summary>
    public List<(string Holder, bool Taken)> Writes { get; } = [];

    /// <summary>What a request waits for before it reaches the store, and what its answer waits for.</summary>
    public Func<Task> BeforeRead { get; set; } = () => Task.CompletedTask;

    public Func<Task> BeforeWrite { get; set; } = () => Task.CompletedTask;

    public Func<Task> AfterWrite { get; set; } = () => Task.CompletedTask;

    public V1Lease? Current
    {
        get
        {
            lock (_gate) return _stored is null ? null : KubernetesJson.Deserialize<V1Lease>(_stored);
        }
    }

    public async Task<V1Lease?> ReadAsync(CancellationToken cancellationToken)
    {
        await BeforeRead();
        return Current;
    }

    public async Task<V1Lease?> WriteAsync(V1Lease lease, CancellationToken cancellationToken)
    {
        // Serialized at once: what is on its way does not change with the sender's object.
        string sent = KubernetesJson.Serialize(lease);
        await BeforeWrite();
        V1Lease? result = Apply(KubernetesJson.Deserialize<V1Lease>(sent));
        await AfterWrite();
        return result;
    }

    public V1Lease? Apply(V1Lease lease)
    {
        lock (_gate)
        {
            bool taken = lease.Metadata.ResourceVersion == Current?.Metadata.ResourceVersion;
            Writes.Add((lease.Spec.HolderIdentity, taken));
            if (!taken) return null;
            V1Lease? old = Current;
            // As etcd: a write that changes nothing makes no new version.
            if (old is not null && KubernetesJson.Serialize(old.Spec) == KubernetesJson.Serialize(lease.Spec)) return old;
            lease.Metadata.ResourceVersion = (++_version).ToString(CultureInfo.InvariantCulture);
            _stored = KubernetesJson.Serialize(lease);
            return Current;
        }
    }
}
