using System.IO.Pipelines;
using System.Net;
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
using Superserve.Sidecar.Capture;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Forwarding;
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
    public Task OnExplicitConnectionAsync(ConnectionContext client, ConnectionDelegate http) =>
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
                    await http(client);
                    break;
                default:
                    await SendAsync(client, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"u8.ToArray());
                    break;
            }
        });

    /// <summary>A connection that the rules of the pod's network redirected here on its way to somewhere else.</summary>
    public Task OnTransparentConnectionAsync(ConnectionContext client, ConnectionDelegate http)
    {
        // 1. Where to?
        bool isRedirected = OriginalDestination.TryRead(SocketOf(client), out IPEndPoint? original);
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

    private async Task OnConnectionAsync(ConnectionContext client, SandboxConnection connection, Func<SandboxConnection, Snapshot, Task> handleAsync)
    {
        client.Features.Set(connection);
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
    private Task HandleAsync(ConnectionContext client, SandboxConnection connection, Snapshot snapshot, ConnectionDelegate http, FirstBytes first) =>
        HandleAsync(client, connection, snapshot, http, Route(connection, snapshot, first), first.Kind);

    private async Task HandleAsync(ConnectionContext client, SandboxConnection connection, Snapshot snapshot, ConnectionDelegate http, Handling? handling, FirstBytesKind kind)
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

    private static void Block(ConnectionContext client, SandboxConnection connection)
    {
        connection.Verdict = ConnectionVerdict.Blocked;
        connection.Error = connection.Network.Reason ?? RefusalReason.RequestDenied;
        client.Abort();
    }

    private async Task InterceptAsync(ConnectionContext client, SandboxConnection connection, ConnectionDelegate http)
    {
        connection.Handling = Handling.Intercepted;
        string? asked = connection.MismatchedServerName ?? connection.ServerName;
        Authority leaf = asked is null ? connection.Destination : new Authority(asked, null, connection.Destination.Port);
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
        UpstreamSocket service;
        try
        {
            service = await connector.ConnectAsync(connection.Destination, client.ConnectionClosed, connection.Name);
        }
        catch (UpstreamException exception) when (accept)
        {
            await SendAsync(client, RefusalResponse.ForConnect(exception.Refusal));
            throw;
        }

        if (accept) await SendAsync(client, ConnectionEstablished);
        FirstBytes first = default;
        Handling? handling;
        long passed = 0;
        using (service)
        using (IdleTimeout idle = new(options.IdleTimeout, time))
        using (CancellationTokenRegistration shutdown = OnShutdown(client, idle))
        using (Tunnel tunnel = new(client.Transport.Input, SocketOf(client), service, connection, idle))
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
                    if (passed > 0) await SkipAsync(client.Transport.Input, passed);
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

    private static async Task SkipAsync(PipeReader input, long length)
    {
        ReadResult result = await input.ReadAtLeastAsync((int)length);
        input.AdvanceTo(result.Buffer.GetPosition(length));
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
            return first.Kind == FirstBytesKind.Undecided ? FirstBytes.AtEnd(result.Buffer) : first;
        }
    }

    /// <summary>
    /// Waits for the client's first bytes beside a tunnel that has begun. What may become the first line of HTTP is held back for
    /// a moment and then passed on piece by piece: the piece that would make it one is not. What may become TLS is held back.
    /// </summary>
    /// <returns>The judgement, and how many bytes the service has; they are still in the client's pipe.</returns>
    private async Task<(FirstBytes First, long Passed)> WatchFirstBytesAsync(ConnectionContext client, Socket service, SandboxConnection connection, IdleTimeout idle)
    {
        PipeReader input = client.Transport.Input;
        long passed = 0;
        (bool isHeld, bool isTimed) = (true, true);
        // What has come already was looked at, so that it takes the timer to read it again.
        await using ITimer hold = time.CreateTimer(_ => input.CancelPendingRead(), null, SpeaksFirstDelay, Timeout.InfiniteTimeSpan);
        while (true)
        {
            ReadResult result = await input.ReadAsync(idle.Token);
            if (result.IsCanceled) (isHeld, isTimed) = (result.Buffer.IsEmpty, false);
            FirstBytes first = FirstBytes.Judge(result.Buffer);
            if (first.Kind != FirstBytesKind.Undecided || result.IsCompleted)
            {
                if (first.Kind == FirstBytesKind.Undecided) first = FirstBytes.AtEnd(result.Buffer);
                input.AdvanceTo(result.Buffer.Start);
                // The timer's last shot would cancel the next one's read.
                await hold.DisposeAsync();
                if (input.TryRead(out result)) input.AdvanceTo(result.Buffer.Start);
                return (first, passed);
            }

            if (!isHeld && !FirstBytes.MayBeTls(result.Buffer))
            {
                foreach (ReadOnlyMemory<byte> segment in result.Buffer.Slice(passed))
                    for (ReadOnlyMemory<byte> rest = segment; !rest.IsEmpty;) rest = rest[await service.SendAsync(rest, SocketFlags.None, idle.Token)..];
                connection.Sent(result.Buffer.Length - passed);
                passed = result.Buffer.Length;
                idle.Touch();
            }

            if (!isTimed && isHeld && !result.Buffer.IsEmpty) isTimed = hold.Change(SpeaksFirstDelay, Timeout.InfiniteTimeSpan);
            input.AdvanceTo(result.Buffer.Start, result.Buffer.End);
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
            log.Record(exchange);
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
        Authority dialled = exchange.Connection.Destination;
        if (exchange.Network.Reason == RefusalReason.HostNotAllowed && !exchange.Network.IsAllowed && exchange.Connection.Handling == Handling.Http && dialled.Address is not null && destination.IsName
            && snapshot.Network.CheckAddressUnder(destination.Host, dialled.Address, dialled.Port) is { IsAllowed: true } byAddress)
        {
            // A host that is on no list, at an address that is on one: the address is dialled.
            exchange.Network = byAddress;
            exchange.Destination = destination = dialled;
        }

        if (exchange.Connection.Dialled is not null && exchange.Context.Request.Host.Value != destination.Host && Authority.TryParse(exchange.Context.Request.Host.Value, destination.Port, out Authority sent) && sent.IsName && sent.Host != destination.Host)
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
        if (decision.Plan is not null && !(exchange.IsAudited = log.TryReserve(snapshot.Audit)))
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
    private static async Task SendAsync(ConnectionContext client, ReadOnlyMemory<byte> bytes)
    {
        while (!bytes.IsEmpty) bytes = bytes[await SocketOf(client).SendAsync(bytes, SocketFlags.None, client.ConnectionClosed)..];
    }

    private static Socket SocketOf(ConnectionContext client) => client.Features.GetRequiredFeature<IConnectionSocketFeature>().Socket;

    [LoggerMessage(30, LogLevel.Debug, "A connection of the sandbox ended with {Exception}.")]
    private partial void LogConnectionEnded(string exception);
}
