using System.Net.Sockets;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using OpenTelemetry.Metrics;
using Superserve.Sidecar.Admin;
using Superserve.Sidecar.Capture;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Dns;
using Superserve.Sidecar.Events;
using Superserve.Sidecar.Forwarding;
using Superserve.Sidecar.Http1;
using Superserve.Sidecar.Metrics;
using Superserve.Sidecar.Proxy;
using Superserve.Sidecar.Trust;

namespace Superserve.Sidecar.Commands;

/// <summary>A mistake of the user's that ends the program, with a message that says what to change.</summary>
internal sealed class UsageException(string message, int status = 2) : Exception(message)
{
    /// <summary>What the program ends with.</summary>
    public int Status { get; } = status;
}

/// <summary>Puts a sidecar together; where its snapshots come from is the mode's part.</summary>
internal static class SidecarHost
{
    private static readonly TimeSpan DrainTimeout = TimeSpan.FromSeconds(10);

    /// <summary>Builds what runs a sidecar; nothing listens yet.</summary>
    /// <param name="options">The options.</param>
    /// <param name="logLevel">What goes to standard error.</param>
    /// <param name="timeProvider">The clock; null for the system's.</param>
    /// <param name="addSnapshots">Adds an <see cref="ISnapshotSource"/>, and what keeps it up to date.</param>
    public static WebApplication Build(SidecarOptions options, LogLevel logLevel, TimeProvider? timeProvider, Action<IServiceCollection> addSnapshots)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Logging.SetMinimumLevel(logLevel);
        // Only what this project logs: libraries quote requests and addresses, which can hold credentials.
        builder.Logging.AddFilter((category, level) => category?.StartsWith("Superserve.", StringComparison.Ordinal) == true && level >= logLevel);
        builder.Logging.AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "yyyy-MM-dd'T'HH:mm:ss'Z' ";
            console.UseUtcTimestamp = true;
        });
        builder.Services.Configure<Microsoft.Extensions.Logging.Console.ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        builder.WebHost.UseKestrelCore().ConfigureKestrel((KestrelServerOptions kestrel) => AdminEndpoints.Listen(kestrel, options)).UseSockets(transport => AdminEndpoints.Mark(transport, options));

        IServiceCollection services = builder.Services;
        services.AddSingleton(timeProvider ?? TimeProvider.System);
        services.AddSingleton(options);
        services.AddMetrics();
        services.AddSingleton<SidecarMetrics>();
        services.AddSingleton(_ => PublicRoots.Load(options.TrustedRootsFile));
        services.AddSingleton(provider => PodAuthority.LoadOrCreate(options.StateDirectory, provider.GetRequiredService<TimeProvider>()));
        services.AddSingleton<LeafCertificates>();
        services.AddSingleton(provider => TrustDirectory.Create(options.TrustDirectory, provider.GetRequiredService<PodAuthority>(), provider.GetRequiredService<PublicRoots>()));
        services.AddHttpForwarder();
        services.AddSingleton<EgressSockets>();
        services.AddSingleton<ResolverFile>();
        services.AddSingleton<Resolver>();
        services.AddSingleton<NameMemory>();
        services.AddSingleton<Dialler>();
        services.AddSingleton<UpstreamConnector>();
        services.AddSingleton<ServiceConnections>();
        services.AddSingleton<Http1Forwarder>();
        services.AddSingleton<Http2Forwarder>();
        services.AddSingleton<AddressNames>();
        services.AddSingleton<TrafficLog>();
        services.AddSingleton<IDroppedTrafficSink>(provider => provider.GetRequiredService<TrafficLog>());
        services.AddSingleton<DataPath>();
        AddEvents(services, options);
        services.AddSingleton<ProxyServer>();
        services.AddHostedService(provider => provider.GetRequiredService<ProxyServer>());
        if (options.Capture == CaptureMode.Transparent)
        {
            services.AddSingleton<CaptureControl>();
            services.AddSingleton<InboundLease>();
            services.AddHostedService(provider => provider.GetRequiredService<InboundLease>());
            services.AddHostedService<InboundPorts>();
            services.AddHostedService<DroppedTraffic>();
            services.AddSingleton<DnsQueries>();
            services.AddHostedService<DnsServer>();
        }

        addSnapshots(services);
        services.AddHostedService<IdleMemory>();
        services.AddOpenTelemetry().WithMetrics(metrics => metrics.AddMeter(SidecarMetrics.MeterName).AddMeter("System.Runtime").AddView(SidecarMetrics.Bound).AddPrometheusExporter(exporter =>
        {
            exporter.ScrapeResponseCacheDurationMilliseconds = 0;
            exporter.ScopeInfoEnabled = false;
            exporter.TargetInfoEnabled = false;
        }));

        WebApplication app = builder.Build();
        AdminEndpoints.Map(app, options);
        return app;
    }

    /// <summary>Ahead of all that makes events: what starts later ends earlier.</summary>
    private static void AddEvents(IServiceCollection services, SidecarOptions options)
    {
        if (options.AuditService is null)
        {
            services.AddSingleton<EventLog>();
            services.AddHostedService(provider => provider.GetRequiredService<EventLog>());
        }
        else
        {
            services.AddSingleton<AuditLog>();
            services.AddSingleton<AuditMetrics>();
            services.AddHostedService<AuditSender>();
        }

        services.AddSingleton(provider => new RepeatedRefusals(
            options.AuditService is null ? provider.GetRequiredService<EventLog>() : provider.GetRequiredService<AuditLog>(), provider.GetRequiredService<TimeProvider>()));
        services.AddHostedService(provider => provider.GetRequiredService<RepeatedRefusals>());
        services.AddSingleton<IEventSink>(provider => provider.GetRequiredService<RepeatedRefusals>());
    }

    /// <summary>Lets requests under way end for a while, ends tunnels, and writes the events that are left.</summary>
    public static async Task StopAsync(WebApplication app)
    {
        using CancellationTokenSource drain = new(DrainTimeout, TimeProvider.System);
        try
        {
            await app.StopAsync(drain.Token);
        }
        catch (OperationCanceledException)
        {
            // What was under way for too long has been cut off.
        }
    }

    /// <summary>Starts everything; afterwards the proxy accepts connections.</summary>
    /// <exception cref="UsageException">A port is taken, or a file cannot be read or written.</exception>
    public static async Task StartAsync(WebApplication app, CancellationToken cancellationToken)
    {
        SidecarOptions options = app.Services.GetRequiredService<SidecarOptions>();
        try
        {
            _ = app.Services.GetRequiredService<ISnapshotSource>().Current;
            await app.StartAsync(cancellationToken);
        }
        catch (InvalidOperationException exception)
        {
            throw new UsageException(exception.Message);
        }
        catch (Exception exception) when (exception is IOException { InnerException: Microsoft.AspNetCore.Connections.AddressInUseException } or SocketException)
        {
            throw new UsageException(ProxyServer.Cannot(options.HealthAddress, "healthAddress", exception)
                + $" The same may hold for metricsAddress, {options.MetricsAddress}.");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"The sidecar cannot write its files: {exception.Message} Check trustDirectory and stateDirectory.");
        }
    }
}
