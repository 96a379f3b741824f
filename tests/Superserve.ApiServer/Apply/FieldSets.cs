namespace Superserve.ApiServer.Apply;

/// <summary>From values to the sets of their fields.</summary>
internal static class FieldSets
{
    /// <summary>Every leaf of a value; items of lists and entries of maps are members themselves.</summary>
    public static FieldSet Of(JsonNode? value, Shape shape)
    {
        FieldSet set = new();
        Collect(value, shape, set);
        return set;
    }

    /// <summary>What differs between two values of one shape.</summary>
    public static Comparison Compare(JsonNode? before, JsonNode? after, Shape shape)
    {
        Comparison comparison = new(new FieldSet(), new FieldSet(), new FieldSet());
        Compare(before, after, shape, comparison.Added, comparison.Changed, comparison.Removed);
        return comparison;
    }

    private static void Collect(JsonNode? value, Shape shape, FieldSet set)
    {
        if (!shape.Granular(value))
        {
            set.IsMember = true;
        }
        else if (value is JsonObject fields)
        {
            foreach ((string name, JsonNode? child) in fields)
            {
                FieldSet below = set.Child("f:" + name);
                Collect(child, shape.Field(name), below);
                if (!shape.Declares(name) || child is JsonObject { Count: 0 }) below.IsMember = true;
            }
        }
        else if (value is JsonArray items)
        {
            if (items.Count == 0) set.IsMember = true;
            foreach (JsonNode? item in items)
            {
                FieldSet below = set.Child(shape.ElementOf(item));
                if (shape.List == ListKind.Map) Collect(item, shape.Item, below);
                below.IsMember = true;
            }
        }
    }

    private static void Compare(JsonNode? before, JsonNode? after, Shape shape, FieldSet added, FieldSet changed, FieldSet removed)
    {
        if (before is JsonObject left && after is JsonObject right && shape.Granular(before))
        {
            foreach (string name in left.Select(field => field.Key).Union(right.Select(field => field.Key)))
            {
                CompareChild("f:" + name, left.ContainsKey(name), left[name], right.ContainsKey(name), right[name], shape.Field(name), added, changed, removed);
            }
        }
        else if (before is JsonArray leftItems && after is JsonArray rightItems && shape.Granular(before) && shape.Granular(after))
        {
            Dictionary<string, JsonNode?> lefts = Index(leftItems, shape);
            Dictionary<string, JsonNode?> rights = Index(rightItems, shape);
            foreach (string element in lefts.Keys.Union(rights.Keys))
            {
                CompareChild(element, lefts.ContainsKey(element), lefts.GetValueOrDefault(element), rights.ContainsKey(element), rights.GetValueOrDefault(element),
                    shape.Item, added, changed, removed);
            }
        }
        else if (!Json.Same(before, after))
        {
            changed.IsMember = true;
        }
    }

    private static void CompareChild(string element, bool inLeft, JsonNode? left, bool inRight, JsonNode? right, Shape shape, FieldSet added, FieldSet changed, FieldSet removed)
    {
        if (inLeft && inRight)
        {
            if (!Json.Same(left, right)) Compare(left, right, shape, added.Child(element), changed.Child(element), removed.Child(element));
            return;
        }

        FieldSet set = (inRight ? added : removed).Child(element);
        Collect(inRight ? right : left, shape, set);
        set.IsMember = true;
    }

    private static Dictionary<string, JsonNode?> Index(JsonArray items, Shape shape)
    {
        Dictionary<string, JsonNode?> index = new(StringComparer.Ordinal);
        foreach (JsonNode? item in items) index[shape.ElementOf(item)] = item;
        return index;
    }
}

/// <summary>Fields that are new, that have another value, and that are gone.</summary>
internal sealed record Comparison(FieldSet Added, FieldSet Changed, FieldSet Removed)
{
    public bool IsEmpty => Added.IsEmpty && Changed.IsEmpty && Removed.IsEmpty;
}
