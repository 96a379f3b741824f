using System.Text;
using k8s;
using k8s.Models;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Caching;
using Superserve.Kubernetes.Controllers;
using Superserve.Kubernetes.Queueing;
using Superserve.Operator.AuditApi;
using Superserve.Operator.Configuration;

namespace Superserve.Operator.Certificates;

/// <summary>
/// Tells the API server which CAs the operator's certificates are signed by: keeps <c>caBundle</c> in the webhook configurations and the
/// APIService that the chart installs without one. A field manager of its own owns that field alone, so that neither side undoes the other's work.
/// An object that is not there is never made. For the leader, and not where cert-manager does the same.
/// <para>
/// A JSON patch, and not server-side apply: an applied field of a webhook comes with ownership of the webhook itself, and a chart that
/// drops a webhook would be refused, because what is left of it, a name and a bundle, is not valid.
/// </para>
/// </summary>
public sealed class CaBundleController : IDisposable
{
    /// <summary>Who owns the field.</summary>
    public const string FieldManager = "superserve-ca-injector";

    private const string Name = "ca-bundle";

    private readonly ServingCertificates _serving;
    private readonly KubernetesConnection _connection;
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
        _connection = connection;
        _queue = new WorkQueue<ITarget>(Name, metrics, time);
        _controller = new Controller<ITarget>(Name, _queue, ReconcileAsync, metrics, time, loggers.CreateLogger<Controller<ITarget>>());
        _targets =
        [
            Watch<V1ValidatingWebhookConfiguration>(
                options.WebhookConfigurationName, (live, bundle) => Webhooks(live.Webhooks?.Select(webhook => (webhook.Name, webhook.ClientConfig)), bundle)),
            Watch<V1MutatingWebhookConfiguration>(
                options.WebhookConfigurationName, (live, bundle) => Webhooks(live.Webhooks?.Select(webhook => (webhook.Name, webhook.ClientConfig)), bundle)),
            .. options.AuditAddress is null ? (ITarget[])[] : [Watch<V1APIService>($"{AuditResource.Version}.{AuditResource.Group}", ApiService)],
        ];

        Target<T> Watch<T>(string name, Func<T, byte[], IEnumerable<Operation>> missing)
            where T : class, IKubernetesObject<V1ObjectMeta>
        {
            InformerOptions watched = new() { FieldSelector = $"metadata.name={name}" };
            Target<T> target = new(new ObjectKey("", name), new Informer<T>(connection, watched, metrics, time, loggers.CreateLogger<Informer<T>>()), missing);
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
        if (_serving.TrustBundle is { } bundle) await target.PatchAsync(_connection, Encoding.ASCII.GetBytes(bundle), cancellationToken);
        return Result.Done;
    }

    /// <summary>A webhook is patched by its place; should that have changed, the test of its name fails, and it is tried again.</summary>
    private static IEnumerable<Operation> Webhooks(IEnumerable<(string Name, Admissionregistrationv1WebhookClientConfig Client)>? webhooks, byte[] bundle) =>
        (webhooks ?? []).SelectMany((webhook, index) => bundle.AsSpan().SequenceEqual(webhook.Client.CaBundle)
            ? (Operation[])[]
            : [new("test", $"/webhooks/{index}/name", webhook.Name), new("add", $"/webhooks/{index}/clientConfig/caBundle", bundle)]);

    private static IEnumerable<Operation> ApiService(V1APIService live, byte[] bundle) =>
        bundle.AsSpan().SequenceEqual(live.Spec.CaBundle) ? [] : [new("add", "/spec/caBundle", bundle)];

    /// <summary>One of a JSON patch.</summary>
    private sealed record Operation(string Op, string Path, object Value);

    /// <summary>An object with a bundle in it.</summary>
    private interface ITarget
    {
        Task Synced { get; }

        Task RunAsync(CancellationToken cancellationToken);

        Task PatchAsync(KubernetesConnection connection, byte[] bundle, CancellationToken cancellationToken);
    }

    /// <param name="key">Which object.</param>
    /// <param name="informer">What is known of it.</param>
    /// <param name="missing">What has to be done for it to have the bundle; nothing where it has.</param>
    private sealed class Target<T>(ObjectKey key, Informer<T> informer, Func<T, byte[], IEnumerable<Operation>> missing) : ITarget
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        public Informer<T> Informer => informer;

        public Task Synced => informer.Synced;

        public Task RunAsync(CancellationToken cancellationToken) => informer.RunAsync(cancellationToken);

        public async Task PatchAsync(KubernetesConnection connection, byte[] bundle, CancellationToken cancellationToken)
        {
            if (informer.Store.Get(key) is not { } live) return;
            Operation[] patch = [.. missing(live, bundle)];
            if (patch.Length == 0) return;
            string path = $"{ResourceKind.Of<T>().ObjectPath(key)}?fieldManager={FieldManager}";
            await connection.SendAsync<T>(HttpMethod.Patch, path, patch, "application/json-patch+json", cancellationToken);
        }

        public override string ToString() => $"{typeof(T).Name} {key}";
    }
}
