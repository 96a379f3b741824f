using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using Superserve.Core.Hosts;
using Superserve.Core.Secrets;
using Superserve.Core.Swapping;

namespace Superserve.Core.Network;

/// <summary>One binding's network section. Allow beats deny; what neither names passes, unless the list is strict.</summary>
public sealed record NetworkPolicy
{
    /// <summary>The most entries that <c>allowOut</c> and <c>denyOut</c> may each have.</summary>
    public const int MaxEntries = 256;

    // Each list's rules as the owner wrote them, for the log: "denyOut 10.0.0.1", not "10.0.0.1/32".
    private readonly ImmutableArray<string> _allowNameRules;
    private readonly ImmutableArray<string> _allowRangeRules;
    private readonly ImmutableArray<string> _denyNameRules;
    private readonly ImmutableArray<string> _denyRangeRules;

    private NetworkPolicy(RuleList allow, RuleList deny, NetworkMode mode)
    {
        (AllowNames, _allowNameRules) = (allow.Names, allow.NameRules);
        (AllowRanges, _allowRangeRules) = (allow.Ranges, allow.RangeRules);
        (DenyNames, _denyNameRules) = (deny.Names, deny.NameRules);
        (DenyRanges, _denyRangeRules) = (deny.Ranges, deny.RangeRules);
        Mode = mode;
        IsStrict = AllowNames.Length > 0 || AllowRanges.Length > 0
            || CoversFamily(DenyRanges, AddressFamily.InterNetwork) || CoversFamily(DenyRanges, AddressFamily.InterNetworkV6);
    }

    /// <summary>The domain rules of <c>allowOut</c>. Without a port of its own a rule means every port.</summary>
    public ImmutableArray<HostPattern> AllowNames { get; }

    /// <summary>The CIDRs of <c>allowOut</c>.</summary>
    public ImmutableArray<IPNetwork> AllowRanges { get; }

    /// <summary>The domain rules of <c>denyOut</c>. Without a port of its own a rule means every port.</summary>
    public ImmutableArray<HostPattern> DenyNames { get; }

    /// <summary>The CIDRs of <c>denyOut</c>.</summary>
    public ImmutableArray<IPNetwork> DenyRanges { get; }

    /// <summary>The entries of <c>allowOut</c> as the owner wrote them, domains first; <see cref="TryParse"/> reads them back.</summary>
    public IEnumerable<string> AllowOut => Entries(_allowNameRules, _allowRangeRules);

    /// <summary>The entries of <c>denyOut</c>, likewise.</summary>
    public IEnumerable<string> DenyOut => Entries(_denyNameRules, _denyRangeRules);

    /// <summary>Whether the rules refuse, or only log.</summary>
    public NetworkMode Mode { get; }

    /// <summary>
    /// Whether only what is named passes: <c>allowOut</c> names something, or <c>denyOut</c> denies everything. A deny of one
    /// whole family means both, or IPv6 would be the way around <c>0.0.0.0/0</c>.
    /// </summary>
    public bool IsStrict { get; }

    /// <summary>Reads a network section; each error says where it is (<c>network.denyOut[3]</c>) and what to change.</summary>
    public static bool TryParse(
        IReadOnlyList<string>? allowOut,
        IReadOnlyList<string>? denyOut,
        NetworkMode mode,
        PublicSuffixList suffixes,
        string path,
        ICollection<SpecError> errors,
        [NotNullWhen(true)] out NetworkPolicy? policy)
    {
        int before = errors.Count;
        RuleList allow = RuleList.Parse("allowOut", isAllow: true, allowOut, suffixes, path, errors);
        RuleList deny = RuleList.Parse("denyOut", isAllow: false, denyOut, suffixes, path, errors);
        policy = errors.Count == before ? new NetworkPolicy(allow, deny, mode) : null;
        return policy is not null;
    }

