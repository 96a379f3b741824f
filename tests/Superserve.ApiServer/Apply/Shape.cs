namespace Superserve.ApiServer.Apply;

internal enum ListKind
{
    Atomic,
    Map,
    Set,
}

/// <summary>How a value merges: what of it one manager can own apart from another.</summary>
internal abstract class Shape
{
    /// <summary>An object that is owned and replaced whole.</summary>
    public virtual bool IsAtomic => false;

    public virtual ListKind List => ListKind.Atomic;

    /// <summary>The fields that tell the items of a list map apart.</summary>
    public virtual IReadOnlyList<string> Keys => [];

    /// <summary>Whether a field is part of the type, and not an entry of a map.</summary>
    public virtual bool Declares(string field) => false;

    public abstract Shape Field(string name);

    public abstract Shape Item { get; }

    /// <summary>The value of a key that an item leaves out.</summary>
    public virtual JsonNode? DefaultKey(string key) => null;

    /// <summary>An item's path element, in the notation of managedFields.</summary>
    public string ElementOf(JsonNode? item)
    {
        if (List == ListKind.Set) return "v:" + item.ToText();
        JsonObject keys = [];
        foreach (string key in Keys.Order(StringComparer.Ordinal))
        {
            JsonNode? value = item.At(key) ?? DefaultKey(key);
            if (value is not null) keys[key] = value.DeepClone();
        }

        return "k:" + keys.ToText();
    }

    public bool Granular(JsonNode? value) => value switch
    {
        JsonObject => !IsAtomic,
        JsonArray list => List == ListKind.Set || (List == ListKind.Map && list.All(item => item is JsonObject)),
        _ => false,
    };
}
