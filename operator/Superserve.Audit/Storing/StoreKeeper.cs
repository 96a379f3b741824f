using Superserve.Protocol.Audit;

namespace Superserve.Audit.Storing;

/// <summary>
/// Opens the store, deletes what is too old or too much, and says whether the store answers. Deletion goes in small steps, between which
/// events are stored.
/// </summary>
internal sealed partial class StoreKeeper(EventStore store, AuditOptions options, AuditMetrics metrics, TimeProvider time, ILogger<StoreKeeper> logger) : BackgroundService
{
    /// <summary>Between two looks.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);

    /// <summary>Rows of one deletion.</summary>
    public const int Step = 1000;

    /// <summary>Positions are forgotten at each so-manieth look.</summary>
    private const int LooksAtPositions = 12;

    /// <summary>How far the wall clock may run ahead of the steady one before nothing is deleted by it.</summary>
    private static readonly TimeSpan Leap = TimeSpan.FromHours(1);

    private static readonly Log[] Logs = [Log.Requests, Log.Network];

    private readonly DateTimeOffset _startedAt = time.GetUtcNow();
    private readonly long _started = time.GetTimestamp();
    private volatile string? _problem = "The store has not been opened yet.";
    private int _looks;
    private bool _isOpen;

    /// <summary>What is wrong with the store and what to change, for /readyz; null when nothing is.</summary>
    public string? Problem => _problem;

    /// <summary>One look: opens the store if that has not been done, and deletes.</summary>
    public async Task LookAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (!_isOpen) await store.OpenAsync(cancellationToken);
            _isOpen = true;
            await TidyAsync(cancellationToken);
            if (_problem is not null) LogOpen();
            _problem = null;
        }
        catch (Exception exception) when (!cancellationToken.IsCancellationRequested)
        {
            string problem = EventStore.Describe(exception);
            if (problem != _problem) LogProblem(problem);
            _problem = problem;
        }
    }

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using PeriodicTimer timer = new(Interval, time);
        do await LookAsync(stoppingToken);
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    private async Task TidyAsync(CancellationToken cancellationToken)
    {
        DateTimeOffset now = time.GetUtcNow();
        // A clock that leaps a year ahead must not empty the log: until it is right, or the service starts anew, only size counts.
        bool hasLeapt = now - _startedAt > time.GetElapsedTime(_started) + Leap;
        if (hasLeapt) LogLeap();
        else
        {
            DateTimeOffset before = now - TimeSpan.FromDays(options.RetentionDays);
            foreach (Log log in Logs) await DeleteAsync(log, "age", () => store.DeleteBeforeAsync(log, before.ToUnixTimeMilliseconds() * 1000, Step), cancellationToken);
            // All positions are looked at.
            if (_looks++ % LooksAtPositions == 0) await store.ForgetPositionsAsync(before.ToUnixTimeSeconds());
        }

        long bytes = await store.BytesAsync(cancellationToken);
        while (bytes > options.MaxBytes)
        {
            // Of the log that has more rows, so that a flood of one takes little of the other.
            Log longer = await store.RowsAsync(Log.Requests, cancellationToken) > await store.RowsAsync(Log.Network, cancellationToken) ? Log.Requests : Log.Network;
            int deleted = await store.DeleteFirstAsync(longer, Step);
            if (deleted == 0) break;
            metrics.Deleted(longer, "size", deleted);
            cancellationToken.ThrowIfCancellationRequested();
            bytes = await store.BytesAsync(cancellationToken);
        }

        metrics.Size(bytes);
        foreach (Log log in Logs) metrics.Size(log, await store.RowsAsync(log, cancellationToken));
    }

    private async Task DeleteAsync(Log log, string cause, Func<Task<int>> deleteAsync, CancellationToken cancellationToken)
    {
        int deleted;
        do
        {
            deleted = await deleteAsync();
            if (deleted > 0) metrics.Deleted(log, cause, deleted);
            cancellationToken.ThrowIfCancellationRequested();
        }
        while (deleted >= Step);
    }

    [LoggerMessage(610, LogLevel.Information, "The store is open.")]
    private partial void LogOpen();

    [LoggerMessage(611, LogLevel.Error, "The store cannot be used: {Problem}.")]
    private partial void LogProblem(string problem);

    [LoggerMessage(612, LogLevel.Warning, "The clock has leapt ahead by more than an hour since the start. Nothing is deleted by age until it is right, or the service is started anew.")]
    private partial void LogLeap();
}
