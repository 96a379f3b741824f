namespace Superserve.Core.Scrubbing;

internal enum MatchState
{
    None,
    Found,

    /// <summary>The text ends within what may become a match, or a longer one.</summary>
    Incomplete,
}

/// <summary>An occurrence of a form: how much of the text it is, and what takes its place.</summary>
internal readonly struct ScrubMatch(int length, byte[] replacement)
{
    public int Length => length;

    public byte[] Replacement => replacement;
}

/// <summary>
/// One sequence of units that gives a credential away, and the lengths at which it is one. Each unit stands in the text as it
/// is or escaped in any of the ways of <see cref="EscapedUnit"/>, mixed freely.
/// </summary>
internal sealed class ScrubForm
{
    private readonly byte[] _units;
    private readonly End[] _ends;
    private readonly bool _base64;
    private readonly EscapedUnit.Kinds _decoded;
    private readonly bool _plain;

    /// <param name="units">The units.</param>
    /// <param name="base64">Whether the units are base64, where - and _ mean + and /.</param>
    /// <param name="ends">By rising length, the last being the units'.</param>
    /// <param name="decoded">
    /// Of the units %, \ and &amp; those that the text is taken to escape: <c>%25</c> is three units of a credential as it is,
    /// or one of an escaped one. Each combination is a form of its own, which keeps matching without branches.
    /// </param>
    public ScrubForm(byte[] units, bool base64, End[] ends, EscapedUnit.Kinds decoded = EscapedUnit.Kinds.None)
    {
        _units = units;
        _base64 = base64;
        _ends = ends;
        _decoded = decoded;
        _plain = !units.AsSpan().ContainsAny("%\\&"u8);
    }

    public ReadOnlySpan<byte> Units => _units;

    public int LongestText => _units.Length * EscapedUnit.LongestForUnit;

    /// <summary>Two forms with the same key match the same.</summary>
    public string Key => $"{Convert.ToHexString(_units)} {_base64} {_decoded}";

    /// <summary>A glance at the second byte, which saves most of the calls of <see cref="Match"/>.</summary>
    public bool MayBegin(ReadOnlySpan<byte> text) =>
        text.Length < 2 || _units.Length < 2 || EscapedUnit.Starts(text[0]) || EscapedUnit.Starts(text[1])
        || IsRaw(text[1], _units[1], out _);

    /// <summary>The bytes that stand for a unit as they are.</summary>
    public bool IsRaw(byte read, byte unit, out bool urlSafe)
    {
        urlSafe = _base64 && (unit, read) is ((byte)'+', (byte)'-') or ((byte)'/', (byte)'_');
        return read == unit || urlSafe || (!_base64 && unit == ' ' && read == '+');
    }

    /// <summary>Matches the form at the beginning of <paramref name="text"/>, as far as it goes.</summary>
    /// <param name="text">From the candidate on.</param>
    /// <param name="final">Whether nothing follows the text.</param>
    /// <param name="match">The longest end that was reached, if any.</param>
    /// <param name="comparisons">Grows by the units compared.</param>
    public MatchState Match(ReadOnlySpan<byte> text, bool final, out ScrubMatch match, ref long comparisons)
    {
        match = default;
        ReadOnlySpan<byte> units = _units;
        int unit = 0;
        int at = 0;
        int end = 0;
        bool percent = false;
        bool urlSafe = false;

        while (true)
        {
            if (_plain)
            {
                int run = units[unit..].CommonPrefixLength(text[at..]);
                unit += run;
                at += run;
                comparisons += run;
            }

            for (; end < _ends.Length && _ends[end].Length <= unit; end++)
                match = new ScrubMatch(at - (unit - _ends[end].Length), _ends[end].Replacement(urlSafe, percent));
            if (unit == units.Length) break;
            if (at == text.Length)
            {
                if (!final) return MatchState.Incomplete;
                break;
            }

            comparisons++;
            int length = Step(text[at..], units[unit..], out int matched, ref urlSafe, ref percent);
            if (length == EscapedUnit.Incomplete)
            {
                if (!final) return MatchState.Incomplete;
                break;
            }

            if (length == 0) break;
            at += length;
            unit += matched;
        }

        return match.Length > 0 ? MatchState.Found : MatchState.None;
    }

    private int Step(ReadOnlySpan<byte> text, ReadOnlySpan<byte> units, out int matched, ref bool urlSafe, ref bool percent)
    {
        matched = 1;
        byte read = text[0];
        byte unit = units[0];
        EscapedUnit.Kinds kind = EscapedUnit.KindOf(read);
        if (kind != EscapedUnit.Kinds.None && (read != unit || (_decoded & kind) != 0))
        {
            int length = EscapedUnit.Match(text, units, out matched);
            if (length <= 0 && _base64 && unit is (byte)'+' or (byte)'/')
            {
                int other = EscapedUnit.Match(text, unit == '+' ? "-"u8 : "_"u8, out _);
                urlSafe |= other > 0;
                if (other != 0) length = other;
            }

            percent |= length > 0 && read == '%';
            if (length != 0) return length;
            matched = 1;
        }

        if (!IsRaw(read, unit, out bool alternate)) return 0;
        urlSafe |= alternate;
        // A + for a space is how forms are encoded.
        percent |= unit == ' ' && read == '+';
        return 1;
    }

    /// <summary>A length at which a form is complete, and what takes its place there.</summary>
    internal sealed class End
    {
        private readonly byte[] _standard;
        private readonly byte[] _urlSafe;
        private readonly byte[] _standardInPercent;
        private readonly byte[] _urlSafeInPercent;

        /// <summary>The end of a form that is not base64.</summary>
        public End(int length, byte[] standIn)
        {
            Length = length;
            _standard = _urlSafe = standIn;
            _standardInPercent = _urlSafeInPercent = PercentEncode(standIn);
        }

        /// <summary>The end of a base64 form.</summary>
        /// <param name="length">In units.</param>
        /// <param name="standIn">In the standard alphabet.</param>
        /// <param name="toUrlSafe">Whether the URL-safe alphabet is the likelier where no character tells.</param>
        /// <param name="told">Whether the units up to here have a + or /, so that the text tells which alphabet it is in.</param>
        public End(int length, string standIn, bool toUrlSafe, bool told)
        {
            Length = length;
            _standard = System.Text.Encoding.ASCII.GetBytes(standIn);
            _urlSafe = System.Text.Encoding.ASCII.GetBytes(standIn.Replace('+', '-').Replace('/', '_'));
            if (toUrlSafe && !told) _standard = _urlSafe;
            _standardInPercent = PercentEncode(_standard);
            _urlSafeInPercent = PercentEncode(_urlSafe);
        }

        public int Length { get; }

        public byte[] Replacement(bool urlSafe, bool percent) => (urlSafe, percent) switch
        {
            (false, false) => _standard,
            (true, false) => _urlSafe,
            (false, true) => _standardInPercent,
            (true, true) => _urlSafeInPercent,
        };

        private static byte[] PercentEncode(byte[] bytes)
        {
            List<byte> text = new(bytes.Length);
            foreach (byte b in bytes)
            {
                if (char.IsAsciiLetterOrDigit((char)b) || b is (byte)'-' or (byte)'.' or (byte)'_' or (byte)'~') text.Add(b);
                else text.AddRange([(byte)'%', (byte)"0123456789ABCDEF"[b >> 4], (byte)"0123456789ABCDEF"[b & 15]]);
            }

            return [.. text];
        }
    }
}
