using System.Buffers;

namespace Superserve.Core.Authentication;

/// <summary>Which header names may carry a credential, and which never travel past one hop.</summary>
public static class HeaderRules
{
    private static readonly SearchValues<char> TokenCharacters =
        SearchValues.Create("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

    /// <summary>
    /// Headers that mean one connection only (RFC 9110 section 7.6.1, and the proxy's own). They are neither forwarded nor
    /// may a scheme name one.
    /// </summary>
    public static bool IsHopByHop(ReadOnlySpan<char> name) => name.Length switch
    {
        2 => Is(name, "TE"),
        7 => Is(name, "Trailer") || Is(name, "Upgrade"),
        10 => Is(name, "Connection") || Is(name, "Keep-Alive"),
        16 => Is(name, "Proxy-Connection"),
        17 => Is(name, "Transfer-Encoding"),
        18 => Is(name, "Proxy-Authenticate"),
        19 => Is(name, "Proxy-Authorization"),
        25 => Is(name, "Proxy-Authentication-Info"),
        _ => false,
    };

    /// <summary>Whether a value of <c>Connection</c> makes a header one of this hop only.</summary>
    public static bool Nominates(ReadOnlySpan<char> connection, ReadOnlySpan<char> name)
    {
        foreach (Range part in connection.Split(','))
            if (connection[part].Trim().Equals(name, StringComparison.OrdinalIgnoreCase)) return true;
        return false;
    }

    /// <summary>Why a scheme may not set this header; null where it may.</summary>
    public static string? ReasonAgainst(string name)
    {
        if (name.Length is 0 or > 128 || name.AsSpan().ContainsAnyExcept(TokenCharacters))
            return $"'{Printable(name)}' is not a header name; use letters, digits and -, as X-Api-Key";
        if (IsHopByHop(name) || Is(name, "Host") || Is(name, "Content-Length") || Is(name, "Expect") || Is(name, "HTTP2-Settings")
            || Is(name, "Content-Encoding") || Is(name, "Content-Type") || Is(name, "Accept-Encoding"))
            return $"the header '{name}' frames or routes the message and cannot hold a credential; use the header that the service's documentation names";
        return null;
    }

    private static bool Is(ReadOnlySpan<char> name, string other) => name.Equals(other, StringComparison.OrdinalIgnoreCase);

    private static string Printable(string text)
    {
        string cut = text.Length > 64 ? text[..64] : text;
        return string.Create(cut.Length, cut, static (span, from) =>
        {
            for (int i = 0; i < span.Length; i++) span[i] = from[i] is < ' ' or > '~' ? '?' : from[i];
        });
    }
}
