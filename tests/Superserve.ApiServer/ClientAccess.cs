using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;

namespace Superserve.ApiServer;

/// <summary>What a client needs to be one of the server's users.</summary>
public sealed record ClientAccess(Uri BaseAddress, string User, string Token, X509Certificate2 Authority)
{
    /// <summary>A plain client with the token, that trusts the server's CA alone.</summary>
    public HttpClient CreateHttpClient()
    {
        SocketsHttpHandler handler = new();
        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        handler.SslOptions.CertificateChainPolicy.CustomTrustStore.Add(Authority);
        HttpClient client = new(handler, disposeHandler: true) { BaseAddress = BaseAddress };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Token);
        return client;
    }
}
