using System.Text.RegularExpressions;
using Superserve.Core.Secrets;
using Superserve.Operator.Resources;

namespace Superserve.Operator.Admission;

/// <summary>Kubernetes' rules for how a label selector is written. One that breaks them selects nothing, without a word.</summary>
internal static partial class SelectorSyntax
{
    private const int MaxPrefixLength = 253;

    private const string KeyForm = "letters, digits, '-', '_' and '.', at most 63, with a letter or digit at both ends, as app or example.com/team";
    private const string ValueForm = "letters, digits, '-', '_' and '.', at most 63, with a letter or digit at both ends, or nothing";

    /// <summary>Adds each mistake with the path of its field and what to change.</summary>
    public static void Check(LabelSelector? selector, string path, ICollection<SpecError> errors)
    {
        if (selector is not ({ MatchLabels.Count: > 0 } or { MatchExpressions.Count: > 0 }))
        {
            errors.Add(new(path, "an empty selector would make every pod of the namespace a sandbox; write matchLabels or matchExpressions"));
            return;
        }

        foreach ((string key, string value) in selector.MatchLabels ?? new Dictionary<string, string>())
        {
            if (!IsKey(key)) errors.Add(new(path + ".matchLabels", $"'{key}' is not a label's key; write {KeyForm}"));
            if (!IsValue(value)) errors.Add(new($"{path}.matchLabels[{key}]", $"'{value}' is not a label's value; write {ValueForm}"));
        }

        for (int i = 0; i < selector.MatchExpressions?.Count; i++) Check(selector.MatchExpressions[i], $"{path}.matchExpressions[{i}]", errors);
    }

    private static void Check(LabelExpression? expression, string path, ICollection<SpecError> errors)
    {
        if (expression is null)
        {
            errors.Add(new(path, "there is no condition here, only null; remove it"));
            return;
        }

        if (!IsKey(expression.Key)) errors.Add(new(path + ".key", $"'{expression.Key}' is not a label's key; write {KeyForm}"));
        bool hasValues = expression.Values is { Count: > 0 };
        bool needsValues = expression.Operator is "In" or "NotIn";
        if (!needsValues && expression.Operator is not ("Exists" or "DoesNotExist")) errors.Add(new(path + ".operator", "write In, NotIn, Exists or DoesNotExist"));
        else if (needsValues && !hasValues) errors.Add(new(path + ".values", $"{expression.Operator} needs values; write at least one"));
        else if (!needsValues && hasValues) errors.Add(new(path + ".values", $"{expression.Operator} has no values; remove them, or write In or NotIn"));
        for (int i = 0; i < expression.Values?.Count; i++)
            if (!IsValue(expression.Values[i])) errors.Add(new($"{path}.values[{i}]", $"'{expression.Values[i]}' is not a label's value; write {ValueForm}"));
    }

    private static bool IsKey(string? key)
    {
        if (key is null) return false;
        int slash = key.IndexOf('/');
        return Name().IsMatch(key[(slash + 1)..]) && (slash < 0 || (slash <= MaxPrefixLength && Prefix().IsMatch(key[..slash])));
    }

    private static bool IsValue(string? value) => value is not null && (value.Length == 0 || Name().IsMatch(value));

    [GeneratedRegex(@"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\z")]
    private static partial Regex Name();

    [GeneratedRegex(@"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*\z")]
    private static partial Regex Prefix();
}
