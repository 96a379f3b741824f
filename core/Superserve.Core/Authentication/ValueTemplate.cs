using System.Diagnostics.CodeAnalysis;

namespace Superserve.Core.Authentication;

/// <summary>Text around the place of a credential: <c>Bearer {{ value }}</c>; or constant text.</summary>
/// <param name="Before">What stands ahead of the credential; the whole text of a constant.</param>
/// <param name="After">What follows the credential.</param>
/// <param name="HasValue">Whether there is a place for the credential.</param>
public sealed record ValueTemplate(string Before, string After, bool HasValue)
{
    /// <summary>The placeholder as messages and logs write it.</summary>
    public const string Placeholder = "{{ value }}";

    /// <summary>
    /// Reads <c>{{ value }}</c> (any inner spacing) or <c>$(value)</c>, for manifests that pass through a template engine.
    /// </summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out ValueTemplate? template, [NotNullWhen(false)] out string? error)
    {
        template = null;
        (int at, int length) = Find(text, 0);
        if (at < 0)
        {
            template = new ValueTemplate(text, "", HasValue: false);
            error = null;
            return true;
        }

        if (Find(text, at + length).At >= 0)
        {
            error = $"the template holds {Placeholder} twice; write it once";
            return false;
        }

        template = new ValueTemplate(text[..at], text[(at + length)..], HasValue: true);
        error = null;
        return true;
    }

    /// <summary>The template as an owner may write it; <see cref="TryParse"/> reads it back.</summary>
    public string Text => HasValue ? string.Concat(Before, Placeholder, After) : Before;

    /// <summary>The text with the credential in its place.</summary>
    public string Render(string value) => HasValue ? string.Concat(Before, value, After) : Before;

    /// <summary>What stands at the placeholder in <paramref name="text"/>; the text around it is compared without case.</summary>
    public bool TryExtract(ReadOnlySpan<char> text, out ReadOnlySpan<char> value)
    {
        value = default;
        if (!HasValue || text.Length < Before.Length + After.Length
            || !text.StartsWith(Before, StringComparison.OrdinalIgnoreCase)
            || !text.EndsWith(After, StringComparison.OrdinalIgnoreCase)) return false;
        value = text[Before.Length..^After.Length];
        return true;
    }

    private static (int At, int Length) Find(string text, int from)
    {
        int dollar = text.IndexOf("$(value)", from, StringComparison.Ordinal);
        for (int open = text.IndexOf("{{", from, StringComparison.Ordinal); open >= 0; open = text.IndexOf("{{", open + 1, StringComparison.Ordinal))
        {
            int close = text.IndexOf("}}", open + 2, StringComparison.Ordinal);
            if (close < 0) break;
            if (!text.AsSpan(open + 2, close - open - 2).Trim(' ').Equals("value", StringComparison.Ordinal)) continue;
            if (dollar >= 0 && dollar < open) break;
            return (open, close + 2 - open);
        }

        return dollar >= 0 ? (dollar, "$(value)".Length) : (-1, 0);
    }
}

/// <summary>One header that a scheme sets.</summary>
/// <param name="Name">The header's name, as its owner wrote it.</param>
/// <param name="Template">Its value.</param>
public sealed record HeaderTemplate(string Name, ValueTemplate Template);
