using Superserve.Operator.Resources;

namespace Superserve.Operator.Bindings;

/// <summary>Kubernetes' rules for label selectors.</summary>
public static class LabelSelectors
{
    /// <summary>
    /// Whether labels match a selector. One that says nothing matches nothing: it would make every pod a sandbox, and the API server
    /// refuses it.
    /// </summary>
    public static bool Matches(this LabelSelector? selector, IEnumerable<KeyValuePair<string, string>>? labels)
    {
        if (selector is not ({ MatchLabels.Count: > 0 } or { MatchExpressions.Count: > 0 })) return false;
        Dictionary<string, string> known = labels is null ? [] : new(labels, StringComparer.Ordinal);
        return (selector.MatchLabels ?? new Dictionary<string, string>()).All(wanted => known.TryGetValue(wanted.Key, out string? value) && value == wanted.Value)
            && (selector.MatchExpressions ?? []).All(expression => Matches(expression, known));
    }

    private static bool Matches(LabelExpression expression, Dictionary<string, string> labels)
    {
        string? value = expression.Key is null ? null : labels.GetValueOrDefault(expression.Key);
        bool isListed = value is not null && expression.Values?.Contains(value, StringComparer.Ordinal) == true;
        return expression.Operator switch
        {
            "In" => isListed,
            // As everywhere in Kubernetes, what has no such label is not in the list.
            "NotIn" => !isListed,
            "Exists" => value is not null,
            "DoesNotExist" => value is null,
            _ => false,
        };
    }
}
