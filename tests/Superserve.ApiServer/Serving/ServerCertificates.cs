using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Superserve.ApiServer.Serving;

/// <summary>The server's own CA and its certificate. Clients check them by the real clock, whatever time the server is told.</summary>
internal sealed class ServerCertificates : IDisposable
{
    private static readonly TimeSpan Lifetime = TimeSpan.FromDays(365);

    private readonly X509Certificate2 _server;

    public ServerCertificates()
    {
        (X509Certificate2 authority, _server) = Issue("kubernetes", "kube-apiserver", "1.3.6.1.5.5.7.3.1");
        Authority = authority;
        Context = SslStreamCertificateContext.Create(_server, [Authority], offline: true);
        (FrontProxyAuthority, FrontProxy) = Issue("front-proxy-ca", FrontProxyName, "1.3.6.1.5.5.7.3.2");
    }

    /// <summary>The name in the certificate with which aggregated APIs are asked.</summary>
    public static string FrontProxyName => "front-proxy-client";

    public X509Certificate2 FrontProxy { get; }

    public X509Certificate2 FrontProxyAuthority { get; }

    public X509Certificate2 Authority { get; }

    public string AuthorityPem => Authority.ExportCertificatePem() + "\n";

    public SslStreamCertificateContext Context { get; }

    public void Dispose()
    {
        _server.Dispose();
        Authority.Dispose();
        FrontProxy.Dispose();
        FrontProxyAuthority.Dispose();
    }

    /// <summary>A CA (whose key is forgotten), and the one certificate that it signs.</summary>
    private static (X509Certificate2 Authority, X509Certificate2 Certificate) Issue(string authorityName, string name, string usage)
    {
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        DateTimeOffset from = now.AddHours(-1);
        using ECDsa authorityKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest authority = new(new X500DistinguishedName($"CN={authorityName}"), authorityKey, HashAlgorithmName.SHA256);
        authority.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        authority.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.DigitalSignature, true));
        authority.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(authority.PublicKey, false));
        using X509Certificate2 signed = authority.CreateSelfSigned(from, now + Lifetime + TimeSpan.FromDays(1));

        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new(new X500DistinguishedName($"CN={name}"), key, HashAlgorithmName.SHA256);
        SubjectAlternativeNameBuilder names = new();
        names.AddIpAddress(IPAddress.Loopback);
        names.AddIpAddress(IPAddress.IPv6Loopback);
        foreach (string dns in new[] { "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local" }) names.AddDnsName(dns);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(signed, true, false));
        using X509Certificate2 leaf = request.Create(signed, from, now + Lifetime, RandomNumberGenerator.GetBytes(12));
        return (X509CertificateLoader.LoadCertificate(signed.RawData), leaf.CopyWithPrivateKey(key));
    }
}
