namespace Superserve.Operator.Resources;

/// <summary>Lists for messages and tables.</summary>
public static class Summary
{
    /// <summary>The first few items, and how many more there are.</summary>
    public static string Of(IReadOnlyList<string> items, int shown) =>
        string.Join(", ", items.Take(shown)) + (items.Count > shown ? $" and {items.Count - shown} more" : "");
}
