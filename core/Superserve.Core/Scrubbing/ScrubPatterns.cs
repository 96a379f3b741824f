using System.Buffers;
using System.Text;

namespace Superserve.Core.Scrubbing;

/// <summary>
/// What to look for in responses: every form of every credential. Immutable, so one set serves all responses at once.
/// </summary>
/// <remarks>
/// The forms: the bytes as they are; base64 in both alphabets, padded or not, alone or within a longer text; the Basic
/// credentials of the given user names; and each of these with any of its characters written as <c>%2F</c>, <c>\u002f</c>,
/// <c>\x2f</c>, <c>\/</c> or <c>&amp;#47;</c>. Leftmost wins, then longest. What takes a form's place is not looked at again.
/// </remarks>
public sealed class ScrubPatterns
{
    /// <summary>A shorter credential could be guessed, and a body with a guess replaced would tell which was right.</summary>
    public const int MinCredentialInBodies = 16;

    private const int MaxOnStack = 512;

    private readonly FormMatcher _headers;

    private ScrubPatterns(FormMatcher headers, FormMatcher bodies)
    {
        _headers = headers;
        Bodies = bodies;
    }

    /// <summary>Whether any credential is long enough to be looked for in bodies.</summary>
    public bool ScrubsBodies => !Bodies.IsEmpty;

    /// <summary>The longest text, in bytes, that is replaced in a body; 0 where none is.</summary>
    public int LongestForm => Bodies.LongestForm;

    internal FormMatcher Bodies { get; }

    /// <summary>Prepares the forms. Where two pairs have one credential, the first one's stand-in is used.</summary>
    public static ScrubPatterns Create(IEnumerable<ScrubPair> pairs)
    {
        ScrubPair[] all = [.. pairs];
        ScrubPair[] inBodies = [.. all.Where(static pair => pair.Credential.Length >= MinCredentialInBodies)];
        FormMatcher headers = new(ScrubForms.Of(all));
        return new ScrubPatterns(headers, inBodies.Length == all.Length ? headers : new FormMatcher(ScrubForms.Of(inBodies)));
    }

    /// <summary>A header's value with every form replaced; the same instance where there is none.</summary>
    /// <param name="latin1Value">One character for each byte.</param>
    public string ScrubHeader(string latin1Value)
    {
        if (_headers.IsEmpty || latin1Value.Length == 0) return latin1Value;
        byte[]? rented = null;
        Span<byte> bytes = latin1Value.Length <= MaxOnStack
            ? stackalloc byte[MaxOnStack]
            : (rented = ArrayPool<byte>.Shared.Rent(latin1Value.Length));
        bytes = bytes[..latin1Value.Length];
        // A character that is no byte is none of a credential's either; neither is NUL.
        for (int i = 0; i < bytes.Length; i++) bytes[i] = latin1Value[i] <= byte.MaxValue ? (byte)latin1Value[i] : (byte)0;
        try
        {
            return Scrub(latin1Value, bytes);
        }
        finally
        {
            bytes.Clear();
            if (rented is not null) ArrayPool<byte>.Shared.Return(rented);
        }
    }

    /// <summary>Appends a header's value with every form replaced; false where there is none.</summary>
    public bool ScrubHeader(ReadOnlySpan<byte> value, IBufferWriter<byte> output)
    {
        int copied = 0;
        int at = 0;
        long comparisons = 0;
        while (!_headers.IsEmpty && _headers.Next(value, ref at, value.Length, final: true, out ScrubMatch match, ref comparisons) == MatchState.Found)
        {
            output.Write(value[copied..at]);
            output.Write(match.Replacement);
            at += match.Length;
            copied = at;
        }

        output.Write(value[copied..]);
        return copied > 0;
    }

    /// <summary>Whether a header's name or value holds a form.</summary>
    public bool IsInHeader(ReadOnlySpan<byte> text)
    {
        int at = 0;
        long comparisons = 0;
        return !_headers.IsEmpty && _headers.Next(text, ref at, text.Length, final: true, out _, ref comparisons) == MatchState.Found;
    }

    private string Scrub(string value, ReadOnlySpan<byte> bytes)
    {
        StringBuilder? scrubbed = null;
        int copied = 0;
        int at = 0;
        long comparisons = 0;
        while (_headers.Next(bytes, ref at, bytes.Length, final: true, out ScrubMatch match, ref comparisons) == MatchState.Found)
        {
            scrubbed ??= new StringBuilder(value.Length);
            scrubbed.Append(value, copied, at - copied).Append(Encoding.Latin1.GetString(match.Replacement));
            at += match.Length;
            copied = at;
        }

        return scrubbed is null ? value : scrubbed.Append(value, copied, value.Length - copied).ToString();
    }

    /// <summary>The type's name: neither text nor length of a credential belongs in a log.</summary>
    public override string ToString() => nameof(ScrubPatterns);
}
