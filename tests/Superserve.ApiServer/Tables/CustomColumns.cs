using System.Text.Json;

namespace Superserve.ApiServer.Tables;

/// <summary>The columns that a CRD names; without any, name and age.</summary>
internal static class CustomColumns
{
    public static IReadOnlyList<Column> Of(IReadOnlyList<JsonObject> definitions) =>
        definitions.Count == 0 ? [Column.NameColumn, Column.Age] : [Column.NameColumn, .. definitions.Select(Of)];

    private static Column Of(JsonObject definition)
    {
        string path = definition.Text("jsonPath") ?? "";
        string type = definition.Text("type") ?? "string";
        return new Column(definition.Text("name") ?? "", type, (value, now) => Show(JsonPath.Find(value, path), type, now), (int)(definition.Number("priority") ?? 0),
            definition.Text("description") ?? "", definition.Text("format") ?? "");
    }

    private static JsonNode? Show(IReadOnlyList<JsonNode?> found, string type, DateTimeOffset now)
    {
        if (found.Count == 0 || found[0] is not { } value) return null;
        JsonValueKind kind = value.GetValueKind();
        return type switch
        {
            "integer" or "number" => kind == JsonValueKind.Number ? value.DeepClone() : null,
            "boolean" => kind is JsonValueKind.True or JsonValueKind.False ? value.DeepClone() : null,
            "date" => kind == JsonValueKind.String ? Ages.Since(value.Text(), now) : null,
            _ => found.Count == 1 ? Json.Plain(value) : string.Join(",", found.Select(Json.Plain)),
        };
    }
}
