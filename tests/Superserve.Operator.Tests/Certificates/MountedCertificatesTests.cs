using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;
using Superserve.Operator.Certificates;
using Superserve.Operator.Configuration;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Certificates;

/// <summary>A directory as the kubelet mounts a Secret: files that are links through <c>..data</c>, which is swapped.</summary>
public sealed class MountedCertificatesTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("certificates-").FullName;
    private readonly FakeTimeProvider _time = new(new DateTimeOffset(2026, 3, 1, 12, 0, 0, TimeSpan.Zero));
    private readonly RecordedLog _log = new();
    private readonly CertificateAuthority _authority;
    private readonly ServingCertificates _serving;
    private readonly MountedCertificates _mounted;
    private int _version;

    public MountedCertificatesTests()
    {
        _authority = CertificateAuthority.Create(_time.GetUtcNow());
        _serving = new ServingCertificates(_time);
        _mounted = new MountedCertificates(_serving, new OperatorOptions { CertificateDirectory = _directory }, _time, _log.CreateLogger<MountedCertificates>());
    }

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _mounted.StopAsync(CancellationToken.None);
        _mounted.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task What_is_mounted_is_served_and_a_swap_is_seen()
    {
        (string certificate, string key) = Issue();
        Mount(certificate, key, _authority.Current.CertificatePem);
        await _mounted.StartAsync(CancellationToken.None);
        await Eventually.True(() => _serving.IsReady && _serving.Problem is null, "it is served");
        Assert.Equal(certificate, _serving.Current!.TargetCertificate.ExportCertificatePem());
        Assert.Equal(_authority.Current.CertificatePem, _serving.TrustBundle);

        (string newer, string newerKey) = Issue();
        Mount(newer, newerKey, _authority.Bundle);
        await Eventually.True(() => _serving.Current!.TargetCertificate.ExportCertificatePem() == newer, "the new one is served", _time, MountedCertificates.Interval);
        Assert.Equal(_authority.Bundle, _serving.TrustBundle);
    }

    [Fact]
    public async Task Certificates_may_come_later()
    {
        await _mounted.StartAsync(CancellationToken.None);
        await Eventually.True(() => _serving.Problem?.Contains("tls.crt", StringComparison.Ordinal) == true, "the missing file is reported");
        Assert.False(_serving.IsReady);
        (string certificate, string key) = Issue();
        Mount(certificate, key, _authority.Bundle);
        await Eventually.True(() => _serving.IsReady && _serving.Problem is null, "it is served", _time, MountedCertificates.Interval);
    }

    [Theory]
    [InlineData("the key of another", "key")]
    [InlineData("half a certificate", "cannot be used")]
    [InlineData("another CA", "cannot be verified with ca.crt")]
    [InlineData("no CA", "cannot be verified with ca.crt")]
    [InlineData("another name", "superserve-operator.superserve-system.svc")]
    [InlineData("expired", "NotTimeValid")]
    [InlineData("a large file", "longer than")]
    public async Task What_does_not_fit_together_is_reported_and_the_one_before_is_served_on(string what, string reason)
    {
        (string certificate, string key) = Issue();
        Mount(certificate, key, _authority.Bundle);
        await _mounted.StartAsync(CancellationToken.None);
        await Eventually.True(() => _serving.IsReady && _serving.Problem is null, "it is served");

        (string newer, string newerKey) = what switch
        {
            "another name" => Issue(service: "another"),
            "expired" => Issue(at: _time.GetUtcNow().AddDays(-8)),
            _ => Issue(),
        };
        string authorities = what switch
        {
            "another CA" => CertificateAuthority.Create(_time.GetUtcNow()).Bundle,
            "no CA" => "",
            _ => _authority.Bundle,
        };
        Mount(
            what switch { "half a certificate" => newer[..200], "a large file" => newer + new string('\n', 300_000), _ => newer },
            what == "the key of another" ? key : newerKey,
            authorities);
        await Eventually.True(() => _serving.Problem is not null, "it is reported", _time, MountedCertificates.Interval);
        Assert.Contains(reason, _serving.Problem, StringComparison.Ordinal);
        Assert.True(_serving.IsReady);
        Assert.Equal(certificate, _serving.Current!.TargetCertificate.ExportCertificatePem());
        Assert.DoesNotContain(newerKey.Split('\n')[1], _log.Text + _serving.Problem, StringComparison.Ordinal);

        Mount(certificate, key, _authority.Bundle);
        await Eventually.True(() => _serving.Problem is null, "all is well again", _time, MountedCertificates.Interval);
    }

    [Fact]
    public async Task A_certificate_that_nobody_renews_makes_the_replica_unready()
    {
        (string certificate, string key) = Issue();
        Mount(certificate, key, _authority.Bundle);
        await _mounted.StartAsync(CancellationToken.None);
        await Eventually.True(() => _serving.IsReady && _serving.Problem is null, "it is served");
        _time.Advance(SigningAuthority.LeafLifetime);
        Assert.False(_serving.IsReady);
        Assert.Contains("expired", _serving.Problem, StringComparison.Ordinal);
    }

    private (string Certificate, string Key) Issue(string service = "superserve-operator", DateTimeOffset? at = null)
    {
        X509Extension names = OwnCertificates.AlternativeNames(new OperatorOptions { ServiceName = service });
        using X509Certificate2 leaf = _authority.Current.Issue(service, names, at ?? _time.GetUtcNow());
        using ECDsa key = leaf.GetECDsaPrivateKey()!;
        return (leaf.ExportCertificatePem(), key.ExportPkcs8PrivateKeyPem());
    }

    private void Mount(string certificate, string key, string authorities)
    {
        string version = $"..{++_version}";
        Directory.CreateDirectory(Path.Combine(_directory, version));
        foreach ((string name, string text) in new[] { ("tls.crt", certificate), ("tls.key", key), ("ca.crt", authorities) })
        {
            File.WriteAllText(Path.Combine(_directory, version, name), text);
            if (_version == 1) File.CreateSymbolicLink(Path.Combine(_directory, name), Path.Combine("..data", name));
        }

        string link = Path.Combine(_directory, "..data"), swap = Path.Combine(_directory, "..data_tmp");
        File.CreateSymbolicLink(swap, version);
        Assert.Equal(0, Rename(swap, link));
    }

    /// <summary>File.Move does not take a link to a directory for something that can be moved.</summary>
    [DllImport("libc", EntryPoint = "rename", BestFitMapping = false)]
    private static extern int Rename([MarshalAs(UnmanagedType.LPUTF8Str)] string from, [MarshalAs(UnmanagedType.LPUTF8Str)] string to);
}
