using System.Threading.Channels;
using Google.Protobuf;
using Superserve.Audit.Ingest;
using Superserve.Audit.Queries;
using Superserve.Protocol.Audit;

namespace Superserve.Audit.Export;

/// <summary>Where stored events go on to.</summary>
internal interface IEventExporter : IDisposable
{
    /// <summary>The metric's label.</summary>
    string Name { get; }

    /// <summary>Passes events on, on a thread of its own; how many of them were lost.</summary>
    int Export(IReadOnlyList<IMessage> rows);
}

/// <summary>
/// Passes stored events on. Each exporter has a queue of its own; what one is too slow for is dropped and counted, because the store has it
/// and nothing may wait for a reader that is away.
/// </summary>
internal sealed class EventExport(IEnumerable<IEventExporter> exporters, AuditMetrics metrics) : BackgroundService
{
    /// <summary>Events that wait for one exporter.</summary>
    public const int QueueLength = 20_000;

    private const int Chunk = 512;

    private readonly (IEventExporter Exporter, Channel<IMessage> Queue)[] _ways =
        [.. exporters.Select(exporter => (exporter, Channel.CreateBounded<IMessage>(new BoundedChannelOptions(QueueLength) { SingleReader = true })))];

    /// <summary>Takes rows that were stored just now; never waits.</summary>
    public void Pass(IReadOnlyList<(long Id, NewRow Row)> rows)
    {
        if (_ways.Length == 0) return;
        foreach ((long id, NewRow row) in rows)
        {
            // The rows of a batch share their origin.
            IMessage named = row.Row is RequestRow request
                ? new RequestRow { Record = request.Record, Origin = Named(request.Origin, id) }
                : new NetworkRow { Record = ((NetworkRow)row.Row).Record, Origin = Named(((NetworkRow)row.Row).Origin, id) };
            foreach ((IEventExporter exporter, Channel<IMessage> queue) in _ways)
                if (!queue.Writer.TryWrite(named)) metrics.ExportDropped(exporter.Name, 1);
        }
    }

    /// <inheritdoc />
    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.WhenAll(_ways.Select(way => Task.Factory.StartNew(() => Run(way.Exporter, way.Queue, stoppingToken), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));

    /// <inheritdoc />
    public override void Dispose()
    {
        foreach ((IEventExporter exporter, _) in _ways) exporter.Dispose();
        base.Dispose();
    }

    private static Origin Named(Origin origin, long id) => new() { Name = Questions.NameOf(id), Namespace = origin.Namespace, Pod = origin.Pod, PodUid = origin.PodUid };

    private void Run(IEventExporter exporter, Channel<IMessage> queue, CancellationToken stoppingToken)
    {
        // What is queued when the service ends still goes out; the host bounds how long that may take.
        using CancellationTokenRegistration ended = stoppingToken.Register(() => queue.Writer.TryComplete());
        List<IMessage> chunk = new(Chunk);
        while (queue.Reader.WaitToReadAsync(CancellationToken.None).AsTask().GetAwaiter().GetResult())
        {
            chunk.Clear();
            while (chunk.Count < Chunk && queue.Reader.TryRead(out IMessage? row)) chunk.Add(row);
            int lost;
            try
            {
                lost = exporter.Export(chunk);
            }
            catch (Exception)
            {
                // Whatever is wrong with the way out, the events are stored, and the next ones are tried again.
                lost = chunk.Count;
            }

            if (lost > 0) metrics.ExportDropped(exporter.Name, lost);
        }
    }
}
