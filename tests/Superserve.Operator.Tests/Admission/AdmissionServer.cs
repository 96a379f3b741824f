using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Superserve.Operator.Admission;

namespace Superserve.Operator.Tests.Admission;

/// <summary>The endpoints on a loopback port, with TLS where a certificate is given.</summary>
internal sealed class AdmissionServer : IAsyncDisposable
{
    public const string Path = "/validate/test";

    private readonly WebApplication _app;
    private readonly AdmissionEndpoints _endpoints;

    private AdmissionServer(IEnumerable<(string Path, IAdmissionHandler Handler)> handlers, X509Certificate2? certificate, TimeProvider time, long? maxBodySize)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = maxBodySize;
            kestrel.Listen(IPAddress.Loopback, 0, listen =>
            {
                if (certificate is not null) listen.UseHttps(certificate);
            });
        });
        builder.Services.AddRoutingCore();
        _app = builder.Build();
        _endpoints = new AdmissionEndpoints(Counts.Metrics, time, Log);
        foreach ((string path, IAdmissionHandler handler) in handlers) _endpoints.Map(_app, path, handler);
    }

    public AdmissionCounts Counts { get; } = new();

    public LogLines Log { get; } = new();

    public HttpClient Http { get; private set; } = null!;

    public IPEndPoint EndPoint { get; private set; } = null!;

    public static Task<AdmissionServer> StartAsync(IAdmissionHandler handler, TimeProvider? time = null, long? maxBodySize = null) =>
        StartAsync([(Path, handler)], time: time, maxBodySize: maxBodySize);

    public static async Task<AdmissionServer> StartAsync(
        IEnumerable<(string Path, IAdmissionHandler Handler)> handlers, X509Certificate2? certificate = null, TimeProvider? time = null, long? maxBodySize = null)
    {
        AdmissionServer server = new(handlers, certificate, time ?? TimeProvider.System, maxBodySize);
        await server._app.StartAsync();
        Uri address = new(server._app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        server.EndPoint = new IPEndPoint(IPAddress.Loopback, address.Port);
        SocketsHttpHandler direct = new() { UseProxy = false };
        server.Http = new HttpClient(direct) { BaseAddress = address };
        return server;
    }

    public Task<(int Code, string Text)> PostAsync(string body, string contentType = "application/json") => PostAsync(Encoding.UTF8.GetBytes(body), contentType);

    public async Task<(int Code, string Text)> PostAsync(byte[] body, string contentType = "application/json")
    {
        using ByteArrayContent content = new(body);
        if (contentType.Length > 0) content.Headers.ContentType = MediaTypeHeaderValue.Parse(contentType);
        using HttpResponseMessage answer = await Http.PostAsync(new Uri(Path, UriKind.Relative), content);
        return ((int)answer.StatusCode, await answer.Content.ReadAsStringAsync());
    }

    /// <summary>The response of a review that is answered.</summary>
    public async Task<JsonNode> AskAsync(JsonObject review)
    {
        (int code, string text) = await PostAsync(review.ToJsonString());
        Assert.True(code == 200, text);
        JsonNode answer = JsonNode.Parse(text)!;
        Assert.Equal(("AdmissionReview", "admission.k8s.io/v1"), ((string?)answer["kind"], (string?)answer["apiVersion"]));
        Assert.Equal((string?)review["request"]!["uid"], (string?)answer["response"]!["uid"]);
        return answer["response"]!;
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _app.DisposeAsync();
        _endpoints.Dispose();
        Counts.Metrics.Dispose();
        Counts.Dispose();
    }
}

/// <summary>What was logged.</summary>
internal sealed class LogLines : ILogger<AdmissionEndpoints>
{
    private readonly ConcurrentQueue<string> _lines = new();

    public override string ToString() => string.Join('\n', _lines);

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        _lines.Enqueue($"{logLevel} {eventId.Id} {formatter(state, exception)} {exception}");
}

/// <summary>A handler that is a function.</summary>
internal sealed class Handler(Func<AdmissionRequest, CancellationToken, Task<AdmissionDecision>> decide) : IAdmissionHandler
{
    public static Handler Allowing { get; } = new((_, _) => Task.FromResult(AdmissionDecision.Allow()));

    public Task<AdmissionDecision> AdmitAsync(AdmissionRequest request, CancellationToken cancellationToken) => decide(request, cancellationToken);
}
