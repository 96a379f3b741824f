using System.Buffers;
using System.Buffers.Text;
using System.Text;

namespace Superserve.Sidecar.Http1;

/// <summary>How the end of a body is known (RFC 9112 section 6.3).</summary>
internal enum BodyFraming
{
    /// <summary>There is none.</summary>
    None,

    /// <summary>By <c>Content-Length</c>.</summary>
    Length,

    /// <summary>By the last chunk.</summary>
    Chunked,

    /// <summary>By the end of the connection.</summary>
    UntilClose,
}

/// <summary>
/// The grammar of HTTP/1.1 messages (RFC 9112), read strictly: lines end with CRLF, and what two parsers could read differently
/// is refused. Pure functions over bytes.
/// </summary>
internal static class MessageFormat
{
    public const int MaxHeadLength = 128 * 1024;
    public const int MaxFields = 200;
    private const int MaxRequestLineLength = 32 * 1024;

    private static readonly SearchValues<byte> TokenBytes = SearchValues.Create("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"u8);

    /// <summary>Lines are split already, so that a CR or LF here is a bare one.</summary>
    private static readonly SearchValues<byte> NeverInLines = SearchValues.Create("\0\r\n"u8);

    private static ReadOnlySpan<byte> LineEnd => "\r\n"u8;

    private static ReadOnlySpan<byte> HeadEnd => "\r\n\r\n"u8;

    /// <summary>The length of a message's head with its empty line; 0 where more bytes are needed.</summary>
    /// <exception cref="Http1FormatException">It is too long, or a line ends with LF alone, so that the end may have been missed. Of too many lines no more are waited for: they are looked at anew whenever bytes come.</exception>
    public static int HeadLength(ReadOnlySpan<byte> bytes)
    {
        int end = bytes.IndexOf(HeadEnd);
        if (end >= 0) return end + HeadEnd.Length <= MaxHeadLength ? end + HeadEnd.Length : throw TooLong();
        for (int from = 0, lines = 0; bytes[from..].IndexOf((byte)'\n') is >= 0 and int at; from += at + 1)
        {
            if (from + at == 0 || bytes[from + at - 1] != '\r') throw BareLineFeed();
            if (++lines > MaxFields + 1) throw new Http1FormatException($"There are more than {MaxFields} header fields.", StatusCodes.Status431RequestHeaderFieldsTooLarge);
        }

        return bytes.Length <= MaxHeadLength ? 0 : throw TooLong();
    }

    /// <summary>The length of the empty lines ahead of a request, which clients of old send behind a body.</summary>
    public static int EmptyLinesLength(ReadOnlySpan<byte> bytes)
    {
        int length = 0;
        while (bytes[length..].StartsWith(LineEnd)) length += LineEnd.Length;
        return length;
    }

    /// <summary>Reads <c>METHOD SP target SP HTTP/1.x</c>.</summary>
    public static void ReadRequestLine(ReadOnlySpan<byte> head, out ReadOnlySpan<byte> method, out ReadOnlySpan<byte> target, out int minorVersion, out ReadOnlySpan<byte> fields)
    {
        ReadOnlySpan<byte> line = FirstLine(head, out fields);
        if (line.Length > MaxRequestLineLength) throw new Http1FormatException("The request line is too long. Shorten the path or the query.", StatusCodes.Status414UriTooLong);
        int first = line.IndexOf((byte)' '), last = line.LastIndexOf((byte)' ');
        if (first <= 0 || last <= first + 1) throw new Http1FormatException("The request line is not METHOD SP target SP HTTP/1.1.");
        method = line[..first];
        target = line[(first + 1)..last];
        if (method.ContainsAnyExcept(TokenBytes)) throw new Http1FormatException("The request's method is no token.");
        if (target.Contains((byte)' ')) throw new Http1FormatException("The request target holds a space. Percent-encode it.");
        minorVersion = MinorVersion(line[(last + 1)..]);
    }

    /// <summary>Reads <c>HTTP/1.x SP status</c>; what the service says in words is not looked at.</summary>
    public static void ReadStatusLine(ReadOnlySpan<byte> head, out int status, out int minorVersion, out ReadOnlySpan<byte> fields)
    {
        ReadOnlySpan<byte> line = FirstLine(head, out fields);
        if (line.Length < 12 || line[8] != ' ' || (line.Length > 12 && line[12] != ' ')) throw new Http1FormatException("The answer's status line is not HTTP/1.1 SP status.");
        minorVersion = MinorVersion(line[..8]);
        if (!Utf8Parser.TryParse(line[9..12], out status, out int digits) || digits != 3 || status is < 100 or > 999) throw new Http1FormatException("The answer's status is no number of three digits.");
    }

