using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Superserve.Sidecar.Trust;

/// <summary>The certificates that services are verified against, and that the sandbox trusts besides the pod's own CA.</summary>
internal sealed class PublicRoots
{
    /// <summary>Where distributions keep the bundle: Debian and its kin, Fedora and its kin, Alpine.</summary>
    private static readonly string[] SystemBundles =
        ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

    private PublicRoots(X509Certificate2Collection certificates) => Certificates = certificates;

    /// <summary>All of them.</summary>
    public X509Certificate2Collection Certificates { get; }

    /// <summary>Whether a path is that of a distribution's bundle.</summary>
    public static bool IsSystemBundle(string? path) => path is "" or null || Array.IndexOf(SystemBundles, path) >= 0;

    /// <summary>Reads the system's bundle and one file more.</summary>
    /// <exception cref="InvalidOperationException">A file cannot be used; the message says which and what to do.</exception>
    public static PublicRoots Load(string? extraFile)
    {
        X509Certificate2Collection certificates = [];
        string? bundle = Array.Find(SystemBundles, File.Exists);
        if (bundle is not null) Import(bundle, certificates);
        if (extraFile is not null) Import(extraFile, certificates);
        if (certificates.Count == 0)
            throw new InvalidOperationException($"There are no root certificates to verify services with: none of {string.Join(", ", SystemBundles)} exists. Install the package ca-certificates, or name a PEM file in upstream.trustedRootsFile.");
        return new PublicRoots(certificates);
    }

    private static void Import(string file, X509Certificate2Collection certificates)
    {
        try
        {
            int before = certificates.Count;
            certificates.ImportFromPemFile(file);
            if (certificates.Count == before) throw new InvalidOperationException($"{file} holds no certificate; name a PEM file with one or more.");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new InvalidOperationException($"{file} cannot be read as PEM certificates: {exception.Message}", exception);
        }
    }
}
