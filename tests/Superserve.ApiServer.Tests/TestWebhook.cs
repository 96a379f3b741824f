using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace Superserve.ApiServer.Tests;

/// <summary>An HTTPS webhook of a test: a function from a request to a response, and what it was asked.</summary>
internal sealed class TestWebhook : IAsyncDisposable
{
    private readonly X509Certificate2 _certificate;
    private readonly WebApplication _app;

    private TestWebhook(Func<JsonObject, JsonObject> answer, string host)
    {
        _certificate = TestCertificate.Create(host);
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.UseHttps(_certificate)));
        _app = builder.Build();
        _app.Run(async context =>
        {
            JsonObject asked = (JsonObject)(await JsonNode.ParseAsync(context.Request.Body))!["request"]!;
            Asked.Add(asked);
            JsonObject response = answer(asked);
            response["uid"] = (string?)asked["uid"];
            await context.Response.WriteAsync(new JsonObject { ["apiVersion"] = "admission.k8s.io/v1", ["kind"] = "AdmissionReview", ["response"] = response }.ToJsonString());
        });
    }

    public ConcurrentBag<JsonObject> Asked { get; } = [];

    public string CaBundle => Convert.ToBase64String(Encoding.ASCII.GetBytes(_certificate.ExportCertificatePem()));

    public IPEndPoint EndPoint { get; private set; } = new(IPAddress.Loopback, 0);

    public static JsonObject Allow() => new() { ["allowed"] = true };

    public static JsonObject Deny(string message, int code = 403) => new() { ["allowed"] = false, ["status"] = new JsonObject { ["message"] = message, ["code"] = code } };

    public static JsonObject Patch(string operations) =>
        new() { ["allowed"] = true, ["patchType"] = "JSONPatch", ["patch"] = Convert.ToBase64String(Encoding.UTF8.GetBytes(operations)) };

    public static async Task<TestWebhook> StartAsync(Func<JsonObject, JsonObject> answer, string host = "localhost")
    {
        TestWebhook webhook = new(answer, host);
        await webhook._app.StartAsync();
        string address = webhook._app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
        webhook.EndPoint = new IPEndPoint(IPAddress.Loopback, new Uri(address).Port);
        return webhook;
    }

    /// <summary>A configuration that sends what happens to pods (or more) here.</summary>
    public string Configuration(string kind, string name, string more = "", string resources = "pods", string operations = "CREATE", string? client = null) => $$"""
        apiVersion: admissionregistration.k8s.io/v1
        kind: {{kind}}WebhookConfiguration
        metadata: {name: {{name}}}
        webhooks:
        - name: {{name}}.example.com
          admissionReviewVersions: [v1]
          sideEffects: None
          clientConfig: { {{client ?? $"url: \"https://127.0.0.1:{EndPoint.Port}/hook\""}}, caBundle: {{CaBundle}} }
          rules: [{operations: [{{operations}}], apiGroups: [""], apiVersions: [v1], resources: [{{resources}}]}]
          {{more}}
        """;

    public async ValueTask DisposeAsync()
    {
        await _app.DisposeAsync();
        _certificate.Dispose();
    }
}
