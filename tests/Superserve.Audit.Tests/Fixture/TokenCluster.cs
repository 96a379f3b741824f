using Superserve.ApiServer;

namespace Superserve.Audit.Tests.Fixture;

/// <summary>An embedded API server with pods, and the tokens that their sidecars would have.</summary>
public sealed class TokenCluster : IAsyncLifetime
{
    private EmbeddedApiServer _server = null!;

    public string Kubeconfig => _server.KubeconfigPath;

    public IReadOnlyList<string> Tokens { get; private set; } = [];

    public async ValueTask InitializeAsync()
    {
        _server = await EmbeddedApiServer.StartAsync();
        await _server.ApplyAsync("{apiVersion: v1, kind: Namespace, metadata: {name: agents}}");
        await _server.ApplyAsync("{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: agents}}");
        List<string> tokens = [];
        for (int i = 0; i < 6; i++)
        {
            await _server.ApplyAsync($"{{apiVersion: v1, kind: Pod, metadata: {{name: agent-{i}, namespace: agents}}, spec: {{containers: [{{name: agent, image: agent}}]}}}}");
            tokens.Add(_server.ServiceAccountClient("agents", "default", "superserve.ai", $"agent-{i}").Token);
        }

        Tokens = tokens;
    }

    public ValueTask DisposeAsync() => _server.DisposeAsync();
}
