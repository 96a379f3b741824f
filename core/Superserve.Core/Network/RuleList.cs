using System.Buffers;
using System.Collections.Immutable;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Superserve.Core.Hosts;
using Superserve.Core.Secrets;

namespace Superserve.Core.Network;

/// <summary>One list of rules, <c>allowOut</c> or <c>denyOut</c>, read into its domain rules and its CIDRs.</summary>
internal sealed class RuleList
{
    private const int MaxRangeLength = 64;
    private const int MaxNameEntryLength = 2 + HostName.MaxLength + 6;   // *. and :65535

    private const string Form = "write a CIDR as 140.82.112.0/20, an address, or a domain as api.example.com or *.example.com";

    private static readonly SearchValues<char> DigitsAndDots = SearchValues.Create("0123456789.");

    private readonly string _name;
    private readonly bool _isAllow;
    private readonly PublicSuffixList _suffixes;
    private readonly ImmutableArray<HostPattern>.Builder _names = ImmutableArray.CreateBuilder<HostPattern>();
    private readonly ImmutableArray<string>.Builder _nameRules = ImmutableArray.CreateBuilder<string>();
    private readonly ImmutableArray<IPNetwork>.Builder _ranges = ImmutableArray.CreateBuilder<IPNetwork>();
    private readonly ImmutableArray<string>.Builder _rangeRules = ImmutableArray.CreateBuilder<string>();

    private RuleList(string name, bool isAllow, PublicSuffixList suffixes)
    {
        _name = name;
        _isAllow = isAllow;
        _suffixes = suffixes;
    }

    public ImmutableArray<HostPattern> Names => _names.ToImmutable();

    public ImmutableArray<string> NameRules => _nameRules.ToImmutable();

    public ImmutableArray<IPNetwork> Ranges => _ranges.ToImmutable();

    public ImmutableArray<string> RangeRules => _rangeRules.ToImmutable();

    public static RuleList Parse(
        string name,
        bool isAllow,
        IReadOnlyList<string>? entries,
        PublicSuffixList suffixes,
        string path,
        ICollection<SpecError> errors)
    {
        RuleList list = new(name, isAllow, suffixes);
        if (entries is null) return list;
        if (entries.Count > NetworkPolicy.MaxEntries)
        {
            errors.Add(new($"{path}.{name}", Invariant(
                $"has {entries.Count} entries; write at most {NetworkPolicy.MaxEntries}, with wider CIDRs or *. domains")));
            return list;
        }

        for (int i = 0; i < entries.Count; i++)
            if (list.Add(entries[i]) is { } error) errors.Add(new(Invariant($"{path}.{name}[{i}]"), error));
        return list;
    }

    /// <summary>Reads an entry and keeps it, or says what to change.</summary>
    private string? Add(string? text)
    {
        if (string.IsNullOrEmpty(text)) return $"an entry is empty; {Form}";
        int slash = text.IndexOf('/');
        ReadOnlySpan<char> head = slash < 0 ? text : text.AsSpan(0, slash);
        if (LooksLikeAddress(head)) return AddRange(text, head, slash < 0 ? null : text.AsSpan(slash + 1), slash >= 0);
        return AddName(text);
    }

    // Whatever cannot be a domain: the message is then about addresses. Two colons are IPv6, one is a domain's port.
    private static bool LooksLikeAddress(ReadOnlySpan<char> head) =>
        head.Count(':') > 1 || head.ContainsAny('[', '%') || (!head.IsEmpty && !head.ContainsAnyExcept(DigitsAndDots))
        || HostName.TryParseAddress(head, out _);

