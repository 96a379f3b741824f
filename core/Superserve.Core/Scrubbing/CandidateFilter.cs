using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace Superserve.Core.Scrubbing;

/// <summary>
/// Finds the positions of a text where a form may begin, by the three bytes there, sixteen positions at a time. A row says
/// which bytes may stand at each of the three places and owns one of eight bits; a position is a candidate where a row's bit
/// is set for all three. The vectors look up the two halves of a byte apart, so they let some more pass; the tables after
/// them are exact. (The method is known as Teddy, from Hyperscan.)
/// </summary>
internal sealed class CandidateFilter
{
    private const int Places = 3;
    private const string Escapes = "%\\&";

    // Bits 0 to 3 are those of the forms as they are. The escapes have bits of their own, so that the many \n, \" and \u4f60 of
    // ordinary JSON do not pass.
    private const int RawBits = 4;
    private const int RawThenEscapeBit = 4;
    private const int PercentBit = 5;
    private const int UnicodeBit = 6;
    private const int OtherEscapeBit = 7;

    private readonly byte[][] _tables = [new byte[256], new byte[256], new byte[256]];
    private readonly Vector128<byte> _low0, _low1, _low2, _high0, _high1, _high2;

    public CandidateFilter(ReadOnlySpan<ScrubForm> forms)
    {
        // Neighbours in this order share their first bytes, so that sharing a bit lets little more pass.
        ScrubForm[] sorted = [.. forms];
        Array.Sort(sorted, static (a, b) => a.Units.SequenceCompareTo(b.Units));
        for (int i = 0; i < sorted.Length; i++) Add(sorted[i], i * RawBits / sorted.Length);
        (_low0, _high0) = Halves(_tables[0]);
        (_low1, _high1) = Halves(_tables[1]);
        (_low2, _high2) = Halves(_tables[2]);
    }

    /// <summary>
    /// The first candidate at or after <paramref name="at"/>. Where there is none before the limit, the limit, or a later
    /// position up to which there is none.
    /// </summary>
    public int Next(ReadOnlySpan<byte> text, int at, int limit)
    {
        // Asked by name: compiled ahead of time, Vector128.Shuffle is no instruction on x64, where SSSE3 may be missing.
        bool found = false;
        if (Ssse3.IsSupported) found = Search<X64>(text, ref at, limit);
        else if (AdvSimd.Arm64.IsSupported) found = Search<Arm64>(text, ref at, limit);
        if (found) return at;

        for (; at < limit; at++)
            if (IsCandidate(text, at)) return at;
        return limit;
    }

    private bool Search<TLookup>(ReadOnlySpan<byte> text, ref int at, int limit) where TLookup : struct, ILookup
    {
        ref byte start = ref MemoryMarshal.GetReference(text);
        Vector128<byte> low0 = _low0, low1 = _low1, low2 = _low2, high0 = _high0, high1 = _high1, high2 = _high2;
        int last = Math.Min(limit - 1, text.Length - (Vector128<byte>.Count + Places - 1));
        int from = at;
        for (; from <= last; from += Vector128<byte>.Count)
        {
            // In bounds: the third load ends where the text does, at the latest.
            Vector128<byte> rows = Rows<TLookup>(Vector128.LoadUnsafe(ref start, (nuint)from), low0, high0)
                & Rows<TLookup>(Vector128.LoadUnsafe(ref start, (nuint)from + 1), low1, high1)
                & Rows<TLookup>(Vector128.LoadUnsafe(ref start, (nuint)from + 2), low2, high2);
            if (rows == Vector128<byte>.Zero) continue;

            uint lanes = ~Vector128.Equals(rows, Vector128<byte>.Zero).ExtractMostSignificantBits() & 0xffff;
            for (; lanes != 0; lanes &= lanes - 1)
            {
                at = from + BitOperations.TrailingZeroCount(lanes);
                if (IsCandidate(text, at)) return true;
            }
        }

        at = Math.Min(from, limit);
        return false;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> Rows<TLookup>(Vector128<byte> bytes, Vector128<byte> low, Vector128<byte> high)
        where TLookup : struct, ILookup =>
        TLookup.Of(low, bytes & Vector128.Create((byte)15)) & TLookup.Of(high, Vector128.ShiftRightLogical(bytes, 4));

    private bool IsCandidate(ReadOnlySpan<byte> text, int at)
    {
        int rows = _tables[0][text[at]];
        // What lies beyond the end may be anything yet.
        if (at + 1 < text.Length) rows &= _tables[1][text[at + 1]];
        if (at + 2 < text.Length) rows &= _tables[2][text[at + 2]];
        return rows != 0;
    }

    private void Add(ScrubForm form, int bit)
    {
        ReadOnlySpan<byte> units = form.Units;
        string first = Raw(form, 0)!;

        // As it is, and what follows as it is or escaped.
        AddRow(first, Raw(form, 1), Raw(form, 2) is { } third ? third + Escapes : null, bit);
        if (units.Length > 1) EscapedUnit.ForEachRow(units[1..], row => AddRow(first, row.First, row.Second, RawThenEscapeBit));

        // Escaped from the first unit on.
        foreach (char read in first)
        {
            ReadOnlySpan<byte> meant = read == units[0] ? units : [(byte)read];
            EscapedUnit.ForEachRow(meant, row => AddRow(
                row.First,
                row.Second,
                row.Third,
                (row.First, row.Second) switch { ("%", _) => PercentBit, ("\\", "u") => UnicodeBit, _ => OtherEscapeBit }));
        }
    }

    /// <summary>The bytes, as Latin-1, that stand for a unit as they are; null past the form's end, for any byte.</summary>
    private static string? Raw(ScrubForm form, int place) => place >= form.Units.Length
        ? null
        : string.Concat(Enumerable.Range(0, 256).Where(b => form.IsRaw((byte)b, form.Units[place], out _)).Select(b => (char)b));

    private void AddRow(string first, string? second, string? third, int bit)
    {
        Set(0, first, bit);
        Set(1, second, bit);
        Set(2, third, bit);
    }

    private void Set(int place, string? values, int bit)
    {
        for (int b = 0; b <= byte.MaxValue; b++)
            if (values is null || values.Contains((char)b)) _tables[place][b] |= (byte)(1 << bit);
    }

    private static (Vector128<byte> Low, Vector128<byte> High) Halves(byte[] table)
    {
        Span<byte> low = stackalloc byte[16];
        Span<byte> high = stackalloc byte[16];
        low.Clear();
        high.Clear();
        for (int b = 0; b < table.Length; b++)
        {
            low[b & 15] |= table[b];
            high[b >> 4] |= table[b];
        }

        return (Vector128.Create<byte>(low), Vector128.Create<byte>(high));
    }

    /// <summary>Sixteen look-ups in a table of sixteen.</summary>
    private interface ILookup
    {
        static abstract Vector128<byte> Of(Vector128<byte> table, Vector128<byte> indices);
    }

    private readonly struct X64 : ILookup
    {
        public static Vector128<byte> Of(Vector128<byte> table, Vector128<byte> indices) => Ssse3.Shuffle(table, indices);
    }

    private readonly struct Arm64 : ILookup
    {
        public static Vector128<byte> Of(Vector128<byte> table, Vector128<byte> indices) =>
            AdvSimd.Arm64.VectorTableLookup(table, indices);
    }
}
