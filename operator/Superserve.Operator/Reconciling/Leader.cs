using Superserve.Kubernetes.Leadership;
using Superserve.Kubernetes.Writing;
using Superserve.Operator.AuditApi;
using Superserve.Operator.Certificates;
using Superserve.Operator.Delivery;

namespace Superserve.Operator.Reconciling;

/// <summary>
/// What one replica alone does: status, what replicas that are gone said of pods, the CAs in the webhook configurations and the
/// APIService, and the audit service's certificate. And Events, which each replica sends.
/// </summary>
internal sealed class Leader(
    LeaderElection election,
    StatusControllers controllers,
    LostReplicas lost,
    EventRecorder events,
    CaBundleController? caBundles = null,
    AuditCertificate? auditCertificate = null,
    UsagePoller? usage = null) : BackgroundService
{
    /// <inheritdoc />
    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.WhenAll(events.RunAsync(stoppingToken), election.RunAsync(LeadAsync, stoppingToken));

    private Task LeadAsync(CancellationToken cancellationToken) =>
        Task.WhenAll(
            controllers.RunAsync(cancellationToken),
            lost.RunAsync(cancellationToken),
            caBundles?.RunAsync(cancellationToken) ?? Task.CompletedTask,
            auditCertificate?.RunAsync(cancellationToken) ?? Task.CompletedTask,
            usage?.RunAsync(cancellationToken) ?? Task.CompletedTask);
}
