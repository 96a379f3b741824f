using System.Net;
using k8s.Models;
using Superserve.Core.Hosts;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Caching;
using Superserve.Kubernetes.Controllers;
using Superserve.Kubernetes.Queueing;
using Superserve.Operator.Bindings;
using Superserve.Operator.Cluster;
using Superserve.Operator.Configuration;
using Superserve.Operator.Resources;
using Superserve.Operator.Secrets;
using Superserve.Protocol;

namespace Superserve.Operator.Delivery;

/// <summary>
/// The open streams of this replica, one per pod, and what moves them: a change in the cluster marks the sandboxes that it touches,
/// and workers make their snapshots anew.
/// </summary>
internal sealed class SandboxRegistry : IDisposable
{
    private const int MaxDeleted = 1024;

    private static readonly TimeSpan MaxWait = TimeSpan.FromHours(1);
    private static readonly TimeSpan PendingRetry = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan DoubtDelay = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan VettingRetry = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan DrainStep = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan MinGoodbye = TimeSpan.FromMilliseconds(500);

    /// <summary>How many sidecars a second may go to the other replicas when this one ends.</summary>
    private const double GoodbyesPerSecond = 200;

    private readonly ClusterCache _cluster;
    private readonly ProviderCatalog _catalog;
    private readonly IStandInKey _key;
    private readonly IDeliveryTrust _trust;
    private readonly OperatorOptions _options;
    private readonly ClusterNetwork _network;
    private readonly DeliveryLimits _limits;
    private readonly TimeProvider _time;
    private readonly WorkQueue<ObjectKey> _changed;
    private readonly Controller<ObjectKey> _controller;
    private readonly WorkQueue<ObjectKey> _doubted;
    private readonly Controller<ObjectKey> _vetting;
    private readonly Lock _gate = new();
    private readonly Dictionary<ObjectKey, SidecarStream> _streams = [];
    private readonly Dictionary<string, HashSet<SidecarStream>> _byNamespace = new(StringComparer.Ordinal);
    private readonly Dictionary<ObjectKey, HashSet<SidecarStream>> _bySecret = [];
    private readonly Dictionary<string, SecretDefinition> _deleted = new(StringComparer.Ordinal);
    private readonly Queue<string> _deletedOrder = [];
    private int _namings;

    /// <summary>Subscribes to the caches, which have not started.</summary>
    public SandboxRegistry(
        ClusterCache cluster, ProviderCatalog catalog, IStandInKey key, IDeliveryTrust trust, OperatorOptions options, DeliveryLimits limits,
        KubernetesMetrics metrics, TimeProvider time, ILoggerFactory loggers)
    {
        _cluster = cluster;
        _catalog = catalog;
        _key = key;
        _trust = trust;
        _options = options;
        _limits = limits;
        _time = time;
        _network = NetworkOf(options);
        _changed = new WorkQueue<ObjectKey>("delivery", metrics, time);
        _controller = new Controller<ObjectKey>("delivery", _changed, RefreshAsync, metrics, time, loggers.CreateLogger<Controller<ObjectKey>>());
        _doubted = new WorkQueue<ObjectKey>("vetting", metrics, time);
        _vetting = new Controller<ObjectKey>("vetting", _doubted, VetAsync, metrics, time, loggers.CreateLogger<Controller<ObjectKey>>());
        cluster.Pods.Subscribe(OnPod);
        cluster.Bindings.Subscribe(OnBinding);
        cluster.Secrets.Subscribe(OnSecret);
        cluster.CoreSecrets.Subscribe(OnCoreSecret);
        trust.TrustBundleChanged += OnTrust;
    }

    /// <summary>Checked at the start: no sidecar would take a snapshot with a mistake in it.</summary>
    private static ClusterNetwork NetworkOf(OperatorOptions options)
    {
        if (!HostName.TryCanonicalize(options.ClusterDomain, out string? domain))
            throw new InvalidOperationException($"The cluster's domain '{options.ClusterDomain}' is no DNS name: correct clusterDomain in the chart's values.");
        foreach (string range in options.ClusterRanges)
            if (!IPNetwork.TryParse(range, out _)) throw new InvalidOperationException($"The cluster range '{range}' is no CIDR: correct network.clusterRanges in the chart's values, as 10.0.0.0/8.");
        return new ClusterNetwork { Domain = domain, Ranges = { options.ClusterRanges } };
    }

