using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Superserve.Core.Dns;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Snapshots;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Capture;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Dns;
using Superserve.Sidecar.Proxy;
using Superserve.Sidecar.Trust;

namespace Superserve.Sidecar.Forwarding;

/// <summary>A connection that the sidecar will not or cannot make.</summary>
internal sealed class UpstreamException(Refusal refusal, NetworkVerdict verdict, Exception? inner = null) : IOException(refusal.Detail, inner)
{
    public Refusal Refusal { get; } = refusal;

    public NetworkVerdict Verdict { get; } = verdict;
}

/// <summary>A way to a service: an address and the name that it was found by.</summary>
/// <param name="Name">The checked name; null where the client named the address and no name allows it.</param>
/// <param name="EndPoint">What is dialled.</param>
/// <param name="Port">The port that the rules judge.</param>
/// <param name="IsPinned">The name leads here by configuration; its address is not judged.</param>
internal sealed record Route(string? Name, IPEndPoint EndPoint, int Port, bool IsPinned);

/// <summary>A connection to a service. The connector knows it from before it is dialled until it is closed.</summary>
internal sealed class UpstreamSocket : Socket
{
    private readonly ConcurrentDictionary<UpstreamSocket, UpstreamSocket> _open;

    public UpstreamSocket(Route route, ConcurrentDictionary<UpstreamSocket, UpstreamSocket> open)
        : base(route.EndPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp)
    {
        Route = route;
        _open = open;
        open[this] = this;
    }

    /// <summary>Where it goes.</summary>
    public Route Route { get; }

    /// <summary>The rules that came to forbid it, where that was its end.</summary>
    public NetworkVerdict? EndedBy { get; private set; }

    /// <summary>Closes it under whoever uses it.</summary>
    public void End(NetworkVerdict verdict)
    {
        EndedBy = verdict;
        Close(0);
    }

    protected override void Dispose(bool disposing)
    {
        // The base class's constructor may have failed.
        _open?.TryRemove(this, out _);
        base.Dispose(disposing);
    }
}

/// <summary>
/// The one place that dials. It resolves the name that was checked, never takes the sandbox's word for an address, and checks
/// each address against the network rules right before it connects: a name whose second answer is a private address gains
/// nothing.
/// </summary>
internal sealed class UpstreamConnector : IDisposable
{
    private readonly ISnapshotSource _snapshots;
    private readonly SidecarOptions _options;
    private readonly Resolver _resolver;
    private readonly Dialler _dialler;
    private readonly TimeProvider _time;
    private readonly TokenBucket _chosen;

    /// <summary>Every connection to a service, by itself.</summary>
    private readonly ConcurrentDictionary<UpstreamSocket, UpstreamSocket> _open = [];

