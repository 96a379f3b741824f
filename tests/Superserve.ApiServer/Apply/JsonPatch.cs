using System.Globalization;

namespace Superserve.ApiServer.Apply;

/// <summary>JSON patch, RFC 6902.</summary>
internal static class JsonPatch
{
    public static JsonNode? Apply(JsonNode? target, JsonArray patch)
    {
        JsonNode? result = target?.DeepClone();
        foreach (JsonObject operation in patch.OfType<JsonObject>()) result = Apply(result, operation);
        return result;
    }

    private static JsonNode? Apply(JsonNode? root, JsonObject operation)
    {
        string[] path = Pointer(operation.Text("path") ?? throw Failed("a path is missing"));
        switch (operation.Text("op"))
        {
            case "add":
                return Add(root, path, operation["value"]);
            case "replace":
                Take(ref root, path);
                return Add(root, path, operation["value"]);
            case "remove":
                Take(ref root, path);
                return root;
            case "move":
                JsonNode? moved = Take(ref root, Pointer(operation.Text("from") ?? ""));
                return Add(root, path, moved);
            case "copy":
                return Add(root, path, Find(root, Pointer(operation.Text("from") ?? "")));
            case "test":
                if (!Json.Same(TryFind(root, path), operation["value"])) throw Failed($"testing path {operation.Text("path")} failed");
                return root;
            default:
                throw Failed($"unknown operation {operation.Text("op")}");
        }
    }

    private static JsonNode? Add(JsonNode? root, string[] path, JsonNode? value)
    {
        if (path.Length == 0) return value?.DeepClone();
        JsonNode? parent = Find(root, path[..^1]);
        switch (parent)
        {
            case JsonObject fields:
                fields[path[^1]] = value?.DeepClone();
                break;
            case JsonArray items:
                items.Insert(path[^1] == "-" ? items.Count : Index(path[^1], items.Count), value?.DeepClone());
                break;
            default:
                throw Missing(path);
        }

        return root;
    }

    private static JsonNode? Take(ref JsonNode? root, string[] path)
    {
        JsonNode? value = Find(root, path);
        if (path.Length == 0)
        {
            root = null;
            return value;
        }

        JsonNode? parent = Find(root, path[..^1]);
        if (parent is JsonObject fields) fields.Remove(path[^1]);
        else if (parent is JsonArray items) items.RemoveAt(Index(path[^1], items.Count - 1));
        return value;
    }

    private static JsonNode? Find(JsonNode? root, string[] path)
    {
        foreach (string step in path)
        {
            root = root switch
            {
                JsonObject fields when fields.TryGetPropertyValue(step, out JsonNode? child) => child,
                JsonArray items => items[Index(step, items.Count - 1)],
                _ => throw Missing(path),
            };
        }

        return root;
    }

    private static JsonNode? TryFind(JsonNode? root, string[] path)
    {
        try
        {
            return Find(root, path);
        }
        catch (ApiException)
        {
            return null;
        }
    }

    private static int Index(string step, int last) =>
        int.TryParse(step, NumberStyles.None, CultureInfo.InvariantCulture, out int index) && index <= last ? index : throw Failed($"invalid index {step}");

    private static string[] Pointer(string path)
    {
        if (path.Length == 0) return [];
        return [.. path[1..].Split('/').Select(step => step.Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal))];
    }

    private static ApiException Missing(string[] path) => Failed($"missing path: /{string.Join('/', path)}");

    private static ApiException Failed(string why) => new(422, "Invalid", $"the server rejected our request due to an error in our request: {why}");
}
