using Microsoft.AspNetCore.Builder;
using Superserve.Audit.Calls;
using Superserve.Audit.Export;
using Superserve.Audit.Ingest;
using Superserve.Audit.Queries;
using Superserve.Audit.Storing;
using Superserve.Protocol;

namespace Superserve.Audit;

/// <summary>Puts the audit service together.</summary>
public static class AuditServices
{
    /// <summary>Adds the service. It needs a <see cref="TimeProvider"/>, metrics and an <see cref="ICallerReviewer"/>.</summary>
    public static IServiceCollection AddAudit(this IServiceCollection services, AuditOptions options)
    {
        services.AddGrpc(grpc =>
        {
            grpc.MaxReceiveMessageSize = AuditLimits.BatchBytes;
            grpc.EnableDetailedErrors = false;
            // Else it would answer for every path of the host.
            grpc.IgnoreUnknownServices = true;
            // Nothing unpacks to more than it was.
            grpc.CompressionProviders.Clear();
        });
        services.AddSingleton(options);
        services.AddSingleton<AuditMetrics>();
        services.AddSingleton<EventStore>(provider =>
        {
            TimeProvider time = provider.GetRequiredService<TimeProvider>();
            return options.PostgresConnectionStringFile is { } file ? new PostgresStore(file, time) : new SqliteStore(options.SqliteFile!, options.MaxBytes, time);
        });
        services.AddSingleton<KnownCallers>();
        services.AddSingleton(new CallerGate.Limits());
        services.AddSingleton<CallerGate>();
        services.AddSingleton<RunningBatches>();
        services.AddSingleton<BatchReader>();
        services.AddSingleton<Questions>();
        if (options.Stdout) services.AddSingleton<IEventExporter>(_ => new JsonLines(Console.OpenStandardOutput()));
        if (options.OtlpEndpoint is { } endpoint) services.AddSingleton<IEventExporter>(_ => new OtlpLogs(new Uri(endpoint)));

        // They end in the opposite order: the server first, which is the host's, then what it waits for.
        services.AddSingleton<EventExport>();
        services.AddHostedService(provider => provider.GetRequiredService<EventExport>());
        services.AddSingleton<StoreKeeper>();
        services.AddHostedService(provider => provider.GetRequiredService<StoreKeeper>());
        services.AddSingleton<Writer>();
        return services.AddHostedService(provider => provider.GetRequiredService<Writer>());
    }

    /// <summary>Answers sidecars and operators, whoever of them may call.</summary>
    public static void UseAudit(this IApplicationBuilder app)
    {
        CallerGate gate = app.ApplicationServices.GetRequiredService<CallerGate>();
        app.Use((context, next) => gate.RunAsync(context, () => next(context)));
        app.UseRouting();
        app.UseEndpoints(routes => routes.MapGrpcService<AuditCalls>());
    }

    /// <summary>What is wrong with the store, for /readyz; null when nothing is.</summary>
    public static string? StoreProblem(this IServiceProvider services) => services.GetRequiredService<StoreKeeper>().Problem;
}