    public UpstreamConnector(ISnapshotSource snapshots, SidecarOptions options, Resolver resolver, Dialler dialler, PublicRoots roots, TimeProvider time)
    {
        _snapshots = snapshots;
        _options = options;
        _resolver = resolver;
        _dialler = dialler;
        _time = time;
        _chosen = DnsQueries.LimitOfChosen(time);
        TlsOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = ChainPolicy(roots), AllowRenegotiation = false };
        snapshots.Changed += EndForbidden;
    }

    /// <summary>How a service's certificate is verified.</summary>
    public SslClientAuthenticationOptions TlsOptions { get; }

    /// <summary>The same for one connection.</summary>
    public SslClientAuthenticationOptions ClientAuthentication(string serverName, List<SslApplicationProtocol> protocols) => new()
    {
        TargetHost = serverName,
        ApplicationProtocols = protocols,
        CertificateChainPolicy = TlsOptions.CertificateChainPolicy,
        AllowRenegotiation = false,
    };

    public void Dispose() => _snapshots.Changed -= EndForbidden;

    /// <summary>Connects to a destination.</summary>
    /// <param name="destination">The name that was checked, or an address.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <param name="alias">Of an address: the name that it is allowed by.</param>
    /// <exception cref="UpstreamException">The rules refuse every address, or none answers.</exception>
    public async Task<UpstreamSocket> ConnectAsync(Authority destination, CancellationToken cancellationToken, string? alias = null)
    {
        // Requests on one connection may be for many hosts, and leave connections to all of them for a while.
        if (_open.Count >= FileDescriptors.ProxyConnections)
            throw Failed(RefusalReason.UpstreamUnreachable, $"{destination} is not connected to: this sandbox has {FileDescriptors.ProxyConnections} connections to services already. Close some, or try again in a minute.");
        Route[] routes = await ResolveAsync(destination, alias, cancellationToken);
        using CancellationTokenSource timeout = new(_options.ConnectTimeout, _time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
        try
        {
            UpstreamSocket socket = await _dialler.ConnectAsync(routes, route => route.EndPoint, route => new UpstreamSocket(route, _open), either.Token);
            // The rules may have changed since the addresses were checked, ahead of when EndForbidden could find the socket.
            if (Check(socket.Route) is not { IsAllowed: false, Reason: { } reason } verdict) return socket;
            socket.Dispose();
            throw new UpstreamException(NetworkRefusal.For(destination, verdict, reason), verdict);
        }
        catch (OperationCanceledException exception) when (timeout.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw Failed(RefusalReason.UpstreamTimeout, $"{destination} did not accept a connection within {_options.ConnectTimeout.TotalSeconds:0} s. The service may be down, or a firewall may drop the way to it; try again later.", exception);
        }
        catch (SocketException exception)
        {
            throw Failed(RefusalReason.UpstreamUnreachable, $"{destination} cannot be connected to ({exception.SocketErrorCode}). The service may be down; try again later.", exception);
        }
    }

    private async Task<Route[]> ResolveAsync(Authority destination, string? alias, CancellationToken cancellationToken)
    {
        string? name = destination.IsName ? destination.Host : alias;
        if (destination.IsName && _options.PinnedHosts.TryGetValue(destination.Host, out IPEndPoint? pinned)) return [new Route(name, pinned, destination.Port, IsPinned: true)];
        if (destination.IsName) CheckLookUp(destination);
        IPAddress[] addresses = destination.Address is { } address ? [address] : await LookUpAsync(destination.Host, cancellationToken);

        List<Route> routes = [];
        NetworkVerdict refused = default;
        foreach (IPAddress candidate in addresses)
        {
            Route route = new(name, new IPEndPoint(candidate, destination.Port), destination.Port, IsPinned: false);
            NetworkVerdict verdict = Check(route);
            if (verdict.IsAllowed) routes.Add(route);
            else refused = verdict;
        }

        if (routes.Count > 0) return [.. routes];
        throw new UpstreamException(NetworkRefusal.For(destination, refused, refused.Reason ?? RefusalReason.HostNotAllowed), refused);
    }

    /// <summary>A name carries as much out where a connection is for it as where it is asked for: the same limits hold.</summary>
    private void CheckLookUp(Authority destination)
    {
        LookUpVerdict verdict = LookUpRules.Judge(_snapshots.Current, destination.Host, DnsType.A);
        if (verdict is { Action: LookUpAction.Refuse, Network: { Reason: { } reason } network }) throw new UpstreamException(NetworkRefusal.For(destination, network, reason), network);
        if (verdict.IsChosen && !_resolver.TryGetKept(destination.Host, DnsType.A, out _) && !_chosen.TryTake())
            throw Failed(RefusalReason.UpstreamUnreachable, $"The name {destination.Host} was not resolved: too many different names under one wildcard of the list were asked for at once. Try again in a few seconds, with fewer at a time.");
    }

    /// <summary>What the rules of this moment say of a way to a service.</summary>
    private NetworkVerdict Check(Route route)
    {
        Snapshot snapshot = _snapshots.Current;
        bool isBound = route.Name is { } bound && snapshot.IsBound(bound, route.Port);
        if (route.IsPinned) return snapshot.Network.CheckName(route.Name!, route.Port, isBound);
        // Whatever range is opened, the sidecar is not: through itself the sandbox would read its metrics.
        return IsOwn(route.EndPoint.Address, route.Port)
            ? new NetworkVerdict(false, RefusalReason.PrivateAddress, NetworkRefusal.OwnAddress, false)
            : snapshot.Network.CheckAddress(route.Name, route.EndPoint.Address, route.Port, isBound);
    }

    /// <summary>New rules end the connections that they forbid, pooled ones and those that requests and tunnels have.</summary>
    private void EndForbidden()
    {
        foreach (UpstreamSocket socket in _open.Keys)
            if (Check(socket.Route) is { IsAllowed: false } verdict) socket.End(verdict);
    }

    private bool IsOwn(IPAddress address, int port)
    {
        IPAddress plain = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        return IsSame(_options.ProxyAddress) || IsSame(_options.HealthAddress) || IsSame(_options.MetricsAddress)
            || (_options.Capture == CaptureMode.Transparent && (IsSame(new IPEndPoint(IPAddress.Loopback, _options.TransparentPort)) || IsSame(new IPEndPoint(IPAddress.Loopback, _options.DnsPort))));

        bool IsSame(IPEndPoint own) =>
            own.Port == port && (own.Address.Equals(plain) || plain.Equals(IPAddress.Any) || plain.Equals(IPAddress.IPv6Any) || (IPAddress.IsLoopback(plain) && IPAddress.IsLoopback(own.Address)) || own.Address.Equals(IPAddress.Any) || own.Address.Equals(IPAddress.IPv6Any));
    }

    private async Task<IPAddress[]> LookUpAsync(string name, CancellationToken cancellationToken)
    {
        using CancellationTokenSource timeout = new(_options.ConnectTimeout, _time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
        try
        {
            return await _resolver.LookUpAsync(name, either.Token);
        }
        catch (Exception exception) when ((exception is OperationCanceledException || exception is ResolverException { Failure: ResolverFailure.Unanswered }) && !cancellationToken.IsCancellationRequested)
        {
            throw Failed(RefusalReason.UpstreamTimeout, $"The name {name} was not resolved within {_options.ConnectTimeout.TotalSeconds:0} s. The cluster's DNS may be down; try again later.", exception);
        }
        catch (ResolverException exception) when (exception.Failure is ResolverFailure.NoSuchName or ResolverFailure.NoAddress)
        {
            throw Failed(RefusalReason.UpstreamUnreachable, $"DNS has no answer for {name} ({exception.Failure}). Check the name's spelling; if it is right, the sidecar's DNS servers do not know it (/etc/hosts is not asked), which its owner can mend.", exception);
        }
        catch (ResolverException exception)
        {
            throw Failed(RefusalReason.UpstreamUnreachable, $"DNS has no answer for {name} ({exception.Failure}). The sidecar's DNS servers are overloaded or out of order; try again later.", exception);
        }
    }

    private static UpstreamException Failed(RefusalReason reason, string detail, Exception? inner = null) => new(new Refusal(reason, detail), default, inner);

    private static X509ChainPolicy ChainPolicy(PublicRoots roots)
    {
        X509ChainPolicy policy = new()
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            // Revocation lists are fetched from where a certificate says: a way out that no rule governs.
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
        };
        policy.ApplicationPolicy.Add(new System.Security.Cryptography.Oid("1.3.6.1.5.5.7.3.1"));
        policy.CustomTrustStore.AddRange(roots.Certificates);
        return policy;
    }
}

