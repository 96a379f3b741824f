using System.Buffers;

namespace Superserve.Core.Scrubbing;

/// <summary>
/// Replaces credentials in one response body as it streams by. Bytes are held back only while they may be the beginning of a
/// form, and always fewer than <see cref="ScrubPatterns.LongestForm"/> of them. Not thread-safe.
/// </summary>
/// <remarks>
/// Replacing changes a body's length and digest: its Content-Length, Digest, ETag and range headers no longer hold.
/// Work: at each position where the first three bytes fit, the units of the forms that begin so, which stops at the first
/// difference; hence at most forms × length for a byte, and that only for a credential that repeats itself.
/// </remarks>
public sealed class BodyScrubber(ScrubPatterns patterns)
{
    private readonly FormMatcher _matcher = patterns.Bodies;
    private byte[] _pending = [];
    private int _pendingLength;
    private long _comparisons;

    /// <summary>Whether bytes are held back.</summary>
    public bool HasPending => _pendingLength > 0;

    /// <summary>How many bytes are held back.</summary>
    public int PendingLength => _pendingLength;

    /// <summary>How many forms were replaced so far.</summary>
    public long Replacements { get; private set; }

    /// <summary>How many bytes or escapes were compared with a form's: the work beyond the search for candidates.</summary>
    public long Comparisons => _comparisons;

    /// <summary>Appends what can be released of what is held back and of the input, with every form replaced.</summary>
    public void Write(ReadOnlySpan<byte> input, IBufferWriter<byte> output)
    {
        if (_matcher.IsEmpty)
        {
            output.Write(input);
            return;
        }

        if (_pendingLength > 0 && !input.IsEmpty)
        {
            // What begins in the pending bytes ends within a longest form's length after them.
            int before = _pendingLength;
            Hold(input[..Math.Min(input.Length, _matcher.LongestForm)]);
            int released = Scrub(_pending.AsSpan(0, _pendingLength), before, final: false, output);
            if (released < before)
            {
                // Undecided, so all of the input is in there.
                _pending.AsSpan(released, _pendingLength - released).CopyTo(_pending);
                _pendingLength -= released;
                return;
            }

            _pendingLength = 0;
            input = input[(released - before)..];
        }

        Hold(input[Scrub(input, input.Length, final: false, output)..]);
    }

    /// <summary>Ends the body: releases what is still held back.</summary>
    public void Complete(IBufferWriter<byte> output)
    {
        Scrub(_pending.AsSpan(0, _pendingLength), _pendingLength, final: true, output);
        _pendingLength = 0;
        Array.Clear(_pending);
    }

    /// <summary>Releases the text up to the limit, to where a form is undecided, or past one that began before it.</summary>
    private int Scrub(ReadOnlySpan<byte> text, int limit, bool final, IBufferWriter<byte> output)
    {
        int at = 0;
        while (true)
        {
            int from = at;
            MatchState state = _matcher.Next(text, ref at, limit, final, out ScrubMatch match, ref _comparisons);
            output.Write(text[from..at]);
            if (state != MatchState.Found) return at;
            output.Write(match.Replacement);
            Replacements++;
            at += match.Length;
            if (at >= limit) return at;
        }
    }

    private void Hold(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty) return;
        int needed = _pendingLength + bytes.Length;
        if (needed > _pending.Length)
            Array.Resize(ref _pending, Math.Max(needed, Math.Min(2 * needed, 2 * _matcher.LongestForm)));
        bytes.CopyTo(_pending.AsSpan(_pendingLength));
        _pendingLength = needed;
    }

    /// <summary>The type's name: the pending bytes may be a credential's.</summary>
    public override string ToString() => nameof(BodyScrubber);
}
