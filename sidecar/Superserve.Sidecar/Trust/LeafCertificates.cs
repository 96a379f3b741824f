using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Superserve.Core.Hosts;
using Superserve.Sidecar.Metrics;

namespace Superserve.Sidecar.Trust;

/// <summary>
/// The certificates that intercepted connections are answered with, each minted once and kept while it is used. Bounded: the
/// sandbox chooses the names.
/// </summary>
internal sealed class LeafCertificates(PodAuthority authority, SidecarMetrics metrics, TimeProvider time)
{
    private const int Capacity = 1024;

    /// <summary>Well before the thirty days that a leaf is valid.</summary>
    private static readonly TimeSpan RenewAfter = TimeSpan.FromDays(20);

    private readonly Lock _lock = new();
    private readonly Dictionary<string, LinkedListNode<Entry>> _byHost = new(StringComparer.Ordinal);
    private readonly LinkedList<Entry> _byUse = [];

    /// <summary>The certificate for a host; concurrent callers of one host share one minting.</summary>
    public SslStreamCertificateContext For(Authority host)
    {
        Entry entry;
        lock (_lock)
        {
            DateTimeOffset now = time.GetUtcNow();
            if (_byHost.TryGetValue(host.Host, out LinkedListNode<Entry>? node) && node.Value.MintedAt + RenewAfter > now)
            {
                _byUse.Remove(node);
                _byUse.AddFirst(node);
                entry = node.Value;
            }
            else
            {
                if (node is not null) Remove(node);
                if (_byHost.Count >= Capacity) Remove(_byUse.Last!);
                entry = new Entry(host.Host, now, new Lazy<SslStreamCertificateContext>(() => Mint(host)));
                _byHost[host.Host] = _byUse.AddFirst(entry);
            }
        }

        try
        {
            return entry.Context.Value;
        }
        catch
        {
            // Not kept: the next connection tries again.
            lock (_lock)
                if (_byHost.TryGetValue(host.Host, out LinkedListNode<Entry>? failed) && failed.Value == entry) Remove(failed);
            throw;
        }
    }

    private SslStreamCertificateContext Mint(Authority host)
    {
        X509Certificate2 leaf = authority.Issue(host.Host, host.Address);
        metrics.CertificateMinted();
        // Offline: the chain is the leaf alone, since the sandbox has the root that signed it.
        return SslStreamCertificateContext.Create(leaf, additionalCertificates: null, offline: true);
    }

    private void Remove(LinkedListNode<Entry> node)
    {
        _byUse.Remove(node);
        _byHost.Remove(node.Value.Host);
    }

    private sealed record Entry(string Host, DateTimeOffset MintedAt, Lazy<SslStreamCertificateContext> Context);
}
