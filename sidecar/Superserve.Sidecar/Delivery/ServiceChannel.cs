using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Superserve.Protocol;
using Superserve.Sidecar.Dns;
using Superserve.Sidecar.Forwarding;

namespace Superserve.Sidecar.Delivery;

/// <summary>What it takes to reach a service of the operator's: its name resolved in the cluster, the sidecar's own sockets, the operator's CA.</summary>
internal sealed class ServiceChannels(OperatorTrust trust, Resolver resolver, Dialler dialler)
{
    /// <summary>A channel; it connects at the first call.</summary>
    /// <param name="name">The service, for messages, as <c>the operator</c>.</param>
    /// <param name="host">The name that its certificate has to be for.</param>
    /// <param name="port">Its port.</param>
    public ServiceChannel Open(string name, string host, int port) => new(name, host, port, trust, resolver, dialler);
}

/// <summary>gRPC to one service. Each connection is verified against the authorities of its moment.</summary>
internal sealed class ServiceChannel : IDisposable
{
    private const int MaxDetailLength = 512;

    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(10);

    /// <summary>Ten thousand idle connections are memory of the service's.</summary>
    private static readonly TimeSpan IdleTimeout = TimeSpan.FromMinutes(1);

    /// <summary>Replicas that have come since get their share.</summary>
    private static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(10);

    /// <summary>A peer that is gone without a word is noticed while a call waits for it.</summary>
    private static readonly TimeSpan Ping = TimeSpan.FromSeconds(20);

    private readonly string _name;
    private readonly string _host;
    private readonly int _port;
    private readonly OperatorTrust _trust;
    private readonly Resolver _resolver;
    private readonly Dialler _dialler;
    private readonly GrpcChannel _channel;

    public ServiceChannel(string name, string host, int port, OperatorTrust trust, Resolver resolver, Dialler dialler)
    {
        (_name, _host, _port, _trust, _resolver, _dialler) = (name, host, port, trust, resolver, dialler);
        _channel = GrpcChannel.ForAddress(new UriBuilder("https", host, port).Uri, new GrpcChannelOptions
        {
            // gRPC gets no logger: it quotes what passes.
            MaxReceiveMessageSize = SnapshotMapping.MaxMessageLength,
            DisposeHttpClient = true,
            HttpHandler = new SocketsHttpHandler
            {
                UseProxy = false,
                UseCookies = false,
                AllowAutoRedirect = false,
                ActivityHeadersPropagator = null,
                ConnectTimeout = ConnectTimeout,
                PooledConnectionIdleTimeout = IdleTimeout,
                PooledConnectionLifetime = Lifetime,
                KeepAlivePingDelay = Ping,
                KeepAlivePingTimeout = Ping,
                KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
                ConnectCallback = (_, cancellationToken) => ConnectAsync(cancellationToken),
            },
        });
        Invoker = _channel.CreateCallInvoker();
    }

    /// <summary>For a generated client.</summary>
    public CallInvoker Invoker { get; }

    public string Address => $"{_host}:{_port}";

    /// <summary>Why a call failed, and what to do.</summary>
    public StreamEnd Describe(Status status)
    {
        for (Exception? inner = status.DebugException; inner is not null; inner = inner.InnerException)
            if (inner is DistrustException distrust) return new StreamEnd(EndReason.Untrusted, $"{Address} is not trusted: {distrust.Message}. Either something else answers there, or the operator has another CA than when this pod was made: make the pod anew.");

        switch (status.DebugException)
        {
            case HttpRequestException or SocketException or IOException and not InvalidProtocolBufferException:
                return new StreamEnd(EndReason.Unreachable, $"{Address} cannot be reached ({Cause(status.DebugException)}). Look whether {_name} runs, and whether a NetworkPolicy or firewall is in the way.");
            case not null:
                return new StreamEnd(EndReason.Malformed, $"{Address} sent what is no message of the protocol ({status.StatusCode}). Look whether the version of {_name} is at most two away from the sidecar's, {OperatorStream.Version}.");
        }

        string detail = SnapshotMapping.Printable(status.Detail, MaxDetailLength);
        return status.StatusCode switch
        {
            StatusCode.Unauthenticated or StatusCode.PermissionDenied => new StreamEnd(EndReason.Refused, $"{Address} refused the sidecar ({status.StatusCode}): {detail}"),
            StatusCode.InvalidArgument => new StreamEnd(EndReason.Invalid, $"{Address} takes for invalid what was sent: {detail}"),
            _ => new StreamEnd(EndReason.Ended, $"{Address} ended the call ({status.StatusCode}): {detail}"),
        };
    }

    public void Dispose() => _channel.Dispose();

    private async ValueTask<Stream> ConnectAsync(CancellationToken cancellationToken)
    {
        IPAddress[] addresses = await _resolver.LookUpInClusterAsync(_host, cancellationToken);
        Socket socket = await _dialler.ConnectAsync([.. addresses.Select(address => new IPEndPoint(address, _port))], cancellationToken);
        SslStream tls = new(new NetworkStream(socket, ownsSocket: true));
        string? distrust = null;
        try
        {
            SslClientAuthenticationOptions options = _trust.TlsOptions(_host, problem => distrust = problem);
            options.ApplicationProtocols = [SslApplicationProtocol.Http2];
            await tls.AuthenticateAsClientAsync(options, cancellationToken);
            return tls;
        }
        catch (Exception exception)
        {
            await tls.DisposeAsync();
            if (distrust is not null) throw new DistrustException(distrust, exception);
            throw;
        }
    }

    private static string Cause(Exception exception)
    {
        for (Exception? inner = exception; inner is not null; inner = inner.InnerException)
        {
            if (inner is ResolverException name) return name.Message;
            if (inner is SocketException socket) return socket.SocketErrorCode.ToString();
            if (inner is AuthenticationException) return "the TLS handshake failed";
        }

        return exception is HttpRequestException http ? http.HttpRequestError.ToString() : exception.GetType().Name;
    }

    private sealed class DistrustException(string problem, Exception inner) : Exception(problem, inner);
}
