using Superserve.Core.Events;
using Superserve.Protocol.Audit;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Metrics;

namespace Superserve.Sidecar.Events;

/// <summary>
/// Events on their way to the audit service: each is written into the journal of its log and nothing waits; <see cref="AuditSender"/>
/// takes them from there.
/// </summary>
internal sealed partial class AuditLog : IEventSink, IDisposable
{
    // The pod pays for what is used of them.
    private const int RequestsCapacity = 8 * 1024 * 1024;
    private const int NetworkCapacity = 4 * 1024 * 1024;
    private const int MaxRequests = 4096;

    /// <summary>What requests without a credential leave of their journal: a flood of refused ones must not end the use of secrets.</summary>
    private const int KeptForSecrets = RequestsCapacity / 2;

    private readonly SidecarMetrics _metrics;

    public AuditLog(SidecarOptions options, SidecarMetrics metrics, TimeProvider time, ILogger<AuditLog> logger)
    {
        _metrics = metrics;
        Requests = Open(Log.Requests, "requests.journal", RequestsCapacity, MaxRequests);
        Network = Open(Log.Network, "network.journal", NetworkCapacity, 0);

        Journal Open(Log log, string name, int capacity, int slots)
        {
            string path = Path.Combine(options.StateDirectory!, name);
            Journal journal = new(log, path, capacity, slots, AuditRecords.OfInterruption(), time);
            if (journal.Problem is { } problem) LogDamaged(logger, path, problem);
            if (journal.Interrupted > 0) LogInterrupted(logger, journal.Interrupted);
            return journal;
        }
    }

    /// <summary>Requests that used a secret, tried to, or were refused.</summary>
    public Journal Requests { get; }

    /// <summary>Connections and look-ups.</summary>
    public Journal Network { get; }

    /// <inheritdoc />
    public bool TryBegin(RequestEvent begun, AuditMode audit, out int place)
    {
        place = Requests.Begin(AuditRecords.OfBegun(begun));
        return place != IEventSink.NoPlace || audit != AuditMode.Required;
    }

    /// <inheritdoc />
    public void Complete(int place, RequestEvent request)
    {
        if (place != IEventSink.NoPlace) Requests.Complete(place, AuditRecords.OfOutcome(request));
        else if (!Requests.TryAppend(AuditRecords.Of(request))) _metrics.EventDropped("request", DropReason.Full);
    }

    /// <inheritdoc />
    public void Add(SidecarEvent item)
    {
        ReadOnlySpan<byte> record = AuditRecords.Of(item);
        bool isKept = item is RequestEvent ? Requests.TryAppend(record, KeptForSecrets) : Network.TryAppend(record);
        if (!isKept) _metrics.EventDropped(item switch { RequestEvent => "request", ConnectionEvent => "connection", _ => "dns" }, DropReason.Full);
    }

    public void Dispose()
    {
        Requests.Dispose();
        Network.Dispose();
    }

    [LoggerMessage(100, LogLevel.Error, "Events of an earlier process are lost: of {File} not all can be used; {Problem}.")]
    private static partial void LogDamaged(ILogger logger, string file, string problem);

    [LoggerMessage(101, LogLevel.Warning, "{Count} requests with a credential were under way when the sidecar ended the last time; they are in the audit log as interrupted.")]
    private static partial void LogInterrupted(ILogger logger, int count);
}
