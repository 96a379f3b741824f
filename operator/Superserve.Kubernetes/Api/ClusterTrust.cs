using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Superserve.Kubernetes.Api;

/// <summary>
/// Judges the API server's certificate by the cluster's CAs as they are at this handshake, so that a rotated CA file counts
/// without a restart. The client's own check would read the file once, trust public CAs as well, and pass a wrong name.
/// </summary>
internal sealed class ClusterTrust(Func<X509Certificate2Collection> authorities)
{
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1";

    public static ClusterTrust FromFile(string path) => new(() =>
    {
        X509Certificate2Collection read = [];
        read.ImportFromPemFile(path);
        return read;
    });

    public bool Accepts(X509Certificate? certificate, X509Chain? presented, SslPolicyErrors errors)
    {
        // An unknown chain is expected, the system's store does not know the cluster's CA; a wrong name never is.
        if (certificate is not X509Certificate2 server || (errors & ~SslPolicyErrors.RemoteCertificateChainErrors) != 0) return false;
        try
        {
            using X509Chain chain = new();
            chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            chain.ChainPolicy.CustomTrustStore.AddRange(authorities());
            chain.ChainPolicy.ApplicationPolicy.Add(new Oid(ServerAuthentication));
            chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
            chain.ChainPolicy.DisableCertificateDownloads = true;
            if (presented is not null) chain.ChainPolicy.ExtraStore.AddRange(presented.ChainPolicy.ExtraStore);
            return chain.Build(server);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or CryptographicException)
        {
            // The file is being replaced, or is broken: no trust now, the next attempt reads it again.
            return false;
        }
    }
}
