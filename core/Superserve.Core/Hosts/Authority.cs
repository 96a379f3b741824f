using System.Globalization;
using System.Net;

namespace Superserve.Core.Hosts;

/// <summary>A host and a port as a request names them: a canonical DNS name, or an address.</summary>
/// <param name="Host">The canonical name, or the address in its canonical text (IPv6 without brackets).</param>
/// <param name="Address">The address, where the host is one; null for a name.</param>
/// <param name="Port">1 to 65535.</param>
public readonly record struct Authority(string Host, IPAddress? Address, int Port)
{
    /// <summary>Whether the host is a DNS name.</summary>
    public bool IsName => Address is null;

    /// <summary>Reads <c>host</c>, <c>host:port</c>, <c>1.2.3.4:port</c> or <c>[::1]:port</c>; user information is refused.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, int defaultPort, out Authority authority)
    {
        authority = default;
        ReadOnlySpan<char> host = text;
        int port = defaultPort;

        if (text is ['[', ..])
        {
            int close = text.IndexOf(']');
            if (close < 0) return false;
            host = text[1..close];
            ReadOnlySpan<char> rest = text[(close + 1)..];
            if (!rest.IsEmpty && (rest[0] != ':' || !TryParsePort(rest[1..], out port))) return false;
            if (!host.Contains(':') || !HostName.TryParseAddress(host, out IPAddress? v6)) return false;
            authority = new Authority(v6.ToString(), v6, port);
            return true;
        }

        int colon = text.IndexOf(':');
        if (colon >= 0)
        {
            host = text[..colon];
            if (!TryParsePort(text[(colon + 1)..], out port)) return false;
        }

        return TryCreate(host, port, out authority);
    }

    /// <summary>Makes an authority of a bare name or address and a port.</summary>
    public static bool TryCreate(ReadOnlySpan<char> host, int port, out Authority authority)
    {
        authority = default;
        if (HostName.TryCanonicalize(host, out string? name)) authority = new Authority(name, null, port);
        else if (HostName.TryParseAddress(host, out IPAddress? address)) authority = new Authority(address.ToString(), address, port);
        else return false;
        return true;
    }

    private static bool TryParsePort(ReadOnlySpan<char> text, out int port) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out port) && port is >= 1 and <= 65535;

    /// <summary><c>host:port</c>, IPv6 in brackets.</summary>
    public override string ToString() => Host.Contains(':') ? $"[{Host}]:{Port}" : $"{Host}:{Port}";
}
