using System.Collections.Frozen;
using System.Globalization;
using System.Net;
using System.Text;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Snapshots;
using Superserve.Core.Swapping;

namespace Superserve.Core.Dns;

/// <summary>What becomes of a query.</summary>
public enum LookUpAction
{
    /// <summary>NXDOMAIN, and nobody is asked. REFUSED would end the search of musl's resolver at its first suffix.</summary>
    Refuse,

    /// <summary>The resolvers are asked.</summary>
    Forward,

    /// <summary>It is answered with loopback addresses, and nobody is asked.</summary>
    AnswerLoopback,

    /// <summary>NOTIMP: no type that is forwarded.</summary>
    NotImplemented,
}

/// <summary>What the rules say about a query.</summary>
/// <param name="Action">What becomes of it.</param>
/// <param name="Network">The rule that decided.</param>
/// <param name="IsChosen">Whether the sandbox chose part of the name under a strict list: it may not ask for many such.</param>
public readonly record struct LookUpVerdict(LookUpAction Action, NetworkVerdict Network, bool IsChosen);

/// <summary>
/// Judges look-ups. A query is a way out by itself: whoever runs a zone's server reads what names are asked for. So under a
/// strict list no name is asked for that is not on it, and of the names that a wildcard lets through only short ones.
/// </summary>
public static class LookUpRules
{
    /// <summary>How much of a name the sandbox may choose where a strict list has a wildcard.</summary>
    public const int MaxChosenLength = 64;

    /// <summary>How long such a name may be in all.</summary>
    public const int MaxChosenNameLength = 128;

    private const string Ipv4Zone = "in-addr.arpa";
    private const string Ipv6Zone = "ip6.arpa";

    private static readonly FrozenSet<DnsType> Types = FrozenSet.Create(
        DnsType.A, DnsType.NS, DnsType.CNAME, DnsType.SOA, DnsType.PTR, DnsType.MX, DnsType.TXT, DnsType.AAAA, DnsType.SRV, DnsType.NAPTR,
        DnsType.DS, DnsType.SSHFP, DnsType.DNSKEY, DnsType.TLSA, DnsType.SVCB, DnsType.HTTPS, DnsType.CAA);

    private static readonly FrozenSet<DnsType> StrictTypes = FrozenSet.Create(
        DnsType.A, DnsType.AAAA, DnsType.CNAME, DnsType.HTTPS, DnsType.SVCB, DnsType.SRV, DnsType.MX, DnsType.TXT);

    /// <summary>Judges a query.</summary>
    /// <param name="snapshot">What is in force.</param>
    /// <param name="name">The canonical name; null for a name that has no such form.</param>
    /// <param name="type">The type of records.</param>
    public static LookUpVerdict Judge(Snapshot snapshot, string? name, DnsType type)
    {
        if (name is null) return Refused(BuiltInRules.NotAHostName);
        // RFC 6761 section 6.3.
        if (IsLoopback(name)) return new LookUpVerdict(LookUpAction.AnswerLoopback, new NetworkVerdict(true, null, BuiltInRules.Default, false), false);
        HostPattern[] bound = [.. snapshot.Secrets.Where(secret => !secret.IsDetached).SelectMany(secret => secret.Definition.Hosts).Select(host => host.Pattern)];
        NetworkVerdict verdict = JudgeName(snapshot.Network, bound, name);
        if (!verdict.IsAllowed) return new LookUpVerdict(LookUpAction.Refuse, verdict, false);

        bool isStrict = snapshot.Network.IsStrict;
        int chosen = isStrict ? snapshot.Network.ChosenLength(name, bound) : 0;
        if (chosen > MaxChosenLength || (chosen > 0 && name.Length > MaxChosenNameLength)) return Refused(BuiltInRules.LongName);
        return (isStrict ? StrictTypes : Types).Contains(type)
            ? new LookUpVerdict(LookUpAction.Forward, verdict, chosen > 0)
            : new LookUpVerdict(LookUpAction.NotImplemented, new NetworkVerdict(false, RefusalReason.HostNotAllowed, BuiltInRules.QueryType, false), false);
    }

