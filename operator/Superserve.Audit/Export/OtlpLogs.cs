using Google.Protobuf;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Logs;

namespace Superserve.Audit.Export;

/// <summary>
/// Sends events to an OpenTelemetry collector as log records: the body says what happened in a word, the attributes
/// <c>superserve.namespace</c>, <c>superserve.host</c> and so on hold the fields, the record's time is the event's, and the scope is
/// <c>Superserve.Audit</c>.
/// </summary>
internal sealed class OtlpLogs : IEventExporter
{
    private const int Timeout = 10_000;

    private readonly CountingExporter _exporter;
    private readonly Batches _batches;
    private readonly ILoggerFactory _factory;
    private readonly ILogger _logger;

    public OtlpLogs(Uri endpoint)
    {
        OtlpExporterOptions options = new() { Endpoint = endpoint, Protocol = OtlpExportProtocol.Grpc, TimeoutMilliseconds = Timeout };
        _exporter = new CountingExporter(new OtlpLogExporter(options));
        _batches = new Batches(_exporter);
        // A factory of its own: nothing else is logged here, and these are logged nowhere else.
        _factory = LoggerFactory.Create(logging => logging.AddOpenTelemetry(telemetry => telemetry.AddProcessor(_batches)));
        _logger = _factory.CreateLogger(AuditMetrics.MeterName);
    }

    /// <inheritdoc />
    public string Name => "otlp";

    /// <inheritdoc />
    public int Export(IReadOnlyList<IMessage> rows)
    {
        long delivered = _exporter.Delivered;
        foreach (IMessage row in rows)
        {
            KeyValuePair<string, object?>[] fields = [.. EventFields.Of(row).Select(field => new KeyValuePair<string, object?>($"superserve.{field.Key}", field.Value))];
            _batches.Time = EventFields.TimeOf(row).UtcDateTime;
            _logger.Log(LogLevel.Information, default, fields, null, static (fields, _) => (string)fields[0].Value!);
        }

        // One chunk at a time: the library's own queue never has to drop anything.
        _batches.ForceFlush(2 * Timeout);
        return (int)Math.Clamp(rows.Count - (_exporter.Delivered - delivered), 0, rows.Count);
    }

    /// <inheritdoc />
    public void Dispose() => _factory.Dispose();

    /// <summary>Gives records the time of their event before they wait.</summary>
    private sealed class Batches(BaseExporter<LogRecord> exporter) : BatchLogRecordExportProcessor(exporter, maxQueueSize: 2048, scheduledDelayMilliseconds: 60_000, exporterTimeoutMilliseconds: Timeout, maxExportBatchSize: 512)
    {
        public DateTime Time { get; set; }

        public override void OnEnd(LogRecord data)
        {
            data.Timestamp = Time;
            base.OnEnd(data);
        }
    }

    /// <summary>Counts what arrived.</summary>
    private sealed class CountingExporter(OtlpLogExporter exporter) : BaseExporter<LogRecord>
    {
        private long _delivered;

        public long Delivered => Interlocked.Read(ref _delivered);

        public override ExportResult Export(in Batch<LogRecord> batch)
        {
            ExportResult result = exporter.Export(batch);
            if (result == ExportResult.Success) Interlocked.Add(ref _delivered, batch.Count);
            return result;
        }

        protected override bool OnShutdown(int timeoutMilliseconds) => exporter.Shutdown(timeoutMilliseconds);

        protected override void Dispose(bool disposing)
        {
            if (disposing) exporter.Dispose();
            base.Dispose(disposing);
        }
    }
}
