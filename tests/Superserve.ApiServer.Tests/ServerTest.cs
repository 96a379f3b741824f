using Superserve.Testing;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;

namespace Superserve.ApiServer.Tests;

/// <summary>A server of its own for every test, and short ways to ask it.</summary>
public abstract class ServerTest : IAsyncLifetime
{
    protected const string Gadgets = "apis/example.com/v1/namespaces/default/gadgets";
    protected const string Pods = "api/v1/namespaces/default/pods";

    private HttpClient? _http;

    protected EmbeddedApiServer Server { get; private set; } = null!;

    internal Kubectl Kubectl { get; private set; } = null!;

    private protected HttpClient Http => _http ??= Server.Client().CreateHttpClient();

    protected virtual EmbeddedApiServerOptions Options => new();

    public async ValueTask InitializeAsync()
    {
        Server = await EmbeddedApiServer.StartAsync(Options);
        Kubectl = new Kubectl(Server.KubeconfigPath);
        await Server.ApplyAsync(Samples.Crd);
    }

    public virtual async ValueTask DisposeAsync()
    {
        _http?.Dispose();
        await Server.DisposeAsync();
    }

    /// <summary>Asks, and gives the status code with the answer.</summary>
    protected static async Task<(int Code, JsonNode Body)> AskAsync(HttpClient http, HttpMethod method, string path, string? body = null, string type = "application/json")
    {
        using HttpRequestMessage request = new(method, new Uri(path, UriKind.Relative));
        if (body is not null) request.Content = new StringContent(body, Encoding.UTF8, new MediaTypeHeaderValue(type));
        using HttpResponseMessage answer = await http.SendAsync(request);
        string text = await answer.Content.ReadAsStringAsync();
        return ((int)answer.StatusCode, JsonNode.Parse(text.StartsWith('{') ? text : "{}")!);
    }

    protected async Task<JsonNode> GetAsync(string path)
    {
        (int code, JsonNode body) = await AskAsync(Http, HttpMethod.Get, path);
        Assert.True(code == 200, $"{path}: {body}");
        return body;
    }

    protected Task<(int Code, JsonNode Body)> PostAsync(string path, string body) => AskAsync(Http, HttpMethod.Post, path, body, "application/yaml");

    protected Task<(int Code, JsonNode Body)> PutAsync(string path, JsonNode body) => AskAsync(Http, HttpMethod.Put, path, body.ToJsonString());

    protected Task<(int Code, JsonNode Body)> MergeAsync(string path, string body) => AskAsync(Http, HttpMethod.Patch, path, body, "application/merge-patch+json");

    protected Task<(int Code, JsonNode Body)> DeleteAsync(string path, string? body = null) => AskAsync(Http, HttpMethod.Delete, path, body);

    /// <summary>Server-side apply.</summary>
    protected Task<(int Code, JsonNode Body)> ApplyAsync(string path, string yaml, string manager, bool force = false) =>
        AskAsync(Http, HttpMethod.Patch, $"{path}?fieldManager={manager}&force={(force ? "true" : "false")}", yaml, "application/apply-patch+yaml");

    protected async Task<HttpStatusCode> StatusOfAsync(ClientAccess access, string path)
    {
        using HttpClient http = access.CreateHttpClient();
        return (HttpStatusCode)(await AskAsync(http, HttpMethod.Get, path)).Code;
    }

    /// <summary>Waits until something holds; what happens in the background takes a moment.</summary>
    protected static async Task EventuallyAsync(Func<Task<bool>> holds, string what)
    {
        for (int attempt = 0; attempt < 200; attempt++)
        {
            if (await holds()) return;
            await Task.Delay(TimeSpan.FromMilliseconds(25), TimeProvider.System);
        }

        Assert.Fail($"It did not happen: {what}");
    }
}
