using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Superserve.Operator.Connections;
using Superserve.Operator.Metrics;

namespace Superserve.Operator.AuditApi;

/// <summary>Puts this folder's parts together.</summary>
internal static class AuditApiServices
{
    /// <summary>Of one address; an API server keeps a handful.</summary>
    public const int MaxConnectionsPerAddress = 64;

    /// <summary>Adds what answers the audit log's API, and what asks the audit service.</summary>
    public static IServiceCollection AddAuditApi(this IServiceCollection services)
    {
        services.AddSingleton<AuditClient>();
        services.AddSingleton<UsagePoller>();
        services.AddSingleton<FrontProxy>();
        services.AddHostedService(provider => provider.GetRequiredService<FrontProxy>());
        return services.AddSingleton<AuditApiEndpoint>();
    }

    /// <summary>
    /// TLS that asks for a client certificate. Whatever comes is let in, and judged by each request: what is trusted changes while a
    /// connection lives.
    /// </summary>
    public static void UseAuditApi(this ListenOptions listen, Func<TlsHandshakeCallbackContext, ValueTask<SslServerAuthenticationOptions>> tls)
    {
        listen.UseAddressLimit(TlsPort.AuditApi, MaxConnectionsPerAddress);
        listen.UseHttps(new TlsHandshakeCallbackOptions
        {
            OnConnection = async context =>
            {
                SslServerAuthenticationOptions options = await tls(context);
                options.ClientCertificateRequired = true;
                options.CertificateChainPolicy = new X509ChainPolicy { DisableCertificateDownloads = true, RevocationMode = X509RevocationMode.NoCheck };
#pragma warning disable CA5359 // Each request judges it: FrontProxy.Identify.
                options.RemoteCertificateValidationCallback = (_, _, _, _) => true;
#pragma warning restore CA5359
                return options;
            },
        });
    }
}
