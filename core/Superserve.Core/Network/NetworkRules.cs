using System.Collections.Immutable;
using System.Net;
using Superserve.Core.Dns;
using Superserve.Core.Hosts;
using Superserve.Core.Swapping;

namespace Superserve.Core.Network;

/// <summary>
/// All network rules of one sandbox: the special ranges, and one policy for each binding that has a network section. Each
/// policy is judged alone, and each has to allow.
/// </summary>
/// <remarks>
/// A connection by name is judged twice: the name before it is resolved, since a DNS query is a way out by itself, then each
/// address before it is dialled. A connection by address is judged as an address, with null for the name.
/// </remarks>
public sealed class NetworkRules
{
    private const int DnsPort = 53;
    private const int DnsOverTlsPort = 853;

    /// <summary>A port that no rule names: what holds for it holds for every port without a rule of its own.</summary>
    internal const int AnyPort = 0;

    private readonly ImmutableArray<NetworkPolicy> _policies;
    private readonly SpecialRanges _ranges;
    private readonly bool _isClosed;

    /// <summary>The rules of these policies; of none, the same as <see cref="Unrestricted"/>.</summary>
    public NetworkRules(ImmutableArray<NetworkPolicy> policies, SpecialRanges ranges)
        : this(policies, ranges, isClosed: false)
    {
    }

    private NetworkRules(ImmutableArray<NetworkPolicy> policies, SpecialRanges ranges, bool isClosed)
    {
        // Not taken for an empty array: no policies means that nearly everything passes.
        if (policies.IsDefault) throw new ArgumentException("The policies are not set.", nameof(policies));
        ArgumentNullException.ThrowIfNull(ranges);
        _policies = policies;
        _ranges = ranges;
        _isClosed = isClosed;
        IsStrict = isClosed;
        foreach (NetworkPolicy policy in policies) IsStrict |= policy.IsStrict && policy.Mode != NetworkMode.LogOnly;
    }

    /// <summary>What holds after the last binding is gone: nothing gets out, bound hosts neither.</summary>
    public static NetworkRules Closed { get; } = new([], SpecialRanges.Default, isClosed: true);

    /// <summary>Whether only what is named passes: some enforced policy is strict.</summary>
    public bool IsStrict { get; }

    /// <summary>What holds where no binding has a network section: all but special ranges and cluster names is open.</summary>
    public static NetworkRules Unrestricted(SpecialRanges ranges) => new([], ranges);

    /// <summary>Judges a name before it is resolved. A name that a strict list does not name is refused here.</summary>
    /// <param name="host">The name in canonical form; anything else is refused.</param>
    /// <param name="port">The port that the client wants to reach.</param>
    /// <param name="isBound">Whether a Superserve Secret of this sandbox is for the name on this very port.</param>
    public NetworkVerdict CheckName(string host, int port, bool isBound)
    {
        if (_isClosed) return NetworkVerdict.Refused(RefusalReason.HostNotAllowed, BuiltInRules.NoRulesLeft);
        return CheckNameForm(host, port) ?? Combine(host, null, port, isBound);
    }

    /// <summary>Judges a name that is looked up, before it is known for which port: it passes where it would on some port.</summary>
    /// <param name="host">The name in canonical form; anything else is refused.</param>
    /// <param name="boundPorts">The ports on which Superserve Secrets of this sandbox are for the name.</param>
    public NetworkVerdict CheckLookUp(string host, IReadOnlyCollection<int> boundPorts)
    {
        HashSet<int> ports = [AnyPort, .. boundPorts];
        foreach (NetworkPolicy policy in _policies) policy.AddPorts(host, ports);
        NetworkVerdict? best = null;
        foreach (int port in ports)
        {
            NetworkVerdict verdict = CheckName(host, port, boundPorts.Contains(port));
            if (verdict is { IsAllowed: true, IsLogOnly: false }) return verdict;
            if (best is null || (verdict.IsAllowed && !best.Value.IsAllowed)) best = verdict;
        }

        return best!.Value;
    }

    /// <summary>How much of a name stands ahead of what an owner wrote: of a name on a strict list, what the sandbox chose.</summary>
    internal int ChosenLength(string name, IEnumerable<HostPattern> bound)
    {
        int least = name.Length;
        foreach (HostPattern pattern in _policies.SelectMany(static policy => policy.AllowNames).Concat(bound))
            if (DnsName.IsAtOrBelow(name, pattern.Name)) least = Math.Min(least, Math.Max(0, name.Length - pattern.Name.Length - 1));
        return least;
    }

    /// <summary>
    /// Judges an address that is about to be dialled. The name it comes from is judged once more, so that whoever forgets
    /// <see cref="CheckName"/> opens nothing.
    /// </summary>
    /// <param name="host">The checked name that the address was resolved from; null where the client named the address.</param>
    /// <param name="address">The address.</param>
    /// <param name="port">The port that is dialled.</param>
    /// <param name="isBound">As for <see cref="CheckName"/>; without effect where there is no name.</param>
    public NetworkVerdict CheckAddress(string? host, IPAddress address, int port, bool isBound)
    {
        if (_isClosed) return NetworkVerdict.Refused(RefusalReason.HostNotAllowed, BuiltInRules.NoRulesLeft);
        if (host is not null && CheckNameForm(host, port) is { } refusal) return refusal;
        if (!Destination.TryCreate(address, out Destination destination))
            return NetworkVerdict.Refused(RefusalReason.PrivateAddress, BuiltInRules.ScopedAddress);
        return CheckSpecial(destination.Address)
            ?? (destination.Translated is { } translated ? CheckSpecial(translated) : null)
            ?? (destination.Carried is { } carried ? CheckSpecial(carried) : null)
            ?? Combine(host, destination, port, isBound);
    }

