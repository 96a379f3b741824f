using System.Text;

namespace Superserve.Core.Scrubbing;

/// <summary>
/// Compares one escape in a text with the unit (a byte, or the character that begins there) that a form expects. It compares
/// instead of decoding, so that a text that ends within an escape is known at once to be a beginning or not.
/// </summary>
internal static class EscapedUnit
{
    /// <summary>The text ends before it is decided.</summary>
    public const int Incomplete = -1;

    /// <summary>No escape is there.</summary>
    public const int None = -2;

    /// <summary>
    /// The longest escape for each unit that it stands for: <c>\u002f</c>, <c>&amp;#x2f;</c>, <c>&amp;quot;</c>; those of other
    /// characters than ASCII are shorter for each of their bytes.
    /// </summary>
    public const int LongestForUnit = 6;

    [Flags]
    public enum Kinds
    {
        None = 0,
        Percent = 1,
        Backslash = 2,
        Entity = 4,
    }

    public static Kinds KindOf(byte first) => first switch
    {
        (byte)'%' => Kinds.Percent,
        (byte)'\\' => Kinds.Backslash,
        (byte)'&' => Kinds.Entity,
        _ => Kinds.None,
    };

    public static bool Starts(byte first) => first is (byte)'%' or (byte)'\\' or (byte)'&';

    /// <summary>How long the escape is with which the text begins, where it means what the units begin with.</summary>
    /// <param name="text">Begins with %, \ or &amp;.</param>
    /// <param name="units">Not empty.</param>
    /// <param name="matched">How many units the escape stands for.</param>
    /// <returns>0 for no match, or <see cref="Incomplete"/>.</returns>
    public static int Match(ReadOnlySpan<byte> text, ReadOnlySpan<byte> units, out int matched)
    {
        matched = 1;
        if (text.Length == 1) return Incomplete;
        switch (text[0])
        {
            case (byte)'%':
                return Add(1, Hex(text[1..], units[0], 2));
            case (byte)'&':
                return Entity(text, units, out matched);
            default:
                if (text[1] == 'u') return Unicode(text, units, out matched);
                if (text[1] == 'x') return Add(2, Hex(text[2..], units[0], 2));
                // \/ and \" of JSON, \' of scripts, and what shells write.
                return text[1] == units[0] && IsPunctuation(units[0]) ? 2 : 0;
        }
    }

    /// <summary>
    /// The first UTF-8 byte of what the escape means with which <paramref name="text"/> begins; <see cref="None"/>, or
    /// <see cref="Incomplete"/>.
    /// </summary>
    public static int LeadByte(ReadOnlySpan<byte> text)
    {
        switch (text[0])
        {
            case (byte)'%':
                return HexNumber(text[1..], 2);
            case (byte)'&':
                return LeadByte(EntityNumber(text[1..]));
            default:
                if (text.Length == 1) return Incomplete;
                if (text[1] == 'u') return LeadByte(HexNumber(text[2..], 4));
                if (text[1] == 'x') return HexNumber(text[2..], 2);
                return IsPunctuation(text[1]) ? text[1] : None;
        }
    }

    /// <summary>
    /// Names the rows of three bytes that an escape of the units' first begins with. A row with more in it than there is does
    /// no harm, one with less would lose matches.
    /// </summary>
    public static void ForEachRow(ReadOnlySpan<byte> units, Action<Row> add)
    {
        int point = CodePoint(units, out _);
        string high = HexDigit(units[0] >> 4);
        add(new Row("%", high, HexDigit(units[0] & 15)));
        add(new Row("\\", "x", high));
        if (IsPunctuation(units[0])) add(new Row("\\", ((char)units[0]).ToString(), null));
        if (point < 0) return;

        add(new Row("\\", "u", HexDigit(point > 0xffff ? 0xd : point >> 12)));
        int digit = point;
        while (digit >= 10) digit /= 10;
        add(new Row("&", "#", $"xX0{digit}"));
        ReadOnlySpan<byte> name = Name(point);
        if (!name.IsEmpty) add(new Row("&", ((char)name[0]).ToString(), ((char)name[1]).ToString()));
    }

    private static int Unicode(ReadOnlySpan<byte> text, ReadOnlySpan<byte> units, out int matched)
    {
        int point = CodePoint(units, out matched);
        if (point < 0) return 0;
        if (point <= 0xffff) return Add(2, Hex(text[2..], point, 4));

        int high = Add(2, Hex(text[2..], 0xd800 + ((point - 0x10000) >> 10), 4));
        if (high <= 0) return high;
        int mark = Literal(text[high..], "\\u"u8);
        if (mark <= 0) return mark;
        return Add(high + mark, Hex(text[(high + mark)..], 0xdc00 + ((point - 0x10000) & 0x3ff), 4));
    }

