using k8s.Models;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Caching;
using Superserve.Kubernetes.Controllers;
using Superserve.Kubernetes.Queueing;
using Superserve.Operator.Bindings;
using Superserve.Operator.Cluster;
using Superserve.Operator.Resources;
using Superserve.Operator.Secrets;

namespace Superserve.Operator.Reconciling;

/// <summary>
/// Which change asks for which reconciliation. A Superserve Secret depends on its core Secret, its count on bindings and pods, and on its use; a
/// SandboxBinding depends on its secrets, on the namespace's pods and label, and for conflicts on its neighbours.
/// </summary>
public sealed class StatusControllers : IDisposable
{
    /// <summary>Pods come in crowds; each crowd is one reconciliation.</summary>
    private static readonly TimeSpan PodDelay = TimeSpan.FromMilliseconds(500);

    private readonly ClusterCache _cluster;
    private readonly WorkQueue<ObjectKey> _secretQueue;
    private readonly WorkQueue<ObjectKey> _bindingQueue;
    private readonly Controller<ObjectKey> _secrets;
    private readonly Controller<ObjectKey> _bindings;

    /// <summary>A replica that does not lead collects no work: it would show as a queue that nobody empties.</summary>
    private volatile bool _isLeading;

    /// <summary>Subscribes to the cluster's changes; nothing is reconciled before <see cref="RunAsync"/>.</summary>
    public StatusControllers(
        ClusterCache cluster, SecretReconciler secrets, BindingReconciler bindings, SecretUses uses, KubernetesMetrics metrics, TimeProvider time, ILoggerFactory loggers)
    {
        _cluster = cluster;
        _secretQueue = new WorkQueue<ObjectKey>("secrets", metrics, time);
        _bindingQueue = new WorkQueue<ObjectKey>("sandboxbindings", metrics, time);
        ILogger<Controller<ObjectKey>> logger = loggers.CreateLogger<Controller<ObjectKey>>();
        _secrets = new Controller<ObjectKey>("secrets", _secretQueue, secrets.ReconcileAsync, metrics, time, logger);
        _bindings = new Controller<ObjectKey>("sandboxbindings", _bindingQueue, bindings.ReconcileAsync, metrics, time, logger);

        cluster.Secrets.Subscribe(change => WhenLeading(() =>
        {
            if (change.IsOfSpec()) OnSecret(ObjectKey.Of(change.Object));
        }));
        uses.Changed += key => WhenLeading(() => _secretQueue.Add(key));
        cluster.CoreSecrets.Subscribe(key => WhenLeading(() => OnCoreSecret(key)));
        cluster.Bindings.Subscribe(change => WhenLeading(() => OnBinding(change)));
        cluster.Pods.Subscribe(change => WhenLeading(() => OnPod(change)));
        cluster.Namespaces.Subscribe(change => WhenLeading(() => EnqueueBindingsOf(change.Object.Metadata.Name)));
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _secretQueue.Dispose();
        _bindingQueue.Dispose();
    }

    /// <summary>Reconciles until cancelled; for the leader alone. It begins with everything there is.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        Task[] caches = [.. _cluster.FirstLists.Select(list => list.Synced)];
        await Task.WhenAll(caches).WaitAsync(cancellationToken);
        _isLeading = true;
        // Whoever led before may have left anything undone.
        foreach (SecretResource secret in _cluster.Secrets.Store.List()) _secretQueue.Add(ObjectKey.Of(secret));
        foreach (SandboxBindingResource binding in _cluster.Bindings.Store.List()) _bindingQueue.Add(ObjectKey.Of(binding));
        await Task.WhenAll(_secrets.RunAsync(caches, cancellationToken), _bindings.RunAsync(caches, cancellationToken));
    }

    private void WhenLeading(Action enqueue)
    {
        if (_isLeading) enqueue();
    }

    private void OnSecret(ObjectKey key)
    {
        _secretQueue.Add(key);
        foreach (SandboxBindingResource binding in _cluster.BindingsOf(key)) _bindingQueue.Add(ObjectKey.Of(binding));
    }

    private void OnCoreSecret(ObjectKey key)
    {
        foreach (SecretResource secret in _cluster.SecretsOf(key)) OnSecret(ObjectKey.Of(secret));
    }

    private void OnBinding(Change<SandboxBindingResource> change)
    {
        if (!change.IsOfSpec()) return;
        _bindingQueue.Add(ObjectKey.Of(change.Object));
        string ns = change.Object.Metadata.NamespaceProperty;
        EnqueueBindingsOf(ns);
        foreach (SecretBinding secret in (change.Object.Spec?.Secrets ?? []).Concat(change.Old?.Spec?.Secrets ?? []))
            if (secret.SecretName is { } name) _secretQueue.Add(new ObjectKey(ns, name));
    }

    private void OnPod(Change<V1Pod> change)
    {
        if (change.Kind == ChangeKind.Updated && IsSame(change.Old!, change.Object)) return;
        foreach (SandboxBindingResource binding in _cluster.Bindings.Store.InNamespace(change.Object.Metadata.NamespaceProperty))
        {
            if (binding.Spec?.Selector.Matches(change.Object.Metadata.Labels) != true && binding.Spec?.Selector.Matches(change.Old?.Metadata.Labels) != true) continue;
            _bindingQueue.AddAfter(ObjectKey.Of(binding), PodDelay);
            foreach (SecretBinding secret in binding.Spec?.Secrets ?? [])
                _secretQueue.AddAfter(new ObjectKey(binding.Metadata.NamespaceProperty, secret.SecretName ?? ""), PodDelay);
        }
    }

    private static bool IsSame(V1Pod before, V1Pod now) =>
        before.IsInjected() == now.IsInjected() && before.IsFinished() == now.IsFinished() && before.IsConnected() == now.IsConnected()
        && before.IsTransparent() == now.IsTransparent() && before.HasSameLabels(now);

    private void EnqueueBindingsOf(string ns)
    {
        foreach (SandboxBindingResource binding in _cluster.Bindings.Store.InNamespace(ns)) _bindingQueue.Add(ObjectKey.Of(binding));
    }
}
