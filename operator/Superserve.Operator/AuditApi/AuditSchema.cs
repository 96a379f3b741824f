using System.Text.Json.Nodes;

namespace Superserve.Operator.AuditApi;

/// <summary>OpenAPI schemas of fields, each with a description: <c>kubectl explain</c> shows them.</summary>
internal static class AuditSchema
{
    public static JsonObject Text(string description) => new() { ["description"] = description, ["type"] = "string" };

    public static JsonObject Moment(string description) => new() { ["description"] = description, ["type"] = "string", ["format"] = "date-time" };

    public static JsonObject Number(string description) => new() { ["description"] = description, ["type"] = "integer", ["format"] = "int64" };

    public static JsonObject Flag(string description) => new() { ["description"] = description, ["type"] = "boolean" };

    public static JsonObject Object(string description, params (string Name, JsonObject Schema)[] fields)
    {
        JsonObject properties = [];
        foreach ((string name, JsonObject schema) in fields) properties[name] = schema;
        return new JsonObject { ["description"] = description, ["type"] = "object", ["properties"] = properties };
    }

    public static JsonObject List(string description, JsonObject items) => new() { ["description"] = description, ["type"] = "array", ["items"] = items };

    /// <summary>The sandbox that a row is of.</summary>
    public static JsonObject Sandbox() => Object(
        "The sandbox: a pod of the row's namespace, which may be gone by now.",
        ("pod", Text("The pod's name.")),
        ("uid", Text("The pod's UID. Another pod of the same name has another one.")));
}
