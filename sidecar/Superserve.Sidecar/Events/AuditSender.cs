using System.Buffers;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Google.Protobuf;
using Grpc.Core;
using Superserve.Core.Hosts;
using Superserve.Protocol.Audit;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Delivery;
using Superserve.Sidecar.Metrics;

namespace Superserve.Sidecar.Events;

/// <summary>
/// Sends what is in the journals to the audit service, each log by itself: one batch at a time, the same records with the same numbers
/// until they are acknowledged, and only then gone from the journal.
/// </summary>
internal sealed partial class AuditSender : BackgroundService
{
    private const int MaxRecords = 1000;
    private const int MaxLength = 1024 * 1024;

    /// <summary>
    /// What comes to a quiet log is sent at once, and what follows gathers for so long: rows are there within about a second, and a
    /// sandbox costs the service at most a call a second and log, but for full batches.
    /// </summary>
    private static readonly TimeSpan GatheringTime = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan CallTimeout = TimeSpan.FromSeconds(30);

    /// <summary>After so long without events the journal gives its last pages back.</summary>
    private static readonly TimeSpan Quiet = TimeSpan.FromMinutes(1);

    /// <summary>For what is left when the process ends.</summary>
    private static readonly TimeSpan FlushTimeout = TimeSpan.FromSeconds(3);

    /// <summary>What stays wrong is said again.</summary>
    private static readonly TimeSpan BetweenLogs = TimeSpan.FromMinutes(5);

    // The records are in the journal as the protocol has them, and go out without being read.
    private static readonly Method<JournalBatch, Receipt> Record = new(MethodType.Unary, "superserve.audit.v1.AuditService", "Record",
        Marshallers.Create<JournalBatch>(Write, static _ => throw new NotSupportedException()),
        Marshallers.Create<Receipt>(static (_, _) => throw new NotSupportedException(), static context => Receipt.Parser.ParseFrom(context.PayloadAsReadOnlySequence())));

    private readonly AuditLog _log;
    private readonly ServiceChannel _service;
    private readonly TokenFile _tokens;
    private readonly AuditMetrics _metrics;
    private readonly SidecarMetrics _dropped;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly TaskCompletionSource _stopping = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _saying = new();
    private (EndReason Reason, long At)? _said;

    public AuditSender(AuditLog log, SidecarOptions sidecar, DeliveryOptions delivery, ServiceChannels channels, AuditMetrics metrics, SidecarMetrics dropped, TimeProvider time, ILogger<AuditSender> logger)
    {
        Authority service = sidecar.AuditService!.Value;
        (_log, _metrics, _dropped, _time, _logger) = (log, metrics, dropped, time, logger);
        _service = channels.Open("the audit service", service.Host, service.Port);
        _tokens = new TokenFile(delivery.TokenFile);
        metrics.Observe(log);
    }

    /// <summary>Sends what is left, for a moment.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        _stopping.TrySetResult();
        if (ExecuteTask is { } running) await running.WaitAsync(FlushTimeout, _time, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await base.StopAsync(cancellationToken);
        if (_log.Requests.State.Used + _log.Network.State.Used > 0) LogLeft(_service.Address);
    }

