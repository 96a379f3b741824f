using System.Net.Security;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Superserve.Audit;
using Superserve.Audit.Calls;
using Superserve.Kubernetes.Api;
using Superserve.Operator.Certificates;
using Superserve.Operator.Configuration;
using Superserve.Operator.Connections;
using Superserve.Operator.Delivery;
using Superserve.Operator.Health;
using Superserve.Operator.Metrics;
using Superserve.Protocol;

namespace Superserve.Operator;

/// <summary>Puts the audit service's process together: the service, who its callers are, certificates, health and metrics.</summary>
internal static class AuditHost
{
    private const int MaxConnections = 20_000;

    /// <summary>Builds what runs; nothing listens yet, and nothing was asked. <paramref name="replaceServices"/> is for tests.</summary>
    public static WebApplication Build(AuditOptions options, string? kubeconfig, LogLevel logLevel, Action<IServiceCollection>? replaceServices = null)
    {
        WebApplicationBuilder builder = HostParts.NewBuilder(logLevel);
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel((_, kestrel) => Listen(kestrel, options));
        IServiceCollection services = builder.Services;
        TimeProvider time = TimeProvider.System;
        services.AddSingleton(time);
        services.AddSingleton(_ => kubeconfig is null ? KubernetesConnection.Create(time) : KubernetesConnection.FromKubeconfig(time, kubeconfig));
        services.AddSingleton<OperatorMetrics>();
        services.AddSingleton(new DeliveryLimits());
        services.AddSingleton<TokenReviewer>();
        services.AddSingleton<ICallerReviewer, CallerReviewer>();
        services.AddAudit(options);

        services.AddSingleton(new OperatorOptions { Namespace = options.Namespace, ServiceName = options.ServiceName, CertificateDirectory = options.CertificateDirectory });
        services.AddSingleton<ServingCertificates>();
        services.AddHostedService<MountedCertificates>();
        services.AddSingleton<IReadiness, AuditReadiness>();
        services.AddMetricsExport(AuditMetrics.MeterName, OperatorMetrics.MeterName);
        replaceServices?.Invoke(services);

        WebApplication app = builder.Build();
        app.MapWhen(context => context.Connection.LocalPort == options.Port, branch => branch.UseAudit());
        app.MapWhen(context => context.Connection.LocalPort == options.HealthPort, branch =>
        {
            branch.UseRouting();
            branch.UseEndpoints(routes => routes.MapHealth());
        });
        app.MapWhen(context => context.Connection.LocalPort == options.MetricsPort, branch => branch.UseOpenTelemetryPrometheusScrapingEndpoint("/metrics"));
        return app;
    }

    private static void Listen(KestrelServerOptions kestrel, AuditOptions options)
    {
        kestrel.AddServerHeader = false;
        kestrel.Limits.MaxConcurrentConnections = MaxConnections;
        // Thousands of connections, each with a call now and then: nothing to compress against.
        kestrel.Limits.Http2.HeaderTableSize = 0;
        kestrel.Limits.Http2.MaxStreamsPerConnection = 16;
        kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
        // The message's head is a few bytes more.
        kestrel.Limits.MaxRequestBodySize = AuditLimits.BatchBytes + 1024;
        ServingCertificates certificates = kestrel.ApplicationServices.GetRequiredService<ServingCertificates>();
        kestrel.Open(options.ListenAddress, options.Port, listen =>
        {
            listen.Protocols = HttpProtocols.Http2;
            listen.UseAddressLimit(TlsPort.Audit, options.MaxConnectionsPerAddress);
            listen.UseHttps(new TlsHandshakeCallbackOptions
            {
                OnConnection = async context =>
                {
                    SslServerAuthenticationOptions tls = await certificates.OnConnection(context);
                    tls.ApplicationProtocols = [SslApplicationProtocol.Http2];
                    return tls;
                },
            });
        });
        kestrel.Open(options.ListenAddress, options.HealthPort);
        kestrel.Open(options.ListenAddress, options.MetricsPort);
    }

    /// <summary>By TokenReview, as delivery asks.</summary>
    private sealed class CallerReviewer(TokenReviewer reviewer) : ICallerReviewer
    {
        public async Task<Caller> ReviewAsync(string token, CancellationToken cancellationToken)
        {
            try
            {
                ProvenPod proven = await reviewer.ReviewAsync(token, cancellationToken);
                return new Caller(proven.Pod.Namespace, proven.Pod.Name, proven.Uid, proven.ServiceAccount, proven.Until);
            }
            catch (EndingException exception)
            {
                throw new CallerRefusedException(exception.Ending.Reason, exception.Ending.Status, exception.Ending.Message);
            }
        }
    }

    private sealed class AuditReadiness(IServiceProvider services, ServingCertificates certificates) : IReadiness
    {
        public IReadOnlyList<string> Problems
        {
            get
            {
                List<string> problems = [];
                if (!certificates.IsReady) problems.Add(certificates.Problem ?? "there is no serving certificate yet");
                if (services.StoreProblem() is { } problem) problems.Add(problem);
                return problems;
            }
        }
    }
}
