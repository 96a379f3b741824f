using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;

namespace Superserve.Core.Network;

/// <summary>An address about to be dialled, with the IPv4 addresses inside it: each of them is judged as well.</summary>
/// <param name="Address">The address itself; an IPv4-mapped one as the IPv4 address that the kernel would dial.</param>
/// <param name="Translated">
/// The IPv4 address that a NAT64, SIIT or 6to4 relay sends the packets on to. What the rules allow of it, they allow of the
/// form: DNS64 gives nothing else where only IPv6 is to be had.
/// </param>
/// <param name="Carried">
/// An IPv4 address in a form that says nothing sure about where packets go (ISATAP, Teredo, IPv4-compatible, local NAT64). It
/// may only refuse: whoever holds any /64 could write an allowed address into an ISATAP interface identifier.
/// </param>
internal readonly record struct Destination(IPAddress Address, IPAddress? Translated, IPAddress? Carried)
{
    private const int SixToFourOffset = 2;   // 2002:AABB:CCDD::/48, RFC 3056
    private const int LastFourOffset = 12;

    /// <summary>
    /// Reads the forms; false for what no rule can judge: a zone names an interface of the sandbox's own choice.
    /// </summary>
    public static bool TryCreate(IPAddress address, out Destination destination)
    {
        destination = default;
        if (address.AddressFamily == AddressFamily.InterNetwork)
        {
            destination = new Destination(address, null, null);
            return true;
        }

        if (address.AddressFamily != AddressFamily.InterNetworkV6 || address.ScopeId != 0) return false;
        if (address.IsIPv4MappedToIPv6)
        {
            destination = new Destination(address.MapToIPv4(), null, null);
            return true;
        }

        Span<byte> bytes = stackalloc byte[16];
        _ = address.TryWriteBytes(bytes, out _);
        int translated = TranslatedOffset(bytes);
        IPAddress? inner = translated < 0 ? null : new IPAddress(bytes.Slice(translated, 4));
        destination = new Destination(address, inner, ReadCarried(bytes));
        return true;
    }

    /// <summary>
    /// The IPv4 range that an IPv6 range is the mapped or translated form of. An owner is told to write that one: it holds
    /// for every form.
    /// </summary>
    public static bool TryTranslate(
        IPAddress baseAddress,
        int prefixLength,
        [NotNullWhen(true)] out IPAddress? ipv4,
        out int ipv4Prefix)
    {
        ipv4 = null;
        ipv4Prefix = 0;
        Span<byte> bytes = stackalloc byte[16];
        if (baseAddress.AddressFamily != AddressFamily.InterNetworkV6) return false;
        _ = baseAddress.TryWriteBytes(bytes, out _);
        int offset = baseAddress.IsIPv4MappedToIPv6 ? LastFourOffset : TranslatedOffset(bytes);
        if (offset < 0 || prefixLength < offset * 8) return false;
        ipv4 = new IPAddress(bytes.Slice(offset, 4));
        ipv4Prefix = Math.Min(32, prefixLength - (offset * 8));
        return true;
    }

    private static int TranslatedOffset(ReadOnlySpan<byte> bytes)
    {
        if (bytes.StartsWith<byte>([0x20, 0x02])) return SixToFourOffset;
        // 64:ff9b::/96, RFC 6052, and ::ffff:0:0:0/96, RFC 2765.
        bool translated = bytes.StartsWith<byte>([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0])
            || bytes.StartsWith<byte>([0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0]);
        return translated ? LastFourOffset : -1;
    }

    private static IPAddress? ReadCarried(ReadOnlySpan<byte> bytes)
    {
        ReadOnlySpan<byte> last = bytes[LastFourOffset..];
        // Teredo, RFC 4380: the client's address, its bits flipped.
        if (bytes.StartsWith<byte>([0x20, 0x01, 0, 0]))
            return new IPAddress([(byte)~last[0], (byte)~last[1], (byte)~last[2], (byte)~last[3]]);
        // 64:ff9b:1::/48, RFC 8215, in its usual /96 form.
        if (bytes.StartsWith<byte>([0, 0x64, 0xff, 0x9b, 0, 1])) return new IPAddress(last);
        // IPv4-compatible, RFC 4291; :: and ::1 are addresses of their own.
        if (!bytes[..LastFourOffset].ContainsAnyExcept((byte)0)) return last is [0, 0, 0, 0 or 1] ? null : new IPAddress(last);
        // ISATAP, RFC 5214: the interface identifier is 0:5efe:IPv4, with the universal and group bits either way.
        return (bytes[8] & 0xfc) == 0 && bytes[9] == 0 && bytes[10] == 0x5e && bytes[11] == 0xfe ? new IPAddress(last) : null;
    }
}
