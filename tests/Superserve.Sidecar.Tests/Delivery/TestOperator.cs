using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Threading.Channels;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Superserve.Protocol;
using Superserve.Testing;
using DeliveryBase = Superserve.Protocol.Delivery.DeliveryBase;

namespace Superserve.Sidecar.Tests.Delivery;

/// <summary>An operator whose every word is the test's, behind real TLS and HTTP/2.</summary>
internal sealed class TestOperator : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly WebApplication _app;
    private readonly Channel<OperatorCall> _calls = Channel.CreateUnbounded<OperatorCall>();

    private TestOperator(WebApplication app) => _app = app;

    /// <summary>What a new stream is refused with; null for none.</summary>
    public Status? Refusal { get; set; }

    /// <summary>Answers in place of gRPC, where it is set.</summary>
    public RequestDelegate? Garbage { get; set; }

    public static async Task<TestOperator> StartAsync(int port, X509Certificate2? certificate = null)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, port, listener =>
        {
            listener.Protocols = HttpProtocols.Http2;
            listener.UseHttps(certificate ?? TestAuthority.Issue("localhost"));
        }));
        builder.Services.AddRoutingCore();
        builder.Services.AddGrpc(grpc => grpc.MaxSendMessageSize = null);
        TestOperator? self = null;
        builder.Services.AddSingleton(_ => self!);
        WebApplication app = builder.Build();
        self = new TestOperator(app);
        app.Use((context, next) => self.Garbage is { } garbage ? garbage(context) : next(context));
        app.UseRouting();
        app.MapGrpcService<Service>();
        await app.StartAsync();
        return self;
    }

    /// <summary>Waits for the next stream.</summary>
    public async Task<OperatorCall> NextCallAsync(TimeSpan? patience = null)
    {
        using CancellationTokenSource end = new(patience ?? Patience, TimeProvider.System);
        return await _calls.Reader.ReadAsync(end.Token);
    }

    /// <summary>The next stream, if it comes soon.</summary>
    public async Task<OperatorCall?> TryNextCallAsync(TimeSpan patience)
    {
        try
        {
            return await NextCallAsync(patience);
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }

    public async ValueTask DisposeAsync()
    {
        using CancellationTokenSource now = new();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
    }

    private sealed class Service(TestOperator self) : DeliveryBase
    {
        public override async Task Connect(IAsyncStreamReader<SidecarMessage> requestStream, IServerStreamWriter<OperatorMessage> responseStream, ServerCallContext context)
        {
            if (self.Refusal is { } refusal) throw new RpcException(refusal);
            OperatorCall call = new(context.RequestHeaders.GetValue("authorization"), responseStream);
            self._calls.Writer.TryWrite(call);
            Task reading = call.ReadAsync(requestStream, context.CancellationToken);
            Status end = await call.Ended.Task.WaitAsync(context.CancellationToken);
            if (end.StatusCode != StatusCode.OK) throw new RpcException(end);
            _ = reading;
        }
    }
}

/// <summary>One stream of a sidecar, from the operator's side.</summary>
internal sealed class OperatorCall(string? authorization, IServerStreamWriter<OperatorMessage> writer)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly Channel<SidecarMessage> _received = Channel.CreateUnbounded<SidecarMessage>();
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public string? Authorization => authorization;

    public TaskCompletionSource<Status> Ended { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes when the sidecar has closed the stream.</summary>
    public Task Closed => _closed.Task;

    public async Task ReadAsync(IAsyncStreamReader<SidecarMessage> reader, CancellationToken cancellationToken)
    {
        try
        {
            while (await reader.MoveNext(cancellationToken)) _received.Writer.TryWrite(reader.Current);
        }
        catch (Exception exception) when (exception is IOException or OperationCanceledException or RpcException)
        {
            // The sidecar broke it off.
        }
        finally
        {
            _received.Writer.TryComplete();
            _closed.TrySetResult();
        }
    }

    /// <summary>Waits for a message of a kind; others before it are passed over.</summary>
    public async Task<SidecarMessage> NextAsync(SidecarMessage.MessageOneofCase kind, TimeSpan? patience = null)
    {
        using CancellationTokenSource end = new(patience ?? Patience, TimeProvider.System);
        while (true)
        {
            SidecarMessage message = await _received.Reader.ReadAsync(end.Token);
            if (message.MessageCase == kind) return message;
        }
    }

    public Task SendAsync(OperatorMessage message) => writer.WriteAsync(message);

    /// <summary>Sends a snapshot and waits for its acknowledgement.</summary>
    public async Task<Acknowledgement> DeliverAsync(Snapshot snapshot)
    {
        await SendAsync(new OperatorMessage { Snapshot = snapshot });
        while (true)
        {
            Acknowledgement acknowledgement = (await NextAsync(SidecarMessage.MessageOneofCase.Acknowledgement)).Acknowledgement;
            if (acknowledgement.Revision == snapshot.Revision) return acknowledgement;
        }
    }
}
