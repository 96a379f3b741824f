namespace Superserve.Core.Scrubbing;

/// <summary>
/// Finds the leftmost occurrence of any form in a text, and of those that begin there the longest. At one position it compares
/// at most the units of the forms that begin with its byte.
/// </summary>
internal sealed class FormMatcher
{
    private readonly ScrubForm[] _forms;
    private readonly ScrubForm[][] _byFirst = new ScrubForm[256][];
    private readonly CandidateFilter _filter;

    public FormMatcher(ScrubForm[] forms)
    {
        _forms = forms;
        _filter = new CandidateFilter(forms);
        for (int first = 0; first < _byFirst.Length; first++)
        {
            byte read = (byte)first;
            _byFirst[first] = [.. forms.Where(form => form.IsRaw(read, form.Units[0], out _))];
        }

        LongestForm = forms.Length == 0 ? 0 : forms.Max(static form => form.LongestText);
    }

    /// <summary>The longest text that a form can be, every unit escaped.</summary>
    public int LongestForm { get; }

    public bool IsEmpty => _forms.Length == 0;

    /// <summary>Looks for the first occurrence that begins before the limit.</summary>
    /// <param name="text">The text; past the limit only what an occurrence before it may reach.</param>
    /// <param name="at">Where to begin; then where the occurrence is or may be; at or past the limit where there is none.</param>
    /// <param name="limit">At most the text's length.</param>
    /// <param name="final">Whether nothing follows the text.</param>
    /// <param name="match">The occurrence.</param>
    /// <param name="comparisons">Grows by the units compared.</param>
    public MatchState Next(ReadOnlySpan<byte> text, ref int at, int limit, bool final, out ScrubMatch match, ref long comparisons)
    {
        match = default;
        for (at = _filter.Next(text, at, limit); at < limit; at = _filter.Next(text, at + 1, limit))
        {
            ReadOnlySpan<byte> rest = text[at..];
            byte first = rest[0];
            bool incomplete = Longest(_byFirst[first], rest, final, ref match, ref comparisons);
            if (EscapedUnit.Starts(first))
            {
                int meant = EscapedUnit.LeadByte(rest);
                // At the end of the text any form may begin with it.
                if (meant == EscapedUnit.Incomplete)
                    incomplete |= Longest(_forms, rest, final, ref match, ref comparisons);
                else if (meant != EscapedUnit.None && meant != first)
                    incomplete |= Longest(_byFirst[meant], rest, final, ref match, ref comparisons);
            }

            if (incomplete) return MatchState.Incomplete;
            if (match.Length > 0) return MatchState.Found;
        }

        return MatchState.None;
    }

    /// <summary>Keeps the longest match of the forms; says whether any is undecided.</summary>
    private static bool Longest(
        ScrubForm[] forms,
        ReadOnlySpan<byte> text,
        bool final,
        ref ScrubMatch match,
        ref long comparisons)
    {
        bool incomplete = false;
        foreach (ScrubForm form in forms)
        {
            if (!form.MayBegin(text)) continue;
            MatchState state = form.Match(text, final, out ScrubMatch found, ref comparisons);
            incomplete |= state == MatchState.Incomplete;
            if (state == MatchState.Found && found.Length > match.Length) match = found;
        }

        return incomplete;
    }
}
