using k8s.Models;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Caching;
using Superserve.Operator.Admission;

namespace Superserve.Operator.AuditApi;

/// <summary>Keeps <see cref="FrontProxyTrust"/> as the API server says it at the moment: its CA rotates. Before it is known nobody is believed.</summary>
internal sealed partial class FrontProxy : BackgroundService
{
    private static readonly ObjectKey Source = new("kube-system", "extension-apiserver-authentication");

    private readonly Informer<V1ConfigMap> _informer;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private volatile FrontProxyTrust? _trust;

    /// <summary>Reads nothing before it is started.</summary>
    public FrontProxy(KubernetesConnection connection, KubernetesMetrics metrics, TimeProvider time, ILoggerFactory loggers)
    {
        _time = time;
        _logger = loggers.CreateLogger<FrontProxy>();
        InformerOptions watched = new() { Namespace = Source.Namespace, FieldSelector = $"metadata.name={Source.Name}" };
        _informer = new Informer<V1ConfigMap>(connection, watched, metrics, time, loggers.CreateLogger<Informer<V1ConfigMap>>());
        _informer.Subscribe(OnChange);
    }

    /// <summary>Who asks, of whom the API server's front proxy says so.</summary>
    /// <exception cref="AuditApiException">The caller is somebody else, or it cannot be told.</exception>
    public Requester Identify(HttpContext context)
    {
        if (_trust is not { } trust)
            throw AuditApiException.Unavailable($"the operator has not read the ConfigMap {Source} yet, which says whom to believe; if this stays, the RoleBinding superserve-operator-authentication-reader in kube-system is missing");
        if (!trust.Accepts(context.Connection.ClientCertificate, _time.GetUtcNow()))
            throw AuditApiException.Unauthorized("only the API server is answered here, by its front-proxy certificate; ask the API server");
        return trust.ReadUser(context.Request.Headers) ?? throw AuditApiException.Unauthorized("the API server says of nobody that they ask");
    }

    /// <inheritdoc />
    protected override Task ExecuteAsync(CancellationToken stoppingToken) => _informer.RunAsync(stoppingToken);

    private void OnChange(Change<V1ConfigMap> change)
    {
        string? problem = "it was deleted";
        FrontProxyTrust? trust = null;
        if (change.Kind != ChangeKind.Deleted) FrontProxyTrust.TryRead(change.Object.Data, out trust, out problem);
        _trust = trust;
        if (problem is not null) LogProblem(Source, problem);
    }

    [LoggerMessage(360, LogLevel.Error, "The ConfigMap {Source} does not say whom to believe, and kubectl get secretrequests is refused: {Problem}.")]
    private partial void LogProblem(ObjectKey source, string problem);
}
