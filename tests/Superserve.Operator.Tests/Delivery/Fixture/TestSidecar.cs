using System.Security.Cryptography.X509Certificates;
using Grpc.Core;
using Grpc.Net.Client;
using Superserve.Protocol;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Delivery.Fixture;

/// <summary>The sidecar's end of a stream, by hand.</summary>
internal sealed class TestSidecar : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly GrpcChannel _channel;
    private readonly AsyncDuplexStreamingCall<SidecarMessage, OperatorMessage> _call;

    private TestSidecar(GrpcChannel channel, AsyncDuplexStreamingCall<SidecarMessage, OperatorMessage> call)
    {
        _channel = channel;
        _call = call;
    }

    /// <summary>The newest snapshot that was read.</summary>
    public Snapshot? Last { get; private set; }

    /// <summary>A client that trusts the tests' authority alone.</summary>
    public static SocketsHttpHandler NewHandler()
    {
        SocketsHttpHandler handler = new();
        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        handler.SslOptions.CertificateChainPolicy.CustomTrustStore.ImportFromPem(TestAuthority.Pem);
        return handler;
    }

    public static TestSidecar Call(Uri address, string? token)
    {
        GrpcChannel channel = GrpcChannel.ForAddress(address, new GrpcChannelOptions { HttpHandler = NewHandler(), DisposeHttpClient = true });
        Metadata headers = [];
        if (token is not null) headers.Add("authorization", $"Bearer {token}");
        return new TestSidecar(channel, new Protocol.Delivery.DeliveryClient(channel).Connect(headers));
    }

    public Task SendAsync(SidecarMessage message) => _call.RequestStream.WriteAsync(message);

    public Task HelloAsync(uint protocol = 1, string capture = "Transparent", string version = "0.1.0") =>
        SendAsync(new SidecarMessage { Hello = new Hello { Protocol = protocol, Version = version, Capture = capture } });

    public Task AcknowledgeAsync(string error = "") => SendAsync(new SidecarMessage { Acknowledgement = new Acknowledgement { Revision = Last!.Revision, Error = error } });

    /// <summary>The next message, whatever it is.</summary>
    public async Task<OperatorMessage> ReadAsync()
    {
        using CancellationTokenSource patience = new(Patience, TimeProvider.System);
        Assert.True(await _call.ResponseStream.MoveNext(patience.Token), "The stream has ended.");
        return _call.ResponseStream.Current;
    }

    /// <summary>The next message of a kind, past all others.</summary>
    public async Task<OperatorMessage> ReadAsync(OperatorMessage.MessageOneofCase kind)
    {
        while (true)
        {
            OperatorMessage message = await ReadAsync();
            if (message.MessageCase == kind) return message;
        }
    }

    /// <summary>The next snapshot, acknowledged.</summary>
    public async Task<Snapshot> SnapshotAsync()
    {
        Last = (await ReadAsync(OperatorMessage.MessageOneofCase.Snapshot)).Snapshot;
        await AcknowledgeAsync();
        return Last;
    }

    /// <summary>Snapshots up to one that is as it should be.</summary>
    public async Task<Snapshot> SnapshotAsync(Func<Snapshot, bool> isWanted)
    {
        while (true)
            if (await SnapshotAsync() is { } snapshot && isWanted(snapshot)) return snapshot;
    }

    /// <summary>Reads to the end of the stream, which the operator closes.</summary>
    public async Task<RpcException> EndedAsync(Func<Task>? first = null)
    {
        using CancellationTokenSource patience = new(Patience, TimeProvider.System);
        try
        {
            if (first is not null) await first();
        }
        catch (Exception exception) when (exception is RpcException or InvalidOperationException or IOException)
        {
            // The call had ended before that was written; why is what the read says.
        }

        return await Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (await _call.ResponseStream.MoveNext(patience.Token))
                if (_call.ResponseStream.Current.Snapshot is { } snapshot) Last = snapshot;
        });
    }

    public Task LeaveAsync() => _call.RequestStream.CompleteAsync();

    public void Dispose()
    {
        _call.Dispose();
        _channel.Dispose();
    }
}
