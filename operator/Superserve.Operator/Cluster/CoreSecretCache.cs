using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Caching;

namespace Superserve.Operator.Cluster;

/// <summary>What is known of a core Secret.</summary>
public abstract record CoreSecretLookup
{
    private CoreSecretLookup()
    {
    }

    /// <summary>It is there.</summary>
    public sealed record Found(CoreSecret Secret) : CoreSecretLookup;

    /// <summary>There is none.</summary>
    public sealed record Missing : CoreSecretLookup;

    /// <summary>The API server refuses to show it, or cannot be asked.</summary>
    public sealed record Unreadable(bool IsForbidden) : CoreSecretLookup;

    /// <summary>It is not looked at: the namespace names more than it may (<see cref="CredentialQuota"/>).</summary>
    public sealed record TooMany : CoreSecretLookup;

    /// <summary>The first answer is not in.</summary>
    public sealed record Pending : CoreSecretLookup;
}

/// <summary>
/// The core Secrets that are named by a Superserve Secret, and no other: each is watched by its name, which a Role with
/// <c>resourceNames</c> permits as well as one for a namespace or the cluster.
/// </summary>
public sealed class CoreSecretCache(KubernetesConnection connection, KubernetesMetrics metrics, TimeProvider time, ILoggerFactory loggers) : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly Dictionary<ObjectKey, Followed> _followed = [];
    private readonly List<Action<ObjectKey>> _handlers = [];
    private bool _disposed;

    /// <summary>Calls a handler with the core Secret's key whenever it changed.</summary>
    public void Subscribe(Action<ObjectKey> handler) => _handlers.Add(handler);

    /// <summary>What is known now.</summary>
    public CoreSecretLookup Find(ObjectKey key)
    {
        Informer<CoreSecret>? informer;
        lock (_gate) informer = _followed.GetValueOrDefault(key)?.Informer;
        if (informer is null) return new CoreSecretLookup.Pending();
        if (informer.Failure is ApiException { StatusCode: System.Net.HttpStatusCode.Forbidden }) return new CoreSecretLookup.Unreadable(IsForbidden: true);
        // While the API server is away, what it last said counts.
        if (informer.HasSynced) return informer.Store.Get(key) is { } secret ? new CoreSecretLookup.Found(secret) : new CoreSecretLookup.Missing();
        return informer.Failure is null ? new CoreSecretLookup.Pending() : new CoreSecretLookup.Unreadable(IsForbidden: false);
    }

    /// <summary>Begins to watch a core Secret, unless it is watched already.</summary>
    public void Follow(ObjectKey key)
    {
        lock (_gate)
        {
            if (_disposed || _followed.ContainsKey(key)) return;
            Informer<CoreSecret> informer = new(
                connection,
                new InformerOptions { Namespace = key.Namespace, FieldSelector = $"metadata.name={key.Name}" },
                metrics, time, loggers.CreateLogger<Informer<CoreSecret>>(), CoreSecret.Shrink);
            informer.Subscribe(_ => Notify(key));
            CancellationTokenSource stop = new();
            Task run = Task.Run(() => informer.RunAsync(stop.Token), CancellationToken.None);
            // A Secret that is not there is an answer too, and no change.
            _ = informer.Synced.ContinueWith(_ => Notify(key), stop.Token, TaskContinuationOptions.OnlyOnRanToCompletion, TaskScheduler.Default);
            _followed[key] = new Followed(informer, stop, run);
        }
    }

    /// <summary>Stops watching a core Secret and forgets it.</summary>
    public void Unfollow(ObjectKey key)
    {
        lock (_gate)
        {
            if (!_followed.Remove(key, out Followed? followed)) return;
            followed.Stop.Cancel();
        }

        // Somebody may name it still.
        Notify(key);
    }

    /// <inheritdoc />
    public async ValueTask DisposeAsync()
    {
        Task[] runs;
        lock (_gate)
        {
            _disposed = true;
            foreach (Followed followed in _followed.Values) followed.Stop.Cancel();
            runs = [.. _followed.Values.Select(followed => followed.Run)];
            _followed.Clear();
        }

        await Task.WhenAll(runs).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private void Notify(ObjectKey key)
    {
        foreach (Action<ObjectKey> handler in _handlers) handler(key);
    }

    private sealed record Followed(Informer<CoreSecret> Informer, CancellationTokenSource Stop, Task Run);
}