    /// <summary>Whether a name means the asking machine itself.</summary>
    public static bool IsLoopback(string name) => DnsName.IsAtOrBelow(name, "localhost");

    private static NetworkVerdict JudgeName(NetworkRules network, HostPattern[] bound, string name)
    {
        if (DnsName.IsAtOrBelow(name, Ipv4Zone) || DnsName.IsAtOrBelow(name, Ipv6Zone)) return JudgeReverse(network, name);
        NetworkVerdict whole = JudgeHost(network, bound, name);
        // _sip._tcp.example.com is about example.com.
        ReadOnlySpan<char> rest = name;
        while (rest is ['_', ..] && rest.IndexOf('.') is >= 0 and int dot) rest = rest[(dot + 1)..];
        if (rest.Length == name.Length || whole.Reason == RefusalReason.HostDenied) return whole;
        NetworkVerdict behind = JudgeHost(network, bound, rest.ToString());
        // What a list only does not have, a wildcard may have: *.example.com lets _sip.example.com through as any other name.
        return behind.Reason == RefusalReason.HostNotAllowed && whole.IsAllowed ? whole : behind;
    }

    private static NetworkVerdict JudgeHost(NetworkRules network, HostPattern[] bound, string host)
    {
        if (!HostName.TryCanonicalize(host, out _))
            return network.IsStrict ? Refused(BuiltInRules.NotAHostName).Network : new NetworkVerdict(true, null, BuiltInRules.Default, false);
        int[] boundPorts = [.. bound.Where(pattern => pattern.MatchesName(host)).Select(pattern => pattern.Port ?? HostPattern.DefaultPort)];
        return network.CheckLookUp(host, boundPorts);
    }

    /// <summary>
    /// An address's own name. In a cluster those of private addresses list its services: they are as closed as the addresses.
    /// </summary>
    private static NetworkVerdict JudgeReverse(NetworkRules network, string name)
    {
        if (network.IsStrict || !TryReadReverse(name, out IPAddress address)) return Refused(BuiltInRules.ReverseName).Network;
        return network.CheckAddress(null, address, NetworkRules.AnyPort, isBound: false);
    }

    /// <summary>Reads a reverse name of a whole address, in the one form that resolvers make: others may be read otherwise elsewhere.</summary>
    private static bool TryReadReverse(string name, out IPAddress address)
    {
        address = IPAddress.None;
        bool isIpv4 = name.EndsWith(Ipv4Zone, StringComparison.Ordinal);
        string[] labels = name.Split('.')[..^2];
        Array.Reverse(labels);
        string text;
        if (isIpv4)
        {
            text = string.Join('.', labels);
        }
        else
        {
            if (labels.Length != 32 || labels.Any(label => label.Length != 1)) return false;
            text = string.Join(':', labels.Chunk(4).Select(four => string.Concat(four)));
        }

        if (!IPAddress.TryParse(text, out IPAddress? parsed) || ToReverse(parsed) != name) return false;
        address = parsed;
        return true;
    }

    private static string ToReverse(IPAddress address)
    {
        StringBuilder name = new();
        byte[] bytes = address.GetAddressBytes();
        foreach (byte b in Enumerable.Reverse(bytes))
        {
            if (bytes.Length == 4) name.Append(CultureInfo.InvariantCulture, $"{b}.");
            else name.Append(CultureInfo.InvariantCulture, $"{b & 0xf:x}.{b >> 4:x}.");
        }

        return name.Append(bytes.Length == 4 ? Ipv4Zone : Ipv6Zone).ToString();
    }

    private static LookUpVerdict Refused(string rule) =>
        new(LookUpAction.Refuse, new NetworkVerdict(false, RefusalReason.HostNotAllowed, rule, false), false);
}
