using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Security.Cryptography.Pkcs;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Superserve.Core.Snapshots;
using Superserve.Core.Trust;

namespace Superserve.Sidecar.Trust;

/// <summary>
/// What a sandbox's containers may read: the CA, the bundle with the public roots, a Java truststore, wget's settings, and the stand-ins as they
/// are now. Nothing here is secret from the sandbox.
/// </summary>
internal sealed class TrustDirectory
{
    private const UnixFileMode Readable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    private const UnixFileMode Listable = Readable | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    private string? _written;

    private TrustDirectory(string directory) => Path = directory;

    /// <summary>The directory's full path.</summary>
    public string Path { get; }

    /// <summary>The variables by which programs find the certificates; each is set only where the user has not.</summary>
    public IReadOnlyList<(string Name, string Value)> Variables => TrustVariables.In(Path);

    /// <summary>What Java takes; it is appended to a JAVA_TOOL_OPTIONS of the user's.</summary>
    public string JavaOptions => TrustVariables.JavaOptions(Path);

    /// <summary>Writes the certificates.</summary>
    public static TrustDirectory Create(string directory, PodAuthority authority, PublicRoots roots)
    {
        // Whatever the umask: the sandbox's users are others.
        if (!Directory.Exists(directory)) File.SetUnixFileMode(Directory.CreateDirectory(directory).FullName, Listable);
        TrustDirectory trust = new(directory);
        string own = authority.Certificate.ExportCertificatePem() + "\n";
        StringBuilder bundle = new();
        foreach (X509Certificate2 root in roots.Certificates) bundle.Append(root.ExportCertificatePem()).Append('\n');
        trust.Write(TrustVariables.AuthorityFile, Encoding.ASCII.GetBytes(own));
        trust.Write(TrustVariables.BundleFile, Encoding.ASCII.GetBytes(bundle.Append(own).ToString()));
        trust.Write(TrustVariables.JavaTrustStoreFile, JavaTrustStore(authority, roots));
        trust.Write(TrustVariables.WgetFile, Encoding.UTF8.GetBytes(TrustVariables.WgetSettings(directory)));
        return trust;
    }

    /// <summary>Writes <c>env</c>, lines of NAME=value, if it changed.</summary>
    public void WriteStandIns(ImmutableArray<BoundSecret> secrets)
    {
        StringBuilder lines = new();
        foreach (BoundSecret secret in secrets)
            if (!secret.IsDetached) lines.Append(secret.Env).Append('=').Append(secret.StandIn.Value).Append('\n');
        string text = lines.ToString();
        if (text == _written) return;
        Write(TrustVariables.StandInsFile, Encoding.ASCII.GetBytes(text));
        _written = text;
    }

    private void Write(string name, ReadOnlySpan<byte> bytes) => AtomicFile.Write(System.IO.Path.Combine(Path, name), bytes, Readable);

    // Java takes a certificate of a PKCS #12 file for a trust anchor only where Oracle's attribute says for what usage.
    private static byte[] JavaTrustStore(PodAuthority authority, PublicRoots roots)
    {
        Pkcs12Builder builder = new();
        int number = 0;
        // In parts: the platform's encoder copies all that it has for each kilobyte more.
        foreach (X509Certificate2[] part in roots.Certificates.Append(authority.Certificate).Chunk(8))
        {
            Pkcs12SafeContents contents = new();
            foreach (X509Certificate2 certificate in part)
            {
                Pkcs12CertBag bag = contents.AddCertificate(certificate);
                bag.Attributes.Add(new Pkcs9AttributeObject(TrustedKeyUsage, AnyExtendedKeyUsage));
                bag.Attributes.Add(new Pkcs9AttributeObject(FriendlyName, BmpString(certificate == authority.Certificate ? "superserve" : $"root-{number++}")));
            }

            builder.AddSafeContentsUnencrypted(contents);
        }

        builder.SealWithMac(TrustVariables.JavaPassword, HashAlgorithmName.SHA256, 1);
        return builder.Encode();
    }

    private static readonly Oid TrustedKeyUsage = new("2.16.840.1.113894.746875.1.1");
    private static readonly Oid FriendlyName = new("1.2.840.113549.1.9.20");
    private static readonly byte[] AnyExtendedKeyUsage = [0x06, 0x04, 0x55, 0x1D, 0x25, 0x00];

    private static byte[] BmpString(string text)
    {
        byte[] characters = Encoding.BigEndianUnicode.GetBytes(text);
        return [0x1E, (byte)characters.Length, .. characters];
    }
}
