namespace Superserve.Core.Dns;

/// <summary>Names as they stand in messages: labels with their lengths, of any octets, the root's empty label last.</summary>
internal static class DnsName
{
    /// <summary>RFC 1035 section 2.3.4, with the root's label.</summary>
    public const int MaxLength = 255;

    private const int MaxLabelLength = 63;

    /// <summary>Pointers lead backwards alone, so that there is no circle; this bounds how long following them takes.</summary>
    private const int MaxPointers = 64;

    /// <summary>Reads a name and writes it without pointers.</summary>
    /// <param name="message">The whole message.</param>
    /// <param name="offset">Where the name begins; then what comes after it.</param>
    /// <param name="name">Room for <see cref="MaxLength"/> octets.</param>
    /// <param name="length">What is taken of that.</param>
    public static bool TryRead(ReadOnlySpan<byte> message, ref int offset, Span<byte> name, out int length)
    {
        length = 0;
        int at = offset;
        int start = offset;
        int end = -1;
        for (int pointers = 0; at < message.Length;)
        {
            int head = message[at];
            if (head >= 0xc0)
            {
                if (at + 1 >= message.Length) return false;
                int target = ((head & 0x3f) << 8) | message[at + 1];
                if (end < 0) end = at + 2;
                if (target >= start || target < DnsHeader.Length || ++pointers > MaxPointers) return false;
                at = start = target;
                continue;
            }

            int next = at + 1 + head;
            if (head > MaxLabelLength || next > message.Length || length + 1 + head > MaxLength) return false;
            message[at..next].CopyTo(name[length..]);
            length += 1 + head;
            at = next;
            if (head != 0) continue;
            offset = end < 0 ? at : end;
            return true;
        }

        return false;
    }

    /// <summary>
    /// The canonical form: lower case, without the root's dot; the root is empty. Null for a name with other octets than letters,
    /// digits, hyphen and underscore.
    /// </summary>
    public static string? ToText(ReadOnlySpan<byte> name)
    {
        Span<char> text = stackalloc char[MaxLength];
        int length = 0;
        for (int at = 0; name[at] != 0; at += 1 + name[at])
        {
            if (length > 0) text[length++] = '.';
            foreach (byte octet in name.Slice(at + 1, name[at]))
            {
                char c = (char)octet;
                if (char.IsAsciiLetterUpper(c)) c = char.ToLowerInvariant(c);
                else if (!char.IsAsciiLetterLower(c) && !char.IsAsciiDigit(c) && c is not ('-' or '_')) return null;
                text[length++] = c;
            }
        }

        return text[..length].ToString();
    }

    /// <summary>Writes a canonical name; false where it is none, or the room is too small.</summary>
    public static bool TryWrite(string name, Span<byte> destination, out int length)
    {
        length = 0;
        if (name.Length > MaxLength - 2) return false;
        foreach (Range part in name.AsSpan().Split('.'))
        {
            ReadOnlySpan<char> label = name.AsSpan(part);
            if (name.Length == 0) break;
            if (label.Length is 0 or > MaxLabelLength || length + 1 + label.Length > destination.Length) return false;
            destination[length++] = (byte)label.Length;
            foreach (char c in label)
            {
                if (!char.IsAsciiLetterLower(c) && !char.IsAsciiDigit(c) && c is not ('-' or '_')) return false;
                destination[length++] = (byte)c;
            }
        }

        if (length >= destination.Length) return false;
        destination[length++] = 0;
        return true;
    }

    /// <summary>Whether a canonical name is another one or below it.</summary>
    public static bool IsAtOrBelow(string name, string ancestor) =>
        ancestor.Length == 0 || name == ancestor
        || (name.Length > ancestor.Length && name[name.Length - ancestor.Length - 1] == '.' && name.EndsWith(ancestor, StringComparison.Ordinal));
}
