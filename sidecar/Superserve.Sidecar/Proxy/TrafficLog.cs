using System.Collections.Immutable;
using System.Net;
using Superserve.Core.Events;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Snapshots;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Capture;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Events;
using Superserve.Sidecar.Metrics;

namespace Superserve.Sidecar.Proxy;

/// <summary>Step 10 of the data path: what became of each connection and request, as events, metrics and lines of the debug log.</summary>
internal sealed partial class TrafficLog(ISnapshotSource snapshots, IEventSink events, SidecarMetrics metrics, TimeProvider time, ILogger<TrafficLog> logger) : IDroppedTrafficSink
{
    private const string NotCaptured = "neither TCP nor DNS";

    /// <summary>A connection of the sandbox was accepted.</summary>
    public void Opened() => metrics.ConnectionOpened();

    /// <summary>It ended.</summary>
    public void Closed(SandboxConnection connection, Snapshot snapshot)
    {
        metrics.ConnectionClosed();
        if (connection.Handling != Handling.Proxied) Record(connection, snapshot);
    }

    /// <summary>What the rules of the pod's network blocked in a while.</summary>
    public void Report(BlockedProtocol protocol, IPAddress? destination, int port, long packets)
    {
        string name = protocol.ToString().ToLowerInvariant();
        metrics.PacketsDropped(name, packets);
        events.Add(new ConnectionEvent
        {
            Time = time.GetUtcNow(),
            Sandbox = snapshots.Current.Sandbox,
            Host = destination?.ToString() ?? "*",
            Port = port,
            Protocol = name,
            Address = destination?.ToString(),
            Packets = packets,
            Handling = "dropped",
            Verdict = ConnectionVerdict.Blocked,
            Rule = NotCaptured,
            Error = RefusalReason.PortBlocked.WireName(),
            BytesSent = 0,
            BytesReceived = 0,
            DurationMilliseconds = 0,
        });
    }

    /// <summary>Whether a request that uses a secret may go on: its event has a place, or the audit is not required.</summary>
    public bool TryBegin(Exchange exchange)
    {
        RequestEvent begun = Event(exchange);
        if (!events.TryBegin(begun, exchange.Snapshot.Audit, out int place)) return false;
        (exchange.Begun, exchange.Place) = (begun, place);
        return true;
    }

    /// <summary>Step 10 for a connection.</summary>
    private void Record(SandboxConnection connection, Snapshot snapshot) => Record(
        snapshot, connection.StartedAt, connection.Name ?? connection.Destination.Host, connection.Destination.Port, connection.Dialled, connection.Handling,
        connection.Verdict, connection.Network, connection.Error, connection.BytesSent, connection.BytesReceived);

    /// <summary>Step 10 for a request in absolute form, which is a connection of its own in the network log.</summary>
    private void RecordProxied(Exchange exchange)
    {
        if (exchange.Destination.Host is null) return;
        Record(exchange.Snapshot, exchange.StartedAt, exchange.Destination.Host, exchange.Destination.Port, null, Handling.Http,
            Verdict(exchange.Refusal?.Reason), exchange.Network, exchange.Refusal?.Reason, exchange.BytesSent, exchange.BytesReceived);
    }

    private void Record(
        Snapshot snapshot, long startedAt, string host, int port, IPAddress? dialled, Handling handling,
        ConnectionVerdict verdict, NetworkVerdict network, RefusalReason? error, long sent, long received)
    {
        TimeSpan duration = time.GetElapsedTime(startedAt);
        host = snapshot.Redact(host, HostName.MaxLength);
        string name = handling switch
        {
            Handling.Intercepted => "intercepted",
            Handling.Tunnelled => "tunnelled",
            _ => "http",
        };
        if (error is { } reason) LogRefusedConnection(reason.WireName(), host, port, network.Rule ?? "");
        metrics.ConnectionEnded(name, verdict, sent, received);
        events.Add(new ConnectionEvent
        {
            Time = time.GetUtcNow() - duration,
            Sandbox = snapshot.Sandbox,
            Host = host,
            Port = port,
            Address = dialled?.ToString(),
            Handling = name,
            Verdict = verdict,
            Rule = network.Rule ?? "",
            LogOnly = network.IsLogOnly,
            Error = error?.WireName(),
            BytesSent = sent,
            BytesReceived = received,
            DurationMilliseconds = duration.TotalMilliseconds,
        });
    }

