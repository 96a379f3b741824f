using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Snapshots;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Capture;
using Superserve.Sidecar.Configuration;
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
    private const int MaxAddresses = 16;

    /// <summary>A look-up holds a thread until the resolver answers or gives up.</summary>
    private const int MaxLookUps = 64;

    /// <summary>RFC 8305: how long one address is tried alone before the next one is tried beside it.</summary>
    private static readonly TimeSpan AttemptDelay = TimeSpan.FromMilliseconds(250);

    private readonly SemaphoreSlim _lookUps = new(MaxLookUps);

    private readonly ISnapshotSource _snapshots;
    private readonly SidecarOptions _options;
    private readonly EgressSockets _sockets;
    private readonly TimeProvider _time;

    /// <summary>Every connection to a service, by itself.</summary>
    private readonly ConcurrentDictionary<UpstreamSocket, UpstreamSocket> _open = [];

    public UpstreamConnector(ISnapshotSource snapshots, SidecarOptions options, EgressSockets sockets, PublicRoots roots, TimeProvider time)
    {
        _snapshots = snapshots;
        _options = options;
        _sockets = sockets;
        _time = time;
        TlsOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = ChainPolicy(roots), AllowRenegotiation = false };
        snapshots.Changed += EndForbidden;
    }

    /// <summary>How a service's certificate is verified.</summary>
    public SslClientAuthenticationOptions TlsOptions { get; }

    public void Dispose()
    {
        _snapshots.Changed -= EndForbidden;
        _lookUps.Dispose();
    }

    /// <summary>Connects to a destination.</summary>
    /// <param name="destination">The name that was checked, or an address.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <param name="alias">Of an address: the name that it is allowed by.</param>
    /// <exception cref="UpstreamException">The rules refuse every address, or none answers.</exception>
    public async Task<UpstreamSocket> ConnectAsync(Authority destination, CancellationToken cancellationToken, string? alias = null)
    {
        Route[] routes = await ResolveAsync(destination, alias, cancellationToken);
        using CancellationTokenSource timeout = new(_options.ConnectTimeout, _time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
        try
        {
            return await ConnectFirstAsync(routes, either.Token);
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
        IPAddress[] addresses = destination.Address is { } address ? [address] : await LookUpAsync(destination.Host, cancellationToken);

        List<Route> routes = [];
        NetworkVerdict refused = default;
        foreach (IPAddress candidate in addresses)
        {
            Route route = new(name, new IPEndPoint(candidate, destination.Port), destination.Port, IsPinned: false);
            NetworkVerdict verdict = Check(route);
            if (verdict.IsAllowed) routes.Add(route);
            else refused = verdict;
            if (routes.Count == MaxAddresses) break;
        }

        if (routes.Count > 0) return [.. routes];
        if (refused.Reason is { } reason) throw new UpstreamException(NetworkRefusal.For(destination, refused, reason), refused);
        throw Failed(RefusalReason.UpstreamUnreachable, $"{destination.Host} has no address. Check the name's spelling.");
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
        if (_options.Capture == CaptureMode.Transparent && (port == _options.TransparentPort || port == _options.DnsPort) && (IPAddress.IsLoopback(plain) || plain.Equals(IPAddress.Any) || plain.Equals(IPAddress.IPv6Any))) return true;
        return IsSame(_options.ProxyAddress) || IsSame(_options.HealthAddress) || IsSame(_options.MetricsAddress);

        bool IsSame(IPEndPoint own) =>
            own.Port == port && (own.Address.Equals(plain) || plain.Equals(IPAddress.Any) || plain.Equals(IPAddress.IPv6Any) || (IPAddress.IsLoopback(plain) && IPAddress.IsLoopback(own.Address)) || own.Address.Equals(IPAddress.Any) || own.Address.Equals(IPAddress.IPv6Any));
    }

    private async Task<IPAddress[]> LookUpAsync(string name, CancellationToken cancellationToken)
    {
        // RFC 6761 section 6.3.
        if (name is "localhost" || name.EndsWith(".localhost", StringComparison.Ordinal)) return [IPAddress.Loopback, IPAddress.IPv6Loopback];
        using CancellationTokenSource timeout = new(_options.ConnectTimeout, _time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
        try
        {
            // The dot makes the name absolute: without it the resolver's search list would be asked first, and could answer
            // with another host. It also passes by /etc/hosts, which all containers of a pod share and root in one can write.
            await _lookUps.WaitAsync(either.Token);
            try
            {
                return await Dns.GetHostAddressesAsync(name + ".", either.Token);
            }
            finally
            {
                _lookUps.Release();
            }
        }
        catch (OperationCanceledException exception) when (!cancellationToken.IsCancellationRequested)
        {
            throw Failed(RefusalReason.UpstreamTimeout, $"The name {name} was not resolved within {_options.ConnectTimeout.TotalSeconds:0} s. The cluster's DNS may be down; try again later.", exception);
        }
        catch (SocketException exception)
        {
            throw Failed(RefusalReason.UpstreamUnreachable, $"DNS has no answer for {name} ({exception.SocketErrorCode}). Check the name's spelling; if it is right, the sidecar's DNS servers do not know it or are not reached (/etc/hosts is not asked), which its owner can mend.", exception);
        }
    }

    /// <summary>Tries the addresses in order, each a moment after the one before; the first to connect wins.</summary>
    private async Task<UpstreamSocket> ConnectFirstAsync(Route[] routes, CancellationToken cancellationToken)
    {
        if (routes.Length == 1) return await DialAsync(routes[0], cancellationToken);
        using CancellationTokenSource losers = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        List<Task<UpstreamSocket>> attempts = [];
        Exception? failure = null;
        try
        {
            for (int next = 0; next < routes.Length || attempts.Count > 0;)
            {
                if (next < routes.Length) attempts.Add(DialAsync(routes[next++], losers.Token));
                Task first = next < routes.Length
                    ? await Task.WhenAny([.. attempts, Task.Delay(AttemptDelay, _time, losers.Token)])
                    : await Task.WhenAny(attempts);
                if (first is not Task<UpstreamSocket> attempt) continue;
                attempts.Remove(attempt);
                try
                {
                    return await attempt;
                }
                catch (SocketException exception)
                {
                    failure = exception;
                }
            }
        }
        finally
        {
            await losers.CancelAsync();
            // One that connects in this very moment is closed again.
            foreach (Task<UpstreamSocket> late in attempts) _ = late.ContinueWith(static task => task.Result.Dispose(), CancellationToken.None, TaskContinuationOptions.OnlyOnRanToCompletion, TaskScheduler.Default);
        }

        throw failure ?? new SocketException((int)SocketError.HostUnreachable);
    }

    private async Task<UpstreamSocket> DialAsync(Route route, CancellationToken cancellationToken)
    {
        UpstreamSocket socket = new(route, _open);
        try
        {
            _sockets.SetMark(socket);
            socket.NoDelay = true;
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            await socket.ConnectAsync(route.EndPoint, cancellationToken);
            // The rules may have changed since the addresses were checked, ahead of when EndForbidden could find the socket.
            if (Check(route) is { IsAllowed: false, Reason: { } reason } verdict)
                throw new UpstreamException(NetworkRefusal.For(new Authority(route.Name ?? route.EndPoint.Address.ToString(), null, route.Port), verdict, reason), verdict);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
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