    /// <summary>Streams that are open.</summary>
    public int Count
    {
        get
        {
            lock (_gate) return _streams.Count;
        }
    }

    /// <summary>Whether this replica is ending.</summary>
    public bool IsDraining { get; private set; }

    /// <summary>A stream's sidecar said for the first time, or otherwise than before, what it makes of its snapshots; or the stream is gone.</summary>
    public event Action<SidecarStream>? Settled;

    /// <summary>How often a core Secret was named for the first time: what was judged before may have to be judged again.</summary>
    public int Namings => Volatile.Read(ref _namings);

    /// <summary>Makes snapshots, and looks at pods again, until cancelled.</summary>
    public Task RunAsync(CancellationToken cancellationToken)
    {
        Task[] caches = [.. _cluster.FirstLists.Select(list => list.Synced)];
        return Task.WhenAll(_controller.RunAsync(caches, cancellationToken), _vetting.RunAsync(caches, cancellationToken));
    }

    /// <summary>
    /// Sends the sidecars to other replicas, not all in the same moment, and closes what is left in the end. From now on no stream
    /// is opened here.
    /// </summary>
    public async Task DrainAsync(CancellationToken cancellationToken)
    {
        IsDraining = true;
        TimeSpan limit = TimeSpan.FromSeconds(_options.DrainSeconds);
        TimeSpan spread = TimeSpan.FromSeconds(Count / GoodbyesPerSecond);
        if (spread < MinGoodbye) spread = MinGoodbye;
        foreach (SidecarStream stream in All()) stream.PostGoodbye(spread < limit ? spread : limit);
        long begun = _time.GetTimestamp();
        while (Count > 0 && _time.GetElapsedTime(begun) < limit) await Task.Delay(DrainStep, _time, cancellationToken);
        foreach (SidecarStream stream in All()) stream.End(Ending.Draining);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _trust.TrustBundleChanged -= OnTrust;
        _changed.Dispose();
        _doubted.Dispose();
    }

    /// <summary>
    /// Takes a stream up, in the place of an earlier one of the pod, and sends what it needs first. <paramref name="namings"/> is what
    /// <see cref="Namings"/> was before its pod was judged.
    /// </summary>
    public void Add(SidecarStream stream, int namings)
    {
        SidecarStream? earlier;
        ObjectKey pod = stream.Sandbox.Pod;
        lock (_gate)
        {
            if (_streams.Remove(pod, out earlier)) Forget(earlier);
            _streams[pod] = stream;
            Of(_byNamespace, pod.Namespace).Add(stream);
        }

        earlier?.End(earlier.Sandbox.Uid == stream.Sandbox.Uid ? Ending.Replaced : Ending.PodGone);
        stream.Acknowledged = settled => Settled?.Invoke(settled);
        if (_trust.TrustBundle is { } authorities) stream.PostTrust(authorities);
        _changed.Add(pod);
        if (namings != Namings) _doubted.Add(pod);
    }

    /// <summary>The stream has ended.</summary>
    public void Remove(SidecarStream stream)
    {
        lock (_gate)
        {
            if (_streams.GetValueOrDefault(stream.Sandbox.Pod) == stream)
            {
                _streams.Remove(stream.Sandbox.Pod);
                Forget(stream);
            }
        }

        Settled?.Invoke(stream);
    }

    /// <summary>The stream of a pod.</summary>
    public SidecarStream? Find(ObjectKey pod)
    {
        lock (_gate) return _streams.GetValueOrDefault(pod);
    }

    // ---- what a change touches --------------------------------------------------------------------------------------------

