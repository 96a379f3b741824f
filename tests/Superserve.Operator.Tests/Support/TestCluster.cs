using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Superserve.ApiServer;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Support;

/// <summary>An embedded API server with the CRDs, and connections of people and of the operator to it.</summary>
public sealed class TestCluster : IAsyncLifetime
{
    private readonly ServiceProvider _services = new ServiceCollection().AddMetrics().BuildServiceProvider();
    private readonly List<KubernetesConnection> _connections = [];

    public EmbeddedApiServer Server { get; private set; } = null!;

    public KubernetesMetrics Metrics { get; private set; } = null!;

    public IMeterFactory Meters => _services.GetRequiredService<IMeterFactory>();

    public ILoggerFactory Loggers { get; } = NullLoggerFactory.Instance;

    public async ValueTask InitializeAsync()
    {
        Metrics = new KubernetesMetrics(Meters);
        Server = await EmbeddedApiServer.StartAsync();
        foreach (string file in Directory.EnumerateFiles(Repository.PathTo("crds"), "*.yaml")) await Server.ApplyAsync(await File.ReadAllTextAsync(file));
        await Server.ApplyAsync($"{{apiVersion: v1, kind: Namespace, metadata: {{name: {Some.Namespace}}}}}");
    }

    public async ValueTask DisposeAsync()
    {
        foreach (KubernetesConnection connection in _connections) connection.Dispose();
        await Server.DisposeAsync();
        await _services.DisposeAsync();
    }

    /// <summary>A connection as the administrator, or as a user that has been added.</summary>
    public KubernetesConnection Connect(string user = EmbeddedApiServer.Admin)
    {
        string kubeconfig = Path.Combine(Path.GetDirectoryName(Server.KubeconfigPath)!, $"kubeconfig-{user}");
        Server.WriteKubeconfig(user, kubeconfig);
        KubernetesConnection connection = KubernetesConnection.FromKubeconfig(TimeProvider.System, kubeconfig);
        _connections.Add(connection);
        return connection;
    }
}
