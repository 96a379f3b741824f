using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Superserve.Operator.Tests.Certificates;

/// <summary>Certificates as clients judge them.</summary>
internal static class Chains
{
    public static X509Certificate2Collection Parse(string pem)
    {
        X509Certificate2Collection certificates = [];
        certificates.ImportFromPem(pem);
        return certificates;
    }

    /// <summary>What is wrong with a certificate for someone who trusts the bundle alone; empty when nothing is.</summary>
    public static string Problem(X509Certificate2 certificate, string bundle, DateTimeOffset at)
    {
        using X509Chain chain = new();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(Parse(bundle));
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid("1.3.6.1.5.5.7.3.1"));
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.VerificationTime = at.UtcDateTime;
        return chain.Build(certificate) ? "" : string.Join(", ", chain.ChainStatus.Select(status => status.Status));
    }
}
