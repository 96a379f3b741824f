using k8s.Models;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Caching;
using Superserve.Kubernetes.Controllers;
using Superserve.Kubernetes.Queueing;
using Superserve.Kubernetes.Writing;
using Superserve.Operator.Bindings;
using Superserve.Operator.Cluster;

namespace Superserve.Operator.Delivery;

/// <summary>
/// Says on each pod whether its sidecar is connected, so that every replica and every user sees it. Written by the replica that has
/// the stream; the message names that replica, so that one that lost a sidecar does not contradict the one that has it now.
/// </summary>
internal sealed class ConnectedCondition : IDisposable
{
    /// <summary>The field manager of the condition.</summary>
    public const string FieldManager = "superserve-delivery";

    /// <summary>Between two writes of one worker: ten thousand sidecars that move at once are no reason to flood the API server.</summary>
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(40);

    private static readonly TimeSpan Retry = TimeSpan.FromSeconds(1);

    private readonly ClusterCache _cluster;
    private readonly SandboxRegistry _registry;
    private readonly Applier _applier;
    private readonly string _replica;
    private readonly DeliveryLimits _limits;
    private readonly TimeProvider _time;
    private readonly WorkQueue<ObjectKey> _unwritten;
    private readonly Controller<ObjectKey> _controller;
    private readonly Lock _gate = new();
    private readonly Dictionary<ObjectKey, (string Uid, long At)> _lost = [];

    /// <summary>Listens to the registry. <paramref name="replica"/> is the name of this replica's pod.</summary>
    public ConnectedCondition(
        ClusterCache cluster, SandboxRegistry registry, KubernetesConnection connection, string replica, DeliveryLimits limits,
        KubernetesMetrics metrics, TimeProvider time, ILoggerFactory loggers)
    {
        _cluster = cluster;
        _registry = registry;
        _applier = new Applier(connection, FieldManager);
        _replica = replica;
        _limits = limits;
        _time = time;
        _unwritten = new WorkQueue<ObjectKey>("connected", metrics, time);
        _controller = new Controller<ObjectKey>("connected", _unwritten, WriteAsync, metrics, time, loggers.CreateLogger<Controller<ObjectKey>>());
        registry.Settled += OnSettled;
        cluster.Pods.Subscribe(OnPod);
    }

    /// <summary>Writes until cancelled.</summary>
    public Task RunAsync(CancellationToken cancellationToken) => _controller.RunAsync([_cluster.Pods.Synced], cancellationToken);

    /// <inheritdoc />
    public void Dispose()
    {
        _registry.Settled -= OnSettled;
        _unwritten.Dispose();
    }

    private void OnSettled(SidecarStream stream)
    {
        ObjectKey pod = stream.Sandbox.Pod;
        if (_registry.Find(pod) is null)
            lock (_gate) _lost[pod] = (stream.Sandbox.Uid, _time.GetTimestamp());
        _unwritten.Add(pod);
    }

    /// <summary>
    /// What a pod says in this replica's name has to be so: after a restart under the same name it has lost what it had, and the leader
    /// may have taken it for gone (<see cref="LostReplicas"/>).
    /// </summary>
    private void OnPod(Change<V1Pod> change)
    {
        V1Pod pod = change.Object;
        if (change.Kind == ChangeKind.Deleted || !IsOurs(pod.Connected())) return;
        ObjectKey key = ObjectKey.Of(pod);
        SidecarStream? stream = _registry.Find(key);
        if (stream is { TookSnapshot: null } || Change(pod, stream) is null) return;
        if (stream is null)
            lock (_gate) _lost.TryAdd(key, (pod.Metadata.Uid, _time.GetTimestamp()));
        _unwritten.Add(key);
    }

    private async Task<Result> WriteAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        SidecarStream? stream = _registry.Find(key);
        (string Uid, long At) lost = default;
        lock (_gate)
        {
            if (stream is not null) _lost.Remove(key);
            else if (!_lost.TryGetValue(key, out lost)) return Result.Done;
        }

        // A replica that ends has lost all its streams, and the others have them.
        if (_registry.IsDraining || stream is { TookSnapshot: null }) return Result.Done;
        if (stream is null && _limits.Disconnected - _time.GetElapsedTime(lost.At) is var remaining && remaining > TimeSpan.Zero) return Result.Again(remaining);

        V1Pod? pod = _cluster.Pods.Store.Get(key);
        if (pod is not null && !pod.IsFinished() && pod.Metadata.Uid == (stream?.Sandbox.Uid ?? lost.Uid) && Change(pod, stream) is { } condition)
        {
            // Who has the stream knows; that nobody has it may be over since.
            bool isWritten = await ApplyAsync(_applier, pod, condition, isOnlyIfUnchanged: stream is null, cancellationToken);
            await Task.Delay(Pace, _time, cancellationToken);
            if (!isWritten && stream is null) return Result.Again(Retry);
        }

        // Only now: what failed is tried again.
        if (stream is null)
            lock (_gate)
                if (_lost.GetValueOrDefault(key) == lost) _lost.Remove(key);
        return Result.Done;
    }

    /// <summary>What is to be said of a pod; null where it is said already, or another replica's to say.</summary>
    private V1PodCondition? Change(V1Pod pod, SidecarStream? stream)
    {
        V1PodCondition? now = pod.Connected();
        if (stream is null && (now?.Status != "True" || !IsOurs(now))) return null;
        (string status, string reason, string message) = stream switch
        {
            null => ("False", "Disconnected", $"the sidecar left the operator and did not come back; it keeps the credentials that it had{ByThisReplica}"),
            { TookSnapshot: false } => ("False", "SnapshotRejected", $"the sidecar could not take what the operator sent and keeps what it had before: its log says why{ByThisReplica}"),
            _ => ("True", "Connected", $"{SandboxPods.Captured(stream.Capture)}sidecar {stream.Version}{ByThisReplica}"),
        };
        if (now?.Status == status && now.Reason == reason && now.Message == message) return null;
        DateTime since = now?.Status == status && now.LastTransitionTime is { } before ? before : _time.GetUtcNow().UtcDateTime;
        return new V1PodCondition { Type = Marks.ConnectedCondition, Status = status, Reason = reason, Message = message, LastTransitionTime = since };
    }

    /// <summary>Writes the condition; false where the pod is another one by now, or is gone.</summary>
    public static async Task<bool> ApplyAsync(Applier applier, V1Pod pod, V1PodCondition condition, bool isOnlyIfUnchanged, CancellationToken cancellationToken)
    {
        try
        {
            object status = new { conditions = new[] { condition } };
            object fields = isOnlyIfUnchanged ? new { metadata = new { resourceVersion = pod.Metadata.ResourceVersion }, status } : new { status };
            await applier.ApplyAsync(ObjectKey.Of(pod), fields, pod, "status", cancellationToken);
            return true;
        }
        catch (ApiException exception) when (exception.IsNotFound || exception.IsConflict)
        {
            return false;
        }
    }

    private bool IsOurs(V1PodCondition? condition) => condition?.Message?.EndsWith(ByThisReplica, StringComparison.Ordinal) == true;

    private string ByThisReplica => SandboxPods.By(_replica);
}
