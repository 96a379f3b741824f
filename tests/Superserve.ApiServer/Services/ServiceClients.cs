using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Superserve.ApiServer.Services;

/// <summary>
/// Clients for the servers that objects in here name: dialled by route where a service is named, and trusted by the CA that
/// stands beside the name.
/// </summary>
internal sealed class ServiceClients(ServiceRoutes routes, X509Certificate2? identity = null) : IDisposable
{
    private readonly ConcurrentDictionary<string, HttpClient> _clients = new(StringComparer.Ordinal);

    /// <summary>A client for what has a <c>service</c> (or an address of its own), and a <c>caBundle</c>.</summary>
    public HttpClient For(JsonObject config) => _clients.GetOrAdd(config.ToText(), _ => Create(config));

    /// <summary>The base address of a service, by the name that its certificate has.</summary>
    public static Uri AddressOf(JsonObject service) => new($"https://{service.Text("name")}.{service.Text("namespace")}.svc:{service.Number("port") ?? 443}/");

    public void Dispose()
    {
        foreach (HttpClient client in _clients.Values) client.Dispose();
    }

    private HttpClient Create(JsonObject config)
    {
        SocketsHttpHandler handler = new() { PooledConnectionIdleTimeout = TimeSpan.FromSeconds(5), AllowAutoRedirect = false, UseCookies = false };
        if (config.Text("caBundle") is { Length: > 0 } bundle)
        {
            X509Certificate2Collection roots = [];
            roots.ImportFromPem(Encoding.UTF8.GetString(Convert.FromBase64String(bundle)));
            handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            handler.SslOptions.CertificateChainPolicy.CustomTrustStore.AddRange(roots);
        }

        if (identity is not null)
        {
            handler.SslOptions.ClientCertificates = [identity];
            handler.PlaintextStreamFilter = (context, _) => ValueTask.FromResult<Stream>(new HeaderSplitter(context.PlaintextStream));
        }

        if (config.Object("service") is { } service)
        {
            (string inNamespace, string name) = (service.Text("namespace") ?? "", service.Text("name") ?? "");
            int port = (int)(service.Number("port") ?? 443);
            handler.ConnectCallback = (_, cancellation) => DialAsync(routes.Find(inNamespace, name, port), $"{inNamespace}/{name}", cancellation);
        }

        return new HttpClient(handler, disposeHandler: true) { Timeout = Timeout.InfiniteTimeSpan };
    }

    private static async ValueTask<Stream> DialAsync(EndPoint? target, string service, CancellationToken cancellation)
    {
        if (target is null) throw new HttpRequestException($"service \"{service}\" has no route: set one with Services.Map, or make Endpoints");
        Socket socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(target, cancellation);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
