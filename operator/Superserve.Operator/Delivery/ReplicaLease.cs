using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using k8s.Models;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Writing;
using Superserve.Operator.Configuration;

namespace Superserve.Operator.Delivery;

/// <summary>
/// Says that this replica lives: a Lease of its own in the operator's namespace, renewed for as long as the process runs. So a replica
/// is known by what it does, wherever it runs; a pod that is there says little, as that of a node which is gone.
/// </summary>
internal sealed partial class ReplicaLease(
    KubernetesConnection connection, OperatorOptions options, string replica, DeliveryLimits limits, TimeProvider time, ILogger<ReplicaLease> logger)
{
    /// <summary>By which all of them are found: no other Lease of the namespace is meant.</summary>
    public const string Label = "superserve.ai/lease", LabelValue = "replica";

    private readonly Applier _applier = new(connection, ConnectedCondition.FieldManager);

    /// <summary>The Lease of a replica. Not every name of a machine is a name in the API; the Lease's holder is the name itself.</summary>
    public static ObjectKey KeyOf(string inNamespace, string replica) =>
        new(inNamespace, $"superserve-replica-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(replica)))[..16]}");

    /// <summary>Renews until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                await RenewAsync(cancellationToken);
            }
            catch (Exception exception) when (!cancellationToken.IsCancellationRequested)
            {
                LogUnwritten(exception.Message);
            }

            await Task.Delay(limits.ReplicaBeat, time, cancellationToken);
        }
    }

    private Task<V1Lease> RenewAsync(CancellationToken cancellationToken) => _applier.ApplyAsync<V1Lease>(
        KeyOf(options.Namespace, replica),
        new
        {
            metadata = new { labels = new Dictionary<string, string> { [Label] = LabelValue } },
            spec = new
            {
                holderIdentity = replica,
                leaseDurationSeconds = (int)Math.Ceiling((limits.ReplicaBeat * limits.ReplicaLooks).TotalSeconds),
                renewTime = time.GetUtcNow().UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture),
            },
        },
        live: null, cancellationToken: cancellationToken);

    [LoggerMessage(348, LogLevel.Warning, "This replica's Lease could not be renewed; if that stays so, its sandboxes are shown as disconnected. The operator needs create and patch on leases of its namespace. {Error}")]
    private partial void LogUnwritten(string error);
}
