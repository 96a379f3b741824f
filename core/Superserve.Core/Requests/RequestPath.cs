using System.Text;
using Superserve.Core.Authentication;

namespace Superserve.Core.Requests;

/// <summary>
/// Paths as rules see them. Servers differ in what they do with dot segments, encoded slashes and the like, so an allow rule
/// refuses to judge a path that two servers could read differently, and a deny rule judges every reading.
/// </summary>
public static class RequestPath
{
    /// <summary>The target's part ahead of '?'.</summary>
    public static ReadOnlySpan<char> OfTarget(ReadOnlySpan<char> target)
    {
        int query = target.IndexOf('?');
        return query < 0 ? target : target[..query];
    }

    /// <summary>
    /// The path with unreserved characters decoded and other escapes in upper case; false where it has dot segments, empty
    /// segments, encoded or reversed slashes, control characters, or escapes that are broken or nested.
    /// </summary>
    public static bool TryNormalize(ReadOnlySpan<char> path, out string normalized)
    {
        normalized = "";
        if (path is not ['/', ..]) return false;
        StringBuilder text = new(path.Length);
        int segment = 0;
        for (int i = 0; i < path.Length;)
        {
            char raw = path[i];
            int at = i;
            char c = Percent.Next(path, ref i);
            bool escaped = i - at == 3;
            if (raw == '%' && !escaped) return false;
            // 0xC0 and 0xC1 begin overlong UTF-8, in which some decoders see a dot or a slash.
            if (escaped && c is '\xC0' or '\xC1') return false;
            if (c is < ' ' or '\x7f' or '\\' || (c == '/' && escaped) || raw == '#') return false;
            if (c == '%' && IsEscapeOfStructure(path[i..])) return false;
            if (c == '/')
            {
                if (at > 0 && IsAmbiguous(text.ToString(segment, text.Length - segment), last: false)) return false;
                text.Append('/');
                segment = text.Length;
            }
            else if (escaped && !Percent.IsUnreserved(c)) text.Append(path[at..i].ToString().ToUpperInvariant());
            else text.Append(c);
        }

        if (IsAmbiguous(text.ToString(segment, text.Length - segment), last: true)) return false;
        normalized = text.ToString();
        return true;

        // "%252e" is a dot, "%252f" a slash for a server that decodes twice; "%25%32%65" is a way to write the first.
        static bool IsEscapeOfStructure(ReadOnlySpan<char> rest) =>
            Percent.Decode(rest[..Math.Min(rest.Length, 6)]) is [var high, var low, ..]
            && (high, char.ToLowerInvariant(low)) is ('2', 'e' or 'f' or '3' or '5') or ('3', 'b' or 'f') or ('5', 'c') or ('0', '0');

        static bool IsAmbiguous(ReadOnlySpan<char> segment, bool last)
        {
            // Some servers take "..;x" for ".." (path parameters), some after a proxy decoded "..%3Bx".
            int parameters = segment.IndexOf(';');
            int escaped = segment.IndexOf("%3B", StringComparison.Ordinal);
            if (escaped >= 0 && (parameters < 0 || escaped < parameters)) parameters = escaped;
            if (parameters >= 0) segment = segment[..parameters];
            // Windows drops spaces at a name's end.
            while (segment.EndsWith("%20", StringComparison.Ordinal)) segment = segment[..^3];
            return segment is "." or ".." || (segment.IsEmpty && (!last || parameters >= 0));
        }
    }

    /// <summary>
    /// The readings of a path that a server may have, each as segments in lower case: dot segments resolved, empty segments and
    /// path parameters dropped, escapes decoded twice, a suffix as <c>.json</c> dropped; once with encoded slashes as slashes and
    /// once not; once whole and once cut where a server may see the query, a fragment or a string's end begin.
    /// </summary>
    public static IEnumerable<string[]> Readings(ReadOnlySpan<char> path)
    {
        string kept = KeepEncodedSlashes(path.ToString());
        string once = Percent.Decode(path);
        string twice = Percent.Decode(once);
        return Variants(kept, once, twice, Cut(kept), Cut(once), Cut(twice));

        static IEnumerable<string[]> Variants(params string[] texts)
        {
            foreach (string text in texts)
            {
                List<string> segments = Resolve(text);
                yield return [.. segments];
                if (segments.Count == 0) continue;
                string last = segments[^1];
                int dot = last.LastIndexOf('.');
                if (dot > 0) yield return [.. segments[..^1], last[..dot]];
            }
        }

        static string Cut(string text) => text.AsSpan().IndexOfAny("?#\0") is >= 0 and int end ? text[..end] : text;

        static string KeepEncodedSlashes(string text) =>
            Percent.Decode(text.Replace("%2f", "%252f", StringComparison.OrdinalIgnoreCase).Replace("%5c", "%255c", StringComparison.OrdinalIgnoreCase));

        static List<string> Resolve(string text)
        {
            List<string> segments = [];
            foreach (string raw in text.Split('/', '\\'))
            {
                int parameters = raw.IndexOf(';');
                string segment = (parameters >= 0 ? raw[..parameters] : raw).Trim().ToLowerInvariant();
                if (segment is "" or ".") continue;
                if (segment is not "..") segments.Add(segment);
                else if (segments.Count > 0) segments.RemoveAt(segments.Count - 1);
            }

            return segments;
        }
    }
}
