using System.Net;
using System.Text.Json.Nodes;
using k8s;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Superserve.Kubernetes.Api;
using Superserve.Operator.Delivery;

namespace Superserve.Operator.Tests.Delivery.Fixture;

/// <summary>An API server that gives every TokenReview one answer.</summary>
internal sealed class FakeReviews : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly KubernetesConnection _connection;
    private readonly TokenReviewer _reviewer;

    private int _asked;

    private FakeReviews(WebApplication app)
    {
        _app = app;
        _connection = new KubernetesConnection(new KubernetesClientConfiguration { Host = app.Urls.First() }, TimeProvider.System);
        _reviewer = new TokenReviewer(_connection, new DeliveryLimits(), NullLogger<TokenReviewer>.Instance);
    }

    public static async Task<FakeReviews> StartAsync(JsonNode answer)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0));
        WebApplication app = builder.Build();
        FakeReviews? reviews = null;
        app.Run(context =>
        {
            Interlocked.Increment(ref reviews!._asked);
            return context.Response.WriteAsJsonAsync(answer);
        });
        await app.StartAsync();
        return reviews = new FakeReviews(app);
    }

    /// <summary>How often it was asked.</summary>
    public int Asked => Volatile.Read(ref _asked);

    public Task<ProvenPod> ReviewAsync(string token) => _reviewer.ReviewAsync(token, CancellationToken.None);

    public async ValueTask DisposeAsync()
    {
        _reviewer.Dispose();
        _connection.Dispose();
        await _app.DisposeAsync();
    }
}
