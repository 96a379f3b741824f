namespace Superserve.ApiServer.Tables;

/// <summary>One column: how it is announced, and what it shows of an object. Priority 1 shows in wide output alone.</summary>
internal sealed record Column(string Name, string Type, Func<JsonObject, DateTimeOffset, JsonNode?> Value, int Priority = 0, string Description = "", string Format = "")
{
    public static Column NameColumn { get; } = new("Name", "string", (value, _) => value.Name()) { Format = "name" };

    public static Column Age { get; } = new("Age", "string", (value, now) => Ages.Since(value.Text("metadata", "creationTimestamp"), now));

    public static Column Of(string name, string path, int priority = 0) => new(name, "string", (value, _) => Shown(value, path), priority);

    public JsonObject ToDefinition() => new()
    {
        ["name"] = Name,
        ["type"] = Type,
        ["format"] = Format,
        ["description"] = Description,
        ["priority"] = Priority,
    };

    private static JsonNode Shown(JsonObject value, string path)
    {
        JsonNode? found = value.At(path.Split('.'));
        return found is null ? "<none>" : found is JsonValue ? found.DeepClone() : Json.Plain(found);
    }
}
