namespace Superserve.ApiServer.Schema;

/// <summary>Sets the defaults of a structural schema; a null where none may be counts as missing.</summary>
internal static class SchemaDefaults
{
    public static void Apply(JsonNode? value, JsonObject schema)
    {
        if (value is JsonObject fields)
        {
            foreach ((string name, JsonNode? child) in schema.Object("properties") ?? [])
            {
                if (child is not JsonObject property) continue;
                bool missing = !fields.TryGetPropertyValue(name, out JsonNode? current) || (current is null && property.Flag("nullable") != true);
                if (missing && property.ContainsKey("default")) fields[name] = property["default"]?.DeepClone();
                else if (missing) fields.Remove(name);
                Apply(fields[name], property);
            }

            if (schema.Object("additionalProperties") is not { } any) return;
            foreach ((string name, JsonNode? child) in fields)
            {
                if (schema.Object("properties", name) is null) Apply(child, any);
            }
        }
        else if (value is JsonArray items && schema.Object("items") is { } below)
        {
            foreach (JsonNode? item in items) Apply(item, below);
        }
    }
}
