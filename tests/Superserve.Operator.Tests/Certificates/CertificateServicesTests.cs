using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Operator.Certificates;
using Superserve.Operator.Configuration;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Certificates;

public sealed class CertificateServicesTests : CertificatesTest
{
    [Fact]
    public async Task The_operators_own_certificates_come_with_the_bundle_controller()
    {
        using IHost host = await StartAsync(new OperatorOptions());
        await Eventually.True(() => host.Services.GetRequiredService<ServingCertificates>().IsReady && host.Services.GetRequiredService<StandInKey>().IsReady, "all is there");
        Assert.NotNull(host.Services.GetService<CaBundleController>());
        await host.StopAsync();
    }

    [Fact]
    public async Task Mounted_certificates_leave_bundles_and_the_CA_to_who_made_them()
    {
        DirectoryInfo directory = Directory.CreateTempSubdirectory("certificates-");
        try
        {
            DateTimeOffset now = TimeProvider.System.GetUtcNow();
            SigningAuthority authority = CertificateAuthority.Create(now).Current;
            using X509Certificate2 leaf = authority.Issue("theirs", OwnCertificates.AlternativeNames(new OperatorOptions()), now);
            using ECDsa key = leaf.GetECDsaPrivateKey()!;
            await File.WriteAllTextAsync(Path.Combine(directory.FullName, "tls.crt"), leaf.ExportCertificatePem());
            await File.WriteAllTextAsync(Path.Combine(directory.FullName, "tls.key"), key.ExportPkcs8PrivateKeyPem());
            await File.WriteAllTextAsync(Path.Combine(directory.FullName, "ca.crt"), authority.CertificatePem);
            using IHost host = await StartAsync(new OperatorOptions { CertificateDirectory = directory.FullName });
            await Eventually.True(() => host.Services.GetRequiredService<ServingCertificates>().IsReady && host.Services.GetRequiredService<StandInKey>().IsReady, "all is there");
            Assert.Null(host.Services.GetService<CaBundleController>());
            Assert.Null(Secret(OwnCertificates.SecretName));
            await host.StopAsync();
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    private async Task<IHost> StartAsync(OperatorOptions options)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddMetrics().AddSingleton(TimeProvider.System).AddSingleton(options).AddSingleton<KubernetesMetrics>()
            .AddSingleton(KubernetesConnection.FromKubeconfig(TimeProvider.System, Server.KubeconfigPath))
            .AddCertificates(options);
        IHost host = builder.Build();
        await host.StartAsync();
        return host;
    }
}
