using System.Collections.Immutable;
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
        // Asked of every pod of a namespace: nothing is copied.
        foreach ((string key, string wanted) in selector.MatchLabels ?? ImmutableDictionary<string, string>.Empty)
            if (ValueOf(labels, key) != wanted) return false;
        foreach (LabelExpression expression in selector.MatchExpressions ?? [])
            if (!Matches(expression, labels)) return false;
        return true;
    }

    private static string? ValueOf(IEnumerable<KeyValuePair<string, string>>? labels, string key) => labels switch
    {
        null => null,
        IDictionary<string, string> dictionary => dictionary.TryGetValue(key, out string? value) ? value : null,
        IReadOnlyDictionary<string, string> dictionary => dictionary.GetValueOrDefault(key),
        _ => labels.FirstOrDefault(label => label.Key == key).Value,
    };

    private static bool Matches(LabelExpression expression, IEnumerable<KeyValuePair<string, string>>? labels)
    {
        string? value = expression.Key is null ? null : ValueOf(labels, expression.Key);
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