    private static int Entity(ReadOnlySpan<byte> text, ReadOnlySpan<byte> units, out int matched)
    {
        int point = CodePoint(units, out matched);
        if (point < 0) return 0;
        if (text[1] != '#') return Name(point) is { IsEmpty: false } name ? Add(1, Literal(text[1..], name)) : 0;
        if (text.Length == 2) return Incomplete;

        int digits = 1;
        if (text[2] is (byte)'x' or (byte)'X')
        {
            for (int rest = point >> 4; rest > 0; rest >>= 4) digits++;
            return Ended(text, Add(3, Hex(text[3..], point, digits)));
        }

        for (int rest = point / 10; rest > 0; rest /= 10) digits++;
        int plain = Ended(text, Add(2, Decimal(text[2..], point, digits)));
        // PHP writes &#039;.
        return plain == 0 && digits < 3 ? Ended(text, Add(2, Decimal(text[2..], point, 3))) : plain;
    }

    private static int Ended(ReadOnlySpan<byte> text, int length)
    {
        if (length <= 0) return length;
        return Add(length, Literal(text[length..], ";"u8));
    }

    private static ReadOnlySpan<byte> Name(int point) => point switch
    {
        '"' => "quot;"u8,
        '&' => "amp;"u8,
        '\'' => "apos;"u8,
        '<' => "lt;"u8,
        '>' => "gt;"u8,
        _ => default,
    };

    private static int Add(int before, int length) => length <= 0 ? length : before + length;

    private static int Literal(ReadOnlySpan<byte> text, ReadOnlySpan<byte> expected)
    {
        if (text.Length >= expected.Length) return text.StartsWith(expected) ? expected.Length : 0;
        return expected.StartsWith(text) ? Incomplete : 0;
    }

    private static int Hex(ReadOnlySpan<byte> text, int value, int digits)
    {
        for (int i = 0; i < digits; i++)
        {
            if (i == text.Length) return Incomplete;
            if (HexValue(text[i]) != ((value >> (4 * (digits - 1 - i))) & 15)) return 0;
        }

        return digits;
    }

    private static int Decimal(ReadOnlySpan<byte> text, int value, int digits)
    {
        int weight = 1;
        for (int i = 1; i < digits; i++) weight *= 10;
        for (int i = 0; i < digits; i++, weight /= 10)
        {
            if (i == text.Length) return Incomplete;
            if (text[i] - '0' != value / weight % 10) return 0;
        }

        return digits;
    }

    private static int HexValue(byte digit) => digit switch
    {
        >= (byte)'0' and <= (byte)'9' => digit - '0',
        >= (byte)'a' and <= (byte)'f' => digit - 'a' + 10,
        >= (byte)'A' and <= (byte)'F' => digit - 'A' + 10,
        _ => -1,
    };

    private static int HexNumber(ReadOnlySpan<byte> text, int digits)
    {
        if (text.Length < digits) return Incomplete;
        int number = 0;
        foreach (byte digit in text[..digits])
        {
            int value = HexValue(digit);
            if (value < 0) return None;
            number = (number << 4) | value;
        }

        return number;
    }

    private static int EntityNumber(ReadOnlySpan<byte> text)
    {
        if (text.Length < 2) return Incomplete;
        if (text[0] != '#')
        {
            foreach (int point in (ReadOnlySpan<int>)['"', '&', '\'', '<', '>'])
            {
                int length = Literal(text, Name(point));
                if (length != 0) return length > 0 ? point : Incomplete;
            }

            return None;
        }

        bool hex = text[1] is (byte)'x' or (byte)'X';
        int number = 0;
        for (int i = hex ? 2 : 1; i < text.Length; i++)
        {
            if (text[i] == ';') return number;
            int value = HexValue(text[i]);
            if (value < 0 || (!hex && value > 9)) return None;
            number = (number * (hex ? 16 : 10)) + value;
            if (number > 0x10ffff) return None;
        }

        return Incomplete;
    }

    private static int LeadByte(int point) => point switch
    {
        < 0x80 => point,
        < 0x800 => 0xc0 | (point >> 6),
        // The first half of a pair has all of the first byte's bits.
        >= 0xd800 and < 0xdc00 => 0xf0 | ((0x10000 + ((point - 0xd800) << 10)) >> 18),
        < 0x10000 => 0xe0 | (point >> 12),
        _ => 0xf0 | (point >> 18),
    };

    private static string HexDigit(int value) => $"{value:x}{value:X}";

    /// <summary>The character that the units begin with; -1 within one, and where they are no UTF-8.</summary>
    private static int CodePoint(ReadOnlySpan<byte> units, out int length)
    {
        length = 1;
        if (units[0] < 0x80) return units[0];
        return Rune.DecodeFromUtf8(units, out Rune rune, out length) == System.Buffers.OperationStatus.Done ? rune.Value : -1;
    }

    private static bool IsPunctuation(byte unit) => unit is > 0x20 and < 0x7f && !char.IsAsciiLetterOrDigit((char)unit);

    /// <summary>What three places of a text may hold; null for anything.</summary>
    public readonly record struct Row(string First, string Second, string? Third);
}
