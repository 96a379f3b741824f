using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using k8s;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Superserve.Kubernetes.Api;

namespace Superserve.Kubernetes.Tests.Support;

/// <summary>One request that was received.</summary>
internal sealed record Received(string Method, string Path, IQueryCollection Query, string Body, string ContentType, string Authorization)
{
    public bool IsWatch => Query["watch"] == "true";
}

/// <summary>
/// An API server that plays answers: each request takes the next one of its queue ("list", "watch", else the method). A queue that
/// has run out repeats its last answer for lists, is silent for watches, and says 404 to everything else.
/// </summary>
internal sealed class FakeApiServer : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly ConcurrentDictionary<string, ConcurrentQueue<Func<HttpContext, Task>>> _answers = new();
    private readonly ConcurrentQueue<Received> _received = new();
    private Func<HttpContext, Task>? _lastList;
    private int _openWatches;

    private FakeApiServer(WebApplication app) => _app = app;

    public Uri Uri => new(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single());

    public IReadOnlyList<Received> Requests => [.. _received];

    public IReadOnlyList<Received> Watches => [.. _received.Where(request => request.IsWatch)];

    public IReadOnlyList<Received> Lists => [.. _received.Where(request => request.Method == "GET" && !request.IsWatch)];

    /// <summary>How many watches the client holds open.</summary>
    public int OpenWatches => Volatile.Read(ref _openWatches);

    public static async Task<FakeApiServer> StartAsync(Func<X509Certificate2>? certificate = null)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen =>
        {
            listen.Protocols = HttpProtocols.Http1;
            if (certificate is not null) listen.UseHttps(https => https.ServerCertificateSelector = (_, _) => certificate());
        }));
        WebApplication app = builder.Build();
        FakeApiServer server = new(app);
        app.Run(server.AnswerAsync);
        await app.StartAsync();
        return server;
    }

    public KubernetesConnection Connect(TimeProvider? time = null) =>
        new(new KubernetesClientConfiguration { Host = Uri.ToString() }, time ?? TimeProvider.System);

    /// <summary>Puts an answer at the end of a queue.</summary>
    public FakeApiServer On(string queue, Func<HttpContext, Task> answer)
    {
        _answers.GetOrAdd(queue, _ => new()).Enqueue(answer);
        return this;
    }

    public FakeApiServer On(string queue, string json, int status = 200) => On(queue, context => WriteAsync(context, status, json));

    /// <summary>A watch that sends these lines and then ends, or, if <paramref name="open"/>, sends nothing more.</summary>
    public FakeApiServer OnWatch(IEnumerable<string> lines, bool open = false) => On("watch", async context =>
    {
        foreach (string line in lines) await context.Response.WriteAsync(line + "\n");
        await context.Response.Body.FlushAsync();
        if (open) await SilenceAsync(context);
    });

    public async ValueTask DisposeAsync()
    {
        using CancellationTokenSource now = new();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
    }

    public static async Task SilenceAsync(HttpContext context)
    {
        await context.Response.StartAsync();
        await context.Response.Body.FlushAsync();
        await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    public static async Task WriteAsync(HttpContext context, int status, string json)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json";
        await context.Response.WriteAsync(json);
    }

    private async Task AnswerAsync(HttpContext context)
    {
        using StreamReader reader = new(context.Request.Body);
        Received received = new(
            context.Request.Method, context.Request.Path, context.Request.Query, await reader.ReadToEndAsync(),
            context.Request.ContentType ?? "", context.Request.Headers.Authorization.ToString());
        string queue = received.IsWatch ? "watch" : received.Method == "GET" && _answers.ContainsKey("list") ? "list" : received.Method;
        Func<HttpContext, Task>? answer = null;
        if (_answers.TryGetValue(queue, out ConcurrentQueue<Func<HttpContext, Task>>? answers)) answers.TryDequeue(out answer);
        if (queue == "list") answer = _lastList = answer ?? _lastList;
        if (received.IsWatch) Interlocked.Increment(ref _openWatches);
        _received.Enqueue(received);
        try
        {
            if (answer is not null) await answer(context);
            else if (received.IsWatch) await SilenceAsync(context);
            else await WriteAsync(context, 404, Objects.Status(404, "NotFound"));
        }
        finally
        {
            if (received.IsWatch) Interlocked.Decrement(ref _openWatches);
        }
    }
}
