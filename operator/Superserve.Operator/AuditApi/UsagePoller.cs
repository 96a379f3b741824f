using Grpc.Core;
using Superserve.Kubernetes;
using Superserve.Operator.Secrets;
using Superserve.Protocol.Audit;

namespace Superserve.Operator.AuditApi;

/// <summary>Asks the audit service again and again which secrets were used, for their status. For the leader, which writes status.</summary>
internal sealed partial class UsagePoller(AuditClient service, SecretUses uses, TimeProvider time, ILogger<UsagePoller> logger)
{
    /// <summary>Between two questions.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromSeconds(30);

    /// <summary>Runs until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        long since = 0;
        bool failed = false;
        using PeriodicTimer timer = new(Interval, time);
        do
        {
            try
            {
                UsageReply reply = await service.UsageAsync(new UsageRequest { Since = since }, cancellationToken);
                since = reply.AsOf;
                uses.Tell(reply.Secrets.Select(secret => (new ObjectKey(secret.Namespace, secret.Secret), Of(secret))));
                if (failed) LogAnswersAgain();
                failed = false;
            }
            catch (RpcException exception) when (!cancellationToken.IsCancellationRequested)
            {
                // Once, and not every half minute of a night.
                if (!failed) LogUnanswered(exception.StatusCode, exception.Status.Detail);
                failed = true;
            }

            uses.Publish();
        }
        while (await timer.WaitForNextTickAsync(cancellationToken));
    }

    private static UseSoFar Of(SecretUsage usage) => new(
        usage.LastUsed > 0 ? AuditText.Time(usage.LastUsed) : null, (long)Math.Min(usage.Used, long.MaxValue), (long)Math.Min(usage.Refused, long.MaxValue));

    [LoggerMessage(363, LogLevel.Warning, "The audit service does not say which secrets were used: {Status} ({Detail}). The status of Superserve Secrets stays as it is, and it is asked again.")]
    private partial void LogUnanswered(StatusCode status, string detail);

    [LoggerMessage(364, LogLevel.Information, "The audit service says again which secrets were used.")]
    private partial void LogAnswersAgain();
}
