using System.Net;
using Superserve.Core.Swapping;

namespace Superserve.Core.Tests.Network;

/// <summary>A network section as its owner writes it.</summary>
public sealed record Section(string[] Allow, string[] Deny, bool IsLogOnly)
{
    public override string ToString() =>
        $"{(IsLogOnly ? "log" : "enforce")} allow [{string.Join(", ", Allow)}] deny [{string.Join(", ", Deny)}]";
}

/// <summary>The rules once more, without thought of speed: an address is a string of bits, a name a list of labels.</summary>
internal static class NaiveRules
{
    private static readonly string[] Special =
    [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64",
        "2001::/32", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10",
        "ff00::/8",
    ];

    private static readonly string[] Metadata =
    [
        "169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200", "192.0.0.192", "169.254.0.23",
        "169.254.42.42", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42",
    ];

    /// <summary>Whether it passes, and why not; with a reason it passes only because of the mode.</summary>
    public sealed record Answer(bool IsAllowed, RefusalReason? Reason);

    public static string Bits(IPAddress address) => string.Concat(address.GetAddressBytes().Select(b => $"{b:b8}"));

    public static string CidrBits(string cidr)
    {
        string[] parts = cidr.Split('/');
        string bits = Bits(IPAddress.Parse(parts[0]));
        return parts.Length == 1 ? bits : bits[..int.Parse(parts[1])];
    }

    // Both families have prefixes of 0 to 32 bits: the width tells them apart.
    public static bool Contains(string cidr, string addressBits) =>
        IsV6(cidr) == (addressBits.Length == 128) && addressBits.StartsWith(CidrBits(cidr), StringComparison.Ordinal);

    public static bool IsStrict(Section section) =>
        section.Allow.Length > 0 || CoversAll(section, false, "") || CoversAll(section, true, "");

    public static Answer Check(
        Section[] sections, string[] extra, string clusterDomain, string? host, IPAddress? address, int port, bool isBound)
    {
        bool isClusterName = host is not null && IsBelowOrAt(host, clusterDomain);
        bool isOpenCluster = isClusterName && sections.Length > 0 && sections.All(s => s.Allow.Any(e =>
            IsName(e) && IsBelowOrAt(Labels(e).Name, clusterDomain) && NameMatches(e, host!, port)));
        if (isClusterName && !isOpenCluster) return new Answer(false, RefusalReason.PrivateAddress);

        List<(string Bits, bool IsTrusted)> views = address is null ? [] : Views(address);
        foreach ((string bits, bool _) in views)
            if (!IsOpen(sections, extra, bits)) return new Answer(false, RefusalReason.PrivateAddress);

        RefusalReason? logged = null;
        foreach (Section section in sections)
        {
            if (Judge(section, host, views, port, isBound) is not { } reason) continue;
            if (section.IsLogOnly) logged ??= reason;
            else return new Answer(false, reason);
        }

        return new Answer(true, logged);
    }

    private static RefusalReason? Judge(
        Section section, string? host, List<(string Bits, bool IsTrusted)> views, int port, bool isBound)
    {
        if (host is not null)
        {
            if (isBound || section.Allow.Any(e => IsName(e) && NameMatches(e, host, port))) return null;
            if (section.Deny.Any(e => IsName(e) && NameMatches(e, host, port))) return RefusalReason.HostDenied;
            if (IsStrict(section)) return RefusalReason.HostNotAllowed;
        }

        // The views are the outer address and then what is inside it: all have to pass, and a trusted one frees the outer one.
        bool isFreed = views.Skip(1).Any(v => v.IsTrusted && Allowed(v.Bits));
        RefusalReason? first = null;
        foreach ((string bits, bool _) in views.Skip(1).OrderBy(v => v.IsTrusted)) first ??= JudgeBits(bits);
        return first ?? (views.Count == 0 || isFreed ? null : JudgeBits(views[0].Bits));

        bool Allowed(string bits) => section.Allow.Any(e => !IsName(e) && Contains(e, bits));

        RefusalReason? JudgeBits(string bits) =>
            Allowed(bits) ? null
            : section.Deny.Any(e => !IsName(e) && Contains(e, bits)) ? RefusalReason.HostDenied
            : IsStrict(section) ? RefusalReason.HostNotAllowed : null;
    }

