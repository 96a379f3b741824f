namespace Superserve.ApiServer.Apply;

/// <summary>
/// Strategic merge patch for built-in types: lists merge by their first key, <c>$patch: delete|replace</c>,
/// <c>$deleteFromPrimitiveList</c> and <c>$retainKeys</c> are followed, order directives are not.
/// </summary>
internal static class StrategicMergePatch
{
    public static JsonObject Apply(JsonObject target, JsonObject patch) => MergeObject(target, patch, BuiltInShape.Root);

    private static JsonObject MergeObject(JsonObject? target, JsonObject patch, Shape shape)
    {
        if (patch.Text("$patch") == "replace") return Without(patch);
        JsonObject result = target?.Copy() ?? [];
        if (patch["$retainKeys"] is JsonArray)
        {
            IReadOnlyList<string> retained = patch.Texts("$retainKeys");
            foreach (string name in result.Select(field => field.Key).ToArray())
            {
                if (!retained.Contains(name)) result.Remove(name);
            }
        }

        foreach ((string name, JsonNode? value) in patch)
        {
            const string FromList = "$deleteFromPrimitiveList/";
            if (name.StartsWith(FromList, StringComparison.Ordinal)) RemoveValues(result.Array(name[FromList.Length..]), value as JsonArray);
            if (name.StartsWith('$')) continue;
            if (value is null || value.Text("$patch") == "delete") result.Remove(name);
            else result[name] = MergeValue(result[name], value, shape.Field(name));
        }

        return result;
    }

    private static JsonNode MergeValue(JsonNode? target, JsonNode patch, Shape shape) => patch switch
    {
        JsonObject fields => MergeObject(target as JsonObject, fields, shape),
        JsonArray items when shape.List == ListKind.Map => MergeItems(target as JsonArray, items, shape),
        JsonArray items when shape.List == ListKind.Set => MergeValues(target as JsonArray, items),
        _ => patch.DeepClone(),
    };

    private static JsonArray MergeItems(JsonArray? target, JsonArray patch, Shape shape)
    {
        string key = shape.Keys[0];
        JsonArray result = patch.Objects().Any(item => item.Text("$patch") == "replace") ? [] : (JsonArray?)target?.DeepClone() ?? [];
        foreach (JsonObject item in patch.OfType<JsonObject>())
        {
            if (item.Text("$patch") == "replace") continue;
            JsonNode? value = item[key] ?? throw ApiErrors.BadRequest($"map: {item.ToText()} does not contain declared merge key: {key}");
            JsonNode? existing = result.FirstOrDefault(candidate => Json.Same(candidate.At(key), value));
            if (item.Text("$patch") == "delete")
            {
                if (existing is not null) result.Remove(existing);
            }
            else if (existing is JsonObject from)
            {
                result[result.IndexOf(existing)] = MergeObject(from, item, shape.Item);
            }
            else
            {
                result.Add(MergeObject(null, item, shape.Item));
            }
        }

        return result;
    }

    private static JsonArray MergeValues(JsonArray? target, JsonArray patch)
    {
        JsonArray result = (JsonArray?)target?.DeepClone() ?? [];
        foreach (JsonNode? item in patch)
        {
            if (!result.Any(existing => Json.Same(existing, item))) result.Add(item?.DeepClone());
        }

        return result;
    }

    private static void RemoveValues(JsonArray? from, JsonArray? values)
    {
        if (from is null || values is null) return;
        for (int index = from.Count - 1; index >= 0; index--)
        {
            if (values.Any(value => Json.Same(value, from[index]))) from.RemoveAt(index);
        }
    }

    private static JsonObject Without(JsonObject patch)
    {
        JsonObject copy = patch.Copy();
        copy.Remove("$patch");
        return copy;
    }
}
