using System.Globalization;
using System.Text.Json.Nodes;

namespace Superserve.Operator.Admission.Pods;

/// <summary>The JSON patch (RFC 6902) that makes one text of another: members one by one, lists as a whole unless their items pair up.</summary>
internal static class JsonPatch
{
    /// <summary>The operations; none where both are equal.</summary>
    public static JsonArray Between(JsonObject before, JsonObject after)
    {
        JsonArray operations = [];
        Compare(before, after, "", operations);
        return operations;
    }

    private static void Compare(JsonNode? before, JsonNode? after, string path, JsonArray operations)
    {
        if (JsonNode.DeepEquals(before, after)) return;
        switch (before, after)
        {
            case (JsonObject from, JsonObject to):
                foreach ((string name, _) in from)
                    if (!to.ContainsKey(name)) operations.Add(new JsonObject { ["op"] = "remove", ["path"] = path + Step(name) });
                foreach ((string name, JsonNode? value) in to)
                    if (from.TryGetPropertyValue(name, out JsonNode? old)) Compare(old, value, path + Step(name), operations);
                    else Write("add", path + Step(name), value, operations);
                break;
            case (JsonArray from, JsonArray to) when from.Count == to.Count:
                for (int i = 0; i < from.Count; i++) Compare(from[i], to[i], path + Step(i.ToString(CultureInfo.InvariantCulture)), operations);
                break;
            default:
                Write("replace", path, after, operations);
                break;
        }
    }

    private static void Write(string operation, string path, JsonNode? value, JsonArray operations) =>
        operations.Add(new JsonObject { ["op"] = operation, ["path"] = path, ["value"] = value?.DeepClone() });

    private static string Step(string name) => "/" + name.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal);
}
