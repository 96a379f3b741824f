using System.Text;

namespace Superserve.Core.Authentication;

/// <summary>Percent-encoding (RFC 3986) on Latin-1 text, one character for one byte.</summary>
public static class Percent
{
    private const string UpperHex = "0123456789ABCDEF";

    /// <summary>RFC 3986 section 2.3.</summary>
    public static bool IsUnreserved(char c) => char.IsAsciiLetterOrDigit(c) || c is '-' or '.' or '_' or '~';

    /// <summary>Encodes all but the unreserved characters.</summary>
    public static string Encode(string latin1)
    {
        if (IsPlain(latin1)) return latin1;
        StringBuilder text = new(latin1.Length + 16);
        foreach (char c in latin1)
        {
            if (IsUnreserved(c)) text.Append(c);
            else text.Append('%').Append(UpperHex[(c >> 4) & 15]).Append(UpperHex[c & 15]);
        }

        return text.ToString();
    }

    /// <summary>The character at <paramref name="index"/>, decoded; advances past it. A '%' without two digits is itself.</summary>
    public static char Next(ReadOnlySpan<char> text, ref int index)
    {
        char c = text[index++];
        if (c != '%' || index + 1 >= text.Length || !char.IsAsciiHexDigit(text[index]) || !char.IsAsciiHexDigit(text[index + 1])) return c;
        c = (char)((Convert.FromHexString(text.Slice(index, 2))[0]) & 0xff);
        index += 2;
        return c;
    }

    /// <summary>Decodes every escape once; with <paramref name="plusIsSpace"/> as in a form.</summary>
    public static string Decode(ReadOnlySpan<char> text, bool plusIsSpace = false)
    {
        if (!text.Contains('%') && !(plusIsSpace && text.Contains('+'))) return text.ToString();
        StringBuilder decoded = new(text.Length);
        for (int i = 0; i < text.Length;)
        {
            bool plus = plusIsSpace && text[i] == '+';
            char c = Next(text, ref i);
            decoded.Append(plus ? ' ' : c);
        }

        return decoded.ToString();
    }

    private static bool IsPlain(string text)
    {
        foreach (char c in text)
            if (!IsUnreserved(c)) return false;
        return true;
    }
}
