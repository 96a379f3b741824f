using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Superserve.Protocol.Audit;

namespace Superserve.Operator.AuditApi;

/// <summary>What a request selects rows by. The API server passes field selectors on unread, so all of them is checked in here.</summary>
/// <param name="Filters">What the audit service filters by.</param>
/// <param name="Since">The window's begin, where one is named.</param>
/// <param name="Before">The window's end, where one is named.</param>
/// <param name="Name">One row alone.</param>
/// <param name="Namespaces">The namespaces that are named; a row is in one.</param>
internal sealed partial record FieldSelectors(IReadOnlyList<Filter> Filters, DateTimeOffset? Since, DateTimeOffset? Before, string? Name, IReadOnlyList<string> Namespaces)
{
    private const int MaxLength = 4096, MaxTerms = 16, MaxValue = 253;

    private static readonly string[] Times = ["since", "before"];

    /// <summary>Reads the parameter <c>fieldSelector</c>, with Kubernetes' own grammar.</summary>
    /// <exception cref="AuditApiException">It is none that this resource has.</exception>
    public static FieldSelectors Read(AuditResource resource, string text, DateTimeOffset now)
    {
        if (text.Length > MaxLength) throw Refuse(resource, $"it has more than {MaxLength} characters");
        List<Filter> filters = [];
        List<string> namespaces = [];
        DateTimeOffset? since = null, before = null;
        string? name = null;
        List<string> terms = Terms(text);
        if (terms.Count > MaxTerms) throw Refuse(resource, $"it has more than {MaxTerms} terms");
        foreach (string term in terms)
        {
            (string field, string value, bool negated) = Split(resource, term);
            if (value.Length is 0 or > MaxValue) throw Refuse(resource, $"the value of {field} is {(value.Length == 0 ? "empty" : $"longer than {MaxValue} characters")}");
            if (resource.Selectors.TryGetValue(field, out Selectable? selectable))
            {
                if (selectable.Field == Field.Host) value = value.ToLowerInvariant();
                if (selectable.Values?.Contains(value) == false) throw Refuse(resource, $"{field} is one of {string.Join(", ", selectable.Values)}, and not {Quoted(value)}");
                filters.Add(new Filter { Field = selectable.Field, Value = value, Negated = negated });
                continue;
            }

            if (negated) throw Refuse(resource, $"{Quoted(field)} cannot be used with !=");
            switch (field)
            {
                case "since":
                    since = Later(since, Moment(resource, field, value, now));
                    break;
                case "before":
                    before = Earlier(before, Moment(resource, field, value, now));
                    break;
                case "metadata.namespace":
                    namespaces.Add(value);
                    break;
                case "metadata.name":
                    if (!RowName().IsMatch(value)) throw Refuse(resource, $"{Quoted(value)} is no name of a row");
                    name = value;
                    break;
                default:
                    throw Refuse(resource, $"there is no field {Quoted(field)}");
            }
        }

        if (name is not null && (filters.Count > 0 || since is not null || before is not null))
            throw Refuse(resource, "metadata.name names one row, and nothing but metadata.namespace stands beside it");
        if (since >= before) throw Refuse(resource, "since is not before before, and nothing lies between");
        return new FieldSelectors(filters, since, before, name, namespaces);
    }

    private static DateTimeOffset? Later(DateTimeOffset? known, DateTimeOffset next) => known > next ? known : next;

    private static DateTimeOffset? Earlier(DateTimeOffset? known, DateTimeOffset next) => known < next ? known : next;

    /// <summary>The terms between commas; one that a backslash stands before is part of a value.</summary>
    private static List<string> Terms(string text)
    {
        List<string> terms = [];
        int start = 0;
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '\\') i++;
            else if (text[i] == ',')
            {
                if (i > start) terms.Add(text[start..i]);
                start = i + 1;
            }
        }

        if (start < text.Length) terms.Add(text[start..]);
        return terms;
    }

    private static (string Field, string Value, bool Negated) Split(AuditResource resource, string term)
    {
        int at = term.IndexOf('=', StringComparison.Ordinal);
        if (at < 0) throw Refuse(resource, $"{Quoted(term)} has no =; write field=value, or field!=value");
        bool negated = at > 0 && term[at - 1] == '!';
        bool doubled = !negated && at + 1 < term.Length && term[at + 1] == '=';
        string field = term[..(negated ? at - 1 : at)].Trim();
        return (field, Unescape(resource, term[(doubled ? at + 2 : at + 1)..]), negated);
    }

    private static string Unescape(AuditResource resource, string value)
    {
        StringBuilder plain = new();
        for (int i = 0; i < value.Length; i++)
        {
            char c = value[i];
            if (c is '=' or ',' || char.IsControl(c)) throw Refuse(resource, $"{Quoted(value)} holds a control character, or a = or , without a backslash");
            if (c == '\\' && (++i == value.Length || (c = value[i]) is not ('\\' or ',' or '='))) throw Refuse(resource, $"{Quoted(value)} has a backslash before what needs none");
            plain.Append(c);
        }

        return plain.ToString();
    }

    /// <summary>RFC 3339, or how long ago.</summary>
    private static DateTimeOffset Moment(AuditResource resource, string field, string value, DateTimeOffset now)
    {
        if (Ago().Match(value) is { Success: true } ago)
        {
            long number = long.Parse(ago.Groups[1].ValueSpan, CultureInfo.InvariantCulture);
            long seconds = number * ago.Groups[2].ValueSpan[0] switch { 's' => 1, 'm' => 60, 'h' => 3600, 'd' => 86_400, _ => 7 * 86_400 };
            return seconds < now.ToUnixTimeSeconds() ? now.AddSeconds(-seconds) : DateTimeOffset.UnixEpoch;
        }

        if (Rfc3339().IsMatch(value) && DateTimeOffset.TryParse(value, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset moment)
            && moment >= DateTimeOffset.UnixEpoch) return moment;
        throw Refuse(resource, $"{field} is a time as 2026-01-31T13:00:00Z, or how long ago as 30m, 12h or 7d, and not {Quoted(value)}");
    }

    private static AuditApiException Refuse(AuditResource resource, string what) => AuditApiException.BadRequest(
        $"the field selector cannot be used: {what}. {resource.Kind.Plural} can be selected by {string.Join(", ", resource.Selectors.Keys)} (with = and !=), {string.Join(", ", Times)}, metadata.name and metadata.namespace (with =)");

    private static string Quoted(string text)
    {
        string shown = text.Length > 64 ? text[..64] + "..." : text;
        return $"\"{string.Concat(shown.Select(c => char.IsControl(c) ? '?' : c))}\"";
    }

    [GeneratedRegex("^([0-9]{1,9})(s|m|h|d|w)$", RegexOptions.CultureInvariant)]
    private static partial Regex Ago();

    [GeneratedRegex(@"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$", RegexOptions.CultureInvariant)]
    private static partial Regex Rfc3339();

    /// <summary>As the audit service makes names.</summary>
    [GeneratedRegex("^[a-z0-9]{1,253}$", RegexOptions.CultureInvariant)]
    internal static partial Regex RowName();
}
