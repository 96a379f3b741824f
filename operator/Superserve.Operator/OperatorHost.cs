using System.Net;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Superserve.Core.Providers;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Leadership;
using Superserve.Kubernetes.Writing;
using Superserve.Operator.Admission;
using Superserve.Operator.Admission.Pods;
using Superserve.Operator.AuditApi;
using Superserve.Operator.Bindings;
using Superserve.Operator.Certificates;
using Superserve.Operator.Cluster;
using Superserve.Operator.Configuration;
using Superserve.Operator.Connections;
using Superserve.Operator.Delivery;
using Superserve.Operator.Health;
using Superserve.Operator.Metrics;
using Superserve.Operator.Reconciling;
using Superserve.Operator.Resources;
using Superserve.Operator.Secrets;

namespace Superserve.Operator;

/// <summary>Puts the operator together. Every replica serves admission; the leader alone writes status.</summary>
internal static class OperatorHost
{
    private const string LeaseName = "superserve-operator";

    /// <summary>Of one address to the webhooks; an API server keeps a handful.</summary>
    private const int MaxWebhookConnections = 256;

    /// <summary>Builds what runs; nothing listens yet, and nothing was asked.</summary>
    /// <exception cref="UsageException">The options cannot be used.</exception>
    public static WebApplication Build(OperatorOptions options, string? kubeconfig, LogLevel logLevel)
    {
        WebApplicationBuilder builder = HostParts.NewBuilder(logLevel);
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel((_, kestrel) => Listen(kestrel, options));

        TimeProvider time = TimeProvider.System;
        IServiceCollection services = builder.Services;
        services.AddSingleton(time);
        services.AddSingleton(options);
        services.AddSingleton<KubernetesMetrics>();
        services.AddSingleton<OperatorMetrics>();
        services.AddSingleton(OptionsReader.ReadProviders(options.ProvidersFile));
        services.AddSingleton(kubeconfig is null ? KubernetesConnection.Create(time) : KubernetesConnection.FromKubeconfig(time, kubeconfig));

        services.AddSingleton<CoreSecretCache>();
        services.AddSingleton<ClusterCache>();
        services.AddHostedService(provider => provider.GetRequiredService<ClusterCache>());
        services.AddCertificates(options);

        services.AddSingleton<AccessReviewer>();
        services.AddSingleton<AdmissionEndpoints>();
        services.AddSingleton<SecretValidator>();
        services.AddSingleton<BindingValidator>();
        services.AddSingleton<TokenValidator>();
        AddPods(services, options);
        services.AddSingleton<IStandInKey>(provider => provider.GetRequiredService<StandInKey>());
        services.AddSingleton<IDeliveryTrust>(provider => provider.GetRequiredService<ServingCertificates>());
        services.AddDelivery(Environment.MachineName);
        services.AddSingleton(provider =>
        {
            ClusterCache cluster = provider.GetRequiredService<ClusterCache>();
            return new SecretUses(secret => cluster.Secrets.Store.Get(secret) is not null, time);
        });
        if (options.AuditAddress is not null) services.AddAuditApi();

        services.AddSingleton(provider => ActivatorUtilities.CreateInstance<EventRecorder>(provider, "superserve.ai/operator", Environment.MachineName));
        services.AddSingleton(provider => new Applier(provider.GetRequiredService<KubernetesConnection>(), ClusterCache.StatusManager));
        services.AddSingleton<StatusWriter<SecretResource>>();
        services.AddSingleton<StatusWriter<SandboxBindingResource>>();
        services.AddSingleton<SecretReconciler>();
        services.AddSingleton<BindingReconciler>();
        services.AddSingleton<StatusControllers>();
        LeaderElectionOptions lease = new(options.Namespace, LeaseName);
        services.AddSingleton(provider => new LeaderElection(
            new LeaseStore(provider.GetRequiredService<KubernetesConnection>(), lease), lease, () => Environment.Exit(1),
            provider.GetRequiredService<KubernetesMetrics>(), time, provider.GetRequiredService<ILogger<LeaderElection>>()));
        services.AddHostedService(provider => ActivatorUtilities.CreateInstance<Leader>(provider));

        services.AddSingleton<Readiness>();
        services.AddSingleton<IReadiness>(provider => provider.GetRequiredService<Readiness>());
        services.AddMetricsExport(KubernetesMetrics.MeterName, OperatorMetrics.MeterName);

        WebApplication app = builder.Build();
        Map(app, options);
        return app;
    }

    /// <summary>Reports unready and goes on answering until nobody asks: Endpoints take a while to forget a pod.</summary>
    public static Task DrainAsync(WebApplication app, OperatorOptions options)
    {
        app.Services.GetRequiredService<Readiness>().Drain();
        return Task.WhenAll(
            Task.Delay(TimeSpan.FromSeconds(options.DrainSeconds), TimeProvider.System),
            app.Services.GetRequiredService<SandboxRegistry>().DrainAsync(CancellationToken.None));
    }

