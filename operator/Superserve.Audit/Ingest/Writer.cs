using System.Threading.Channels;
using Superserve.Audit.Export;
using Superserve.Audit.Storing;

namespace Superserve.Audit.Ingest;

/// <summary>The store did not take a batch; it is not acknowledged, and comes again.</summary>
internal sealed class NotStoredException(string message) : Exception(message);

/// <summary>
/// Gathers the batches that wait into one transaction, writes it, and answers those who wait: while one is written the next gather, so
/// that under load one commit to disk serves many. How many can wait is bounded by the calls that <see cref="Calls.CallerGate"/> lets in.
/// </summary>
internal sealed partial class Writer(EventStore store, EventExport export, AuditMetrics metrics, TimeProvider time, ILogger<Writer> logger) : BackgroundService
{
    /// <summary>Rows of one transaction; the last batch may go beyond.</summary>
    public const int GroupRows = 10_000;

    /// <summary>After a failure: the store is away or full, and being asked at once again helps nobody.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(200);

    private readonly Channel<Waiting> _queue = Channel.CreateUnbounded<Waiting>(new UnboundedChannelOptions { SingleReader = true });
    private int _waiting;
    private bool _isFailing;

    /// <summary>Stores a batch, and says up to where its numbering is stored then.</summary>
    /// <exception cref="NotStoredException">It could not be.</exception>
    public async Task<long> StoreAsync(TakenBatch batch, CancellationToken cancellationToken)
    {
        Waiting waiting = new(batch, new TaskCompletionSource<long>(TaskCreationOptions.RunContinuationsAsynchronously), cancellationToken);
        Interlocked.Increment(ref _waiting);
        if (!_queue.Writer.TryWrite(waiting)) throw new NotStoredException("the audit service is ending");
        return await waiting.Stored.Task.WaitAsync(cancellationToken);
    }

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // The server ends ahead of this: nobody waits any more when it is told to stop.
        using CancellationTokenRegistration ended = stoppingToken.Register(() => _queue.Writer.TryComplete());
        List<Waiting> group = [];
        while (await _queue.Reader.WaitToReadAsync(CancellationToken.None))
        {
            group.Clear();
            for (int rows = 0; rows < GroupRows && _queue.Reader.TryRead(out Waiting? waiting);)
            {
                Interlocked.Decrement(ref _waiting);
                if (waiting.Cancelled.IsCancellationRequested) continue;
                group.Add(waiting);
                rows += waiting.Batch.Rows.Count;
            }

            metrics.Waiting(_waiting);
            if (group.Count > 0 && !await WriteAsync(group) && !stoppingToken.IsCancellationRequested) await Task.Delay(Pause, time, CancellationToken.None);
        }
    }

    private async Task<bool> WriteAsync(List<Waiting> group)
    {
        long began = time.GetTimestamp();
        try
        {
            IReadOnlyList<StoredBatch> stored = await store.WriteAsync([.. group.Select(waiting => waiting.Batch)]);
            metrics.Written(time.GetElapsedTime(began));
            foreach ((Waiting waiting, StoredBatch batch) in group.Zip(stored))
            {
                metrics.Stored(waiting.Batch.Numbering.Log, batch.Rows.Count, waiting.Batch.Rows.Count - batch.Rows.Count, batch.Overflowed, waiting.Batch.Corrected);
                export.Pass(batch.Rows);
                waiting.Stored.TrySetResult(batch.Position);
            }

            if (_isFailing) LogRecovered();
            _isFailing = false;
            return true;
        }
        catch (Exception exception)
        {
            // Whatever it was, nothing of the group is acknowledged.
            metrics.WriteFailed();
            string problem = EventStore.Describe(exception);
            if (!_isFailing) LogFailed(problem);
            _isFailing = true;
            foreach (Waiting waiting in group) waiting.Stored.TrySetException(new NotStoredException(problem));
            return false;
        }
    }

    private sealed record Waiting(TakenBatch Batch, TaskCompletionSource<long> Stored, CancellationToken Cancelled);

    [LoggerMessage(600, LogLevel.Error, "Events cannot be stored: {Problem}. Sidecars keep them and send them again; what their spools have no room for is lost, and counted.")]
    private partial void LogFailed(string problem);

    [LoggerMessage(601, LogLevel.Information, "Events are stored again.")]
    private partial void LogRecovered();
}
