using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Grpc.Core;
using Grpc.Net.Client;
using Superserve.Operator.Certificates;
using Superserve.Operator.Configuration;
using Superserve.Protocol.Audit;

namespace Superserve.Operator.AuditApi;

/// <summary>
/// Asks the audit service: over TLS by the operator's own trust, with the operator's own token, within a deadline. One channel for all.
/// </summary>
internal sealed class AuditClient : IDisposable
{
    /// <summary>How long an answer may take.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private const int MaxAnswer = 8 * 1024 * 1024;
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1";

    private readonly ServingCertificates _certificates;
    private readonly string _tokenFile;
    private readonly TimeProvider _time;
    private readonly GrpcChannel _channel;
    private readonly AuditService.AuditServiceClient _client;

    /// <summary>Connects to nothing yet.</summary>
    public AuditClient(OperatorOptions options, ServingCertificates certificates, TimeProvider time)
    {
        _certificates = certificates;
        _tokenFile = options.AuditTokenFile;
        _time = time;
        Uri address = new($"https://{options.AuditAddress ?? throw new ArgumentException("There is no auditAddress.", nameof(options))}");
        SocketsHttpHandler handler = new()
        {
            // The certificate is checked for the Service's name, wherever it is dialled.
            ConnectCallback = (_, cancellationToken) => DialAsync(address, cancellationToken),
            ConnectTimeout = TimeSpan.FromSeconds(5),
            KeepAlivePingDelay = TimeSpan.FromSeconds(30),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(10),
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            // No connection outlives its trust by more than this.
            PooledConnectionLifetime = TimeSpan.FromMinutes(10),
            EnableMultipleHttp2Connections = true,
            UseProxy = false,
        };
        handler.SslOptions.RemoteCertificateValidationCallback = (_, certificate, presented, errors) => Trusts(certificate, presented, errors);
        _channel = GrpcChannel.ForAddress(
            $"https://{options.AuditServiceName}.{options.Namespace}.svc:{address.Port}",
            new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true, MaxReceiveMessageSize = MaxAnswer });
        _client = new AuditService.AuditServiceClient(_channel);
    }

    /// <summary>Rows.</summary>
    /// <exception cref="RpcException">It was not answered.</exception>
    public async Task<ListReply> ListAsync(ListRequest request, CancellationToken cancellationToken) =>
        await _client.ListAsync(request, await CallAsync(cancellationToken));

    /// <summary>How often secrets were used.</summary>
    /// <exception cref="RpcException">It was not answered.</exception>
    public async Task<UsageReply> UsageAsync(UsageRequest request, CancellationToken cancellationToken) =>
        await _client.UsageAsync(request, await CallAsync(cancellationToken));

    public void Dispose() => _channel.Dispose();

    private async Task<CallOptions> CallAsync(CancellationToken cancellationToken)
    {
        string token;
        try
        {
            // Read each time: the file is small and in memory, and what is not kept cannot be stale.
            token = (await File.ReadAllTextAsync(_tokenFile, cancellationToken)).Trim();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new RpcException(new Status(StatusCode.Unauthenticated, $"the operator's own token cannot be read from {_tokenFile}"));
        }

        return new CallOptions(new Metadata { { "authorization", $"Bearer {token}" } }, _time.GetUtcNow().UtcDateTime + Patience, cancellationToken);
    }

    private bool Trusts(X509Certificate? certificate, X509Chain? presented, SslPolicyErrors errors)
    {
        // An unknown chain is expected; a wrong name never is.
        if (certificate is not X509Certificate2 server || (errors & ~SslPolicyErrors.RemoteCertificateChainErrors) != 0 || _certificates.TrustBundle is not { } bundle) return false;
        try
        {
            using X509Chain chain = new();
            chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            chain.ChainPolicy.CustomTrustStore.ImportFromPem(bundle);
            if (presented is not null) chain.ChainPolicy.ExtraStore.AddRange(presented.ChainPolicy.ExtraStore);
            chain.ChainPolicy.ApplicationPolicy.Add(new Oid(ServerAuthentication));
            chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
            chain.ChainPolicy.DisableCertificateDownloads = true;
            return chain.Build(server);
        }
        catch (CryptographicException)
        {
            return false;
        }
    }

    private static async ValueTask<Stream> DialAsync(Uri address, CancellationToken cancellationToken)
    {
        Socket socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(new DnsEndPoint(address.IdnHost, address.Port), cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
