using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Superserve.Operator.Certificates;

/// <summary>One CA: a self-signed certificate and its key, P-256. It is text, so that it can be passed around and never needs disposing.</summary>
internal sealed class SigningAuthority
{
    /// <summary>From a CA's making to its end.</summary>
    public static readonly TimeSpan Lifetime = TimeSpan.FromDays(2 * 365);

    /// <summary>From a serving certificate's making to its end.</summary>
    public static readonly TimeSpan LeafLifetime = TimeSpan.FromDays(7);

    /// <summary>Nodes whose clocks are behind by up to this see certificates that are valid already.</summary>
    public static readonly TimeSpan Backdated = TimeSpan.FromMinutes(5);

    private const string P256 = "1.2.840.10045.3.1.7";
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1";

    private readonly string _keyPem;

    private SigningAuthority(X509Certificate2 certificate, ECDsa key)
    {
        CertificatePem = certificate.ExportCertificatePem() + "\n";
        _keyPem = key.ExportPkcs8PrivateKeyPem() + "\n";
        NotBefore = certificate.NotBefore.ToUniversalTime();
        NotAfter = certificate.NotAfter.ToUniversalTime();
    }

    /// <summary>The certificate.</summary>
    public string CertificatePem { get; }

    /// <summary>When it becomes valid.</summary>
    public DateTimeOffset NotBefore { get; }

    /// <summary>When it ends.</summary>
    public DateTimeOffset NotAfter { get; }

    /// <summary>When two thirds of its life are over.</summary>
    public DateTimeOffset TwoThirds => NotBefore + ((NotAfter - NotBefore) * 2 / 3);

    /// <summary>Makes a CA whose life began at <paramref name="notBefore"/>.</summary>
    public static SigningAuthority Create(DateTimeOffset notBefore)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        // A number in the name: verifiers look CAs up by name, and there are always two.
        X500DistinguishedName name = new($"CN=Superserve operator CA {Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8))}");
        CertificateRequest request = new(name, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        X509SubjectKeyIdentifierExtension subject = new(request.PublicKey, false);
        request.CertificateExtensions.Add(subject);
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromSubjectKeyIdentifier(subject));
        using X509Certificate2 certificate =
            request.Create(name, X509SignatureGenerator.CreateForECDsa(key), notBefore, notBefore + Lifetime, NewSerial());
        return new SigningAuthority(certificate, key);
    }

    /// <summary>Reads the two entries of a Secret and looks whether they are a CA that can sign.</summary>
    /// <exception cref="UnusableSecretException">They are not.</exception>
    public static SigningAuthority Read(IDictionary<string, byte[]> data, string certificateEntry, string keyEntry)
    {
        using X509Certificate2 certificate = ReadCertificate(Text(data, certificateEntry), certificateEntry);
        using ECDsa key = ECDsa.Create();
        try
        {
            key.ImportFromPem(Text(data, keyEntry));
            // A public key would be imported as well; it has no curve that could be asked for its private part.
            if (key.ExportParameters(true).Curve.Oid.Value != P256) throw new UnusableSecretException($"the key in {keyEntry} is not on the curve P-256");
        }
        catch (Exception exception) when (exception is CryptographicException or ArgumentException)
        {
            throw new UnusableSecretException($"{keyEntry} is not a private EC key in PEM");
        }

        using ECDsa? certified = certificate.GetECDsaPublicKey();
        if (certified is null || !certified.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(key.ExportSubjectPublicKeyInfo()))
            throw new UnusableSecretException($"the key in {keyEntry} is not that of the certificate in {certificateEntry}");
        return new SigningAuthority(certificate, key);
    }

    /// <summary>Signs a serving certificate with a key of its own.</summary>
    public X509Certificate2 Issue(string commonName, X509Extension alternativeNames, DateTimeOffset now)
    {
        using X509Certificate2 issuer = X509Certificate2.CreateFromPem(CertificatePem);
        using ECDsa issuerKey = ECDsa.Create();
        issuerKey.ImportFromPem(_keyPem);

        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        X500DistinguishedNameBuilder subject = new();
        subject.AddCommonName(commonName);
        CertificateRequest request = new(subject.Build(), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(ServerAuthentication)], false));
        request.CertificateExtensions.Add(alternativeNames);
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(issuer, true, false));

        // No leaf outlives its CA.
        DateTimeOffset from = now - Backdated > NotBefore ? now - Backdated : NotBefore;
        DateTimeOffset until = now + LeafLifetime < NotAfter ? now + LeafLifetime : NotAfter;
        using X509Certificate2 certificate =
            request.Create(issuer.SubjectName, X509SignatureGenerator.CreateForECDsa(issuerKey), from, until, NewSerial());
        return certificate.CopyWithPrivateKey(key);
    }

    /// <summary>Writes the two entries of a Secret.</summary>
    public void Write(IDictionary<string, byte[]> data, string certificateEntry, string keyEntry)
    {
        data[certificateEntry] = Encoding.ASCII.GetBytes(CertificatePem);
        data[keyEntry] = Encoding.ASCII.GetBytes(_keyPem);
    }

    private static X509Certificate2 ReadCertificate(string pem, string entry)
    {
        X509Certificate2 certificate;
        try
        {
            certificate = X509Certificate2.CreateFromPem(pem);
        }
        catch (CryptographicException)
        {
            throw new UnusableSecretException($"{entry} is not a certificate in PEM");
        }

        X509KeyUsageFlags usages = certificate.Extensions.OfType<X509KeyUsageExtension>().FirstOrDefault()?.KeyUsages ?? X509KeyUsageFlags.None;
        string? wrong =
            certificate.Extensions.OfType<X509BasicConstraintsExtension>().FirstOrDefault() is not { CertificateAuthority: true }
                ? "is not a CA (basicConstraints)"
            : !usages.HasFlag(X509KeyUsageFlags.KeyCertSign)
                ? "must not sign certificates (keyUsage)"
            : !certificate.SubjectName.RawData.AsSpan().SequenceEqual(certificate.IssuerName.RawData)
                ? "is not self-signed, and so no root that others could trust"
            : !certificate.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Any()
                ? "has no subject key identifier"
            : null;
        if (wrong is null) return certificate;
        certificate.Dispose();
        throw new UnusableSecretException($"the certificate in {entry} {wrong}");
    }

    private static string Text(IDictionary<string, byte[]> data, string entry) =>
        data.TryGetValue(entry, out byte[]? bytes) && bytes is { Length: > 0 }
            ? Encoding.ASCII.GetString(bytes)
            : throw new UnusableSecretException($"it has no entry {entry}");

    /// <summary>128 bits, positive, and never with a leading zero byte, which DER would have to cut off.</summary>
    private static byte[] NewSerial()
    {
        byte[] serial = RandomNumberGenerator.GetBytes(16);
        serial[0] = (byte)((serial[0] & 0x7f) | 0x40);
        return serial;
    }
}
