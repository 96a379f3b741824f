using System.Net.Security;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Superserve.Operator.Cluster;
using Superserve.Operator.Configuration;
using Superserve.Operator.Connections;
using Superserve.Operator.Metrics;

namespace Superserve.Operator.Delivery;

/// <summary>Puts this folder's parts together.</summary>
public static class DeliveryServices
{
    private static readonly TimeSpan PingDelay = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan PingTimeout = TimeSpan.FromSeconds(15);

    /// <summary>
    /// Adds delivery. It needs <see cref="ClusterCache"/>, the provider catalog, <see cref="OperatorOptions"/>, <see cref="OperatorMetrics"/>, an
    /// <see cref="Kubernetes.Writing.EventRecorder"/>, <see cref="ISandboxGuard"/>, <see cref="IStandInKey"/> and
    /// <see cref="IDeliveryTrust"/>. <paramref name="replica"/> is the name of this replica's pod.
    /// </summary>
    public static IServiceCollection AddDelivery(this IServiceCollection services, string replica) => services.AddDelivery(replica, new DeliveryLimits());

    /// <summary>Serves delivery on a port: TLS, and HTTP/2 alone.</summary>
    public static void UseDelivery(this ListenOptions listen, Func<TlsHandshakeCallbackContext, ValueTask<SslServerAuthenticationOptions>> tls)
    {
        DeliveryLimits limits = listen.ApplicationServices.GetRequiredService<DeliveryLimits>();
        // A peer that vanished without a word is found before the heartbeats would miss it.
        listen.KestrelServerOptions!.Limits.Http2.KeepAlivePingDelay = PingDelay;
        listen.KestrelServerOptions.Limits.Http2.KeepAlivePingTimeout = PingTimeout;
        int connections = 0;
        listen.Protocols = HttpProtocols.Http2;
        // First, so that what is beyond one address's share takes nothing of what all share.
        listen.UseAddressLimit(TlsPort.Delivery, listen.ApplicationServices.GetRequiredService<OperatorOptions>().MaxConnectionsPerAddress);
        listen.Use(next => async connection =>
        {
            try
            {
                if (Interlocked.Increment(ref connections) > limits.Connections) connection.Abort(new ConnectionAbortedException("Too many connections."));
                else await next(connection);
            }
            finally
            {
                Interlocked.Decrement(ref connections);
            }
        });
        listen.UseHttps(new TlsHandshakeCallbackOptions
        {
            OnConnection = async context =>
            {
                SslServerAuthenticationOptions options = await tls(context);
                options.ApplicationProtocols = [SslApplicationProtocol.Http2];
                return options;
            },
        });
    }

    /// <summary>Answers the sidecars' calls.</summary>
    public static void MapDelivery(this IEndpointRouteBuilder endpoints) => endpoints.MapGrpcService<DeliveryService>();

    internal static IServiceCollection AddDelivery(this IServiceCollection services, string replica, DeliveryLimits limits)
    {
        services.AddGrpc(grpc =>
        {
            grpc.MaxReceiveMessageSize = DeliveryLimits.MaxMessage;
            grpc.EnableDetailedErrors = false;
            // Else it would answer for every path of the host.
            grpc.IgnoreUnknownServices = true;
            // Credentials and a neighbour's text are not compressed together, and nothing unpacks to more than it was.
            grpc.CompressionProviders.Clear();
        });
        services.AddSingleton(limits);
        services.AddSingleton<DeliveryMetrics>();
        services.AddSingleton<DeliveryGate>();
        services.AddSingleton<TokenReviewer>();
        services.AddSingleton<PodVetting>();
        services.AddSingleton<SandboxRegistry>();
        services.AddSingleton(provider => ActivatorUtilities.CreateInstance<ConnectedCondition>(provider, replica));
        services.AddSingleton(provider => ActivatorUtilities.CreateInstance<ReplicaLease>(provider, replica));
        services.AddSingleton(provider => ActivatorUtilities.CreateInstance<LostReplicas>(provider, replica));
        services.AddHostedService<DeliveryWorkers>();
        return services;
    }
}

/// <summary>Makes snapshots, writes conditions and says that this replica lives, for as long as the operator runs.</summary>
internal sealed class DeliveryWorkers(SandboxRegistry registry, ConnectedCondition connected, ReplicaLease lease) : BackgroundService
{
    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.WhenAll(registry.RunAsync(stoppingToken), connected.RunAsync(stoppingToken), lease.RunAsync(stoppingToken));
}
