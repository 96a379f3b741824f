using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Superserve.ApiServer.Documents;

/// <summary>
/// Short ways into JSON documents. Objects are stored as <see cref="JsonObject"/> and never changed once they are stored:
/// who wants to change one takes a <see cref="Copy(JsonObject)"/>.
/// </summary>
internal static class Json
{
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 256 };
    private static readonly JsonSerializerOptions Compact = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, MaxDepth = 256 };

    public static JsonNode? Parse(string text) => JsonNode.Parse(text, null, Strict);

    public static JsonNode? Parse(byte[] utf8) => JsonNode.Parse(utf8, null, Strict);

    public static string ToText(this JsonNode? node) => node is null ? "null" : node.ToJsonString(Compact);

    public static byte[] ToUtf8(this JsonNode node) => JsonSerializer.SerializeToUtf8Bytes(node, Compact);

    public static JsonObject Copy(this JsonObject value) => (JsonObject)value.DeepClone();

    public static bool Same(JsonNode? left, JsonNode? right) => JsonNode.DeepEquals(left, right);

    /// <summary>The node at a path of property names, or null.</summary>
    public static JsonNode? At(this JsonNode? node, params ReadOnlySpan<string> path)
    {
        foreach (string name in path) node = node is JsonObject parent && parent.TryGetPropertyValue(name, out JsonNode? child) ? child : null;
        return node;
    }

    public static JsonObject? Object(this JsonNode? node, params ReadOnlySpan<string> path) => node.At(path) as JsonObject;

    public static JsonArray? Array(this JsonNode? node, params ReadOnlySpan<string> path) => node.At(path) as JsonArray;

    public static string? Text(this JsonNode? node, params ReadOnlySpan<string> path) =>
        node.At(path) is JsonValue value && value.TryGetValue(out string? text) ? text : null;

    public static bool? Flag(this JsonNode? node, params ReadOnlySpan<string> path) =>
        node.At(path) is JsonValue value && value.TryGetValue(out bool flag) ? flag : null;

    public static long? Number(this JsonNode? node, params ReadOnlySpan<string> path) =>
        node.At(path) is JsonValue value && value.GetValueKind() == JsonValueKind.Number && long.TryParse(value.ToJsonString(), CultureInfo.InvariantCulture, out long number) ? number : null;

    /// <summary>The objects of a list; nothing where there is no list.</summary>
    public static IEnumerable<JsonObject> Objects(this JsonNode? node, params ReadOnlySpan<string> path) => node.Array(path)?.OfType<JsonObject>() ?? [];

    /// <summary>The strings of a list; nothing where there is no list.</summary>
    public static IReadOnlyList<string> Texts(this JsonNode? node, params ReadOnlySpan<string> path) =>
        node.Array(path)?.Select(item => item.Text() ?? "").ToArray() ?? [];

    /// <summary>The object under a name, made where it is missing.</summary>
    public static JsonObject Child(this JsonObject parent, string name)
    {
        if (parent[name] is JsonObject child) return child;
        JsonObject made = [];
        parent[name] = made;
        return made;
    }

    /// <summary>Sets a property where it is missing.</summary>
    public static void Default(this JsonObject parent, string name, JsonNode? value)
    {
        if (parent[name] is null) parent[name] = value;
    }

    public static JsonArray ToArray(IEnumerable<string> texts) => new([.. texts.Select(text => (JsonNode?)text)]);

    public static JsonArray ToArray(IEnumerable<JsonNode?> nodes) => new([.. nodes.Select(node => node?.DeepClone())]);

    /// <summary>A scalar as a person would write it: strings without quotes.</summary>
    public static string Plain(JsonNode? node) => node is JsonValue value && value.TryGetValue(out string? text) ? text : node.ToText();
}
