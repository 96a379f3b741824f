using System.Buffers;
using System.Collections.Immutable;
using System.Text.Json.Nodes;
using k8s;
using k8s.Models;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Caching;
using Superserve.Kubernetes.Writing;
using Superserve.Operator.Bindings;
using Superserve.Operator.Cluster;

namespace Superserve.Operator.Delivery;

/// <summary>Whether the pod that a token is of may have credentials: by what the API server shows of it now, not by a cache.</summary>
internal sealed partial class PodVetting
{
    private static readonly SearchValues<char> Hexadecimal = SearchValues.Create("0123456789abcdef");

    private readonly KubernetesConnection _connection;
    private readonly ISandboxGuard _guard;
    private readonly EventRecorder _events;
    private readonly ILogger _logger;
    private readonly StoreIndex<V1Pod> _bySandboxId;

    /// <summary>Adds an index of sandbox ids to the pods' cache.</summary>
    public PodVetting(KubernetesConnection connection, ClusterCache cluster, ISandboxGuard guard, EventRecorder events, ILogger<PodVetting> logger)
    {
        _connection = connection;
        _guard = guard;
        _events = events;
        _logger = logger;
        _bySandboxId = cluster.Pods.Store.AddIndex(pod => pod.SandboxId() is { } id ? [KeyOf(pod.Metadata.NamespaceProperty, id)] : []);
    }

    /// <summary>What a snapshot needs to know of the pod.</summary>
    /// <exception cref="EndingException">The pod may have none; where a user can mend it, the pod gets an Event.</exception>
    public async Task<SandboxFacts> VetAsync(ProvenPod proven, CancellationToken cancellationToken)
    {
        JsonObject document = await ReadAsync(proven.Pod, cancellationToken);
        V1Pod pod = KubernetesJson.Deserialize<V1Pod>(document.ToJsonString());
        pod.ApiVersion ??= "v1";
        pod.Kind ??= "Pod";
        if (pod.Metadata.Uid != proven.Uid) throw new EndingException(Ending.AnotherPod(proven.Pod));
        if (pod.IsFinished()) throw new EndingException(Ending.PodFinished(proven.Pod));
        if (!pod.IsInjected()) throw Refuse(pod, Ending.NotInjected(proven.Pod));
        if (pod.SandboxId() is not { } id || SandboxId.CreatedAt(id) is null || id.AsSpan().ContainsAnyExcept(Hexadecimal)) throw Refuse(pod, Ending.BadSandboxId(proven.Pod));
        if (EarlierWith(pod, id) is { } original) throw Refuse(pod, Ending.Cloned(proven.Pod, original));
        string? annotation = pod.Metadata.Annotations.TryGetValue(Marks.StandInsAnnotation, out string? text) ? text : null;
        if (!RecordedStandIns.TryRead(annotation, out ImmutableArray<RecordedStandIn> recorded, out string? error)) throw Refuse(pod, Ending.BadStandIns(proven.Pod, error));
        if (_guard.ProblemsOf(proven.Pod, document) is { Count: > 0 } problems) throw Refuse(pod, Ending.Unsafe(proven.Pod, problems));
        return new SandboxFacts(proven.Pod, proven.Uid, id, pod.LabelsOf(), recorded);
    }

    private async Task<JsonObject> ReadAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        try
        {
            return await _connection.SendAsync<JsonObject>(HttpMethod.Get, ResourceKind.Of<V1Pod>().ObjectPath(key), cancellationToken: cancellationToken);
        }
        catch (ApiException exception) when (exception.IsNotFound)
        {
            throw new EndingException(Ending.NoSuchPod(key));
        }
        catch (Exception exception) when (!cancellationToken.IsCancellationRequested)
        {
            LogUnread(key, exception.Message);
            throw new EndingException(Ending.ApiServerAway("for the pod"));
        }
    }

    /// <summary>
    /// Another pod that lives, has the same id, and was there first. In its own namespace: a stand-in is derived from the namespace
    /// too, and nobody can shut a sandbox out from elsewhere.
    /// </summary>
    private string? EarlierWith(V1Pod pod, string id)
    {
        foreach (V1Pod other in _bySandboxId.Find(KeyOf(pod.Metadata.NamespaceProperty, id)))
        {
            if (other.Metadata.Uid == pod.Metadata.Uid || other.IsFinished()) continue;
            int order = Nullable.Compare(other.Metadata.CreationTimestamp, pod.Metadata.CreationTimestamp);
            // Times are whole seconds: made in the same one, the UIDs decide, the same way everywhere.
            if (order < 0 || (order == 0 && string.CompareOrdinal(other.Metadata.Uid, pod.Metadata.Uid) < 0)) return other.Metadata.Name;
        }

        return null;
    }

    private EndingException Refuse(V1Pod pod, Ending ending)
    {
        _events.Warning(pod, "SidecarRefused", "Deliver", $"The sidecar gets no credentials: {ending.Message}.");
        return new EndingException(ending);
    }

    private static string KeyOf(string? ns, string id) => $"{ns}/{id}";

    [LoggerMessage(341, LogLevel.Warning, "The pod {Pod} could not be read, so that its sidecar could not connect. The operator needs get on pods. {Error}")]
    private partial void LogUnread(ObjectKey pod, string error);
}
