using System.Collections.Concurrent;
using System.Collections.Immutable;
using k8s.Models;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Caching;
using Superserve.Operator.Resources;

namespace Superserve.Operator.Cluster;

/// <summary>
/// What the operator knows of the cluster, on every replica: the resources, the core Secrets that they name, pods and namespaces.
/// Whoever wants to hear of changes subscribes before it starts.
/// </summary>
public sealed class ClusterCache : BackgroundService
{
    /// <summary>The field manager of everything that the operator writes into status.</summary>
    public const string StatusManager = "superserve-operator";

    private readonly ConcurrentDictionary<string, CredentialQuota> _quotas = new(StringComparer.Ordinal);
    private readonly StoreIndex<SecretResource> _secretsByCoreSecret;
    private readonly StoreIndex<SandboxBindingResource> _bindingsBySecret;

    /// <summary>Watches nothing yet.</summary>
    public ClusterCache(KubernetesConnection connection, CoreSecretCache coreSecrets, KubernetesMetrics metrics, TimeProvider time, ILoggerFactory loggers)
    {
        CoreSecrets = coreSecrets;
        InformerOptions own = new() { FieldManager = StatusManager };
        Secrets = new(connection, own, metrics, time, loggers.CreateLogger<Informer<SecretResource>>());
        Bindings = new(connection, own, metrics, time, loggers.CreateLogger<Informer<SandboxBindingResource>>());
        Pods = new(connection, new InformerOptions(), metrics, time, loggers.CreateLogger<Informer<V1Pod>>(), SandboxPods.Shrink);
        Namespaces = new(connection, new InformerOptions(), metrics, time, loggers.CreateLogger<Informer<V1Namespace>>());
        _secretsByCoreSecret = Secrets.Store.AddIndex(secret => secret.CoreSecret is { } key ? [key.ToString()] : []);
        _bindingsBySecret = Bindings.Store.AddIndex(binding =>
            (binding.Spec?.Secrets ?? []).Select(secret => new ObjectKey(binding.Metadata.NamespaceProperty, secret.SecretName ?? "").ToString()).Distinct());
        Secrets.Subscribe(FollowCoreSecret);
    }

    /// <summary>Superserve Secrets.</summary>
    public Informer<SecretResource> Secrets { get; }

    /// <summary>SandboxBindings.</summary>
    public Informer<SandboxBindingResource> Bindings { get; }

    /// <summary>All pods, each reduced to what <see cref="SandboxPods"/> looks at.</summary>
    public Informer<V1Pod> Pods { get; }

    /// <summary>Namespaces.</summary>
    public Informer<V1Namespace> Namespaces { get; }

    /// <summary>The core Secrets that Superserve Secrets name.</summary>
    public CoreSecretCache CoreSecrets { get; }

    /// <summary>The first lists, by what they are of.</summary>
    public IEnumerable<(string Kind, Task Synced)> FirstLists =>
        [("secrets.superserve.ai", Secrets.Synced), ("sandboxbindings.superserve.ai", Bindings.Synced), ("pods", Pods.Synced), ("namespaces", Namespaces.Synced)];

    /// <summary>The kinds that are not known yet.</summary>
    public IEnumerable<string> Missing => FirstLists.Where(list => !list.Synced.IsCompletedSuccessfully).Select(list => list.Kind);

    /// <summary>What is known of the core Secret that a Superserve Secret names; one that names none misses it.</summary>
    public CoreSecretLookup CoreSecretOf(SecretResource secret)
    {
        if (secret.CoreSecret is not { } key) return new CoreSecretLookup.Missing();
        bool isBeyond = _quotas.GetValueOrDefault(key.Namespace) is { IsExceeded: true } quota && !quota.Chosen.Contains(key.Name);
        return isBeyond ? new CoreSecretLookup.TooMany() : CoreSecrets.Find(key);
    }

    /// <summary>The Superserve Secrets that name a core Secret.</summary>
    public IReadOnlyList<SecretResource> SecretsOf(ObjectKey coreSecret) => _secretsByCoreSecret.Find(coreSecret.ToString());

    /// <summary>The bindings that name a Superserve Secret.</summary>
    public IReadOnlyList<SandboxBindingResource> BindingsOf(ObjectKey secret) => _bindingsBySecret.Find(secret.ToString());

    /// <inheritdoc />
    protected override Task ExecuteAsync(CancellationToken stoppingToken) => Task.WhenAll(
        Secrets.RunAsync(stoppingToken), Bindings.RunAsync(stoppingToken), Pods.RunAsync(stoppingToken), Namespaces.RunAsync(stoppingToken));

    private void FollowCoreSecret(Change<SecretResource> change)
    {
        string inNamespace = change.Object.Metadata.NamespaceProperty;
        CredentialQuota quota = _quotas.GetOrAdd(inNamespace, _ => new CredentialQuota());
        (ImmutableHashSet<string> added, ImmutableHashSet<string> removed) = quota.Take(change.Object, change.Kind == ChangeKind.Deleted ? null : change.Object.CoreSecret);
        if (quota.IsEmpty) _quotas.TryRemove(inNamespace, out _);
        foreach (string name in removed) CoreSecrets.Unfollow(new ObjectKey(inNamespace, name));
        foreach (string name in added) CoreSecrets.Follow(new ObjectKey(inNamespace, name));
    }
}
