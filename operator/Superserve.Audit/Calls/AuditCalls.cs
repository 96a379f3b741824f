using System.Collections.Concurrent;
using Grpc.Core;
using Superserve.Audit.Ingest;
using Superserve.Audit.Queries;
using Superserve.Audit.Storing;
using Superserve.Protocol.Audit;

namespace Superserve.Audit.Calls;

/// <summary>Answers sidecars and operators.</summary>
/// <remarks>
/// <code>
/// Record ── CallerGate: whose token ── BatchReader: is it in order ── Writer: gathered with others ── EventStore.WriteAsync: one transaction
///                                                                                                        └─ then EventExport
/// List   ── CallerGate ── the operator's? ── Questions: filters, cursor ── EventStore.PageAsync
/// </code>
/// </remarks>
internal sealed partial class AuditCalls(BatchReader reader, Writer writer, Questions questions, AuditOptions options, AuditMetrics metrics, RunningBatches running, ILogger<AuditCalls> logger)
    : AuditService.AuditServiceBase
{
    /// <inheritdoc />
    public override Task<Receipt> Record(Batch request, ServerCallContext context) => Guarded(context, async caller =>
    {
        TakenBatch batch = reader.Read(request, caller);
        if (!running.TryEnter(batch.Numbering))
            throw new CallerRefusedException("batch_under_way", StatusCode.ResourceExhausted, "a batch of this log is under way. Send the next one when it is answered");
        try
        {
            return new Receipt { StoredSequence = (ulong)await writer.StoreAsync(batch, context.CancellationToken) };
        }
        finally
        {
            running.Leave(batch.Numbering);
        }
    });

    /// <inheritdoc />
    public override Task<ListReply> List(ListRequest request, ServerCallContext context) => Guarded(context, caller =>
    {
        CheckOperator(caller);
        return questions.ListAsync(request, context.CancellationToken);
    });

    /// <inheritdoc />
    public override Task<UsageReply> Usage(UsageRequest request, ServerCallContext context) => Guarded(context, caller =>
    {
        CheckOperator(caller);
        return questions.UsageAsync(request, context.CancellationToken);
    });

    private void CheckOperator(Caller caller)
    {
        if (caller.Namespace != options.Namespace || caller.ServiceAccount != options.OperatorServiceAccount)
            throw new CallerRefusedException("not_the_operator", StatusCode.PermissionDenied, $"only the service account {options.OperatorServiceAccount} of {options.Namespace} may ask: it has to be the operator's, as operatorServiceAccount says");
    }

    private async Task<T> Guarded<T>(ServerCallContext context, Func<Caller, Task<T>> answer)
    {
        try
        {
            Caller caller = context.GetHttpContext().Features.Get<Caller>()
                ?? throw new CallerRefusedException("no_token", StatusCode.Unauthenticated, "nobody has said whose call this is");
            return await answer(caller);
        }
        catch (CallerRefusedException exception)
        {
            throw Refused(exception.Reason, exception.Status, exception.Message);
        }
        catch (BadBatchException exception)
        {
            LogBadBatch(exception.Message);
            throw Refused("bad_batch", StatusCode.InvalidArgument, exception.Message);
        }
        catch (BadQuestionException exception)
        {
            throw Refused("bad_question", StatusCode.InvalidArgument, exception.Message);
        }
        catch (NotStoredException exception)
        {
            throw Refused("not_stored", StatusCode.Unavailable, exception.Message);
        }
        catch (Exception exception) when (!context.CancellationToken.IsCancellationRequested)
        {
            string problem = EventStore.Describe(exception);
            LogFailed(problem);
            throw Refused("store_failed", StatusCode.Unavailable, problem);
        }
    }

    private RpcException Refused(string reason, StatusCode status, string message)
    {
        metrics.Refused(reason);
        return new RpcException(new Status(status, message));
    }

    [LoggerMessage(602, LogLevel.Warning, "A sidecar's batch was refused: {Reason}.")]
    private partial void LogBadBatch(string reason);

    [LoggerMessage(603, LogLevel.Warning, "A call could not be answered: {Problem}.")]
    private partial void LogFailed(string problem);
}

/// <summary>The batches that are on their way: of each numbering one, since the next one counts on from it.</summary>
internal sealed class RunningBatches
{
    private readonly ConcurrentDictionary<Numbering, bool> _running = [];

    public int Count => _running.Count;

    public bool TryEnter(Numbering numbering) => _running.TryAdd(numbering, true);

    public void Leave(Numbering numbering) => _running.TryRemove(numbering, out _);
}
