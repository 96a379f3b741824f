using System.Net;
using System.Security.Cryptography.X509Certificates;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Superserve.Protocol.Audit;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests.Audit;

/// <summary>An audit service that keeps rows in memory, behind real TLS and HTTP/2; what it answers is the test's.</summary>
internal sealed class TestAudit : IAsyncDisposable
{
    private readonly Lock _lock = new();
    private readonly Dictionary<(string Boot, ulong Sequence), RequestRecord> _requests = [];
    private readonly Dictionary<(string Boot, ulong Sequence), NetworkRecord> _network = [];
    private readonly List<Batch> _batches = [];
    private readonly List<string?> _tokens = [];
    private WebApplication? _app;

    public int Port { get; } = FreePort.Next();

    /// <summary>Runs ahead of storing; may throw an <see cref="RpcException"/>.</summary>
    public Func<Batch, Task> Before { get; set; } = _ => Task.CompletedTask;

    /// <summary>Runs between storing and the answer; may throw.</summary>
    public Func<Batch, Task> After { get; set; } = _ => Task.CompletedTask;

    /// <summary>Every batch that came, stored or not.</summary>
    public IReadOnlyList<Batch> Batches
    {
        get
        {
            lock (_lock) return [.. _batches];
        }
    }

    public IReadOnlyList<string?> Tokens
    {
        get
        {
            lock (_lock) return [.. _tokens];
        }
    }

    /// <summary>The rows: each number of a boot once.</summary>
    public IReadOnlyList<RequestRecord> Requests
    {
        get
        {
            lock (_lock) return [.. _requests.Values];
        }
    }

    public IReadOnlyList<NetworkRecord> Network
    {
        get
        {
            lock (_lock) return [.. _network.Values];
        }
    }

    /// <summary>The numbers of each boot's requests.</summary>
    public IReadOnlyDictionary<string, ulong[]> Sequences
    {
        get
        {
            lock (_lock) return _requests.Keys.GroupBy(key => key.Boot).ToDictionary(boot => boot.Key, boot => boot.Select(key => key.Sequence).Order().ToArray());
        }
    }

    public async Task StartAsync(X509Certificate2? certificate = null)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, Port, listener =>
        {
            listener.Protocols = HttpProtocols.Http2;
            listener.UseHttps(certificate ?? TestAuthority.Issue("localhost"));
        }));
        builder.Services.AddRoutingCore();
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(this);
        _app = builder.Build();
        _app.UseRouting();
        _app.MapGrpcService<Service>();
        await _app.StartAsync();
    }

    public async Task StopAsync()
    {
        if (_app is null) return;
        using CancellationTokenSource now = new();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
        _app = null;
    }

    public ValueTask DisposeAsync() => new(StopAsync());

    private async Task<Receipt> RecordAsync(Batch batch, string? authorization)
    {
        lock (_lock)
        {
            _batches.Add(batch);
            _tokens.Add(authorization);
        }

        await Before(batch);
        int count = batch.Requests.Count + batch.Network.Count;
        Assert.InRange(count, 1, 1000);
        Assert.Equal(16, batch.Boot.Length);
        Assert.Empty(batch.Log == Log.Requests ? batch.Network : (System.Collections.ICollection)batch.Requests);
        string boot = batch.Boot.ToBase64();
        lock (_lock)
        {
            for (int i = 0; i < batch.Requests.Count; i++) _requests.TryAdd((boot, batch.FirstSequence + (ulong)i), batch.Requests[i]);
            for (int i = 0; i < batch.Network.Count; i++) _network.TryAdd((boot, batch.FirstSequence + (ulong)i), batch.Network[i]);
        }

        await After(batch);
        return new Receipt { StoredSequence = batch.FirstSequence + (ulong)count - 1 };
    }

    private sealed class Service(TestAudit self) : AuditService.AuditServiceBase
    {
        public override Task<Receipt> Record(Batch request, ServerCallContext context) => self.RecordAsync(request, context.RequestHeaders.GetValue("authorization"));
    }
}