/// <summary>The network rules' refusals in words.</summary>
internal static class NetworkRefusal
{
    /// <summary>The rule against the sidecar's own ports.</summary>
    public const string OwnAddress = "sidecar's own address";

    public static Refusal For(Authority destination, NetworkVerdict verdict, RefusalReason reason) => new(reason, reason switch
    {
        RefusalReason.HostDenied => $"{destination} is denied by the sandbox's network rules ({verdict.Rule}). Retrying does not help; ask the owner of the sandbox if it should be reachable.",
        RefusalReason.HostNotAllowed when verdict.Rule == "no rules left" => "Nothing gets out of this sandbox: no SandboxBinding selects it, or its sidecar still waits for the operator. Try again in a minute; if it stays so, ask the owner of the sandbox.",
        RefusalReason.HostNotAllowed when verdict.Rule == "name too long for a wildcard" =>
            $"{destination} is too long a name for a wildcard of the sandbox's list: it could carry data out. Ask the owner to name it, or a longer part of it, in allowOut.",
        RefusalReason.HostNotAllowed => $"{destination} is not on the list of destinations that this sandbox may reach. Use one that is, or ask the owner to add it to allowOut.",
        RefusalReason.PrivateAddress => $"{destination} is, or resolves to, a private or special address ({verdict.Rule}), which this sandbox may not reach. " + verdict.Rule switch
        {
            OwnAddress => "No rule opens it.",
            "metadata address" => "The owner can open it by writing exactly that address into allowOut; a wider range does not.",
            _ => "The owner can open it with an allowOut CIDR inside that range.",
        },
        RefusalReason.PortBlocked => $"{destination} is a DNS resolver's port, which is closed: names are resolved by the sidecar. Use the resolver of /etc/resolv.conf, or ask the owner to name the destination in allowOut.",
        _ => $"{destination} may not be reached ({verdict.Rule}).",
    });
}