    private string? AddRange(string text, ReadOnlySpan<char> head, ReadOnlySpan<char> suffix, bool hasSuffix)
    {
        if (text.Length > MaxRangeLength)
            return Invariant($"is {text.Length} characters long, and a CIDR has at most {MaxRangeLength}; {Form}");
        if (head.Contains('[')) return $"'{text}' has brackets; write it without them and without a port, as 2606:4700::/32";
        if (head.Contains('%')) return $"'{text}' names a zone; write it without '%' and the zone";
        // Resolvers read 010.0.0.1, 10.1 and 0x0a000001 as addresses, and each differently: only the plain form is unmistakable.
        if (!HostName.TryParseAddress(head, out IPAddress? address)
            || (address.AddressFamily == AddressFamily.InterNetwork && !head.SequenceEqual(address.ToString())))
            return $"'{text}' is not an address or CIDR; write four numbers as 140.82.112.0/20, or IPv6 as 2606:4700::/32";

        int maxPrefix = address.AddressFamily == AddressFamily.InterNetwork ? 32 : 128;
        int prefix = maxPrefix;
        if (hasSuffix && (!TryParseNumber(suffix, out prefix) || prefix > maxPrefix || suffix is ['0', _, ..]))
            return Invariant($"'{text}' has no valid prefix length after '/'; write a number from 0 to {maxPrefix}");

        if (AdviseIPv4(text, address, prefix) is { } advice) return advice;
        IPAddress first = Mask(address, prefix);
        if (!first.Equals(address))
            return Invariant($"'{text}' has bits behind its prefix; write {first}/{prefix}, or {address} for the one address");
        _ranges.Add(new IPNetwork(first, prefix));
        _rangeRules.Add($"{_name} {text}");
        return null;
    }

    // A mapped range would match nothing, since the address is dialled as IPv4. An allowed range of translated addresses would
    // allow nothing either: the IPv4 address inside is judged by itself. Denied, such a range is of use.
    private string? AdviseIPv4(string text, IPAddress address, int prefix)
    {
        if (!_isAllow && !address.IsIPv4MappedToIPv6) return null;
        if (!Destination.TryTranslate(address, prefix, out IPAddress? ipv4, out int ipv4Prefix)) return null;
        string range = Invariant($"{Mask(ipv4, ipv4Prefix)}/{ipv4Prefix}");
        return $"'{text}' is IPv4 inside IPv6; write {range}, which holds for its IPv6 forms too";
    }

    private static IPAddress Mask(IPAddress address, int prefix)
    {
        Span<byte> bytes = stackalloc byte[16];
        _ = address.TryWriteBytes(bytes, out int length);
        for (int i = 0; i < length; i++)
        {
            int kept = Math.Clamp(prefix - (i * 8), 0, 8);
            bytes[i] &= (byte)(0xff00 >> kept);
        }

        return new IPAddress(bytes[..length]);
    }

    private string? AddName(string text)
    {
        if (text.Length > MaxNameEntryLength)
            return Invariant($"is {text.Length} characters long, and a DNS name has at most {HostName.MaxLength}; {Form}");

        if (text.Contains('/')) return $"'{text}' is neither a CIDR nor a domain; {Form}, without scheme or path";

        ReadOnlySpan<char> name = text;
        int colon = text.IndexOf(':');
        if (colon >= 0)
        {
            name = name[..colon];
            if (HostName.TryParseAddress(name, out IPAddress? address))
                return $"'{text}' has a port, and a rule for an address holds for every port; write {address}";
            if (!TryParseNumber(text.AsSpan(colon + 1), out int port) || port is < 1 or > 65535)
                return $"'{text}' has no valid port after ':'; write a port from 1 to 65535, or leave it out for every port";
        }

        PublicSuffixList suffixes = _suffixes;
        if (name.StartsWith("*.", StringComparison.Ordinal))
        {
            name = name[2..];
            // Wide is what an owner may want of a deny: it sends nothing to strangers.
            if (!_isAllow && HostName.TryCanonicalize(name, out string? canonical)) suffixes = ListWithout(canonical);
        }

        if (name.Length > HostName.MaxLength)
            return Invariant($"is a name of {name.Length} characters, and a DNS name has at most {HostName.MaxLength}; {Form}");
        if (!HostPattern.TryParse(text, suffixes, out HostPattern? pattern, out string? error)) return error;
        _names.Add(pattern);
        _nameRules.Add($"{_name} {text}");
        return null;
    }

    /// <summary>A list that says of one name that it is no public suffix.</summary>
    private static PublicSuffixList ListWithout(string name)
    {
        using StringReader rule = new("!" + name);
        return PublicSuffixList.Parse(rule);
    }

    private static bool TryParseNumber(ReadOnlySpan<char> text, out int number) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
