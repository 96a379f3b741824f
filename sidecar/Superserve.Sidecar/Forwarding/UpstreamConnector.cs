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

/// <summary>
/// The one place that dials. It resolves the name that was checked, never takes the sandbox's word for an address, and checks
/// each address against the network rules right before it connects: a name whose second answer is a private address gains
/// nothing.
/// </summary>
internal sealed class UpstreamConnector(ISnapshotSource snapshots, SidecarOptions options, EgressSockets sockets, PublicRoots roots, TimeProvider time) : IDisposable
{
    private const int MaxAddresses = 16;

    /// <summary>A look-up holds a thread until the resolver answers or gives up.</summary>
    private const int MaxLookUps = 64;

    /// <summary>RFC 8305: how long one address is tried alone before the next one is tried beside it.</summary>
    private static readonly TimeSpan AttemptDelay = TimeSpan.FromMilliseconds(250);

    private readonly SemaphoreSlim _lookUps = new(MaxLookUps);

    /// <summary>How a service's certificate is verified.</summary>
    public SslClientAuthenticationOptions TlsOptions { get; } = new()
    {
        CertificateChainPolicy = ChainPolicy(roots),
        AllowRenegotiation = false,
    };

    public void Dispose() => _lookUps.Dispose();

    /// <summary>Connects to a destination.</summary>
    /// <exception cref="UpstreamException">The rules refuse every address, or none answers.</exception>
    public async Task<Socket> ConnectAsync(Authority destination, CancellationToken cancellationToken)
    {
        Snapshot snapshot = snapshots.Current;
        IPEndPoint[] endPoints = await ResolveAsync(destination, snapshot, cancellationToken);
        using CancellationTokenSource timeout = new(options.ConnectTimeout, time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
        try
        {
            return await ConnectFirstAsync(endPoints, either.Token);
        }
        catch (OperationCanceledException exception) when (timeout.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw Failed(RefusalReason.UpstreamTimeout, $"{destination} did not accept a connection within {options.ConnectTimeout.TotalSeconds:0} s. The service may be down, or a firewall may drop the way to it; try again later.", exception);
        }
        catch (SocketException exception)
        {
            throw Failed(RefusalReason.UpstreamUnreachable, $"{destination} cannot be connected to ({exception.SocketErrorCode}). The service may be down; try again later.", exception);
        }
    }

    private async Task<IPEndPoint[]> ResolveAsync(Authority destination, Snapshot snapshot, CancellationToken cancellationToken)
    {
        if (destination.IsName && options.PinnedHosts.TryGetValue(destination.Host, out IPEndPoint? pinned)) return [pinned];
        bool isBound = destination.IsName && snapshot.IsBound(destination.Host, destination.Port);
        IPAddress[] addresses = destination.Address is { } address ? [address] : await LookUpAsync(destination.Host, cancellationToken);

        List<IPEndPoint> endPoints = [];
        NetworkVerdict refused = default;
        foreach (IPAddress candidate in addresses)
        {
            // Whatever range is opened, the sidecar is not: through itself the sandbox would read its metrics.
            NetworkVerdict verdict = IsOwn(candidate, destination.Port)
                ? new NetworkVerdict(false, RefusalReason.PrivateAddress, NetworkRefusal.OwnAddress, false)
                : snapshot.Network.CheckAddress(destination.IsName ? destination.Host : null, candidate, destination.Port, isBound);
            if (verdict.IsAllowed) endPoints.Add(new IPEndPoint(candidate, destination.Port));
            else refused = verdict;
            if (endPoints.Count == MaxAddresses) break;
        }

        if (endPoints.Count > 0) return [.. endPoints];
        if (refused.Reason is { } reason) throw new UpstreamException(NetworkRefusal.For(destination, refused, reason), refused);
        throw Failed(RefusalReason.UpstreamUnreachable, $"{destination.Host} has no address. Check the name's spelling.");
    }

    private bool IsOwn(IPAddress address, int port)
    {
        IPAddress plain = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        return IsSame(options.ProxyAddress) || IsSame(options.HealthAddress) || IsSame(options.MetricsAddress);

        bool IsSame(IPEndPoint own) =>
            own.Port == port && (own.Address.Equals(plain) || plain.Equals(IPAddress.Any) || plain.Equals(IPAddress.IPv6Any) || (IPAddress.IsLoopback(plain) && IPAddress.IsLoopback(own.Address)) || own.Address.Equals(IPAddress.Any) || own.Address.Equals(IPAddress.IPv6Any));
    }

    private async Task<IPAddress[]> LookUpAsync(string name, CancellationToken cancellationToken)
    {
        // RFC 6761 section 6.3.
        if (name is "localhost" || name.EndsWith(".localhost", StringComparison.Ordinal)) return [IPAddress.Loopback, IPAddress.IPv6Loopback];
        using CancellationTokenSource timeout = new(options.ConnectTimeout, time);
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
            throw Failed(RefusalReason.UpstreamTimeout, $"The name {name} was not resolved within {options.ConnectTimeout.TotalSeconds:0} s. The cluster's DNS may be down; try again later.", exception);
        }
        catch (SocketException exception)
        {
            throw Failed(RefusalReason.UpstreamUnreachable, $"DNS has no answer for {name} ({exception.SocketErrorCode}). Check the name's spelling; if it is right, the sidecar's DNS servers do not know it or are not reached (/etc/hosts is not asked), which its owner can mend.", exception);
        }
    }

    /// <summary>Tries the addresses in order, each a moment after the one before; the first to connect wins.</summary>
    private async Task<Socket> ConnectFirstAsync(IPEndPoint[] endPoints, CancellationToken cancellationToken)
    {
        if (endPoints.Length == 1) return await DialAsync(endPoints[0], cancellationToken);
        using CancellationTokenSource losers = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        List<Task<Socket>> attempts = [];
        Exception? failure = null;
        try
        {
            for (int next = 0; next < endPoints.Length || attempts.Count > 0;)
            {
                if (next < endPoints.Length) attempts.Add(DialAsync(endPoints[next++], losers.Token));
                Task first = next < endPoints.Length
                    ? await Task.WhenAny([.. attempts, Task.Delay(AttemptDelay, time, losers.Token)])
                    : await Task.WhenAny(attempts);
                if (first is not Task<Socket> attempt) continue;
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
            foreach (Task<Socket> late in attempts) _ = late.ContinueWith(static task => task.Result.Dispose(), CancellationToken.None, TaskContinuationOptions.OnlyOnRanToCompletion, TaskScheduler.Default);
        }

        throw failure ?? new SocketException((int)SocketError.HostUnreachable);
    }

    private async Task<Socket> DialAsync(IPEndPoint endPoint, CancellationToken cancellationToken)
    {
        Socket socket = sockets.Create(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.NoDelay = true;
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            await socket.ConnectAsync(endPoint, cancellationToken);
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
        _ => $"{destination} may not be reached ({verdict.Rule}).",
    });
}
