namespace Superserve.ApiServer.Selectors;

/// <summary>Which labels an object must have: the query's text form, and the form inside of objects.</summary>
internal sealed class LabelSelector
{
    private readonly List<Requirement> _requirements = [];

    public static LabelSelector Everything { get; } = new();

    public bool IsEmpty => _requirements.Count == 0;

    /// <summary>Reads <c>a=b,c!=d,e in (f,g),h,!i</c>.</summary>
    public static LabelSelector Parse(string? text)
    {
        LabelSelector selector = new();
        foreach (string part in Split(text ?? ""))
        {
            selector._requirements.Add(ParseRequirement(part));
        }

        return selector;
    }

    /// <summary>Reads matchLabels and matchExpressions.</summary>
    public static LabelSelector Of(JsonObject? value)
    {
        LabelSelector selector = new();
        foreach ((string name, JsonNode? label) in value.Object("matchLabels") ?? []) selector._requirements.Add(new Requirement(name, "In", [label.Text() ?? ""]));
        foreach (JsonObject expression in value.Objects("matchExpressions"))
        {
            selector._requirements.Add(new Requirement(expression.Text("key") ?? "", expression.Text("operator") ?? "", expression.Texts("values")));
        }

        return selector;
    }

    public bool Matches(JsonNode? value) => MatchesLabels(value.Object("metadata", "labels"));

    public bool MatchesLabels(JsonObject? labels) => _requirements.All(requirement => requirement.Matches(labels.Text(requirement.Key)));

    private static Requirement ParseRequirement(string part)
    {
        if (part.StartsWith('!')) return new Requirement(part[1..].Trim(), "DoesNotExist", []);
        int open = part.IndexOf('(', StringComparison.Ordinal);
        if (open >= 0 && part.EndsWith(')'))
        {
            string[] words = part[..open].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words is not [var key, "in" or "notin"]) throw Unparsable(part);
            return new Requirement(key, words[1] == "in" ? "In" : "NotIn", [.. part[(open + 1)..^1].Split(',').Select(value => value.Trim())]);
        }

        foreach ((string sign, string name) in new[] { ("!=", "NotIn"), ("==", "In"), ("=", "In") })
        {
            int at = part.IndexOf(sign, StringComparison.Ordinal);
            if (at > 0) return new Requirement(part[..at].Trim(), name, [part[(at + sign.Length)..].Trim()]);
        }

        if (part.Contains(' ')) throw Unparsable(part);
        return new Requirement(part, "Exists", []);
    }

    private static IEnumerable<string> Split(string text)
    {
        int depth = 0;
        int start = 0;
        for (int index = 0; index <= text.Length; index++)
        {
            char c = index < text.Length ? text[index] : ',';
            if (c == '(') depth++;
            if (c == ')') depth--;
            if (c != ',' || (depth > 0 && index < text.Length)) continue;
            string part = text[start..index].Trim();
            start = index + 1;
            if (part.Length > 0) yield return part;
        }
    }

    private static ApiException Unparsable(string part) => ApiErrors.BadRequest($"unable to parse requirement: {part}");

    private sealed record Requirement(string Key, string Operator, IReadOnlyList<string> Values)
    {
        public bool Matches(string? label) => Operator switch
        {
            "In" => label is not null && Values.Contains(label),
            "NotIn" => label is null || !Values.Contains(label),
            "Exists" => label is not null,
            "DoesNotExist" => label is null,
            _ => false,
        };
    }
}
