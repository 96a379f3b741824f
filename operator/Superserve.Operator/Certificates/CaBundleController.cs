using System.Text;
using k8s;
using k8s.Models;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Caching;
using Superserve.Kubernetes.Controllers;
using Superserve.Kubernetes.Queueing;
using Superserve.Kubernetes.Writing;
using Superserve.Operator.Configuration;

namespace Superserve.Operator.Certificates;

/// <summary>
/// Tells the API server which CAs the operator's certificates are signed by: keeps <c>caBundle</c> in the webhook configurations that
/// the chart installs without one. A field manager of its own owns that field alone, so that neither side undoes the other's work.
/// An object that is not there is never made. For the leader, and not where cert-manager does the same.
/// </summary>
public sealed class CaBundleController : IDisposable
{
    /// <summary>Who owns the field.</summary>
    public const string FieldManager = "superserve-ca-injector";

    private const string Name = "ca-bundle";

    private readonly ServingCertificates _serving;
    private readonly Applier _applier;
    private readonly WorkQueue<ITarget> _queue;
    private readonly Controller<ITarget> _controller;
    private readonly ITarget[] _targets;

    /// <summary>Runs nothing yet.</summary>
    public CaBundleController(
        ServingCertificates serving,
        KubernetesConnection connection,
        OperatorOptions options,
        KubernetesMetrics metrics,
        TimeProvider time,
        ILoggerFactory loggers)
    {
        _serving = serving;
        _applier = new Applier(connection, FieldManager);
        _queue = new WorkQueue<ITarget>(Name, metrics, time);
        _controller = new Controller<ITarget>(Name, _queue, ReconcileAsync, metrics, time, loggers.CreateLogger<Controller<ITarget>>());
        _targets =
        [
            Watch<V1ValidatingWebhookConfiguration>(
                options.WebhookConfigurationName, (live, bundle) => Webhooks(live.Webhooks?.Select(webhook => webhook.Name), bundle)),
            Watch<V1MutatingWebhookConfiguration>(
                options.WebhookConfigurationName, (live, bundle) => Webhooks(live.Webhooks?.Select(webhook => webhook.Name), bundle)),
        ];

        Target<T> Watch<T>(string name, Func<T, byte[], object?> fields)
            where T : class, IKubernetesObject<V1ObjectMeta>
        {
            InformerOptions watched = new() { FieldSelector = $"metadata.name={name}", FieldManager = FieldManager };
            Target<T> target = new(new ObjectKey("", name), new Informer<T>(connection, watched, metrics, time, loggers.CreateLogger<Informer<T>>()), fields);
            target.Informer.Subscribe(change => _queue.Add(target));
            return target;
        }
    }

    /// <summary>Runs until cancelled, once.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        _serving.TrustBundleChanged += AddAll;
        try
        {
            await Task.WhenAll(
            [
                _controller.RunAsync(_targets.Select(target => target.Synced), cancellationToken),
                .. _targets.Select(target => target.RunAsync(cancellationToken)),
            ]);
        }
        finally
        {
            _serving.TrustBundleChanged -= AddAll;
        }
    }

    /// <inheritdoc />
    public void Dispose() => _queue.Dispose();

    private void AddAll()
    {
        foreach (ITarget target in _targets) _queue.Add(target);
    }

    private async Task<Result> ReconcileAsync(ITarget target, CancellationToken cancellationToken)
    {
        // Without a bundle yet, its coming adds all targets.
        if (_serving.TrustBundle is { } bundle) await target.ApplyAsync(_applier, Encoding.ASCII.GetBytes(bundle), cancellationToken);
        return Result.Done;
    }

    /// <summary>The list is keyed by name; all other fields of a webhook are the chart's.</summary>
    private static object? Webhooks(IEnumerable<string>? names, byte[] bundle)
    {
        object[] webhooks = [.. (names ?? []).Select(name => new { name, clientConfig = new { caBundle = bundle } })];
        return webhooks.Length == 0 ? null : new { webhooks };
    }

    /// <summary>An object with a bundle in it.</summary>
    private interface ITarget
    {
        Task Synced { get; }

        Task RunAsync(CancellationToken cancellationToken);

        Task ApplyAsync(Applier applier, byte[] bundle, CancellationToken cancellationToken);
    }

    private sealed class Target<T>(ObjectKey key, Informer<T> informer, Func<T, byte[], object?> fields) : ITarget
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        public Informer<T> Informer => informer;

        public Task Synced => informer.Synced;

        public Task RunAsync(CancellationToken cancellationToken) => informer.RunAsync(cancellationToken);

        public async Task ApplyAsync(Applier applier, byte[] bundle, CancellationToken cancellationToken)
        {
            if (informer.Store.Get(key) is { } live && fields(live, bundle) is { } wanted)
                await applier.ApplyAsync(key, wanted, live, cancellationToken: cancellationToken);
        }

        public override string ToString() => $"{typeof(T).Name} {key}";
    }
}
