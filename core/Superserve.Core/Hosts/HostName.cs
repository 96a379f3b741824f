using System.Diagnostics.CodeAnalysis;
using System.Net;

namespace Superserve.Core.Hosts;

/// <summary>DNS names in the one form that everything here compares: lower case, ASCII, without the root's dot.</summary>
public static class HostName
{
    /// <summary>RFC 1035 section 2.3.4, without the root's dot.</summary>
    public const int MaxLength = 253;

    private const int MaxLabelLength = 63;

    /// <summary>
    /// Writes a name as SNI, Host or CONNECT give it in canonical form. Refuses what is no DNS name, and every name whose
    /// last label is a number: resolvers read <c>2852039166</c> and <c>0xa9fea9fe</c> as addresses (WHATWG URL, "ends in a
    /// number").
    /// </summary>
    public static bool TryCanonicalize(ReadOnlySpan<char> text, [NotNullWhen(true)] out string? name)
    {
        name = null;
        if (text is [.., '.']) text = text[..^1];
        if (!IsName(text, out bool upper)) return false;
        name = upper ? string.Create(text.Length, text, static (span, from) => from.ToLowerInvariant(span)) : text.ToString();
        return true;
    }

    /// <summary>Whether a text is a name in the form that <see cref="TryCanonicalize"/> makes.</summary>
    public static bool IsCanonical(ReadOnlySpan<char> text) => IsName(text, out bool upper) && !upper;

    private static bool IsName(ReadOnlySpan<char> text, out bool upper)
    {
        upper = false;
        if (text.IsEmpty || text.Length > MaxLength) return false;
        int labelStart = 0;
        for (int i = 0; i <= text.Length; i++)
        {
            if (i < text.Length && text[i] != '.')
            {
                char c = text[i];
                if (char.IsAsciiLetterUpper(c)) upper = true;
                else if (!char.IsAsciiLetterLower(c) && !char.IsAsciiDigit(c) && c is not ('-' or '_')) return false;
                continue;
            }

            if (i == labelStart || i - labelStart > MaxLabelLength) return false;
            if (i == text.Length && IsNumber(text[labelStart..])) return false;
            labelStart = i + 1;
        }

        return true;
    }

    private static bool IsNumber(ReadOnlySpan<char> label)
    {
        if (label.Length > 2 && label[0] == '0' && label[1] is 'x' or 'X') return !label[2..].ContainsAnyExcept(Hex);
        if (label is "0x" or "0X") return true;
        return !label.ContainsAnyExceptInRange('0', '9');
    }

    private static readonly System.Buffers.SearchValues<char> Hex = System.Buffers.SearchValues.Create("0123456789abcdefABCDEF");

    /// <summary>
    /// Reads an address in any spelling that a resolver would take for one (dotted, decimal, hexadecimal, octal, IPv6 without
    /// brackets). A scoped IPv6 address is refused: a zone names an interface of the sandbox's own.
    /// </summary>
    public static bool TryParseAddress(ReadOnlySpan<char> text, [NotNullWhen(true)] out IPAddress? address)
    {
        address = null;
        return !text.IsEmpty && text.Length <= 45 && !text.Contains('%') && !text.Contains('[')
            && IPAddress.TryParse(text, out address);
    }
}
