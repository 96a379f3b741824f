using System.Net;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using OpenTelemetry.Metrics;

namespace Superserve.Operator;

/// <summary>What the operator's process and the audit service's have alike.</summary>
internal static class HostParts
{
    /// <summary>A host that logs what this project says and nothing else, and that its command ends.</summary>
    public static WebApplicationBuilder NewBuilder(LogLevel logLevel)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Logging.SetMinimumLevel(logLevel);
        // Only what this project logs: libraries quote requests, which hold what nobody should read.
        builder.Logging.AddFilter((category, level) => category?.StartsWith("Superserve.", StringComparison.Ordinal) == true && level >= logLevel);
        builder.Logging.AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "yyyy-MM-dd'T'HH:mm:ss'Z' ";
            console.UseUtcTimestamp = true;
        });
        builder.Services.AddRoutingCore();
        builder.Services.AddSingleton<IHostLifetime, CommandLifetime>();
        builder.Services.AddMetrics();
        return builder;
    }

    /// <summary>Collects the metrics of these meters for <c>/metrics</c>.</summary>
    public static void AddMetricsExport(this IServiceCollection services, params string[] meters) =>
        services.AddOpenTelemetry().WithMetrics(metrics => metrics.AddMeter([.. meters, "System.Runtime"]).AddPrometheusExporter(exporter =>
        {
            exporter.ScrapeResponseCacheDurationMilliseconds = 0;
            exporter.ScopeInfoEnabled = false;
            exporter.TargetInfoEnabled = false;
        }));

    /// <summary>Opens a port on the address of the options.</summary>
    public static void Open(this KestrelServerOptions kestrel, string address, int port, Action<ListenOptions>? configure = null)
    {
        // ListenAnyIP copes with a node without IPv6, where :: cannot be opened.
        if (address == "::") kestrel.ListenAnyIP(port, configure ?? (_ => { }));
        else kestrel.Listen(IPAddress.Parse(address), port, configure ?? (_ => { }));
    }

    /// <summary>The command waits for signals; the host's own lifetime would stop at once, without draining.</summary>
    private sealed class CommandLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
