using System.Text;

namespace Superserve.ApiServer.Apply;

/// <summary>
/// A set of field paths as a tree, in the notation of managedFields: "f:" a field, "k:" an item by its keys, "v:" an item by
/// its value. A node can be a member itself and have members below it.
/// </summary>
internal sealed class FieldSet
{
    public bool IsMember { get; set; }

    public SortedDictionary<string, FieldSet> Children { get; } = new(StringComparer.Ordinal);

    public bool IsEmpty => !IsMember && Children.Values.All(child => child.IsEmpty);

    public FieldSet Child(string element)
    {
        if (!Children.TryGetValue(element, out FieldSet? child)) Children[element] = child = new FieldSet();
        return child;
    }

    public static FieldSet Parse(JsonObject fields)
    {
        FieldSet set = new() { IsMember = fields.Count == 0 };
        foreach ((string element, JsonNode? below) in fields)
        {
            if (element == ".") set.IsMember = true;
            else set.Children[element] = Parse(below as JsonObject ?? []);
        }

        return set;
    }

    public JsonObject ToFields()
    {
        JsonObject fields = [];
        if (IsMember && Children.Values.Any(child => !child.IsEmpty)) fields["."] = new JsonObject();
        foreach ((string element, FieldSet child) in Children)
        {
            if (!child.IsEmpty) fields[element] = child.ToFields();
        }

        return fields;
    }

    public FieldSet Union(FieldSet other)
    {
        FieldSet result = new() { IsMember = IsMember || other.IsMember };
        foreach (string element in Children.Keys.Union(other.Children.Keys))
        {
            result.Children[element] = Below(element).Union(other.Below(element));
        }

        return result;
    }

    public FieldSet Intersect(FieldSet other)
    {
        FieldSet result = new() { IsMember = IsMember && other.IsMember };
        foreach ((string element, FieldSet child) in Children)
        {
            if (other.Children.TryGetValue(element, out FieldSet? theirs)) result.Children[element] = child.Intersect(theirs);
        }

        return result;
    }

    /// <summary>Without the other's members.</summary>
    public FieldSet Minus(FieldSet other)
    {
        FieldSet result = new() { IsMember = IsMember && !other.IsMember };
        foreach ((string element, FieldSet child) in Children) result.Children[element] = child.Minus(other.Below(element));
        return result;
    }

    /// <summary>Without the other's members and all that is below them.</summary>
    public FieldSet MinusBelow(FieldSet other)
    {
        if (other.IsMember) return new FieldSet();
        FieldSet result = new() { IsMember = IsMember };
        foreach ((string element, FieldSet child) in Children) result.Children[element] = child.MinusBelow(other.Below(element));
        return result;
    }

    /// <summary>The members as a person reads them: .spec.containers[name="a"].image</summary>
    public IEnumerable<string> Paths(string prefix = "")
    {
        if (IsMember && prefix.Length > 0) yield return prefix;
        foreach ((string element, FieldSet child) in Children)
        {
            foreach (string path in child.Paths(prefix + Readable(element))) yield return path;
        }
    }

    private FieldSet Below(string element) => Children.GetValueOrDefault(element) ?? new FieldSet();

    private static string Readable(string element)
    {
        string rest = element[2..];
        if (element[0] == 'f') return "." + rest;
        if (element[0] == 'v') return $"[={rest}]";
        StringBuilder keys = new("[");
        foreach ((string name, JsonNode? value) in (JsonObject)Json.Parse(rest)!) keys.Append(keys.Length > 1 ? "," : "").Append(name).Append('=').Append(value.ToText());
        return keys.Append(']').ToString();
    }
}
