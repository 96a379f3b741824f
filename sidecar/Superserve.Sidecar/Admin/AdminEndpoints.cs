using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Superserve.Sidecar.Capture;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Proxy;

namespace Superserve.Sidecar.Admin;

/// <summary>Health and metrics, on ports of their own, each answering nothing of the other's.</summary>
internal static class AdminEndpoints
{
    /// <summary>Adds the listeners to the web host.</summary>
    public static void Listen(KestrelServerOptions kestrel, SidecarOptions options)
    {
        kestrel.AddServerHeader = false;
        // The sandbox can open connections here too: idle ones go soon, and leave room for the kubelet's.
        kestrel.Limits.MaxConcurrentConnections = FileDescriptors.AdminConnections;
        kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(5);
        kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(5);
        kestrel.Limits.MaxRequestBodySize = 0;
        Listen(options.HealthAddress);
        Listen(options.MetricsAddress);

        void Listen(IPEndPoint address)
        {
            // All interfaces, of IPv4 alone where the machine has no IPv6.
            if (address.Address.Equals(IPAddress.IPv6Any)) kestrel.ListenAnyIP(address.Port);
            else kestrel.Listen(address);
        }
    }

    /// <summary>
    /// Has the listeners, and so their connections, carry the sidecar's mark: under transparent capture the rules let out no other
    /// answers from these ports.
    /// </summary>
    public static void Mark(SocketTransportOptions transport, SidecarOptions options)
    {
        EgressSockets sockets = new(options);
        transport.CreateBoundListenSocket = endPoint =>
        {
            Socket listener = SocketTransportOptions.CreateDefaultBoundListenSocket(endPoint);
            sockets.SetMark(listener);
            return listener;
        };
    }

    /// <summary>Maps the paths.</summary>
    public static void Map(WebApplication app, SidecarOptions options)
    {
        app.Use(async (context, next) =>
        {
            int port = context.Connection.LocalPort;
            string path = context.Request.Path.Value ?? "";
            bool isHealth = path is "/healthz" or "/readyz";
            bool isMetrics = path is "/metrics";
            // The two may share a port; otherwise each port has its own paths.
            if (!HttpMethods.IsGet(context.Request.Method) || !((isHealth && port == options.HealthAddress.Port) || (isMetrics && port == options.MetricsAddress.Port)))
            {
                context.Response.StatusCode = StatusCodes.Status404NotFound;
                await context.Response.WriteAsync("Not found: /healthz and /readyz are on the health port, /metrics is on the metrics port.\n");
                return;
            }

            if (isHealth) await AnswerAsync(context, path);
            else await next(context);
        });
        app.UseOpenTelemetryPrometheusScrapingEndpoint("/metrics");
    }

    private static async Task AnswerAsync(HttpContext context, string path)
    {
        string? problem = path is "/healthz" ? null : Unready(context.RequestServices);
        context.Response.StatusCode = problem is null ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable;
        await context.Response.WriteAsync((problem ?? "ok") + "\n");
    }

    private static string? Unready(IServiceProvider services)
    {
        if (!services.GetRequiredService<ProxyServer>().IsListening) return "the proxy is not listening";
        return services.GetService<InboundLease>() is { RulesAreInForce: false }
            ? "the rules of the pod's network are not in force: the sandbox could go around the sidecar"
            : services.GetRequiredService<ISnapshotSource>().Waiting;
    }
}
