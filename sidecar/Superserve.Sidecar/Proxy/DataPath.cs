using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Security.Authentication;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Microsoft.Extensions.Primitives;
using Superserve.Core.Events;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Snapshots;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Capture;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Forwarding;
using Superserve.Sidecar.Http1;
using Superserve.Sidecar.Trust;

namespace Superserve.Sidecar.Proxy;

/// <summary>
/// The way of a sandbox's connection and of each request on it, from beginning to end.
/// <code>
///   sandbox                              sidecar                                             service
///      │  a redirected connection, or       │                                                   │
///      │  CONNECT name:443                  │                                                   │
///      ├───────────────────────────────────►│ 1 destination   OriginalDestination, ConnectRequest
///      │                                    │ 2 network rules (of a redirected connection, for  │
///      │                                    │      bytes that name no host: step 4 has the rest)│
///      │◄──── explicit: 200, or a refusal ──┤                                                   │
///      │  first bytes                       │                                                   │
///      ├───────────────────────────────────►│ 3 TLS, HTTP or neither   FirstBytes               │
///      │                                    │ 4 intercept, inspect, tunnel or refuse            │
///      │◄═════ TLS with a minted leaf ═════►│      (a tunnel dials here, and steps 5 on are not) │
///      │  request                           │                                                   │
///      ├───────────────────────────────────►│ 5 authority     RequestAuthority                  │
///      │                                    │ 6 network rules, once more: they may have changed │
///      │                                    │ 7 swap decision Swap.Decide                       │
///      │                                    │ 8 forward       Http1Forwarder, Http2Forwarder ──►│ UpstreamConnector
///      │◄───────────────────────────────────┤ 9 scrub         AnswerFields, BodyScrubber ◄──────┤ checks addresses
///      │                                    │10 event, metrics                                  │
/// </code>
/// Every refusal is made by one of steps 2, 4, 5, 6, 7 or 8; what none refuses is forwarded. Each connection and each request
/// takes one snapshot and decides by it to its end.
/// </summary>
internal sealed partial class DataPath(
    ISnapshotSource snapshots,
    UpstreamConnector connector,
    Http1Forwarder http1,
    Http2Forwarder http2,
    LeafCertificates certificates,
    AddressNames names,
    TrafficLog log,
    SidecarOptions options,
    TimeProvider time,
    ILogger<DataPath> logger) : IHttpApplication<HttpContext>
{
    /// <summary>For the head of a CONNECT request, and for a TLS handshake.</summary>
    private static readonly TimeSpan HandshakeTimeout = TimeSpan.FromSeconds(30);

    /// <summary>How long a client that may speak TLS is waited for ahead of dialling, which tells protocols whose server speaks first.</summary>
    private static readonly TimeSpan SpeaksFirstDelay = TimeSpan.FromMilliseconds(300);

    /// <summary>The same on ports other than 80 and 443, where servers that speak first are common.</summary>
    private static readonly TimeSpan SpeaksFirstDelayElsewhere = TimeSpan.FromMilliseconds(30);

    /// <summary>
    /// How long a name is waited for where nothing but a name opens the way: longer where clients connect ahead of time and speak
    /// when they need to, and otherwise so that a service that would speak first is soon known to be closed.
    /// </summary>
    private static readonly TimeSpan NameDelay = TimeSpan.FromSeconds(10), NameDelayElsewhere = TimeSpan.FromSeconds(3);

    private static readonly List<SslApplicationProtocol> Protocols = [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11];

    // ---- connections ----------------------------------------------------------------------------------------------------

    /// <summary>A connection to the explicit proxy: CONNECT, or HTTP requests in absolute form.</summary>
    public Task OnExplicitConnectionAsync(ClientConnection client, ConnectionDelegate http) =>
        OnConnectionAsync(client, new SandboxConnection(time.GetTimestamp()), async (connection, snapshot) =>
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
                    // Requests in absolute form.
                    await ServeHttp1Async(client, client.Stream);
                    break;
                default:
                    await SendAsync(client, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"u8.ToArray());
                    break;
            }
        });

    /// <summary>A connection that the rules of the pod's network redirected here on its way to somewhere else.</summary>
    public Task OnTransparentConnectionAsync(ClientConnection client, ConnectionDelegate http)
    {
        // 1. Where to?
        bool isRedirected = OriginalDestination.TryRead(client.Socket, out IPEndPoint? original);
        IPEndPoint dialled = original ?? (IPEndPoint)client.LocalEndPoint!;
        SandboxConnection started = new(time.GetTimestamp())
        {
            Dialled = dialled.Address,
            Complete = name => names.Complete(dialled.Address, name),
            Destination = new Authority(dialled.Address.ToString(), dialled.Address, dialled.Port),
            Handling = Handling.Tunnelled,
        };
        return OnConnectionAsync(client, started, async (connection, snapshot) =>
        {
            if (!isRedirected)
            {
                // Made straight to this port: there is nowhere to go on to.
                connection.Network = new NetworkVerdict(false, RefusalReason.PrivateAddress, NetworkRefusal.OwnAddress, false);
                Block(client, connection);
                return;
            }

            // 2. May bytes that name no host go there?
            connection.Network = CheckOpaque(snapshot, connection);

            // 3. What is it? Where the service would speak first there is a moment's wait at most; where only a name could open
            // the way, as long as a name may take to come.
            bool isWeb = dialled.Port is 80 or 443;
            TimeSpan patience = connection.Network.IsAllowed ? isWeb ? SpeaksFirstDelay : SpeaksFirstDelayElsewhere : isWeb ? NameDelay : NameDelayElsewhere;
            using CancellationTokenSource delay = new(patience, time);
            FirstBytes first = await ReadFirstBytesAsync(client, delay.Token);
            if (first.Kind != FirstBytesKind.Undecided) await HandleAsync(client, connection, snapshot, http, first);
            else if (connection.Network.IsAllowed) await RelayAsync(client, connection, snapshot, http, judged: false, accept: false);
            else Block(client, connection);
        });
    }

    private async Task OnConnectionAsync(ClientConnection client, SandboxConnection connection, Func<SandboxConnection, Snapshot, Task> handleAsync)
    {
        client.Features.Set(connection);
        client.Stream.Connection = connection;
        log.Opened();
        Snapshot snapshot = snapshots.Current;
        try
        {
            await handleAsync(connection, snapshot);
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
            log.Closed(connection, snapshot);
        }
    }

    private async Task OnConnectAsync(ClientConnection client, SandboxConnection connection, Snapshot snapshot, ConnectionDelegate http)
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
    private Task HandleAsync(ClientConnection client, SandboxConnection connection, Snapshot snapshot, ConnectionDelegate http, FirstBytes first) =>
        HandleAsync(client, connection, snapshot, http, Route(connection, snapshot, first), first.Kind);

    private async Task HandleAsync(ClientConnection client, SandboxConnection connection, Snapshot snapshot, ConnectionDelegate http, Handling? handling, FirstBytesKind kind)
    {
        switch (handling)
        {
            case Handling.Tunnelled:
                try
                {
                    await RelayAsync(client, connection, snapshot, http, judged: true, accept: false);
                }
                catch (UpstreamException exception) when (kind == FirstBytesKind.Tls && exception.Verdict.Reason is not null)
                {
                    // The name is open, and none of its addresses: that is said as it is of a name.
                    Judged(connection, exception.Verdict);
                    await InterceptAsync(client, connection, http);
                }

                break;
            case Handling.Intercepted:
                await InterceptAsync(client, connection, http);
                break;
            case Handling.Http:
                // Each request names its own host; what was said of the address is not what decides.
                if (!connection.Destination.IsName) (connection.Name, connection.Network) = (null, default);
                await InspectAsync(client, connection, http, kind);
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
                if (destination.IsName && snapshot.IsBound(destination.Host, destination.Port)) return null;
                return connection.Network.IsAllowed ? Handling.Tunnelled : null;
            case FirstBytesKind.Http1 or FirstBytesKind.Http2:
                return Handling.Http;
            case FirstBytesKind.Tls when first.ServerName is null || first.ServerName == destination.Host:
                // Without a name the address is judged by itself: by one that it may have, another's site could be asked for.
                connection.Name = null;
                Judged(connection, Check(snapshot, destination));
                // What is refused is intercepted to say so, request by request.
                return snapshot.Intercepts(destination.Host, destination.Port) || !connection.Network.IsAllowed ? Handling.Intercepted : Handling.Tunnelled;
            case FirstBytesKind.Tls when destination.IsName:
                // The name in the hello would reach the service that the other name led to. Intercepted only to say so.
                connection.MismatchedServerName = first.ServerName;
                return Handling.Intercepted;
            case FirstBytesKind.Tls:
                // The client dialled an address, and its hello names a host: that one is judged, resolved and dialled.
                Authority named = new(connection.Complete(first.ServerName!), null, destination.Port);
                NetworkVerdict byName = Check(snapshot, named);
                // A host that is on no list may still be where a listed address is: then the address is dialled.
                if (byName is { IsAllowed: false, Reason: RefusalReason.HostNotAllowed }
                    && snapshot.Network.CheckAddressUnder(named.Host, destination.Address!, destination.Port) is { IsAllowed: true } byAddress)
                {
                    connection.Name = null;
                    Judged(connection, byAddress);
                    return Handling.Tunnelled;
                }

                connection.Name = null;
                Judged(connection, byName);
                connection.Destination = named;
                connection.ServerName = first.ServerName;
                return snapshot.Intercepts(named.Host, named.Port) || !byName.IsAllowed ? Handling.Intercepted : Handling.Tunnelled;
            default:
                return null;
        }
    }

    private static void Judged(SandboxConnection connection, NetworkVerdict verdict)
    {
        connection.Network = verdict;
        (connection.Verdict, connection.Error) = verdict.IsAllowed ? (ConnectionVerdict.Allowed, null) : (ConnectionVerdict.Blocked, verdict.Reason);
    }

    private static void Block(ClientConnection client, SandboxConnection connection)
    {
        connection.Verdict = ConnectionVerdict.Blocked;
        connection.Error = connection.Network.Reason ?? RefusalReason.RequestDenied;
        client.Abort();
    }

    private async Task InterceptAsync(ClientConnection client, SandboxConnection connection, ConnectionDelegate http)
    {
        connection.Handling = Handling.Intercepted;
        string? asked = connection.MismatchedServerName ?? connection.ServerName;
        Authority leaf = asked is null ? connection.Destination : new Authority(asked, null, connection.Destination.Port);
        await using SslStream tls = new(client.Stream, leaveInnerStreamOpen: true);
        using (CancellationTokenSource timeout = new(HandshakeTimeout, time))
        {
            await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions
            {
                ServerCertificateContext = certificates.For(leaf),
                ApplicationProtocols = Protocols,
                AllowRenegotiation = false,
            }, timeout.Token);
        }

        if (tls.NegotiatedApplicationProtocol == SslApplicationProtocol.Http2) await ServeHttp2Async(client, tls, http);
        else await ServeHttp1Async(client, tls);
    }

    private Task InspectAsync(ClientConnection client, SandboxConnection connection, ConnectionDelegate http, FirstBytesKind kind)
    {
        connection.Handling = Handling.Http;
        return kind == FirstBytesKind.Http2 ? ServeHttp2Async(client, client.Stream, http) : ServeHttp1Async(client, client.Stream);
    }

    /// <summary>Hands a stream to the server of HTTP/2, which takes the protocol from the features, and calls <see cref="ProcessRequestAsync"/>.</summary>
    private static async Task ServeHttp2Async(ClientConnection client, Stream stream, ConnectionDelegate http)
    {
        NegotiatedProtocol negotiated = new(SslApplicationProtocol.Http2.Protocol);
        client.Features.Set<ITlsApplicationProtocolFeature>(negotiated);
        client.Features.Set<ITlsConnectionFeature>(negotiated);
        StreamPipe pipe = new(stream, client.Stream);
        client.Transport = pipe;
        try
        {
            await http(client);
        }
        finally
        {
            await pipe.CompleteAsync();
        }
    }

    /// <summary>
    /// Passes bytes on. Where the client's first bytes are not known yet, they are judged whenever they come: TLS or HTTP that
    /// starts late is still TLS or HTTP.
    /// </summary>
    private async Task RelayAsync(ClientConnection client, SandboxConnection connection, Snapshot snapshot, ConnectionDelegate http, bool judged, bool accept)
    {
        UpstreamSocket service;
        try
        {
            // Until the server ends, not the client: that may have said all that it has to say, and wait for an answer.
            service = await connector.ConnectAsync(connection.Destination, ShutdownOf(client), connection.Name);
        }
        catch (UpstreamException exception) when (accept)
        {
            await SendAsync(client, RefusalResponse.ForConnect(exception.Refusal));
            throw;
        }

        if (accept) await SendAsync(client, ConnectionEstablished);
        FirstBytes first = default;
        Handling? handling;
        int passed = 0;
        using (service)
        using (IdleTimeout idle = new(options.IdleTimeout, time))
        using (CancellationTokenRegistration shutdown = OnShutdown(client, idle))
        using (Tunnel tunnel = new(client, service, connection, idle))
        {
            tunnel.StartToClient();
            try
            {
                if (!judged) (first, passed) = await WatchFirstBytesAsync(client, service, connection, idle);
            }
            catch when (service.EndedBy is { } verdict)
            {
                connection.Network = verdict;
                Block(client, connection);
                await tunnel.StopAsync();
                return;
            }

            Authority dialled = connection.Destination;
            handling = judged || first.Kind == FirstBytesKind.Undecided ? Handling.Tunnelled : Route(connection, snapshot, first);
            // The name that is judged is the name that is dialled: what leads to an address of the sandbox's choice is not for it.
            if (handling == Handling.Tunnelled && connection.Destination == dialled)
            {
                try
                {
                    client.Stream.Skip(passed);
                    await tunnel.RunAsync();
                }
                catch when (service.EndedBy is { } verdict)
                {
                    connection.Network = verdict;
                    Block(client, connection);
                }

                return;
            }

            await tunnel.StopAsync();
            if (tunnel.HasReceived || passed > 0)
            {
                // Half a conversation cannot be taken over.
                Block(client, connection);
                return;
            }
        }

        await HandleAsync(client, connection, snapshot, http, handling, first.Kind);
    }

    /// <summary>A tunnel has no end that could be waited for: it ends with the server.</summary>
    private static CancellationTokenRegistration OnShutdown(ClientConnection client, IdleTimeout idle) => ShutdownOf(client).Register(idle.Stop);

    private static CancellationToken ShutdownOf(ClientConnection client) =>
        client.Features.Get<IConnectionLifetimeNotificationFeature>()?.ConnectionClosedRequested ?? CancellationToken.None;

    private static async Task RefuseConnectAsync(ClientConnection client, SandboxConnection connection, Refusal refusal)
    {
        connection.Verdict = ConnectionVerdict.Blocked;
        connection.Error = refusal.Reason;
        await SendAsync(client, RefusalResponse.ForConnect(refusal));
    }

    private async Task<(ConnectStatus, Authority?)> ReadConnectAsync(ClientConnection client)
    {
        using CancellationTokenSource timeout = new(HandshakeTimeout, time);
        while (true)
        {
            ConnectStatus status = ConnectRequest.TryRead(client.Stream.Peeked, out Authority destination, out int length);
            if (status == ConnectStatus.Complete)
            {
                client.Stream.Skip(length);
                return (status, destination);
            }

            if (status != ConnectStatus.Incomplete) return (status, null);
            if (!await client.Stream.PeekAsync(timeout.Token)) return (ConnectStatus.Malformed, null);
        }
    }

    /// <summary>Looks at the first bytes and leaves them in place. <see cref="FirstBytesKind.Undecided"/> where none came in time or the client ended.</summary>
    private static async Task<FirstBytes> ReadFirstBytesAsync(ClientConnection client, CancellationToken cancellationToken)
    {
        while (true)
        {
            FirstBytes first = FirstBytes.Judge(client.Stream.Peeked);
            if (first.Kind != FirstBytesKind.Undecided) return first;
            try
            {
                if (!await client.Stream.PeekAsync(cancellationToken)) return FirstBytes.AtEnd(client.Stream.Peeked);
            }
            catch (OperationCanceledException)
            {
                return new FirstBytes(FirstBytesKind.Undecided);
            }
        }
    }

    /// <summary>
    /// Waits for the client's first bytes beside a tunnel that has begun. What may become the first line of HTTP is held back for
    /// a moment and then passed on piece by piece: the piece that would make it one is not. What may become TLS is held back.
    /// </summary>
    /// <returns>The judgement, and how many bytes the service has; they are still in the client's stream.</returns>
    private async Task<(FirstBytes First, int Passed)> WatchFirstBytesAsync(ClientConnection client, Socket service, SandboxConnection connection, IdleTimeout idle)
    {
        ClientStream stream = client.Stream;
        int passed = 0;
        using CancellationTokenSource held = CancellationTokenSource.CreateLinkedTokenSource(idle.Token);
        await using ITimer hold = time.CreateTimer(static held => ((CancellationTokenSource)held!).Cancel(), held, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        bool isTimed = false;
        while (true)
        {
            if (held.IsCancellationRequested && !FirstBytes.MayBeTls(stream.Peeked))
            {
                foreach (ReadOnlyMemory<byte> segment in stream.Peeked.Slice(passed))
                    for (ReadOnlyMemory<byte> rest = segment; !rest.IsEmpty;) rest = rest[await service.SendAsync(rest, SocketFlags.None, idle.Token)..];
                connection.Sent(stream.PeekedLength - passed);
                passed = stream.PeekedLength;
                idle.Touch();
            }

            if (!isTimed && stream.PeekedLength > 0) isTimed = hold.Change(SpeaksFirstDelay, Timeout.InfiniteTimeSpan);
            try
            {
                bool more = await stream.PeekAsync(held.IsCancellationRequested ? idle.Token : held.Token);
                FirstBytes first = more ? FirstBytes.Judge(stream.Peeked) : FirstBytes.AtEnd(stream.Peeked);
                if (!more || first.Kind != FirstBytesKind.Undecided) return (first, passed);
            }
            catch (OperationCanceledException) when (!idle.Token.IsCancellationRequested)
            {
                // Long enough; what has come goes on.
            }
        }
    }

    // ---- requests -------------------------------------------------------------------------------------------------------

    /// <inheritdoc />
    public HttpContext CreateContext(IFeatureCollection contextFeatures) => new DefaultHttpContext(contextFeatures);

    /// <inheritdoc />
    public void DisposeContext(HttpContext context, Exception? exception) => ((DefaultHttpContext)context).Uninitialize();

    /// <summary>The requests of a connection that speaks HTTP/1.1.</summary>
    private async Task ServeHttp1Async(ClientConnection connection, Stream stream)
    {
        using ClientSession client = new(connection, stream, options, time, ShutdownOf(connection));
        try
        {
            while (await client.ReadRequestAsync())
            {
                using Exchange exchange = new(connection.Stream.Connection!, snapshots.Current, time.GetTimestamp(), time.GetUtcNow())
                {
                    Method = client.Method,
                    SentTarget = client.Target,
                    SentHost = client.Host ?? "",
                    Protocol = client.Protocol,
                    Upgrade = client.Upgrade,
                };
                exchange.ReadHeaders(client.Fields, client.Nominated);
                await RespondAsync(exchange, () => http1.ForwardAsync(exchange, client), client.RefuseAsync);
                if (!client.MayFollow) break;
            }
        }
        catch (Http1FormatException malformed)
        {
            await client.RefuseAsync(malformed);
        }

        await client.CloseAsync();
    }

    /// <summary>A request of a connection that speaks HTTP/2.</summary>
    public async Task ProcessRequestAsync(HttpContext context)
    {
        IHttpExtendedConnectFeature? connect = context.Features.Get<IHttpExtendedConnectFeature>();
        bool isWebSocket = connect is { IsExtendedConnect: true } && string.Equals(connect.Protocol, "websocket", StringComparison.OrdinalIgnoreCase);
        using Exchange exchange = new(context.Features.GetRequiredFeature<SandboxConnection>(), snapshots.Current, time.GetTimestamp(), time.GetUtcNow())
        {
            Method = isWebSocket ? HttpMethods.Get : context.Request.Method,
            SentTarget = context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget,
            SentHost = context.Request.Host.Value ?? "",
            Protocol = context.Request.Protocol,
            Upgrade = isWebSocket ? connect!.Protocol : null,
        };
        List<HeaderField> fields = new(context.Request.Headers.Count);
        foreach ((string name, StringValues values) in context.Request.Headers)
            if (!name.StartsWith(':'))
                foreach (string? value in values) fields.Add(new HeaderField(name, value ?? ""));
        exchange.ReadHeaders(CollectionsMarshal.AsSpan(fields), context.Request.Headers.Connection.ToString());
        await RespondAsync(exchange, async () =>
        {
            Refusal? refusal = await http2.ForwardAsync(exchange, context);
            exchange.Status = context.Response.StatusCode;
            return refusal;
        }, async refusal =>
        {
            if (!context.Response.HasStarted) await RefusalResponse.WriteAsync(context, refusal);
        });
    }

    /// <summary>Steps 5 to 10 of a request.</summary>
    private async ValueTask RespondAsync(Exchange exchange, Func<ValueTask<Refusal?>> forwardAsync, Func<Refusal, ValueTask> refuseAsync)
    {
        try
        {
            if ((Judge(exchange) ?? await forwardAsync()) is not { } refusal) return;
            exchange.Refusal = refusal;
            exchange.Status = refusal.Reason.StatusCode();
            await refuseAsync(refusal);
        }
        catch
        {
            exchange.IsAborted = true;
            throw;
        }
        finally
        {
            log.Record(exchange);
        }
    }

    /// <summary>Steps 5 to 7; null where the request may be forwarded.</summary>
    private Refusal? Judge(Exchange exchange)
    {
        // 5. Whose name is on it?
        if (RequestAuthority.Find(exchange, out Authority destination, out string target) is { } mismatch)
        {
            exchange.Destination = destination;
            exchange.Target = target;
            return mismatch;
        }

        exchange.Destination = destination;
        exchange.Target = target;

        // 6. May the sandbox talk to it?
        Snapshot snapshot = exchange.Snapshot;
        exchange.Network = Check(snapshot, destination);
        Authority dialled = exchange.Connection.Destination;
        if (exchange.Network.Reason == RefusalReason.HostNotAllowed && !exchange.Network.IsAllowed && exchange.Connection.Handling == Handling.Http && dialled.Address is not null && destination.IsName
            && snapshot.Network.CheckAddressUnder(destination.Host, dialled.Address, dialled.Port) is { IsAllowed: true } byAddress)
        {
            // A host that is on no list, at an address that is on one: the address is dialled.
            exchange.Network = byAddress;
            exchange.Destination = destination = dialled;
        }

        if (exchange.Connection.Dialled is not null && exchange.SentHost != destination.Host && Authority.TryParse(exchange.SentHost, destination.Port, out Authority sent) && sent.IsName && sent.Host != destination.Host)
            exchange.HostHeader = sent.Port == destination.Port && sent.Port == (exchange.Connection.Handling == Handling.Intercepted ? 443 : 80) ? sent.Host : sent.ToString();

        // 7. Does it carry a stand-in, and may it? Asked even of a refused destination, so that the audit log knows.
        bool isSecure = exchange.Connection.Handling == Handling.Intercepted;
        RequestHead head = new(exchange.Method, target, destination.Host, destination.Port, isSecure, exchange.Headers);
        SwapDecision decision = Swap.Decide(head, snapshot);
        exchange.Plan = decision.Plan;
        if (!exchange.Network.IsAllowed)
        {
            Refusal refusal = RefusalFor(snapshot, destination, exchange.Network);
            // Opening the port would not help: the next word would be this.
            if (refusal.Reason == RefusalReason.PortBlocked && decision.Refusal is { Reason: RefusalReason.CleartextRefused }) return decision.Refusal;
            return refusal with { Secret = decision.Refusal?.Secret ?? decision.Plan?.Secrets[0] };
        }

        if (decision.Refusal is not null) return decision.Refusal;
        if (decision.Plan is not null && !log.TryBegin(exchange))
        {
            return new Refusal(RefusalReason.AuditUnavailable,
                "The audit log takes no events, and this sandbox may use no credential without one. Try again later; if it stays so, tell the owner of the sandbox.", decision.Plan.Secrets[0]);
        }

        return null;
    }

    // ---- both -----------------------------------------------------------------------------------------------------------

    /// <summary>
    /// What the rules say of bytes that name no host: the address has to be open by itself, or by a name that the sandbox's DNS
    /// gave it for. A bound host's name opens nothing to them: it speaks TLS.
    /// </summary>
    private NetworkVerdict CheckOpaque(Snapshot snapshot, SandboxConnection connection)
    {
        Authority destination = connection.Destination;
        IReadOnlyList<string> known = [.. names.NamesOf(destination.Address!).Where(name => !snapshot.IsBound(name, destination.Port))];
        foreach (string name in known)
        {
            NetworkVerdict byName = snapshot.Network.CheckAddress(name, destination.Address!, destination.Port, isBound: false);
            if (byName.IsAllowed)
            {
                connection.Name = name;
                return byName;
            }
        }

        foreach (string name in known)
            if (snapshot.Network.CheckAddressUnder(name, destination.Address!, destination.Port) is { IsAllowed: false, Reason: RefusalReason.HostDenied } denied) return denied;
        return Check(snapshot, destination);
    }

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

    private static readonly byte[] ConnectionEstablished = "HTTP/1.1 200 Connection established\r\n\r\n"u8.ToArray();

    // Straight to the socket, and nothing else writes to it meanwhile: a tunnel does the same afterwards, and an HTTP server
    // begins to write only when it has been handed the connection.
    private static async Task SendAsync(ClientConnection client, ReadOnlyMemory<byte> bytes)
    {
        while (!bytes.IsEmpty) bytes = bytes[await client.Socket.SendAsync(bytes, SocketFlags.None, ShutdownOf(client))..];
    }

    [LoggerMessage(30, LogLevel.Debug, "A connection of the sandbox ended with {Exception}.")]
    private partial void LogConnectionEnded(string exception);
}
