using System.Diagnostics.CodeAnalysis;

namespace Superserve.Core.Requests;

/// <summary>
/// A path pattern: <c>*</c> stands for any characters within one segment, <c>**</c> as a whole segment for any number of
/// segments, none included; all else is literal and case-sensitive.
/// </summary>
public sealed record PathGlob
{
    private const int MaxLength = 1024;

    private readonly string[] _segments;

    private PathGlob(string text)
    {
        Text = text;
        _segments = text[1..].Split('/');
    }

    /// <summary>The pattern as it was written.</summary>
    public string Text { get; }

    /// <summary>Reads a pattern; on failure <paramref name="error"/> says what to change.</summary>
    public static bool TryParse(string? text, [NotNullWhen(true)] out PathGlob? glob, [NotNullWhen(false)] out string? error)
    {
        glob = null;
        error = null;
        if (text is not ['/', ..]) error = "a path starts with '/', as /repos/acme/**";
        else if (text.Length > MaxLength) error = $"a path is longer than {MaxLength} characters";
        else if (text.AsSpan().IndexOfAny("?#") >= 0) error = "a path holds no '?' or '#': rules see the path without the query";
        else if (!RequestPath.TryNormalize(text, out string normalized) || normalized != text)
            error = "the path has dot segments, empty segments, a backslash or escapes that are not in normal form; write it as the service's documentation does";
        else
        {
            PathGlob parsed = new(text);
            foreach (string segment in parsed._segments)
            {
                if (segment != "**" && segment.Contains("**", StringComparison.Ordinal))
                    error = "'**' stands alone between slashes, as /repos/**; within a segment write '*'";
            }

            if (error is null) glob = parsed;
        }

        return glob is not null;
    }

    /// <summary>Whether a normalized path matches (see <see cref="RequestPath.TryNormalize"/>).</summary>
    public bool Matches(string path) => path.StartsWith('/') && Match(_segments, path[1..].Split('/'), ignoreCase: false);

    /// <summary>Whether one reading of a path matches, without case.</summary>
    public bool MatchesReading(ReadOnlySpan<string> segments) => Match(_segments, segments, ignoreCase: true);

    /// <summary>
    /// Whether this pattern spells out every literal segment of another one, in order: <c>/repos/acme/*/keys</c> and
    /// <c>/repos/**/keys</c> name <c>/repos/*/*/keys</c>, <c>/repos/**</c> does not.
    /// </summary>
    public bool Names(PathGlob other) => Names(_segments, other._segments);

    private static bool Names(ReadOnlySpan<string> rule, ReadOnlySpan<string> endpoint)
    {
        // A slash at the end names the same endpoint: readings drop empty segments.
        if (endpoint.IsEmpty) return !rule.ContainsAnyExcept("**", "");
        if (endpoint[0] == "**")
        {
            for (int skip = 0; skip <= rule.Length; skip++)
                if (Names(rule[skip..], endpoint[1..])) return true;
            return false;
        }

        if (rule.IsEmpty) return false;
        // A wildcard of the rule stands for wildcards of the endpoint, never for a segment that has letters.
        if (rule[0] == "**") return Names(rule[1..], endpoint) || (endpoint[0] == "*" && Names(rule, endpoint[1..]));
        return (endpoint[0] == "*" || IsSame(rule[0], endpoint[0], isLast: rule.Length == 1)) && Names(rule[1..], endpoint[1..]);

        // Readings drop a suffix, so "/keys.json" names "/keys" as well.
        static bool IsSame(string segment, string other, bool isLast) =>
            string.Equals(segment, other, StringComparison.OrdinalIgnoreCase)
            || (isLast && segment.LastIndexOf('.') is > 0 and int dot && string.Equals(segment[..dot], other, StringComparison.OrdinalIgnoreCase));
    }

    private static bool Match(ReadOnlySpan<string> pattern, ReadOnlySpan<string> path, bool ignoreCase) =>
        MatchGlob(pattern, path, static segment => segment == "**",
            ignoreCase ? static (glob, segment) => MatchSegment(glob, segment, ignoreCase: true) : static (glob, segment) => MatchSegment(glob, segment, ignoreCase: false));

    private static bool MatchSegment(ReadOnlySpan<char> pattern, ReadOnlySpan<char> text, bool ignoreCase) =>
        MatchGlob(pattern, text, static c => c == '*',
            ignoreCase ? static (a, b) => char.ToLowerInvariant(a) == char.ToLowerInvariant(b) : static (a, b) => a == b);

    /// <summary>
    /// The usual glob with two pointers and one remembered star: no pattern makes a match slower than pattern × text.
    /// </summary>
    private static bool MatchGlob<T>(ReadOnlySpan<T> pattern, ReadOnlySpan<T> text, Func<T, bool> isStar, Func<T, T, bool> matches)
    {
        int p = 0, t = 0, star = -1, mark = 0;
        while (t < text.Length)
        {
            if (p < pattern.Length && isStar(pattern[p]))
            {
                star = p++;
                mark = t;
            }
            else if (p < pattern.Length && matches(pattern[p], text[t]))
            {
                p++;
                t++;
            }
            else if (star >= 0)
            {
                p = star + 1;
                t = ++mark;
            }
            else return false;
        }

        while (p < pattern.Length && isStar(pattern[p])) p++;
        return p == pattern.Length;
    }

    /// <summary>The pattern as it was written.</summary>
    public override string ToString() => Text;
}