    /// <summary>Reads the first of some field lines, which end with the empty line; false at that.</summary>
    /// <param name="lines">What is left to read.</param>
    /// <param name="name">A token.</param>
    /// <param name="value">Without the blanks around it.</param>
    public static bool TryReadField(ref ReadOnlySpan<byte> lines, out ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value)
    {
        ReadOnlySpan<byte> line = FirstLine(lines, out lines);
        name = value = default;
        if (line.IsEmpty) return false;
        int colon = line.IndexOf((byte)':');
        if (colon <= 0 || line[..colon].ContainsAnyExcept(TokenBytes))
        {
            throw new Http1FormatException(line[0] is (byte)' ' or (byte)'\t'
                ? "A header field is continued on a line of its own, which HTTP/1.1 has given up."
                : "A header line is not name: value, or its name holds what a name may not.");
        }

        name = line[..colon];
        value = line[(colon + 1)..].Trim(" \t"u8);
        return true;
    }

    /// <summary>A length in digits alone.</summary>
    public static bool TryReadLength(ReadOnlySpan<byte> value, out long length)
    {
        length = 0;
        return value.Length is > 0 and <= 18 && !value.ContainsAnyExceptInRange((byte)'0', (byte)'9') && Utf8Parser.TryParse(value, out length, out int used) && used == value.Length;
    }

    /// <summary>Reads the line ahead of a chunk's data, extensions ignored.</summary>
    public static long ReadChunkLength(ReadOnlySpan<byte> line)
    {
        int digits = line.IndexOfAnyExcept(HexDigits);
        ReadOnlySpan<byte> number = digits < 0 ? line : line[..digits];
        ReadOnlySpan<byte> rest = line[number.Length..].TrimStart(" \t"u8);
        if (number.Length is 0 or > 15 || (!rest.IsEmpty && rest[0] != ';') || line.ContainsAny(NeverInLines) || !Utf8Parser.TryParse(number, out long length, out _, 'x'))
            throw new Http1FormatException("A chunk does not begin with its length.");
        return length;
    }

    /// <summary>Whether a list of tokens, as <c>Connection</c> has them, holds one.</summary>
    public static bool HoldsToken(ReadOnlySpan<byte> list, ReadOnlySpan<byte> token)
    {
        while (!list.IsEmpty)
        {
            int comma = list.IndexOf((byte)',');
            ReadOnlySpan<byte> item = (comma < 0 ? list : list[..comma]).Trim(" \t"u8);
            if (Ascii.EqualsIgnoreCase(item, token)) return true;
            list = comma < 0 ? default : list[(comma + 1)..];
        }

        return false;
    }

    /// <summary>Bytes as text, one character for each. The text that is likely meant is not made again.</summary>
    public static string Text(ReadOnlySpan<byte> bytes, string? likely) => likely is not null && Ascii.Equals(bytes, likely) ? likely : Encoding.Latin1.GetString(bytes);

    private static readonly SearchValues<byte> HexDigits = SearchValues.Create("0123456789ABCDEFabcdef"u8);

    private static ReadOnlySpan<byte> FirstLine(ReadOnlySpan<byte> lines, out ReadOnlySpan<byte> rest)
    {
        int end = lines.IndexOf(LineEnd);
        // The head was found by its end.
        ReadOnlySpan<byte> line = lines[..end];
        if (line.ContainsAny(NeverInLines)) throw line.Contains((byte)'\n') ? BareLineFeed() : new Http1FormatException("The head holds a CR or a NUL in the middle of a line.");
        rest = lines[(end + LineEnd.Length)..];
        return line;
    }

    private static int MinorVersion(ReadOnlySpan<byte> version)
    {
        if (version.SequenceEqual("HTTP/1.1"u8)) return 1;
        if (version.SequenceEqual("HTTP/1.0"u8)) return 0;
        throw new Http1FormatException("The message is of a version of HTTP that is not spoken here: HTTP/1.1, HTTP/1.0 and HTTP/2 are.", StatusCodes.Status505HttpVersionNotsupported);
    }

    private static Http1FormatException BareLineFeed() => new("A line ends with LF alone. In HTTP lines end with CR LF.");

    private static Http1FormatException TooLong() => new($"The header fields are longer than {MaxHeadLength / 1024} KiB together.", StatusCodes.Status431RequestHeaderFieldsTooLarge);
}
