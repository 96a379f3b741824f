namespace Superserve.ApiServer.Schema;

/// <summary>Takes out what a structural schema does not name, and says what that was.</summary>
internal static class SchemaPruning
{
    /// <summary>Prunes in place; the result is the paths of the unknown fields.</summary>
    public static IReadOnlyList<string> Prune(JsonObject value, JsonObject schema)
    {
        List<string> unknown = [];
        PruneObject(value, schema, "", true, unknown);
        return unknown;
    }

    private static void Prune(JsonNode? value, JsonObject schema, string path, List<string> unknown)
    {
        if (value is JsonObject fields)
        {
            PruneObject(fields, schema, path, schema.Flag("x-kubernetes-embedded-resource") == true, unknown);
        }
        else if (value is JsonArray items && schema.Object("items") is { } below)
        {
            for (int index = 0; index < items.Count; index++) Prune(items[index], below, $"{path}[{index}]", unknown);
        }
    }

    private static void PruneObject(JsonObject value, JsonObject schema, string path, bool isResource, List<string> unknown)
    {
        bool preserves = schema.Flag("x-kubernetes-preserve-unknown-fields") == true || schema.Flag("additionalProperties") == true;
        foreach ((string name, JsonNode? child) in value.ToArray())
        {
            string below = path.Length == 0 ? name : $"{path}.{name}";
            if (isResource && name is ("apiVersion" or "kind" or "metadata")) continue;
            if (schema.Object("properties", name) is { } property)
            {
                Prune(child, property, below, unknown);
            }
            else if (schema.Object("additionalProperties") is { } any)
            {
                Prune(child, any, below, unknown);
            }
            else if (!preserves)
            {
                value.Remove(name);
                unknown.Add(below);
            }
        }
    }
}
