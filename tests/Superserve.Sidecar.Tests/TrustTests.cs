using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Security;
using System.Security.Cryptography.Pkcs;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.DependencyInjection;
using Superserve.Core.Hosts;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Sidecar.Trust;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>The certificates that the sandbox trusts, as strict clients check them.</summary>
public sealed class TrustTests
{
    private const string Host = "api.service.test";

    private static X509Certificate2 Leaf(TestSidecar sidecar, string host) =>
        sidecar.App.Services.GetRequiredService<LeafCertificates>().For(Parse(host)).TargetCertificate;

    private static Authority Parse(string host)
    {
        Assert.True(Authority.TryParse(host, 443, out Authority authority));
        return authority;
    }

    private static T Extension<T>(X509Certificate2 certificate, bool critical)
        where T : X509Extension
    {
        T extension = Assert.Single(certificate.Extensions.OfType<T>());
        Assert.Equal(critical, extension.Critical);
        return extension;
    }

    [Fact]
    public async Task The_authority_is_a_root_that_signs_leaves_and_nothing_else()
    {
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup());
        X509Certificate2 root = sidecar.Authority;
        X509BasicConstraintsExtension constraints = Extension<X509BasicConstraintsExtension>(root, critical: true);
        Assert.True(constraints is { CertificateAuthority: true, HasPathLengthConstraint: true, PathLengthConstraint: 0 });
        Assert.Equal(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, Extension<X509KeyUsageExtension>(root, critical: true).KeyUsages);
        string subject = Extension<X509SubjectKeyIdentifierExtension>(root, critical: false).SubjectKeyIdentifier!;
        Assert.Equal(subject, Convert.ToHexString(Extension<X509AuthorityKeyIdentifierExtension>(root, critical: false).KeyIdentifier!.Value.Span));
        Assert.Equal("1.2.840.10045.3.1.7", root.GetECDsaPublicKey()!.ExportParameters(false).Curve.Oid.Value);
        Assert.False(root.HasPrivateKey);
    }

    [Theory]
    [InlineData(Host)]
    [InlineData("127.0.0.9")]
    [InlineData("[2001:db8::1]")]
    public async Task A_leaf_is_signed_by_the_root_directly_for_one_host(string host)
    {
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup());
        X509Certificate2 leaf = Leaf(sidecar, host);
        Assert.False(Extension<X509BasicConstraintsExtension>(leaf, critical: true).CertificateAuthority);
        Assert.Equal(X509KeyUsageFlags.DigitalSignature, Extension<X509KeyUsageExtension>(leaf, critical: true).KeyUsages);
        Assert.Equal("1.3.6.1.5.5.7.3.1", Assert.Single(Extension<X509EnhancedKeyUsageExtension>(leaf, critical: false).EnhancedKeyUsages.Cast<System.Security.Cryptography.Oid>()).Value);
        X509SubjectAlternativeNameExtension names = Extension<X509SubjectAlternativeNameExtension>(leaf, critical: false);
        Assert.Equal([host.Trim('[', ']')], [.. names.EnumerateDnsNames(), .. names.EnumerateIPAddresses().Select(address => address.ToString())]);
        Assert.Equal(Extension<X509SubjectKeyIdentifierExtension>(sidecar.Authority, critical: false).SubjectKeyIdentifier,
            Convert.ToHexString(Extension<X509AuthorityKeyIdentifierExtension>(leaf, critical: false).KeyIdentifier!.Value.Span));
        Extension<X509SubjectKeyIdentifierExtension>(leaf, critical: false);
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        Assert.InRange(new DateTimeOffset(leaf.NotAfter), now.AddDays(20), now.AddDays(31));
        Assert.True(leaf.NotBefore < now.LocalDateTime);
        Assert.True(leaf.NotAfter <= sidecar.Authority.NotAfter);
        Assert.NotEqual(leaf.SubjectName.RawData, sidecar.Authority.SubjectName.RawData);

        await File.WriteAllTextAsync(Path.Combine(sidecar.Directory, "leaf.pem"), leaf.ExportCertificatePem());
        if (!File.Exists("/usr/bin/openssl")) return;
        (int status, string output) = await Processes.RunAsync("/usr/bin/openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", sidecar.InTrust("ca.crt"), Path.Combine(sidecar.Directory, "leaf.pem"));
        Assert.True(status == 0, output);
    }

    [Fact]
    public async Task The_bundle_holds_the_public_roots_and_the_authority_and_no_key()
    {
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup());
        X509Certificate2Collection bundle = [];
        bundle.ImportFromPemFile(sidecar.InTrust("ca-bundle.crt"));
        Assert.True(bundle.Count > 2);
        Assert.Contains(bundle, certificate => certificate.Thumbprint == sidecar.Authority.Thumbprint);
        foreach (string file in (string[])["ca.crt", "ca-bundle.crt"]) Assert.DoesNotContain("PRIVATE KEY", await File.ReadAllTextAsync(sidecar.InTrust(file)), StringComparison.Ordinal);
        Assert.Equal(["ca-bundle.crt", "ca.crt", "env", "truststore.p12", "wgetrc"], Directory.EnumerateFileSystemEntries(Path.GetDirectoryName(sidecar.InTrust("env"))!).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task The_Java_truststore_opens_with_its_password_and_holds_the_authority()
    {
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup());
        Pkcs12Info store = Pkcs12Info.Decode(await File.ReadAllBytesAsync(sidecar.InTrust("truststore.p12")), out _);
        Assert.True(store.VerifyMac("changeit"));
        Pkcs12CertBag[] bags = [.. store.AuthenticatedSafe.SelectMany(contents => contents.GetBags()).Cast<Pkcs12CertBag>()];
        Assert.Contains(bags, bag => bag.GetCertificate().Thumbprint == sidecar.Authority.Thumbprint);
        Assert.All(bags, bag => Assert.Equal(2, bag.Attributes.Count));
        if (!File.Exists("/usr/bin/keytool")) return;
        (int status, string output) = await Processes.RunAsync("/usr/bin/keytool", "-list", "-keystore", sidecar.InTrust("truststore.p12"), "-storepass", "changeit", "-storetype", "PKCS12");
        Assert.True(status == 0 && output.Contains("superserve", StringComparison.Ordinal) && output.Contains("trustedCertEntry", StringComparison.Ordinal), output);
    }

    [Fact]
    public async Task A_state_directory_keeps_the_authority_over_a_restart_for_its_owner_alone()
    {
        Setup setup = new Setup().With("stateDirectory", "\"state\"");
        string before;
        TestSidecar first = await TestSidecar.StartAsync(setup);
        before = first.Authority.Thumbprint;
        await first.StopAsync();
        await using TestSidecar second = await TestSidecar.StartAsync(setup);
        Assert.Equal(before, second.Authority.Thumbprint);
        string state = Path.Combine(setup.Directory, "state");
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(state, "ca.key")));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(state));
        X509Certificate2 leaf = Leaf(second, Host);
        using X509Chain chain = new() { ChainPolicy = { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck } };
        chain.ChainPolicy.CustomTrustStore.Add(second.Authority);
        Assert.True(chain.Build(leaf));
    }

    [Fact]
    public async Task Without_a_state_directory_the_key_is_nowhere()
    {
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup());
        foreach (string file in Directory.EnumerateFiles(sidecar.Directory, "*", SearchOption.AllDirectories))
            Assert.DoesNotContain("PRIVATE KEY", await File.ReadAllTextAsync(file), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Leaves_are_minted_once_for_many_callers_and_forgotten_when_there_are_too_many()
    {
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup());
        LeafCertificates leaves = sidecar.App.Services.GetRequiredService<LeafCertificates>();
        ConcurrentBag<SslStreamCertificateContext> got = [];
        Parallel.For(0, 64, _ => got.Add(leaves.For(Parse(Host))));
        Assert.Single(got.Distinct());
        await sidecar.MetricAsync("superserve_sidecar_certificates_minted", "1");
        SslStreamCertificateContext first = leaves.For(Parse("first.test"));
        for (int i = 0; i < 1023; i++)
        {
            // What is used stays.
            Assert.Same(got.First(), leaves.For(Parse(Host)));
            leaves.For(Parse($"host{i}.test"));
        }

        Assert.Same(got.First(), leaves.For(Parse(Host)));
        Assert.NotSame(first, leaves.For(Parse("first.test")));
    }

    [Fact]
    public async Task A_leaf_is_renewed_before_it_ends()
    {
        Microsoft.Extensions.Time.Testing.FakeTimeProvider time = new(TimeProvider.System.GetUtcNow());
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup(), time);
        X509Certificate2 before = Leaf(sidecar, Host);
        time.Advance(TimeSpan.FromDays(21));
        X509Certificate2 after = Leaf(sidecar, Host);
        Assert.NotEqual(before.Thumbprint, after.Thumbprint);
        Assert.True(after.NotAfter > before.NotAfter);
    }
}

internal static class Processes
{
    public static async Task<(int Status, string Output)> RunAsync(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        string error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, await output + error);
    }
}