    /// <summary>Admission of pods, and the same judgement of a running one for delivery.</summary>
    private static void AddPods(IServiceCollection services, OperatorOptions options)
    {
        services.AddSingleton<INamespaceResources, NamespaceResources>();
        services.AddSingleton(provider => new PodAdmission(
            provider.GetRequiredService<INamespaceResources>(), provider.GetRequiredService<ProviderCatalog>(), Injection(provider), Key(provider),
            () => RandomNumberGenerator.GetBytes(SandboxId.RandomBytes), provider.GetRequiredService<TimeProvider>()));
        services.AddSingleton<ISandboxGuard>(provider => new SandboxGuard(provider.GetRequiredService<INamespaceResources>(), Injection(provider), Key(provider)));

        Func<InjectionOptions> Injection(IServiceProvider provider)
        {
            ServingCertificates certificates = provider.GetRequiredService<ServingCertificates>();
            return () => InjectionOptions.Of(options, certificates.TrustBundle ?? throw new CannotDecideException("the operator has no certificates yet; try again", null));
        }

        static Func<ReadOnlyMemory<byte>> Key(IServiceProvider provider)
        {
            StandInKey key = provider.GetRequiredService<StandInKey>();
            return () => key.IsReady ? key.Bytes.ToArray() : throw new CannotDecideException("the operator has no key for stand-ins yet; try again", null);
        }
    }

    private static void Listen(KestrelServerOptions kestrel, OperatorOptions options)
    {
        kestrel.AddServerHeader = false;
        // Beside the sidecars', which delivery counts.
        kestrel.Limits.MaxConcurrentConnections = kestrel.ApplicationServices.GetRequiredService<DeliveryLimits>().Connections + 4096;
        // Thousands of connections, each with one call: nothing to compress against.
        kestrel.Limits.Http2.HeaderTableSize = 0;
        // The API server says each of a user's groups in a line of its own; the bound on the head's size stays.
        kestrel.Limits.MaxRequestHeaderCount = 1000;
        kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
        kestrel.Limits.MaxRequestBodySize = AdmissionEndpoints.MaxBodyBytes;
        ServingCertificates certificates = kestrel.ApplicationServices.GetRequiredService<ServingCertificates>();
        On(options.WebhookPort, listen =>
        {
            listen.UseAddressLimit(TlsPort.Webhook, MaxWebhookConnections);
            listen.UseHttps(new TlsHandshakeCallbackOptions { OnConnection = certificates.OnConnection });
        });
        On(options.DeliveryPort, listen => listen.UseDelivery(certificates.OnConnection));
        if (options.AuditAddress is not null) On(options.AuditApiPort, listen => listen.UseAuditApi(certificates.OnConnection));
        On(options.HealthPort);
        On(options.MetricsPort);

        void On(int port, Action<ListenOptions>? configure = null)
        {
            // ListenAnyIP copes with a node without IPv6, where :: cannot be opened.
            if (options.ListenAddress == "::") kestrel.ListenAnyIP(port, configure ?? (_ => { }));
            else kestrel.Listen(IPAddress.Parse(options.ListenAddress), port, configure ?? (_ => { }));
        }
    }

    /// <summary>Each port answers what is its own, and nothing of another's.</summary>
    private static void Map(WebApplication app, OperatorOptions options)
    {
        OnPort(options.WebhookPort, routes =>
        {
            AdmissionEndpoints admission = app.Services.GetRequiredService<AdmissionEndpoints>();
            admission.Map(routes, AdmissionEndpoints.SecretsPath, app.Services.GetRequiredService<SecretValidator>());
            admission.Map(routes, AdmissionEndpoints.BindingsPath, app.Services.GetRequiredService<BindingValidator>());
            admission.Map(routes, TokenValidator.Path, app.Services.GetRequiredService<TokenValidator>());
            PodAdmission pods = app.Services.GetRequiredService<PodAdmission>();
            admission.Map(routes, PodAdmission.MutatePath, pods.Mutating);
            admission.Map(routes, PodAdmission.ValidatePath, pods.Validating);
        });
        OnPort(options.DeliveryPort, routes => routes.MapDelivery());
        if (options.AuditAddress is not null)
            app.MapWhen(context => context.Connection.LocalPort == options.AuditApiPort, branch => branch.Run(app.Services.GetRequiredService<AuditApiEndpoint>().HandleAsync));
        OnPort(options.HealthPort, routes => routes.MapHealth());
        app.MapWhen(context => context.Connection.LocalPort == options.MetricsPort, branch => branch.UseOpenTelemetryPrometheusScrapingEndpoint("/metrics"));

        void OnPort(int port, Action<IEndpointRouteBuilder> map) => app.MapWhen(
            context => context.Connection.LocalPort == port,
            branch =>
            {
                branch.UseRouting();
                branch.UseEndpoints(map);
            });
    }
}