    public override void Dispose()
    {
        _service.Dispose();
        base.Dispose();
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.WhenAll(RunAsync(_log.Requests, stoppingToken), RunAsync(_log.Network, stoppingToken));

    private async Task RunAsync(Journal journal, CancellationToken cancelled)
    {
        (int limit, int underWay, int failures) = (MaxRecords, 0, 0);
        while (await FillsAsync(journal))
        {
            JournalBatch batch = journal.Peek(underWay > 0 ? underWay : limit, MaxLength);
            StreamEnd? failure = await SendAsync(journal, batch, cancelled);
            TimeSpan wait = GatheringTime;
            if (failure is not { } end)
            {
                Sent(journal.Log, batch.Count);
                (limit, underWay, failures) = (Math.Min(limit * 2, MaxRecords), 0, 0);
                if (batch.Count >= limit || journal.State.Used > MaxLength) wait = TimeSpan.Zero;
            }
            else
            {
                Failed(journal.Log, end);
                if (_stopping.Task.IsCompleted) return;
                if (end.Reason == EndReason.Invalid)
                {
                    // Half as many, down to the one that is invalid: that one must not keep all others from the log.
                    (limit, underWay) = (Math.Max(1, batch.Count / 2), 0);
                    if (batch.Count == 1) Drop(journal, batch);
                }
                else
                {
                    underWay = batch.Count;
                    wait = Reconnection.Delay(end, failures++, RandomNumberGenerator.GetInt32(int.MaxValue) / (double)int.MaxValue);
                }
            }

            if (wait > TimeSpan.Zero) await _stopping.Task.WaitAsync(wait, _time, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Waits for something to send; false where nothing will come any more.</summary>
    private async Task<bool> FillsAsync(Journal journal)
    {
        Task filled = journal.WhenFilled();
        if (!filled.IsCompleted)
        {
            Task either = Task.WhenAny(filled, _stopping.Task);
            await either.WaitAsync(Quiet, _time, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (!either.IsCompleted) journal.Trim();
            await either;
        }

        return filled.IsCompleted;
    }

    /// <summary>One call; null for success.</summary>
    private async Task<StreamEnd?> SendAsync(Journal journal, JournalBatch batch, CancellationToken cancelled)
    {
        // Anew each time: the kubelet replaces it.
        if (!_tokens.TryRead(out Token? token, out string? error)) return new StreamEnd(EndReason.NoToken, error);
        using CancellationTokenSource timeout = new(CallTimeout, _time);
        using CancellationTokenSource end = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancelled);
        try
        {
            CallOptions options = new(new Metadata { { "authorization", "Bearer " + token.Text } }, cancellationToken: end.Token);
            using AsyncUnaryCall<Receipt> call = _service.Invoker.AsyncUnaryCall(Record, null, options, batch);
            Receipt receipt = await call.ResponseAsync;
            return journal.Acknowledge(batch, receipt.StoredSequence)
                ? null
                : new StreamEnd(EndReason.Malformed, $"{_service.Address} answered without having stored anything. This is a mistake in the audit service; please report it.");
        }
        catch (Exception exception) when (exception is RpcException or OperationCanceledException)
        {
            cancelled.ThrowIfCancellationRequested();
            return timeout.IsCancellationRequested
                ? new StreamEnd(EndReason.Silent, $"{_service.Address} did not answer within {CallTimeout.TotalSeconds} s. The audit service may hang, or its store may be slow.")
                : _service.Describe((exception as RpcException)?.Status ?? Status.DefaultCancelled);
        }
        catch (Exception exception) when (!cancelled.IsCancellationRequested)
        {
            // Whatever one call met, the next one may not; without any the log would fill for good.
            return new StreamEnd(EndReason.Malformed, $"Sending failed with {exception.GetType().Name}. This is a mistake in the sidecar; please report it.");
        }
    }

    private static void Write(JournalBatch batch, SerializationContext context)
    {
        BootId boot = batch.Boot;
        Batch head = new()
        {
            Boot = ByteString.CopyFrom(MemoryMarshal.AsBytes(new ReadOnlySpan<BootId>(in boot))),
            Log = batch.Journal.Log,
            FirstSequence = batch.FirstSequence,
            Overflowed = batch.Overflowed,
        };
        // A field of bytes: its number and kind, the length, the bytes.
        uint tag = WireFormat.MakeTag(batch.Journal.Log == Log.Requests ? Batch.RequestsFieldNumber : Batch.NetworkFieldNumber, WireFormat.WireType.LengthDelimited);
        int length = head.CalculateSize();
        batch.Journal.Visit(batch, (first, second) => length += CodedOutputStream.ComputeTagSize((int)tag >> 3) + CodedOutputStream.ComputeLengthSize(first.Length + second.Length) + first.Length + second.Length);
        context.SetPayloadLength(length);
        IBufferWriter<byte> output = context.GetBufferWriter();
        head.WriteTo(output);
        batch.Journal.Visit(batch, (first, second) =>
        {
            Span<byte> prefix = output.GetSpan(8);
            prefix[0] = (byte)tag;
            int written = 1;
            for (uint rest = (uint)(first.Length + second.Length); ; rest >>= 7)
            {
                prefix[written++] = (byte)(rest < 0x80 ? rest : rest | 0x80);
                if (rest < 0x80) break;
            }

            output.Advance(written);
            output.Write(first);
            output.Write(second);
        });
        context.Complete();
    }

    private void Sent(Log log, int records)
    {
        _metrics.Sent(log, records);
        lock (_saying)
        {
            if (_said is null) return;
            _said = null;
        }

        LogStored(_service.Address);
    }

    private void Failed(Log log, StreamEnd end)
    {
        _metrics.Failed(log, end);
        lock (_saying)
        {
            if (_said is { } said && said.Reason == end.Reason && _time.GetElapsedTime(said.At) < BetweenLogs) return;
            _said = (end.Reason, _time.GetTimestamp());
        }

        LogFailed(end.Text);
    }

    private void Drop(Journal journal, JournalBatch batch)
    {
        journal.Acknowledge(batch, batch.FirstSequence);
        _dropped.EventDropped(AuditMetrics.NameOf(journal.Log), DropReason.Refused);
        LogDropped(AuditMetrics.NameOf(journal.Log), (long)batch.FirstSequence);
    }

    [LoggerMessage(102, LogLevel.Warning, "Events are not stored: {Text} They are kept, and sent again until they are.")]
    private partial void LogFailed(string text);

    [LoggerMessage(103, LogLevel.Information, "{Address} stores events again.")]
    private partial void LogStored(string address);

    [LoggerMessage(104, LogLevel.Error, "Event {Sequence} of the log {Log} is lost: the audit service takes it for invalid. Look whether its version is at most two away from the sidecar's, and report it.")]
    private partial void LogDropped(string log, long sequence);

    [LoggerMessage(105, LogLevel.Warning, "The sidecar ends before {Address} has stored all events. They are sent when it starts again; where the pod is deleted, they are lost.")]
    private partial void LogLeft(string address);
}
