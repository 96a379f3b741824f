using System.Net;
using Superserve.Core.Hosts;

namespace Superserve.Core.Network;

/// <summary>
/// What is closed without any rules: addresses that are not the public internet's, metadata services, and the cluster's own
/// names.
/// </summary>
/// <remarks>
/// Cluster names are the cluster domain and all below it. <c>web.agents.svc</c> or <c>web</c> are no cluster names: a pod's
/// resolver makes them ones with its search list, before it asks. Whoever resolves a name that was checked here has to resolve
/// it as absolute, without a search list.
/// </remarks>
public sealed class SpecialRanges
{
    /// <summary>The cluster domain where none is given.</summary>
    public const string DefaultClusterDomain = "cluster.local";

    // IANA's special-purpose registries, as far as not globally reachable, plus multicast and reserved space. The forms with an
    // IPv4 address inside that can lead anywhere (2002::/16, 64:ff9b::/96, …) are judged by that address: see Destination.
    private static readonly string[] Fixed =
    [
        "0.0.0.0/8",         // this network
        "10.0.0.0/8",        // private
        "100.64.0.0/10",     // carrier-grade NAT; pods and nodes in some clouds
        "127.0.0.0/8",       // loopback
        "169.254.0.0/16",    // link-local
        "172.16.0.0/12",     // private
        "192.0.0.0/24",      // IETF protocol assignments
        "192.0.2.0/24",      // documentation
        "192.88.99.0/24",    // 6to4 relays
        "192.168.0.0/16",    // private
        "198.18.0.0/15",     // benchmarking
        "198.51.100.0/24",   // documentation
        "203.0.113.0/24",    // documentation
        "224.0.0.0/4",       // multicast
        "240.0.0.0/4",       // reserved, and broadcast
        "::/128",            // unspecified
        "::1/128",           // loopback
        "::/96",             // IPv4-compatible
        "64:ff9b:1::/48",    // local NAT64
        "100::/64",          // discard
        "100:0:0:1::/64",    // dummy prefix
        "2001::/32",         // Teredo
        "2001::/23",         // IETF protocol assignments: benchmarking, ORCHID, …
        "2001:db8::/32",     // documentation
        "3fff::/20",         // documentation
        "5f00::/16",         // segment routing
        "fc00::/7",          // unique local
        "fe80::/10",         // link-local
        "fec0::/10",         // site-local
        "ff00::/8",          // multicast
    ];

    // They hand out the node's credentials: opening the range around one must not open it. 168.63.129.16 is public space.
    private static readonly string[] Metadata =
    [
        "169.254.169.254",       // AWS, Google, Azure, OpenStack, …
        "169.254.170.2",         // ECS tasks
        "169.254.170.23",        // EKS Pod Identity
        "168.63.129.16",         // Azure's wire server
        "100.100.100.200",       // Alibaba Cloud
        "192.0.0.192",           // Oracle Cloud Classic
        "169.254.0.23",          // Tencent Cloud
        "169.254.42.42",         // Scaleway
        "fd00:ec2::254",         // AWS
        "fd00:ec2::23",          // EKS Pod Identity
        "fd20:ce::254",          // Google
        "fd00:c1::a9fe:a9fe",    // Oracle Cloud
        "fd00:42::42",           // Scaleway
    ];

    private static readonly HashSet<IPAddress> MetadataAddresses = ParseMetadata();

    private readonly SpecialRange[] _ranges;
    private readonly string _dotClusterDomain;

    /// <summary>The fixed ranges and the installation's own.</summary>
    /// <param name="extra">The value <c>network.clusterRanges</c>, and the pod's and the node's own addresses.</param>
    /// <param name="clusterDomain">The cluster's DNS domain.</param>
    /// <exception cref="ArgumentException">The domain is no DNS name.</exception>
    public SpecialRanges(IEnumerable<IPNetwork> extra, string clusterDomain = DefaultClusterDomain)
    {
        ArgumentNullException.ThrowIfNull(extra);
        if (!HostName.TryCanonicalize(clusterDomain, out string? domain))
            throw new ArgumentException($"'{clusterDomain}' is not a DNS name", nameof(clusterDomain));

        List<SpecialRange> ranges = new(Fixed.Length);
        foreach (string range in Fixed) ranges.Add(SpecialRange.Create(IPNetwork.Parse(range)));
        foreach (IPNetwork range in extra)
        {
            // An IPv4-mapped address is judged as IPv4: a mapped range would match nothing.
            IPNetwork plain = range.BaseAddress.IsIPv4MappedToIPv6
                && Destination.TryTranslate(range.BaseAddress, range.PrefixLength, out IPAddress? ipv4, out int prefix)
                ? new IPNetwork(ipv4, prefix)
                : range;
            ranges.Add(SpecialRange.Create(plain));
        }

        _ranges = [.. ranges];
        ClusterDomain = domain;
        _dotClusterDomain = "." + domain;
    }

    /// <summary>The fixed ranges alone, with <c>cluster.local</c>.</summary>
    public static SpecialRanges Default { get; } = new([]);

    /// <summary>The cluster's DNS domain, canonical.</summary>
    public string ClusterDomain { get; }

    /// <summary>The installation's own ranges.</summary>
    public IEnumerable<IPNetwork> Extra => _ranges.Skip(Fixed.Length).Select(special => special.Range);

    internal ReadOnlySpan<SpecialRange> Ranges => _ranges;

    internal static bool IsMetadata(IPAddress address) => MetadataAddresses.Contains(address);

    /// <summary>Whether a canonical name is the cluster domain or below it.</summary>
    internal bool IsClusterName(string name) =>
        name == ClusterDomain || name.EndsWith(_dotClusterDomain, StringComparison.Ordinal);

    private static HashSet<IPAddress> ParseMetadata()
    {
        HashSet<IPAddress> addresses = [];
        foreach (string address in Metadata) addresses.Add(IPAddress.Parse(address));
        return addresses;
    }
}

/// <summary>A range that is closed unless a CIDR inside it opens it, and its name in the log.</summary>
internal readonly record struct SpecialRange(IPNetwork Range, string Rule)
{
    public static SpecialRange Create(IPNetwork range) => new(range, $"special range {range}");
}