    /// <summary>
    /// Judges an address that the client dialled with a name on no list: by the address alone, as long as no policy denies the
    /// name. The first refusal of <see cref="CheckName"/> need not be that one.
    /// </summary>
    /// <param name="host">The name that the client said, or that its DNS gave the address for.</param>
    /// <param name="address">The address that is dialled.</param>
    /// <param name="port">The port that is dialled.</param>
    public NetworkVerdict CheckAddressUnder(string host, IPAddress address, int port)
    {
        NetworkVerdict verdict = CheckAddress(null, address, port, isBound: false);
        if (!verdict.IsAllowed) return verdict;
        if (CheckNameForm(host, port) is { } refusal) return refusal;
        foreach (NetworkPolicy policy in _policies)
        {
            if (policy.JudgeName(host, port, isBound: false) is not { Reason: RefusalReason.HostDenied } denied) continue;
            if (policy.Mode != NetworkMode.LogOnly) return NetworkVerdict.Refused(RefusalReason.HostDenied, denied.Rule!);
            verdict = new NetworkVerdict(true, RefusalReason.HostDenied, denied.Rule!, true);
        }

        return verdict;
    }

    /// <summary>Refuses a host that is not in the form that rules are compared in, and a cluster name that is closed.</summary>
    private NetworkVerdict? CheckNameForm(string host, int port)
    {
        // EVIL.example or evil.example. would slip by a deny of evil.example, and an address by every deny of a range.
        if (!HostName.IsCanonical(host))
            return NetworkVerdict.Refused(RefusalReason.HostNotAllowed, BuiltInRules.NotAHostName);
        if (!_ranges.IsClusterName(host)) return null;
        if (_policies.IsEmpty) return NetworkVerdict.Refused(RefusalReason.PrivateAddress, BuiltInRules.ClusterDomain);
        foreach (NetworkPolicy policy in _policies)
            if (!policy.OpensClusterName(_ranges, host, port))
                return NetworkVerdict.Refused(RefusalReason.PrivateAddress, BuiltInRules.ClusterDomain);
        return null;
    }

    /// <summary>Refuses what is closed without any rules, whatever the mode, unless every policy opens it.</summary>
    private NetworkVerdict? CheckSpecial(IPAddress address)
    {
        if (SpecialRanges.IsMetadata(address) && !EveryPolicyOpensExactly(address))
            return NetworkVerdict.Refused(RefusalReason.PrivateAddress, BuiltInRules.Metadata);

        // Each range that holds the address has to be opened: 10.0.0.0/8 opens no cluster range inside it.
        foreach (ref readonly SpecialRange special in _ranges.Ranges)
            if (special.Range.Contains(address) && !EveryPolicyOpens(special.Range, address))
                return NetworkVerdict.Refused(RefusalReason.PrivateAddress, special.Rule);
        return null;
    }

    private bool EveryPolicyOpens(IPNetwork special, IPAddress address)
    {
        foreach (NetworkPolicy policy in _policies)
            if (!policy.Opens(special, address)) return false;
        return !_policies.IsEmpty;
    }

    private bool EveryPolicyOpensExactly(IPAddress address)
    {
        foreach (NetworkPolicy policy in _policies)
            if (!policy.OpensExactly(address)) return false;
        return !_policies.IsEmpty;
    }

    /// <summary>Asks each policy; the first that refuses decides, an enforced one before one that only logs.</summary>
    private NetworkVerdict Combine(string? host, Destination? destination, int port, bool isBound)
    {
        NetworkVerdict? logOnly = null;
        string? allowedBy = null;
        foreach (NetworkPolicy policy in _policies)
        {
            Judgement judgement = destination is { } address
                ? policy.JudgeAddress(host, address, port, isBound)
                : policy.JudgeName(host!, port, isBound);
            if (judgement.Reason is not { } reason) allowedBy ??= judgement.Rule;
            else if (policy.Mode != NetworkMode.LogOnly) return NetworkVerdict.Refused(reason, judgement.Rule!);
            else logOnly ??= new NetworkVerdict(true, reason, judgement.Rule!, true);
        }

        // Names are resolved by the sidecar, which applies the rules to them. Another resolver would be a way around, and out.
        if (allowedBy is null && !isBound && port is DnsPort or DnsOverTlsPort) return NetworkVerdict.Refused(RefusalReason.PortBlocked, BuiltInRules.OtherResolver);

        // Without policies a bound host is allowed as any other, but the log says why it was reached.
        if (allowedBy is null && isBound && host is not null) allowedBy = BuiltInRules.BoundHost;
        return logOnly ?? new NetworkVerdict(true, null, allowedBy ?? BuiltInRules.Default, false);
    }
}
