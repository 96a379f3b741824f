using k8s.Models;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Writing;
using Superserve.Operator.Bindings;
using Superserve.Operator.Cluster;
using Superserve.Operator.Configuration;

namespace Superserve.Operator.Delivery;

/// <summary>
/// Takes back what replicas said that are gone: a sandbox whose sidecar has connected to no other replica since would stay connected
/// for ever. For the leader alone.
/// </summary>
/// <remarks>
/// A replica is gone when its Lease has not changed, nor any pod been called connected in its name, for so many looks in a row. Looks
/// are counted, not time: while the API server is away nobody can renew, and nobody looks. A sidecar whose replica is gone has had as
/// long to find another one. What is written names the version of the pod that it was judged by, so that a replica that has taken the
/// sidecar up in the meantime is never contradicted.
/// </remarks>
internal sealed partial class LostReplicas(
    ClusterCache cluster, KubernetesConnection connection, OperatorOptions options, string replica, DeliveryLimits limits, TimeProvider time, ILogger<LostReplicas> logger)
{
    private static readonly ResourceKind Leases = ResourceKind.Of<V1Lease>();

    /// <summary>Pods that are written at one look; the next one takes the others.</summary>
    private const int MaxPerLook = 250;

    private readonly Applier _applier = new(connection, ConnectedCondition.FieldManager);

    /// <summary>Looks until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        await cluster.Pods.Synced.WaitAsync(cancellationToken);
        Dictionary<string, Seen> seen = new(StringComparer.Ordinal);
        while (true)
        {
            try
            {
                await LookAsync(seen, cancellationToken);
            }
            catch (Exception exception) when (!cancellationToken.IsCancellationRequested)
            {
                LogFailed(exception.Message);
            }

            await Task.Delay(limits.ReplicaBeat, time, cancellationToken);
        }
    }

    private async Task LookAsync(Dictionary<string, Seen> seen, CancellationToken cancellationToken)
    {
        V1LeaseList list = await connection.SendAsync<V1LeaseList>(
            HttpMethod.Get, $"{Leases.CollectionPath(options.Namespace)}?labelSelector={Uri.EscapeDataString($"{ReplicaLease.Label}={ReplicaLease.LabelValue}")}", cancellationToken: cancellationToken);
        Dictionary<string, V1Lease> leases = new(StringComparer.Ordinal);
        foreach (V1Lease lease in list.Items) leases[lease.Spec?.HolderIdentity ?? ""] = lease;
        ILookup<string, V1Pod> pods = cluster.Pods.Store.List().Where(pod => !pod.IsFinished() && pod.ConnectedTo() is not null).ToLookup(pod => pod.ConnectedTo()!);
        // Of itself a replica knows better (ConnectedCondition).
        HashSet<string> names = [.. leases.Keys.Concat(pods.Select(group => group.Key)).Where(name => name != replica)];
        foreach (string forgotten in seen.Keys.Except(names).ToList()) seen.Remove(forgotten);

        foreach (string name in names)
        {
            Seen now = Seen.After(seen.GetValueOrDefault(name), leases.GetValueOrDefault(name), pods[name]);
            seen[name] = now;
            if (now.Looks < limits.ReplicaLooks) continue;
            if (now.Looks == limits.ReplicaLooks && pods.Contains(name)) LogLost(name, pods[name].Count());
            foreach (V1Pod pod in pods[name].Take(MaxPerLook)) await TakeBackAsync(pod, name, cancellationToken);
            if (!pods.Contains(name)) await DeleteAsync(leases[name], cancellationToken);
        }
    }

    /// <summary>Says of a pod that its replica is gone, unless anything of the pod has changed.</summary>
    internal Task TakeBackAsync(V1Pod pod, string gone, CancellationToken cancellationToken) => ConnectedCondition.ApplyAsync(
        _applier, pod,
        new V1PodCondition
        {
            Type = Marks.ConnectedCondition,
            Status = "False",
            Reason = "ReplicaLost",
            Message = "the replica of the operator that had the sidecar has ended, or cannot reach the API server, and the sidecar has connected to no other: it keeps the credentials that it had, and hears of no revocation; "
                + $"kubectl logs {pod.Metadata.Name} -c {Marks.SidecarContainer} says why{SandboxPods.By(gone)}",
            LastTransitionTime = time.GetUtcNow().UtcDateTime,
        },
        isOnlyIfUnchanged: true, cancellationToken);

    private async Task DeleteAsync(V1Lease lease, CancellationToken cancellationToken)
    {
        try
        {
            // One that was renewed a moment ago stays.
            await connection.SendAsync<V1Status>(
                HttpMethod.Delete, Leases.ObjectPath(ObjectKey.Of(lease)),
                new V1DeleteOptions { Preconditions = new V1Preconditions { ResourceVersion = lease.Metadata.ResourceVersion } }, cancellationToken: cancellationToken);
        }
        catch (ApiException exception) when (exception.IsNotFound || exception.IsConflict)
        {
        }
    }

    [LoggerMessage(349, LogLevel.Warning, "The replica {Replica} gives no sign of life; {Count} sandboxes are still called connected to it, and are not any more.")]
    private partial void LogLost(string replica, int count);

    [LoggerMessage(350, LogLevel.Warning, "Replicas that are gone could not be looked for, so that sandboxes may be shown as connected that are not. The operator needs list and delete on leases of its namespace. {Error}")]
    private partial void LogFailed(string error);

    /// <summary>A replica's signs of life, and how many looks ago there was a new one.</summary>
    private sealed record Seen(string? Version, DateTime Latest, int Looks)
    {
        public static Seen After(Seen? before, V1Lease? lease, IEnumerable<V1Pod> pods)
        {
            string? version = lease?.Metadata.ResourceVersion;
            DateTime latest = pods.Max(pod => pod.Connected()?.LastTransitionTime) ?? default;
            bool isSign = before is null || version != before.Version || latest > before.Latest;
            return new Seen(version, isSign ? latest : before!.Latest, isSign ? 0 : before!.Looks + 1);
        }
    }
}
