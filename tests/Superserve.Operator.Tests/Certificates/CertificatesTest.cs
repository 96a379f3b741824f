using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Superserve.ApiServer;

namespace Superserve.Operator.Tests.Certificates;

/// <summary>An API server of its own for every test, with the operator's namespace.</summary>
public abstract class CertificatesTest : IAsyncLifetime
{
    protected const string OperatorNamespace = "superserve-system";
    protected const string Secrets = $"api/v1/namespaces/{OperatorNamespace}/secrets";

    private HttpClient? _http;

    protected EmbeddedApiServer Server { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Server = await EmbeddedApiServer.StartAsync();
        _http = Server.Client().CreateHttpClient();
        await Server.ApplyAsync($"{{apiVersion: v1, kind: Namespace, metadata: {{name: {OperatorNamespace}}}}}");
    }

    public virtual async ValueTask DisposeAsync()
    {
        _http?.Dispose();
        await Server.DisposeAsync();
    }

    protected JsonNode? Get(string apiVersion, string kind, string name, string inNamespace = "") =>
        Server.Get(apiVersion, kind, inNamespace, name) is { } text ? JsonNode.Parse(text) : null;

    protected JsonNode? Secret(string name) => Get("v1", "Secret", name, OperatorNamespace);

    protected string? Entry(string secret, string entry) =>
        (string?)Secret(secret)?["data"]?[entry] is { } value ? Encoding.ASCII.GetString(Convert.FromBase64String(value)) : null;

    protected async Task<HttpStatusCode> SendAsync(HttpMethod method, string path, string? body = null, string type = "application/merge-patch+json")
    {
        using HttpRequestMessage request = new(method, new Uri(path, UriKind.Relative));
        if (body is not null) request.Content = new StringContent(body, Encoding.UTF8, new MediaTypeHeaderValue(type));
        using HttpResponseMessage answer = await _http!.SendAsync(request);
        return answer.StatusCode;
    }

    protected async Task DeleteSecretAsync(string name) => Assert.Equal(HttpStatusCode.OK, await SendAsync(HttpMethod.Delete, $"{Secrets}/{name}"));

    protected async Task PatchSecretAsync(string name, string data) =>
        Assert.Equal(HttpStatusCode.OK, await SendAsync(HttpMethod.Patch, $"{Secrets}/{name}", $$"""{"data": {{data}}}"""));

    /// <summary>The writes that were asked for so far, as "verb resource".</summary>
    protected IEnumerable<string> Writes(string resource) =>
        Server.Requests.All.Where(request => request.Resource == resource && request.Verb is not ("get" or "list" or "watch")).Select(request => request.Verb);
}