    private void OnPod(Change<V1Pod> change)
    {
        if (Find(ObjectKey.Of(change.Object)) is not { } stream) return;
        bool isSame = change.Object.Metadata.Uid == stream.Sandbox.Uid;
        // The deletion of an earlier pod of the name says nothing of this one.
        if (change.Kind == ChangeKind.Deleted ? isSame : !isSame || change.Object.IsFinished()) stream.End(Ending.PodGone);
        else if (isSame && (change.Old is null || !change.Old.HasSameLabels(change.Object))) Touch(stream);
    }

    private void OnBinding(Change<SandboxBindingResource> change)
    {
        if (!change.IsOfSpec()) return;
        List<SidecarStream> streams;
        lock (_gate) streams = [.. _byNamespace.GetValueOrDefault(change.Object.Metadata.NamespaceProperty) ?? []];
        foreach (SidecarStream stream in streams)
        {
            IReadOnlyDictionary<string, string> labels = PodOf(stream) is { } pod ? pod.LabelsOf() : stream.Sandbox.Labels;
            if (change.Object.Spec?.Selector.Matches(labels) == true || change.Old?.Spec?.Selector.Matches(labels) == true) Touch(stream);
        }
    }

    private void OnSecret(Change<SecretResource> change)
    {
        if (!change.IsOfSpec()) return;
        if (change.Kind == ChangeKind.Deleted) Remember(change.Object);
        else if (change.Object.CoreSecret is { } core && core != change.Old?.CoreSecret) Doubt(core.Namespace);
        Touch(ObjectKey.Of(change.Object));
    }

    /// <summary>A core Secret of the namespace is a credential from now on, and sandboxes that were let in before may have it mounted.</summary>
    private void Doubt(string inNamespace)
    {
        Interlocked.Increment(ref _namings);
        List<SidecarStream> streams;
        lock (_gate) streams = [.. _byNamespace.GetValueOrDefault(inNamespace) ?? []];
        foreach (SidecarStream stream in streams) _doubted.AddAfter(stream.Sandbox.Pod, DoubtDelay);
    }

    private async Task<Result> VetAsync(ObjectKey pod, CancellationToken cancellationToken) =>
        Find(pod) is not { } stream || await stream.VetAsync(cancellationToken) ? Result.Done : Result.Again(VettingRetry);

    private void OnCoreSecret(ObjectKey coreSecret)
    {
        foreach (SecretResource secret in _cluster.SecretsOf(coreSecret)) Touch(ObjectKey.Of(secret));
    }

    private void OnTrust()
    {
        if (_trust.TrustBundle is not { } authorities) return;
        foreach (SidecarStream stream in All()) stream.PostTrust(authorities);
    }

    private void Touch(ObjectKey secret)
    {
        List<SidecarStream> streams;
        lock (_gate) streams = [.. _bySecret.GetValueOrDefault(secret) ?? []];
        foreach (SidecarStream stream in streams) Touch(stream);
    }

    private void Touch(SidecarStream stream)
    {
        stream.MarkChanged();
        _changed.AddAfter(stream.Sandbox.Pod, _limits.Coalescing);
    }

    // ---- a snapshot -------------------------------------------------------------------------------------------------------

    private Task<Result> RefreshAsync(ObjectKey pod, CancellationToken cancellationToken) => Task.FromResult(Refresh(pod));

    private Result Refresh(ObjectKey pod)
    {
        if (Find(pod) is not { } stream) return Result.Done;
        TimeSpan wait = MaxWait;
        V1Pod? known = PodOf(stream);
        if (known is null)
        {
            // The API server showed the pod, so the cache is behind; or the pod went in between, and no event will tell.
            TimeSpan age = _time.GetElapsedTime(stream.Opened);
            if (age >= _limits.CacheLag)
            {
                stream.End(Ending.PodGone);
                return Result.Done;
            }

            wait = _limits.CacheLag - age;
        }

        SandboxFacts facts = known is null ? stream.Sandbox : stream.Sandbox with { Labels = known.LabelsOf() };
        BuiltSnapshot built;
        // A secret that it had not looked at before may have changed before the index said whom that touches.
        do built = SnapshotBuilder.Build(SourceOf(facts));
        while (Index(stream, built.SecretNames));

        // A credential that is about to be read is waited for; what else the snapshot gives, takes away or forbids is not kept waiting.
        if (built.Pending.Count == 0) stream.PendingSince = null;
        else if (_time.GetElapsedTime(stream.PendingSince ??= _time.GetTimestamp()) < _limits.Pending && !stream.Lacks(built.Message, built.Pending))
            return Result.Again(PendingRetry);
        stream.Post(built.Message);
        if (built.ChangesAt is { } end && end - _time.GetUtcNow() + TimeSpan.FromMilliseconds(1) is var remaining && remaining < wait) wait = remaining;
        return Result.Again(wait);
    }

