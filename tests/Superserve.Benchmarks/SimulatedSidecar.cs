using System.Diagnostics;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Grpc.Core;
using Grpc.Net.Client;
using Superserve.Protocol;

namespace Superserve.Benchmarks;

/// <summary>A sidecar's side of delivery, on a TLS connection of its own: reads snapshots, acknowledges, sends heartbeats.</summary>
internal sealed class SimulatedSidecar : IAsyncDisposable
{
    private readonly GrpcChannel _channel;
    private readonly AsyncDuplexStreamingCall<SidecarMessage, OperatorMessage> _call;
    private readonly SemaphoreSlim _writing = new(1);
    private readonly Task _reading;
    private string _last = "";
    private long _at;

    private SimulatedSidecar(GrpcChannel channel, AsyncDuplexStreamingCall<SidecarMessage, OperatorMessage> call)
    {
        _channel = channel;
        _call = call;
        _reading = ReadAsync();
    }

    /// <summary>Why it ended, where it did.</summary>
    public string? Failure { get; private set; }

    /// <summary>The credential of the newest snapshot, or "revoked", and when it came.</summary>
    public (string Credential, long At) Last
    {
        get
        {
            lock (_writing) return (_last, _at);
        }
    }

    public static async Task<SimulatedSidecar> ConnectAsync(int port, X509Certificate2Collection authorities, string token)
    {
        SocketsHttpHandler handler = new() { SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck } } };
        handler.SslOptions.CertificateChainPolicy.CustomTrustStore.AddRange(authorities);
        GrpcChannel channel = GrpcChannel.ForAddress($"https://127.0.0.1:{port}", new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true });
        AsyncDuplexStreamingCall<SidecarMessage, OperatorMessage> call = new Delivery.DeliveryClient(channel).Connect(new Metadata { { "authorization", $"Bearer {token}" } });
        SimulatedSidecar sidecar = new(channel, call);
        await sidecar.SendAsync(new SidecarMessage { Hello = new Hello { Protocol = 1, Version = "0.1.0", Capture = "Explicit" } });
        return sidecar;
    }

    public Task HeartbeatAsync() => SendAsync(new SidecarMessage { Heartbeat = new Heartbeat() });

    public async ValueTask DisposeAsync()
    {
        _call.Dispose();
        await _reading.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _channel.Dispose();
        _writing.Dispose();
    }

    private async Task ReadAsync()
    {
        try
        {
            while (await _call.ResponseStream.MoveNext(CancellationToken.None))
            {
                if (_call.ResponseStream.Current.Snapshot is not { } snapshot) continue;
                BoundSecret? secret = snapshot.Secrets.FirstOrDefault();
                lock (_writing)
                {
                    _last = secret?.CredentialCase switch
                    {
                        BoundSecret.CredentialOneofCase.Available => secret.Available.ToStringUtf8(),
                        BoundSecret.CredentialOneofCase.Revoked => "revoked",
                        _ => "none",
                    };
                    _at = Stopwatch.GetTimestamp();
                }

                await SendAsync(new SidecarMessage { Acknowledgement = new Acknowledgement { Revision = snapshot.Revision } });
            }

            Failure = "the operator closed the stream";
        }
        catch (RpcException exception)
        {
            Failure = exception.Status.Detail;
        }
    }

    private async Task SendAsync(SidecarMessage message)
    {
        await _writing.WaitAsync();
        try
        {
            await _call.RequestStream.WriteAsync(message);
        }
        catch (Exception exception) when (exception is RpcException or InvalidOperationException)
        {
            Failure ??= exception.Message;
        }
        finally
        {
            _writing.Release();
        }
    }
}
