using Microsoft.Extensions.Logging;
using Superserve.Kubernetes.Queueing;

namespace Superserve.Kubernetes.Controllers;

/// <summary>
/// Workers that take keys from a queue and reconcile them. A reconciliation gets a key and looks up the rest itself, so that it
/// acts on what is, not on what an event said. For a single leader, run it inside <see cref="Leadership.LeaderElection"/>.
/// </summary>
public sealed partial class Controller<TKey>
    where TKey : notnull
{
    private readonly string _name;
    private readonly WorkQueue<TKey> _queue;
    private readonly Func<TKey, CancellationToken, Task<Result>> _reconcile;
    private readonly KubernetesMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;

    /// <summary>Names a controller and gives it its work.</summary>
    public Controller(
        string name,
        WorkQueue<TKey> queue,
        Func<TKey, CancellationToken, Task<Result>> reconcile,
        KubernetesMetrics metrics,
        TimeProvider time,
        ILogger<Controller<TKey>> logger)
    {
        _name = name;
        _queue = queue;
        _reconcile = reconcile;
        _metrics = metrics;
        _time = time;
        _logger = logger;
    }

    /// <summary>How many keys are reconciled at the same time.</summary>
    public int Workers { get; init; } = 2;

    /// <summary>A reconciliation that takes longer has failed: it would hold its key, and a worker, for ever.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>
    /// Starts once all <paramref name="caches"/> are filled, and ends when cancelled, after the reconciliations under way have ended.
    /// </summary>
    public async Task RunAsync(IEnumerable<Task> caches, CancellationToken cancellationToken)
    {
        await Task.WhenAll(caches).WaitAsync(cancellationToken);
        LogStarted(_name, Workers);
        try
        {
            await Task.WhenAll(Enumerable.Range(0, Workers).Select(_ => Task.Run(() => WorkAsync(cancellationToken), CancellationToken.None)));
        }
        finally
        {
            LogStopped(_name);
        }
    }

    private async Task WorkAsync(CancellationToken cancellationToken)
    {
        while (await _queue.TakeAsync(cancellationToken) is (true, { } key))
        {
            try
            {
                await ReconcileAsync(key, cancellationToken);
            }
            finally
            {
                _queue.Done(key);
            }
        }
    }

    private async Task ReconcileAsync(TKey key, CancellationToken cancellationToken)
    {
        long started = _time.GetTimestamp();
        string outcome = "error";
        try
        {
            using CancellationTokenSource deadline = new(Timeout, _time);
            using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
            Result result = await _reconcile(key, either.Token);
            _queue.Forget(key);
            outcome = result.RequeueAfter is null ? "success" : "requeue_after";
            if (result.RequeueAfter is { } after) _queue.AddAfter(key, after);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping is no failure: whoever leads next starts from a list of everything.
            outcome = "cancelled";
            throw;
        }
        catch (Exception exception)
        {
            // Any mistake, ours included, belongs to one key: it is tried again, and the others go on.
            _queue.AddAfterFailure(key);
            LogFailed(exception, _name, key);
        }
        finally
        {
            _metrics.Reconciled(_name, outcome, _time.GetElapsedTime(started));
        }
    }

    [LoggerMessage(110, LogLevel.Information, "Controller {Controller} starts with {Workers} workers.")]
    private partial void LogStarted(string controller, int workers);

    [LoggerMessage(111, LogLevel.Information, "Controller {Controller} has stopped.")]
    private partial void LogStopped(string controller);

    [LoggerMessage(112, LogLevel.Warning, "Controller {Controller} could not reconcile {Key}; it is tried again, later each time.")]
    private partial void LogFailed(Exception exception, string controller, TKey key);
}
