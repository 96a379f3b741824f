using System.IO.Pipelines;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Superserve.Core.Events;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Snapshots;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Events;
using Superserve.Sidecar.Forwarding;
using Superserve.Sidecar.Metrics;
using Superserve.Sidecar.Trust;

namespace Superserve.Sidecar.Proxy;

/// <summary>
/// The way of a sandbox's connection and of each request on it, from beginning to end.
/// <code>
///   sandbox                              sidecar                                             service
///      │  CONNECT name:443                  │                                                   │
///      ├───────────────────────────────────►│ 1 destination   ConnectRequest                    │
///      │                                    │ 2 network rules NetworkRules.CheckName            │
///      │◄──────────── 200, or a refusal ────┤                                                   │
///      │  first bytes                       │                                                   │
///      ├───────────────────────────────────►│ 3 TLS, HTTP or neither   FirstBytes               │
///      │                                    │ 4 intercept, inspect, tunnel or refuse            │
///      │◄═════ TLS with a minted leaf ═════►│      (a tunnel dials here, and steps 5 on are not) │
///      │  request                           │                                                   │
///      ├───────────────────────────────────►│ 5 authority     RequestAuthority                  │
///      │                                    │ 6 network rules, once more: they may have changed │
///      │                                    │ 7 swap decision Swap.Decide                       │
///      │                                    │ 8 forward       Forwarder, UpstreamConnector ─────►│ addresses are
///      │◄───────────────────────────────────┤ 9 scrub         ScrubbingStream ◄─────────────────┤ checked here
///      │                                    │10 event, metrics                                  │
/// </code>
/// Every refusal is made by one of steps 2, 4, 5, 6, 7 or 8; what none refuses is forwarded. Each connection and each request
/// takes one snapshot and decides by it to its end.
/// </summary>
internal sealed partial class DataPath(
    ISnapshotSource snapshots,
    UpstreamConnector connector,
    Forwarder forwarder,
    LeafCertificates certificates,
    EventLog events,
    SidecarMetrics metrics,
    SidecarOptions options,
    TimeProvider time,
    ILogger<DataPath> logger) : IHttpApplication<HttpContext>
{
    /// <summary>For the head of a CONNECT request, and for a TLS handshake.</summary>
    private static readonly TimeSpan HandshakeTimeout = TimeSpan.FromSeconds(30);

    /// <summary>How long a client that may speak TLS is waited for ahead of dialling, which tells protocols whose server speaks first.</summary>
    private static readonly TimeSpan SpeaksFirstDelay = TimeSpan.FromMilliseconds(300);

    private static readonly List<SslApplicationProtocol> Protocols = [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11];

    // ---- connections ----------------------------------------------------------------------------------------------------

    /// <summary>A connection to the explicit proxy: CONNECT, or HTTP requests in absolute form.</summary>
    public async Task OnExplicitConnectionAsync(ConnectionContext client, ConnectionDelegate http)
    {
        SandboxConnection connection = new(time.GetTimestamp());
        client.Features.Set(connection);
        metrics.ConnectionOpened();
        Snapshot snapshot = snapshots.Current;
        try
        {
            // 1. Where to?
            switch (await ReadConnectAsync(client))
            {
                case (ConnectStatus.Complete, { } destination):
                    connection.Destination = destination;
                    connection.Handling = Handling.Tunnelled;
                    await OnConnectAsync(client, connection, snapshot, http);
                    break;
                case (ConnectStatus.Other, _):
                    await http(client);
                    break;
                default:
                    await SendAsync(client, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"u8.ToArray());
                    break;
            }
        }
        catch (UpstreamException exception)
        {
            connection.Verdict = exception.Verdict.Reason is null ? ConnectionVerdict.Failed : ConnectionVerdict.Blocked;
            if (exception.Verdict.Reason is not null) connection.Network = exception.Verdict;
            connection.Error = exception.Refusal.Reason;
        }
        catch (Exception exception) when (exception is OperationCanceledException or IOException or SocketException or AuthenticationException or ConnectionResetException or ObjectDisposedException)
        {
            // Either end went away, or the client does not trust the certificate: nothing to answer to.
            if (connection.Verdict == ConnectionVerdict.Allowed && exception is AuthenticationException) connection.Verdict = ConnectionVerdict.Failed;
            LogConnectionEnded(exception.GetType().Name);
        }
        finally
        {
            metrics.ConnectionClosed();
            if (connection.Handling != Handling.Proxied) Record(connection, snapshot);
        }
    }

    private async Task OnConnectAsync(ConnectionContext client, SandboxConnection connection, Snapshot snapshot, ConnectionDelegate http)
    {
        Authority destination = connection.Destination;

        // 2. May it?
        connection.Network = Check(snapshot, destination);
        if (!connection.Network.IsAllowed)
        {
            await RefuseConnectAsync(client, connection, RefusalFor(snapshot, destination, connection.Network));
            return;
        }

        if (!snapshot.Intercepts(destination.Host, destination.Port))
        {
            await RelayAsync(client, connection, snapshot, http, judged: false, accept: true);
            return;
        }

        // 3. What is it? A client that waits for the service to speak first is no TLS client.
        await SendAsync(client, ConnectionEstablished);
        using CancellationTokenSource delay = new(SpeaksFirstDelay, time);
        FirstBytes first = await ReadFirstBytesAsync(client, delay.Token);
        if (first.Kind == FirstBytesKind.Undecided) await RelayAsync(client, connection, snapshot, http, judged: false, accept: false);
        else await HandleAsync(client, connection, snapshot, http, first);
    }

    /// <summary>Step 4, once the first bytes are known.</summary>
    private async Task HandleAsync(ConnectionContext client, SandboxConnection connection, Snapshot snapshot, ConnectionDelegate http, FirstBytes first)
    {
        switch (Route(connection, snapshot, first))
        {
            case Handling.Tunnelled:
                await RelayAsync(client, connection, snapshot, http, judged: true, accept: false);
                break;
            case Handling.Intercepted:
                await InterceptAsync(client, connection, http);
                break;
            case Handling.Http:
                await InspectAsync(client, connection, http, first.Kind);
                break;
            default:
                Block(client, connection);
                break;
        }
    }

    /// <summary>What becomes of a connection that starts so; null where it is refused. Settles the name that a dialled address stands for.</summary>
    private static Handling? Route(SandboxConnection connection, Snapshot snapshot, FirstBytes first)
    {
        Authority destination = connection.Destination;
        switch (first.Kind)
        {
            case FirstBytesKind.Opaque:
                // A bound host speaks TLS on its port; what is none there is an attempt to get past the inspection.
                return destination.IsName && snapshot.IsBound(destination.Host, destination.Port) ? null : Handling.Tunnelled;
            case FirstBytesKind.Http1 or FirstBytesKind.Http2:
                return Handling.Http;
            case FirstBytesKind.Tls when first.ServerName is null || first.ServerName == destination.Host:
                return snapshot.Intercepts(destination.Host, destination.Port) ? Handling.Intercepted : Handling.Tunnelled;
            case FirstBytesKind.Tls when destination.IsName:
                // The name in the hello would reach the service that the other name led to. Intercepted only to say so.
                connection.MismatchedServerName = first.ServerName;
                return Handling.Intercepted;
            case FirstBytesKind.Tls:
                // The client named an address, which the rules allow. The name counts where it is inspected or denied.
                Authority named = destination with { Host = first.ServerName!, Address = null };
                NetworkVerdict verdict = Check(snapshot, named);
                bool intercepts = snapshot.Intercepts(named.Host, named.Port);
                if (!intercepts && verdict is { IsAllowed: false, Reason: RefusalReason.HostNotAllowed }) return Handling.Tunnelled;
                connection.Network = verdict;
                if (!intercepts) return verdict.IsAllowed ? Handling.Tunnelled : null;
                // A name that is refused is intercepted to say so, request by request.
                connection.Destination = named;
                return Handling.Intercepted;
            default:
                return null;
        }
    }

    private static void Block(ConnectionContext client, SandboxConnection connection)
    {
        connection.Verdict = ConnectionVerdict.Blocked;
        connection.Error = connection.Network.Reason ?? RefusalReason.RequestDenied;
        client.Abort();
    }

    private async Task InterceptAsync(ConnectionContext client, SandboxConnection connection, ConnectionDelegate http)
    {
        connection.Handling = Handling.Intercepted;
        Authority leaf = connection.MismatchedServerName is { } other ? new Authority(other, null, connection.Destination.Port) : connection.Destination;
        await using TransportStream transport = new(client.Transport, connection);
        await using SslStream tls = new(transport, leaveInnerStreamOpen: true);
        using (CancellationTokenSource timeout = new(HandshakeTimeout, time))
        {
            await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions
            {
                ServerCertificateContext = certificates.For(leaf),
                ApplicationProtocols = Protocols,
                AllowRenegotiation = false,
            }, timeout.Token);
        }

        await ServeAsync(client, tls, http, tls.NegotiatedApplicationProtocol);
    }

    private static async Task InspectAsync(ConnectionContext client, SandboxConnection connection, ConnectionDelegate http, FirstBytesKind kind)
    {
        connection.Handling = Handling.Http;
        await using TransportStream transport = new(client.Transport, connection);
        await ServeAsync(client, transport, http, kind == FirstBytesKind.Http2 ? SslApplicationProtocol.Http2 : SslApplicationProtocol.Http11);
    }

    /// <summary>Hands a stream to the HTTP server, which takes the protocol from the features, and calls <see cref="ProcessRequestAsync"/>.</summary>
    private static async Task ServeAsync(ConnectionContext client, Stream stream, ConnectionDelegate http, SslApplicationProtocol protocol)
    {
        IDuplexPipe original = client.Transport;
        NegotiatedProtocol negotiated = new(protocol.Protocol);
        client.Features.Set<ITlsApplicationProtocolFeature>(negotiated);
        client.Features.Set<ITlsConnectionFeature>(negotiated);
        StreamPipe pipe = new(stream);
        client.Transport = pipe;
        try
        {
            await http(client);
        }
        finally
        {
            await pipe.CompleteAsync();
            client.Transport = original;
        }
    }

    /// <summary>
    /// Passes bytes on. Where the client's first bytes are not known yet, they are judged whenever they come: TLS or HTTP that
    /// starts late is still TLS or HTTP.
    /// </summary>
    private async Task RelayAsync(ConnectionContext client, SandboxConnection connection, Snapshot snapshot, ConnectionDelegate http, bool judged, bool accept)
    {
        Socket service;
        try
        {
            service = await connector.ConnectAsync(connection.Destination, client.ConnectionClosed);
        }
        catch (UpstreamException exception) when (accept)
        {
            await SendAsync(client, RefusalResponse.ForConnect(exception.Refusal));
            throw;
        }

        if (accept) await SendAsync(client, ConnectionEstablished);
        FirstBytes first = default;
        using (service)
        using (IdleTimeout idle = new(options.IdleTimeout, time))
        using (CancellationTokenRegistration shutdown = OnShutdown(client, idle))
        using (Tunnel tunnel = new(client.Transport.Input, SocketOf(client), service, connection, idle))
        {
            tunnel.StartToClient();
            if (!judged) first = await ReadFirstBytesAsync(client, idle.Token);
            if (judged || first.Kind == FirstBytesKind.Undecided || Route(connection, snapshot, first) == Handling.Tunnelled)
            {
                await tunnel.RunAsync();
                return;
            }

            await tunnel.StopAsync();
            if (tunnel.HasReceived)
            {
                // Half a conversation cannot be taken over.
                Block(client, connection);
                return;
            }
        }

        await HandleAsync(client, connection, snapshot, http, first);
    }

    /// <summary>A tunnel has no end that could be waited for: it ends with the server.</summary>
    private static CancellationTokenRegistration OnShutdown(ConnectionContext client, IdleTimeout idle) =>
        client.Features.Get<IConnectionLifetimeNotificationFeature>()?.ConnectionClosedRequested.Register(idle.Stop) ?? default;

    private static async Task RefuseConnectAsync(ConnectionContext client, SandboxConnection connection, Refusal refusal)
    {
        connection.Verdict = ConnectionVerdict.Blocked;
        connection.Error = refusal.Reason;
        await SendAsync(client, RefusalResponse.ForConnect(refusal));
    }

    private async Task<(ConnectStatus, Authority?)> ReadConnectAsync(ConnectionContext client)
    {
        using CancellationTokenSource timeout = new(HandshakeTimeout, time);
        while (true)
        {
            ReadResult result = await client.Transport.Input.ReadAsync(timeout.Token);
            ConnectStatus status = ConnectRequest.TryRead(result.Buffer, out Authority destination, out SequencePosition end);
            if (status == ConnectStatus.Complete)
            {
                client.Transport.Input.AdvanceTo(end);
                return (status, destination);
            }

            // What is left unexamined would not be waited for, what is examined is not read again by itself.
            bool waits = status == ConnectStatus.Incomplete && !result.IsCompleted;
            client.Transport.Input.AdvanceTo(result.Buffer.Start, waits ? result.Buffer.End : result.Buffer.Start);
            if (!waits) return (status == ConnectStatus.Incomplete ? ConnectStatus.Malformed : status, null);
        }
    }

    /// <summary>Looks at the first bytes and leaves them in place. <see cref="FirstBytesKind.Undecided"/> where none came in time or the client ended.</summary>
    private static async Task<FirstBytes> ReadFirstBytesAsync(ConnectionContext client, CancellationToken cancellationToken)
    {
        PipeReader input = client.Transport.Input;
        while (true)
        {
            ReadResult result;
            try
            {
                result = await input.ReadAsync(cancellationToken);
            }
            catch (OperationCanceledException)
            {
                return new FirstBytes(FirstBytesKind.Undecided);
            }

            FirstBytes first = FirstBytes.Judge(result.Buffer);
            bool decided = first.Kind != FirstBytesKind.Undecided || result.IsCompleted;
            input.AdvanceTo(result.Buffer.Start, decided ? result.Buffer.Start : result.Buffer.End);
            if (!decided) continue;
            // A client that ends in the middle of a first line or hello spoke neither TLS nor HTTP.
            return first.Kind == FirstBytesKind.Undecided && !result.Buffer.IsEmpty ? new FirstBytes(FirstBytesKind.Malformed) : first;
        }
    }

    // ---- requests -------------------------------------------------------------------------------------------------------

    /// <inheritdoc />
    public HttpContext CreateContext(IFeatureCollection contextFeatures) => new DefaultHttpContext(contextFeatures);

    /// <inheritdoc />
    public void DisposeContext(HttpContext context, Exception? exception) => ((DefaultHttpContext)context).Uninitialize();

    /// <inheritdoc />
    public async Task ProcessRequestAsync(HttpContext context)
    {
        SandboxConnection connection = context.Features.GetRequiredFeature<SandboxConnection>();
        Snapshot snapshot = snapshots.Current;
        Exchange exchange = new(context, connection, snapshot, time.GetTimestamp(), time.GetUtcNow());
        try
        {
            Refusal? refusal = Judge(exchange);
            if (refusal is null) refusal = await forwarder.ForwardAsync(exchange);
            if (refusal is not null)
            {
                exchange.Refusal = refusal;
                if (!context.Response.HasStarted) await RefusalResponse.WriteAsync(context, refusal);
            }
        }
        catch
        {
            exchange.IsAborted = true;
            throw;
        }
        finally
        {
            Record(exchange);
            exchange.Dispose();
        }
    }

    /// <summary>Steps 5 to 7; null where the request may be forwarded.</summary>
    private Refusal? Judge(Exchange exchange)
    {
        // 5. Whose name is on it?
        if (RequestAuthority.Find(exchange.Context, exchange.Connection, out Authority destination, out string target) is { } mismatch)
        {
            exchange.Destination = destination;
            exchange.Target = target;
            return mismatch;
        }

        exchange.Destination = destination;
        exchange.Target = target;
        exchange.ReadHeaders();

        // 6. May the sandbox talk to it?
        Snapshot snapshot = exchange.Snapshot;
        exchange.Network = Check(snapshot, destination);

        // 7. Does it carry a stand-in, and may it? Asked even of a refused destination, so that the audit log knows.
        bool isSecure = exchange.Connection.Handling == Handling.Intercepted;
        RequestHead head = new(exchange.Method, target, destination.Host, destination.Port, isSecure, exchange.Headers);
        SwapDecision decision = Swap.Decide(head, snapshot);
        exchange.Plan = decision.Plan;
        if (!exchange.Network.IsAllowed)
        {
            Refusal refusal = RefusalFor(snapshot, destination, exchange.Network);
            return refusal with { Secret = decision.Refusal?.Secret ?? decision.Plan?.Secrets[0] };
        }

        if (decision.Refusal is not null) return decision.Refusal;
        if (decision.Plan is not null && !(exchange.IsAudited = events.TryReserve(snapshot.Audit)))
        {
            return new Refusal(RefusalReason.AuditUnavailable,
                "The audit log takes no events, and this sandbox may use no credential without one. Try again later; if it stays so, tell the owner of the sandbox.", decision.Plan.Secrets[0]);
        }

        return null;
    }

    // ---- both -----------------------------------------------------------------------------------------------------------

    private static NetworkVerdict Check(Snapshot snapshot, Authority destination) => destination.Address is { } address
        ? snapshot.Network.CheckAddress(null, address, destination.Port, isBound: false)
        : snapshot.Network.CheckName(destination.Host, destination.Port, snapshot.IsBound(destination.Host, destination.Port));

    private static Refusal RefusalFor(Snapshot snapshot, Authority destination, NetworkVerdict verdict)
    {
        // A host that is bound, but on another port, reads better as what it is than as one that nobody listed.
        if (verdict.Reason == RefusalReason.HostNotAllowed && destination.IsName)
        {
            foreach (BoundSecret secret in snapshot.Secrets)
            {
                foreach (Superserve.Core.Secrets.HostAuth host in secret.Definition.Hosts)
                {
                    if (secret.IsDetached || !host.Pattern.MatchesName(destination.Host)) continue;
                    return new Refusal(RefusalReason.PortBlocked,
                        $"{destination.Host} may be reached on port {host.Pattern.Port ?? HostPattern.DefaultPort} only, not on {destination.Port}. Use that port, or ask the owner to add {destination} to allowOut.");
                }
            }
        }

        return NetworkRefusal.For(destination, verdict, verdict.Reason ?? RefusalReason.HostNotAllowed);
    }

    /// <summary>Step 10 for a connection.</summary>
    private void Record(SandboxConnection connection, Snapshot snapshot) => Record(
        snapshot, connection.StartedAt, connection.Destination, connection.Handling, connection.Verdict, connection.Network, connection.Error,
        connection.BytesSent, connection.BytesReceived);

    /// <summary>Step 10 for a request in absolute form, which is a connection of its own in the network log.</summary>
    private void RecordProxied(Exchange exchange)
    {
        if (exchange.Destination.Host is null) return;
        ConnectionVerdict verdict = exchange.Refusal?.Reason.StatusCode() switch
        {
            null => ConnectionVerdict.Allowed,
            403 or 421 or 503 => ConnectionVerdict.Blocked,
            _ => ConnectionVerdict.Failed,
        };
        Record(exchange.Snapshot, exchange.StartedAt, exchange.Destination, Handling.Http, verdict, exchange.Network, exchange.Refusal?.Reason,
            exchange.BytesSent, exchange.BytesReceived);
    }

    private void Record(
        Snapshot snapshot, long startedAt, Authority destination, Handling handling, ConnectionVerdict verdict, NetworkVerdict network, RefusalReason? error,
        long sent, long received)
    {
        TimeSpan duration = time.GetElapsedTime(startedAt);
        string name = handling switch
        {
            Handling.Intercepted => "intercepted",
            Handling.Tunnelled => "tunnelled",
            _ => "http",
        };
        if (error is { } reason) LogRefusedConnection(reason.WireName(), snapshot.Redact(destination.Host, HostName.MaxLength), destination.Port, network.Rule ?? "");
        metrics.ConnectionEnded(name, verdict, sent, received);
        events.Add(new ConnectionEvent
        {
            Time = time.GetUtcNow() - duration,
            Sandbox = snapshot.Sandbox,
            Host = snapshot.Redact(destination.Host, HostName.MaxLength),
            Port = destination.Port,
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

    /// <summary>Step 10 for a request.</summary>
    private void Record(Exchange exchange)
    {
        TimeSpan duration = time.GetElapsedTime(exchange.StartedAt);
        RefusalReason? reason = exchange.Refusal?.Reason;
        metrics.RequestEnded(reason, duration, exchange.Added(time));
        if (exchange.Connection.Handling == Handling.Proxied) RecordProxied(exchange);
        exchange.Connection.Error ??= reason is RefusalReason.AuthorityMismatch ? reason : null;
        if (exchange.Connection.Error == RefusalReason.AuthorityMismatch) exchange.Connection.Verdict = ConnectionVerdict.Blocked;

        if (reason is { } refused) LogRefusedRequest(refused.WireName(), exchange.Snapshot.Redact(exchange.Destination.Host ?? "", HostName.MaxLength), exchange.Refusal?.Secret?.Name);
        foreach (BoundSecret secret in exchange.Secrets) metrics.Swapped(secret, exchange.Destination.Host ?? "", exchange.Destination.Port, reason);
        // What used no secret and was not refused is in the network log by its connection.
        if (exchange.Secrets.IsEmpty && reason is null) return;
        events.Add(new RequestEvent
        {
            Time = exchange.Time,
            Sandbox = exchange.Snapshot.Sandbox,
            Secret = exchange.Secrets.IsEmpty ? null : string.Join(",", exchange.Secrets.Select(secret => secret.Name)),
            Env = exchange.Secrets.IsEmpty ? null : string.Join(",", exchange.Secrets.Select(secret => secret.Env)),
            Method = exchange.Snapshot.Redact(exchange.Method, 32),
            Host = exchange.Snapshot.Redact(exchange.Destination.Host ?? "", HostName.MaxLength),
            Port = exchange.Destination.Port,
            Path = exchange.Snapshot.Redact(Superserve.Core.Requests.RequestPath.OfTarget(exchange.Target).ToString(), 1024),
            Status = exchange.Context.Response.StatusCode,
            UpstreamStatus = exchange.UpstreamStatus,
            DurationMilliseconds = duration.TotalMilliseconds,
            BytesSent = exchange.BytesSent,
            BytesReceived = exchange.BytesReceived,
            Protocol = exchange.Context.Request.Protocol,
            Error = reason?.WireName() ?? (exchange.IsAborted ? "aborted" : null),
        });
        if (exchange.IsAudited) events.Release(exchange.Snapshot.Audit);
    }

    private static readonly byte[] ConnectionEstablished = "HTTP/1.1 200 Connection established\r\n\r\n"u8.ToArray();

    // Straight to the socket, and nothing else writes to it meanwhile: a tunnel does the same afterwards, and an HTTP server
    // begins to write only when it has been handed the connection.
    private static async Task SendAsync(ConnectionContext client, ReadOnlyMemory<byte> bytes)
    {
        while (!bytes.IsEmpty) bytes = bytes[await SocketOf(client).SendAsync(bytes, SocketFlags.None, client.ConnectionClosed)..];
    }

    private static Socket SocketOf(ConnectionContext client) => client.Features.GetRequiredFeature<IConnectionSocketFeature>().Socket;

    [LoggerMessage(31, LogLevel.Debug, "A request to {Host} was refused: {Reason} (secret {Secret}).")]
    private partial void LogRefusedRequest(string reason, string host, string? secret);

    [LoggerMessage(32, LogLevel.Debug, "A connection to {Host}:{Port} was refused or failed: {Reason} (rule {Rule}).")]
    private partial void LogRefusedConnection(string reason, string host, int port, string rule);

    [LoggerMessage(30, LogLevel.Debug, "A connection of the sandbox ended with {Exception}.")]
    private partial void LogConnectionEnded(string exception);
}