    private static bool IsOpen(Section[] sections, string[] extra, string bits)
    {
        bool Each(Func<string, bool> isOpenedBy) =>
            sections.Length > 0 && sections.All(s => s.Allow.Any(e => !IsName(e) && Contains(e, bits) && isOpenedBy(e)));

        if (Metadata.Any(m => Bits(IPAddress.Parse(m)) == bits) && !Each(e => CidrBits(e).Length == bits.Length)) return false;
        return Special.Concat(extra).Where(s => Contains(s, bits))
            .All(s => Each(e => CidrBits(e).StartsWith(CidrBits(s), StringComparison.Ordinal)));
    }

    private static List<(string Bits, bool IsTrusted)> Views(IPAddress address)
    {
        string hex = Convert.ToHexStringLower(address.GetAddressBytes());
        if (hex.Length == 8) return [(Bits(address), false)];
        string last = FromHex(hex[24..]);
        string zeros = new('0', 24);
        if (hex.StartsWith("00000000000000000000ffff")) return [(last, false)];

        List<(string Bits, bool IsTrusted)> views = [(FromHex(hex), false)];
        if (hex.StartsWith("2002")) views.Add((FromHex(hex[4..12]), true));
        if (hex.StartsWith("0064ff9b0000000000000000")) views.Add((last, true));
        if (hex.StartsWith("0000000000000000ffff0000")) views.Add((last, true));
        if (hex.StartsWith("0064ff9b0001")) views.Add((last, false));
        if (hex.StartsWith(zeros) && hex != zeros + "00000000" && hex != zeros + "00000001") views.Add((last, false));
        if (hex.StartsWith("20010000")) views.Add((string.Concat(last.Select(b => b == '0' ? '1' : '0')), false));
        else if (hex[16..24] is "00005efe" or "01005efe" or "02005efe" or "03005efe") views.Add((last, false));
        return views;

        static string FromHex(string digits) => string.Concat(Convert.FromHexString(digits).Select(b => $"{b:b8}"));
    }

    private static bool CoversAll(Section section, bool isV6, string prefix)
    {
        string[] ranges = [.. section.Deny.Where(e => !IsName(e) && IsV6(e) == isV6).Select(CidrBits)];
        return Covered(prefix);

        bool Covered(string at) => ranges.Any(r => at.StartsWith(r, StringComparison.Ordinal))
            || (ranges.Any(r => r.StartsWith(at, StringComparison.Ordinal)) && Covered(at + "0") && Covered(at + "1"));
    }

    public static bool IsName(string entry) => entry.Any(c => c is > 'f' and <= 'z');

    private static bool IsV6(string cidr) => cidr.Contains(':');

    private static (string Name, bool IsWildcard, int? Port) Labels(string entry)
    {
        string[] parts = entry.Split(':');
        bool isWildcard = parts[0].StartsWith("*.");
        return (isWildcard ? parts[0][2..] : parts[0], isWildcard, parts.Length > 1 ? int.Parse(parts[1]) : null);
    }

    private static bool NameMatches(string entry, string host, int port)
    {
        (string name, bool isWildcard, int? only) = Labels(entry);
        bool isSame = name.Split('.').SequenceEqual(host.Split('.'));
        return (only is null || only == port) && (isWildcard ? IsBelowOrAt(host, name) && !isSame : isSame);
    }

    private static bool IsBelowOrAt(string host, string name)
    {
        string[] labels = host.Split('.');
        string[] parent = name.Split('.');
        return labels.Length >= parent.Length && labels.TakeLast(parent.Length).SequenceEqual(parent);
    }
}
