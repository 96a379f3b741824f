using Superserve.ApiServer.Resources;

namespace Superserve.ApiServer.Tables;

/// <summary>Objects as a table, and as their metadata alone.</summary>
internal static class Table
{
    public static JsonObject Of(ResourceType type, IEnumerable<JsonObject> items, JsonObject listMetadata, string include, DateTimeOffset now)
    {
        IReadOnlyList<Column> columns = type.Custom is { } custom ? CustomColumns.Of(custom.Columns) : BuiltInColumns.Of(type);
        JsonArray rows = [];
        foreach (JsonObject item in items)
        {
            JsonObject row = new() { ["cells"] = new JsonArray([.. columns.Select(column => column.Value(item, now))]) };
            if (include == "Object") row["object"] = item.DeepClone();
            else if (include != "None") row["object"] = PartialObject(item);
            rows.Add(row);
        }

        return new JsonObject
        {
            ["kind"] = "Table",
            ["apiVersion"] = "meta.k8s.io/v1",
            ["metadata"] = listMetadata,
            ["columnDefinitions"] = new JsonArray([.. columns.Select(column => column.ToDefinition())]),
            ["rows"] = rows,
        };
    }

    public static JsonObject PartialObject(JsonObject item) => new()
    {
        ["kind"] = "PartialObjectMetadata",
        ["apiVersion"] = "meta.k8s.io/v1",
        ["metadata"] = item.Object("metadata")?.DeepClone(),
    };
}