    /// <summary>Whether both have the same rules, as written and in the same order.</summary>
    public bool Equals(NetworkPolicy? other) =>
        other is not null && Mode == other.Mode
        && _allowNameRules.AsSpan().SequenceEqual(other._allowNameRules.AsSpan())
        && _allowRangeRules.AsSpan().SequenceEqual(other._allowRangeRules.AsSpan())
        && _denyNameRules.AsSpan().SequenceEqual(other._denyNameRules.AsSpan())
        && _denyRangeRules.AsSpan().SequenceEqual(other._denyRangeRules.AsSpan());

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        HashCode hash = default;
        hash.Add(Mode);
        foreach (string rule in _allowNameRules) hash.Add(rule, StringComparer.Ordinal);
        foreach (string rule in _allowRangeRules) hash.Add(rule, StringComparer.Ordinal);
        foreach (string rule in _denyNameRules) hash.Add(rule, StringComparer.Ordinal);
        foreach (string rule in _denyRangeRules) hash.Add(rule, StringComparer.Ordinal);
        return hash.ToHashCode();
    }

    /// <summary>What the rules say about a name alone. A strict list refuses what it does not name.</summary>
    internal Judgement JudgeName(string name, int port, bool isBound)
    {
        if (isBound) return Judgement.Allow(BuiltInRules.BoundHost);
        if (Find(AllowNames, name, port) is >= 0 and int allow) return Judgement.Allow(_allowNameRules[allow]);
        if (Find(DenyNames, name, port) is >= 0 and int deny) return Denied(_denyNameRules[deny]);
        return Unnamed();
    }

    /// <summary>What the rules say about an address, and about the name it was resolved from where there is one.</summary>
    internal Judgement JudgeAddress(string? name, in Destination destination, int port, bool isBound)
    {
        if (name is not null)
        {
            Judgement byName = JudgeName(name, port, isBound);
            if (byName.IsRefused || byName.IsAllowedByRule) return byName;
        }

        // Each IPv4 address inside has to pass by itself. Only a translated one speaks for the whole.
        if (destination.Carried is { } carried && JudgeRanges(carried) is { IsRefused: true } refused) return refused;
        if (destination.Translated is { } translated)
        {
            Judgement inner = JudgeRanges(translated);
            if (inner.IsRefused || inner.IsAllowedByRule) return inner;
        }

        return JudgeRanges(destination.Address);
    }

    /// <summary>Whether a CIDR of <c>allowOut</c> lies inside a special range and holds an address of it.</summary>
    internal bool Opens(IPNetwork special, IPAddress address)
    {
        foreach (IPNetwork range in AllowRanges)
        {
            bool isInside = range.PrefixLength >= special.PrefixLength && special.Contains(range.BaseAddress);
            if (isInside && range.Contains(address)) return true;
        }

        return false;
    }

    /// <summary>Whether <c>allowOut</c> names exactly this address.</summary>
    internal bool OpensExactly(IPAddress address)
    {
        foreach (IPNetwork range in AllowRanges)
            if (range.PrefixLength == MaxPrefix(address.AddressFamily) && range.Contains(address)) return true;
        return false;
    }

    /// <summary>Whether a domain rule of <c>allowOut</c> that lies in the cluster domain itself matches a name in it.</summary>
    internal bool OpensClusterName(SpecialRanges ranges, string name, int port)
    {
        foreach (HostPattern pattern in AllowNames)
            if (Matches(pattern, name, port) && ranges.IsClusterName(pattern.Name)) return true;
        return false;
    }

    /// <summary>Adds the ports that rules for a name say something else about than about all others.</summary>
    internal void AddPorts(string name, HashSet<int> ports)
    {
        foreach (HostPattern pattern in AllowNames.AddRange(DenyNames))
            if (pattern.Port is { } port && pattern.MatchesName(name)) ports.Add(port);
    }

    private Judgement JudgeRanges(IPAddress address)
    {
        if (Find(AllowRanges, address) is >= 0 and int allow) return Judgement.Allow(_allowRangeRules[allow]);
        if (Find(DenyRanges, address) is >= 0 and int deny) return Denied(_denyRangeRules[deny]);
        return Unnamed();
    }

    // A rule is the list's name, a space and the entry.
    private static IEnumerable<string> Entries(ImmutableArray<string> names, ImmutableArray<string> ranges) =>
        names.Concat(ranges).Select(static rule => rule[(rule.IndexOf(' ') + 1)..]);

    private static Judgement Denied(string rule) => Judgement.Refuse(RefusalReason.HostDenied, rule);

    private Judgement Unnamed() =>
        IsStrict ? Judgement.Refuse(RefusalReason.HostNotAllowed, BuiltInRules.StrictList) : default;

    // HostPattern.Matches reads a pattern without a port as a bound host's, 443 alone.
    private static bool Matches(HostPattern pattern, string name, int port) =>
        (pattern.Port is null || pattern.Port == port) && pattern.MatchesName(name);

    private static int Find(ImmutableArray<HostPattern> patterns, string name, int port)
    {
        for (int i = 0; i < patterns.Length; i++)
            if (Matches(patterns[i], name, port)) return i;
        return -1;
    }

    private static int Find(ImmutableArray<IPNetwork> ranges, IPAddress address)
    {
        for (int i = 0; i < ranges.Length; i++)
            if (ranges[i].Contains(address)) return i;
        return -1;
    }

    private static int MaxPrefix(AddressFamily family) => family == AddressFamily.InterNetwork ? 32 : 128;

    private static bool CoversFamily(ImmutableArray<IPNetwork> ranges, AddressFamily family)
    {
        // IPv4 is widened to 128 bits by zeros behind it, which keeps both order and gaps.
        List<(UInt128 First, UInt128 Last)> spans = [];
        Span<byte> bytes = stackalloc byte[16];
        foreach (IPNetwork range in ranges)
        {
            if (range.BaseAddress.AddressFamily != family) continue;
            bytes.Clear();
            _ = range.BaseAddress.TryWriteBytes(bytes, out _);
            UInt128 first = BinaryPrimitives.ReadUInt128BigEndian(bytes);
            // A shift by the type's width shifts by nothing: /128 is set apart.
            UInt128 size = range.PrefixLength == 128 ? 0 : UInt128.MaxValue >> range.PrefixLength;
            spans.Add((first, first | size));
        }

        spans.Sort(static (a, b) => a.First.CompareTo(b.First));
        UInt128 next = 0;
        foreach ((UInt128 first, UInt128 last) in spans)
        {
            if (first > next) return false;
            if (last == UInt128.MaxValue) return true;
            if (last >= next) next = last + 1;
        }

        return false;
    }
}