    /// <summary>What a request says of its connection: plain HTTP names its host in requests alone, and some refusals are of the whole.</summary>
    private static void OfConnection(Exchange exchange, RefusalReason? reason)
    {
        SandboxConnection connection = exchange.Connection;
        if (connection.Handling == Handling.Proxied) return;
        if (connection.Destination.Address is not null && exchange.Destination.Host is { } host) connection.Name ??= host;
        bool isOfNetwork = exchange.Network.Rule is not null && !exchange.Network.IsAllowed;
        if (reason != RefusalReason.AuthorityMismatch && !isOfNetwork)
        {
            if (connection.Network.Rule is null) connection.Network = exchange.Network;
            return;
        }

        connection.Error ??= reason;
        connection.Verdict = ConnectionVerdict.Blocked;
        if (isOfNetwork) connection.Network = exchange.Network;
    }

    /// <summary>Step 10 for a request.</summary>
    public void Record(Exchange exchange)
    {
        TimeSpan duration = time.GetElapsedTime(exchange.StartedAt);
        RefusalReason? reason = exchange.Refusal?.Reason;
        metrics.RequestEnded(reason, duration, exchange.Added(time));
        if (exchange.Connection.Handling == Handling.Proxied) RecordProxied(exchange);
        OfConnection(exchange, reason);

        if (reason is { } refused) LogRefusedRequest(refused.WireName(), exchange.Snapshot.Redact(exchange.Destination.Host ?? "", HostName.MaxLength), exchange.Refusal?.Secret?.Name ?? "none");
        ImmutableArray<BoundSecret> secrets = exchange.Secrets;
        foreach (BoundSecret secret in secrets) metrics.Swapped(secret, exchange.Destination.Host ?? "", exchange.Destination.Port, reason);
        // What used no secret and was not refused is in the network log by its connection.
        if (secrets.IsEmpty && reason is null) return;
        RequestEvent request = (exchange.Begun ?? Event(exchange)) with
        {
            Status = exchange.Status,
            UpstreamStatus = exchange.UpstreamStatus,
            DurationMilliseconds = duration.TotalMilliseconds,
            BytesSent = exchange.BytesSent,
            BytesReceived = exchange.BytesReceived,
            Error = reason?.WireName() ?? (exchange.IsAborted ? "aborted" : null),
            Verdict = reason is null && exchange.IsAborted ? ConnectionVerdict.Failed : Verdict(reason),
        };
        if (exchange.Begun is null) events.Add(request);
        else events.Complete(exchange.Place, request);
    }

    /// <summary>A request's event as far as its head says it.</summary>
    private static RequestEvent Event(Exchange exchange)
    {
        ImmutableArray<BoundSecret> secrets = exchange.Secrets;
        return new RequestEvent
        {
            Time = exchange.Time,
            Sandbox = exchange.Snapshot.Sandbox,
            Secret = Joined(secrets, static secret => secret.Name),
            Env = Joined(secrets, static secret => secret.Env),
            Method = exchange.Snapshot.Redact(exchange.Method, 32),
            Host = exchange.Snapshot.Redact(exchange.Destination.Host ?? "", HostName.MaxLength),
            Port = exchange.Destination.Port,
            Path = exchange.Snapshot.Redact(Superserve.Core.Requests.RequestPath.OfTarget(exchange.Target).ToString(), 1024),
            Protocol = exchange.Protocol,
            Status = 0,
            DurationMilliseconds = 0,
            BytesSent = 0,
            BytesReceived = 0,
            Verdict = ConnectionVerdict.Allowed,
        };
    }

    private static ConnectionVerdict Verdict(RefusalReason? reason) => reason?.StatusCode() switch
    {
        null => ConnectionVerdict.Allowed,
        502 or 504 => ConnectionVerdict.Failed,
        _ => ConnectionVerdict.Blocked,
    };

    private static string? Joined(ImmutableArray<BoundSecret> secrets, Func<BoundSecret, string> name) => secrets.Length switch
    {
        0 => null,
        1 => name(secrets[0]),
        _ => string.Join(',', secrets.Select(name)),
    };

    [LoggerMessage(31, LogLevel.Debug, "A request to {Host} was refused or failed: {Reason} (secret {Secret}).")]
    private partial void LogRefusedRequest(string reason, string host, string secret);

    [LoggerMessage(32, LogLevel.Debug, "A connection to {Host}:{Port} was refused or failed: {Reason} (rule {Rule}).")]
    private partial void LogRefusedConnection(string reason, string host, int port, string rule);
}
