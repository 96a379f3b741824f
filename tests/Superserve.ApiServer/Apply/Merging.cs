namespace Superserve.ApiServer.Apply;

/// <summary>Puts an applied configuration over a live object, and takes fields out of one.</summary>
internal static class Merging
{
    public static JsonNode? Merge(JsonNode? live, JsonNode? applied, Shape shape)
    {
        if (applied is JsonObject fields && shape.Granular(applied))
        {
            JsonObject result = live is JsonObject from ? from.Copy() : [];
            foreach ((string name, JsonNode? value) in fields)
            {
                if (value is null) result.Remove(name);
                else result[name] = Merge(result[name], value, shape.Field(name));
            }

            return result;
        }

        if (applied is JsonArray items && live is JsonArray existing && shape.Granular(applied) && shape.Granular(live)) return MergeList(existing, items, shape);
        return applied?.DeepClone();
    }

    /// <summary>
    /// Takes out what is in <paramref name="remove"/> and not in <paramref name="keep"/>. An item that somebody else applied stays, with
    /// its keys; one that somebody else only has fields in, by an update, goes with them. An object or a list that is empty for it goes,
    /// unless somebody keeps it.
    /// </summary>
    public static void Remove(JsonNode? value, Shape shape, FieldSet remove, FieldSet keep, IReadOnlyCollection<string>? keys = null)
    {
        foreach ((string element, FieldSet below) in remove.Children)
        {
            if (below.IsEmpty) continue;
            FieldSet? kept = keep.Children.GetValueOrDefault(element);
            bool stays = kept is not null && !kept.IsEmpty;
            if (value is JsonObject fields && element[0] == 'f')
            {
                string name = element[2..];
                if (!fields.TryGetPropertyValue(name, out JsonNode? child) || (keys is not null && keys.Contains(name))) continue;
                if (!below.IsMember || stays) Remove(child, shape.Field(name), below, kept ?? new FieldSet());
                if (!stays && (below.IsMember || IsEmptied(child))) fields.Remove(name);
            }
            else if (value is JsonArray items && element[0] != 'f')
            {
                JsonNode? item = items.FirstOrDefault(candidate => shape.ElementOf(candidate) == element);
                if (item is null) continue;
                if (kept is not { IsMember: true } && below.IsMember) items.Remove(item);
                else if (shape.List == ListKind.Map) Remove(item, shape.Item, below, kept ?? new FieldSet(), [.. shape.Keys]);
            }
        }
    }

    private static bool IsEmptied(JsonNode? value) => value is JsonObject { Count: 0 } or JsonArray { Count: 0 };

    private static JsonArray MergeList(JsonArray live, JsonArray applied, Shape shape)
    {
        Dictionary<string, JsonNode?> configured = new(StringComparer.Ordinal);
        foreach (JsonNode? item in applied)
        {
            string element = shape.ElementOf(item);
            if (!configured.TryAdd(element, item)) throw ApiErrors.BadRequest($"failed to create typed patch object: duplicate entries for key {element[2..]}");
        }

        Dictionary<string, JsonNode?> existing = new(StringComparer.Ordinal);
        foreach (JsonNode? item in live) existing[shape.ElementOf(item)] = item;

        // The order of the applied list, where it names every item; else what is there keeps its place and the new ones follow.
        IEnumerable<string> order = existing.Keys.All(configured.ContainsKey) ? configured.Keys : existing.Keys.Union(configured.Keys);
        JsonArray result = [];
        foreach (string element in order)
        {
            JsonNode? before = existing.GetValueOrDefault(element);
            result.Add(configured.TryGetValue(element, out JsonNode? item) && shape.List == ListKind.Map ? Merge(before, item, shape.Item) : (item ?? before)?.DeepClone());
        }

        return result;
    }
}
