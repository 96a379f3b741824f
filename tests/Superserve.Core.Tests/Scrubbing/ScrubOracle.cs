using System.Buffers;
using System.Text;

namespace Superserve.Core.Tests.Scrubbing;

/// <summary>
/// The rules of scrubbing written down a second time, without regard for speed: at each place every spelling of every form is
/// tried. For a stand-in of the credential's length whose base64 needs no character that the two alphabets write differently.
/// </summary>
internal sealed class ScrubOracle
{
    private readonly List<(byte[] Units, bool Base64, string Replacement)> _forms = [];
    private readonly Dictionary<(string Units, int At, bool Base64), List<(string Text, int Units)>> _spellings = [];

    public ScrubOracle(string credential, string standIn, string[] users)
    {
        Assert.Equal(credential.Length, standIn.Length);
        _forms.Add((ScrubText.Bytes(credential), false, standIn));
        string mojibake = Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(credential));
        if (mojibake != credential) _forms.Add((ScrubText.Bytes(mojibake), false, standIn));

        foreach (string user in users)
        {
            string before = Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(user)) + ":";
            AddEnd(ScrubText.Base64(before + credential), ScrubText.Base64(before + standIn));
        }

        AddEnd(ScrubText.Base64(credential + ":"), ScrubText.Base64(standIn + ":"));

        for (int before = 0; before < 3; before++)
        {
            // What stays the same whatever surrounds it is certain.
            string low = ScrubText.Base64(new string('\0', before) + credential + "\0\0\0");
            string high = ScrubText.Base64(new string('\xff', before) + credential + "\xff\xff\xff");
            int first = 0;
            while (low[first] != high[first]) first++;
            int last = first;
            while (last < low.Length && low[last] == high[last]) last++;
            string replacement = ScrubText.Base64(new string('\0', before) + standIn + "\0\0\0")[first..last];
            _forms.Add((ScrubText.Bytes(low[first..last]), true, replacement));
            string prefix = new('\0', before);
            AddEnd(ScrubText.Base64(prefix + credential)[first..], ScrubText.Base64(prefix + standIn)[first..]);
        }
    }

    private void AddEnd(string units, string replacement)
    {
        _forms.Add((ScrubText.Bytes(units), true, replacement));
        _forms.Add((ScrubText.Bytes(units.TrimEnd('=')), true, replacement.TrimEnd('=')));
    }

    public string Scrub(string body)
    {
        StringBuilder result = new();
        for (int at = 0; at < body.Length;)
        {
            int longest = 0;
            string replacement = "";
            foreach ((byte[] units, bool base64, string standIn) in _forms)
            {
                (int length, bool percent) = Longest(body, at, units, base64);
                if (length <= longest) continue;
                longest = length;
                replacement = percent ? Uri.EscapeDataString(standIn) : standIn;
            }

            result.Append(longest == 0 ? body[at].ToString() : replacement);
            at += Math.Max(1, longest);
        }

        return result.ToString();
    }

    private (int Length, bool Percent) Longest(string body, int start, byte[] units, bool base64)
    {
        // Every (units, characters) that can be reached, from the fewest units on.
        SortedSet<(int Unit, int At, bool Percent)> open = [(0, start, false)];
        (int, bool) longest = (0, false);
        while (open.Count > 0)
        {
            (int Unit, int At, bool Percent) next = open.Min;
            open.Remove(next);
            if (next.Unit == units.Length)
            {
                if (next.At - start > longest.Item1) longest = (next.At - start, next.Percent);
                continue;
            }

            foreach ((string text, int count) in Spellings(units, next.Unit, base64))
            {
                if (string.CompareOrdinal(body, next.At, text, 0, text.Length) != 0) continue;
                bool percent = (text.Length > 1 && text[0] == '%') || (text == "+" && units[next.Unit] == ' ');
                open.Add((next.Unit + count, next.At + text.Length, next.Percent || percent));
            }
        }

        return longest;
    }

    private List<(string Text, int Units)> Spellings(byte[] units, int at, bool base64)
    {
        (string, int, bool) key = (Encoding.Latin1.GetString(units), at, base64);
        if (_spellings.TryGetValue(key, out List<(string Text, int Units)>? known)) return known;
        List<(string Text, int Units)> all = [];
        byte[] alternatives = (base64, units[at]) switch
        {
            (true, (byte)'+') => "+-"u8.ToArray(),
            (true, (byte)'/') => "/_"u8.ToArray(),
            _ => [units[at]],
        };
        foreach (byte unit in alternatives)
        {
            all.Add((((char)unit).ToString(), 1));
            if (unit == ' ') all.Add(("+", 1));
            foreach (string hex in Cases(unit.ToString("x2"))) all.AddRange([("%" + hex, 1), ("\\x" + hex, 1)]);
            if (unit is > 0x20 and < 0x7f && !char.IsAsciiLetterOrDigit((char)unit)) all.Add(("\\" + (char)unit, 1));

            ReadOnlySpan<byte> rest = base64 ? [unit] : units.AsSpan(at);
            if (Rune.DecodeFromUtf8(rest, out Rune rune, out int length) != OperationStatus.Done) continue;
            foreach (string text in Unicode(rune.ToString())) all.Add((text, length));
            all.Add(($"&#{rune.Value};", length));
            if (rune.Value < 100) all.Add(($"&#{rune.Value:D3};", length));
            foreach (string hex in Cases(rune.Value.ToString("x")))
                all.AddRange([($"&#x{hex};", length), ($"&#X{hex};", length)]);
            string? name = rune.Value switch { '"' => "quot", '&' => "amp", '\'' => "apos", '<' => "lt", '>' => "gt", _ => null };
            if (name is not null) all.Add(($"&{name};", length));
        }

        return _spellings[key] = all;
    }

    private static IEnumerable<string> Unicode(string utf16)
    {
        IEnumerable<string> texts = [""];
        foreach (char c in utf16)
            texts = [.. texts.SelectMany(text => Cases(((int)c).ToString("x4")).Select(hex => text + "\\u" + hex))];
        return texts;
    }

    private static IEnumerable<string> Cases(string hex)
    {
        IEnumerable<string> texts = [""];
        foreach (char c in hex)
        {
            char[] either = char.IsAsciiLetter(c) ? [c, char.ToUpperInvariant(c)] : [c];
            texts = [.. texts.SelectMany(text => either.Select(digit => text + digit))];
        }

        return texts;
    }
}
