using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Superserve.Testing;

/// <summary>The authority that signs the test services' certificates; the sidecars under test trust it.</summary>
public static class TestAuthority
{
    private static readonly X509Certificate2 Root = CreateRoot();

    public static string Pem => Root.ExportCertificatePem();

    /// <summary>A certificate for the names, with its key.</summary>
    public static X509Certificate2 Issue(params string[] names) => Issue(Root, names);

    /// <summary>The same from an authority that nobody trusts.</summary>
    public static X509Certificate2 IssueUntrusted(params string[] names) => IssueByAnother(names).Certificate;

    /// <summary>The same with that authority's own certificate.</summary>
    public static (X509Certificate2 Certificate, string Pem) IssueByAnother(params string[] names)
    {
        using X509Certificate2 root = CreateRoot();
        return (Issue(root, names), root.ExportCertificatePem());
    }

    private static X509Certificate2 Issue(X509Certificate2 root, string[] names)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("O=Test service", key, HashAlgorithmName.SHA256);
        SubjectAlternativeNameBuilder alternatives = new();
        foreach (string name in names)
        {
            if (IPAddress.TryParse(name, out IPAddress? address)) alternatives.AddIpAddress(address);
            else alternatives.AddDnsName(name);
        }

        request.CertificateExtensions.Add(alternatives.Build());
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1")], false));
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        using X509Certificate2 certificate = request.Create(root, now.AddDays(-1), now.AddDays(30), RandomNumberGenerator.GetBytes(8));
        return certificate.CopyWithPrivateKey(key);
    }

    private static X509Certificate2 CreateRoot()
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("CN=Test root", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        return request.CreateSelfSigned(now.AddDays(-2), now.AddYears(10));
    }
}
