using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Superserve.Sidecar.Trust;

/// <summary>
/// The pod-local CA. Its key leaves this process only to the state directory, which the sidecar alone can read, so that a
/// restarted sidecar has the CA that the sandbox's processes have loaded.
/// </summary>
internal sealed class PodAuthority : IDisposable
{
    private const string KeyFile = "ca.key";
    private const string CertificateFile = "ca.crt";

    private static readonly TimeSpan Lifetime = TimeSpan.FromDays(3 * 365);
    private static readonly TimeSpan LeafLifetime = TimeSpan.FromDays(30);

    /// <summary>Clocks of sandbox and sidecar are one, but a clock can step back.</summary>
    private static readonly TimeSpan Backdated = TimeSpan.FromHours(1);

    private readonly ECDsa _key;
    private readonly TimeProvider _time;

    private PodAuthority(X509Certificate2 certificate, ECDsa key, TimeProvider time)
    {
        Certificate = certificate;
        _key = key;
        _time = time;
    }

    /// <summary>The CA's certificate, without its key.</summary>
    public X509Certificate2 Certificate { get; }

    /// <summary>Takes the CA from the state directory, or makes one (and keeps it there).</summary>
    public static PodAuthority LoadOrCreate(string? stateDirectory, TimeProvider time)
    {
        if (stateDirectory is null) return Create(time);
        string keyFile = Path.Combine(stateDirectory, KeyFile);
        string certificateFile = Path.Combine(stateDirectory, CertificateFile);
        if (File.Exists(keyFile) && File.Exists(certificateFile) && Load(keyFile, certificateFile, time) is { } kept) return kept;

        PodAuthority created = Create(time);
        Directory.CreateDirectory(stateDirectory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        // The key first: a certificate without its key would be trusted and useless.
        AtomicFile.Write(keyFile, created._key.ExportPkcs8PrivateKeyPem(), UnixFileMode.UserRead | UnixFileMode.UserWrite);
        AtomicFile.Write(certificateFile, created.Certificate.ExportCertificatePem() + "\n", UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return created;
    }

    private static PodAuthority? Load(string keyFile, string certificateFile, TimeProvider time)
    {
        ECDsa key = ECDsa.Create();
        try
        {
            key.ImportFromPem(File.ReadAllText(keyFile));
            X509Certificate2 certificate = X509Certificate2.CreateFromPem(File.ReadAllText(certificateFile));
            using ECDsa? publicKey = certificate.GetECDsaPublicKey();
            if (publicKey is null || !publicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(key.ExportSubjectPublicKeyInfo()))
                throw new CryptographicException("The key is not the certificate's.");
            // A leaf does not outlive its CA: one that ends soon is replaced now, while nothing runs that has loaded it.
            if (certificate.NotAfter.ToUniversalTime() > time.GetUtcNow().UtcDateTime + LeafLifetime) return new PodAuthority(certificate, key, time);
            certificate.Dispose();
            key.Dispose();
            return null;
        }
        catch (Exception exception) when (exception is CryptographicException or ArgumentException)
        {
            key.Dispose();
            throw new InvalidOperationException($"{keyFile} and {certificateFile} are not a CA's key and certificate. Remove both files: the sidecar makes a new CA, and processes that have loaded the old one need a restart.", exception);
        }
    }

    /// <summary>Signs a certificate for one host name or address, with a key of its own.</summary>
    public X509Certificate2 Issue(string host, System.Net.IPAddress? address)
    {
        DateTimeOffset now = _time.GetUtcNow();
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        // The name stands in the alternative names alone: a common name takes 64 characters, host names have up to 253.
        CertificateRequest request = new(new X500DistinguishedName("O=Superserve sandbox"), key, HashAlgorithmName.SHA256);
        SubjectAlternativeNameBuilder names = new();
        if (address is null) names.AddDnsName(host);
        else names.AddIpAddress(address);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1")], false));
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(Certificate, true, false));

        byte[] serial = RandomNumberGenerator.GetBytes(16);
        serial[0] &= 0x7f;
        DateTimeOffset until = now + LeafLifetime;
        if (until > Certificate.NotAfter) until = Certificate.NotAfter;
        using X509Certificate2 certificate = request.Create(Certificate.SubjectName, X509SignatureGenerator.CreateForECDsa(_key), now - Backdated, until, serial);
        return certificate.CopyWithPrivateKey(key);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        Certificate.Dispose();
        _key.Dispose();
    }

    private static PodAuthority Create(TimeProvider time)
    {
        DateTimeOffset now = time.GetUtcNow();
        ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        // A number in the name keeps two CAs apart for clients that cache by it.
        string number = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(4));
        CertificateRequest request = new(new X500DistinguishedName($"CN=Superserve sandbox CA {number},O=Superserve sandbox"), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        X509SubjectKeyIdentifierExtension subject = new(request.PublicKey, false);
        request.CertificateExtensions.Add(subject);
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromSubjectKeyIdentifier(subject));
        using X509Certificate2 withKey = request.CreateSelfSigned(now - Backdated, now + Lifetime);
        return new PodAuthority(X509CertificateLoader.LoadCertificate(withKey.RawData), key, time);
    }
}