    private SnapshotSource SourceOf(SandboxFacts facts) => new()
    {
        Sandbox = facts,
        Bindings = _cluster.Bindings.Store.InNamespace(facts.Pod.Namespace),
        Secret = name => _cluster.Secrets.Store.Get(new ObjectKey(facts.Pod.Namespace, name)) is { } secret
            ? new KnownSecret(secret.Metadata.Uid, SecretState.Of(secret, _cluster.CoreSecretOf(secret), _catalog))
            : null,
        Deleted = uid =>
        {
            lock (_gate) return _deleted.GetValueOrDefault(uid);
        },
        Key = _key.Bytes.ToArray(),
        Cluster = _network,
        Audit = _options.Audit,
        Now = _time.GetUtcNow(),
    };

    /// <summary>Whether the stream's snapshot depends on a secret that it did not depend on before.</summary>
    private bool Index(SidecarStream stream, IReadOnlySet<string> names)
    {
        lock (_gate)
        {
            if (_streams.GetValueOrDefault(stream.Sandbox.Pod) != stream || stream.SecretNames.SetEquals(names)) return false;
            bool isWider = !names.IsSubsetOf(stream.SecretNames);
            ForgetSecrets(stream);
            stream.SecretNames = names;
            foreach (string name in names) Of(_bySecret, new ObjectKey(stream.Sandbox.Pod.Namespace, name)).Add(stream);
            return isWider;
        }
    }

    private void Forget(SidecarStream stream)
    {
        Drop(_byNamespace, stream.Sandbox.Pod.Namespace, stream);
        ForgetSecrets(stream);
    }

    private void ForgetSecrets(SidecarStream stream)
    {
        foreach (string name in stream.SecretNames) Drop(_bySecret, new ObjectKey(stream.Sandbox.Pod.Namespace, name), stream);
    }

    /// <summary>Which hosts a deleted secret was for: its stand-ins are refused there, with a reason.</summary>
    private void Remember(SecretResource secret)
    {
        if (SecretState.Of(secret, new CoreSecretLookup.Pending(), _catalog).Definition is not { } definition) return;
        lock (_gate)
        {
            if (_deleted.TryAdd(secret.Metadata.Uid, definition)) _deletedOrder.Enqueue(secret.Metadata.Uid);
            if (_deletedOrder.Count > MaxDeleted) _deleted.Remove(_deletedOrder.Dequeue());
        }
    }

    private V1Pod? PodOf(SidecarStream stream) =>
        _cluster.Pods.Store.Get(stream.Sandbox.Pod) is { } pod && pod.Metadata.Uid == stream.Sandbox.Uid ? pod : null;

    private List<SidecarStream> All()
    {
        lock (_gate) return [.. _streams.Values];
    }

    private static HashSet<SidecarStream> Of<TKey>(Dictionary<TKey, HashSet<SidecarStream>> index, TKey key)
        where TKey : notnull
    {
        if (!index.TryGetValue(key, out HashSet<SidecarStream>? found)) index[key] = found = [];
        return found;
    }

    private static void Drop<TKey>(Dictionary<TKey, HashSet<SidecarStream>> index, TKey key, SidecarStream stream)
        where TKey : notnull
    {
        if (index.TryGetValue(key, out HashSet<SidecarStream>? found) && found.Remove(stream) && found.Count == 0) index.Remove(key);
    }
}
