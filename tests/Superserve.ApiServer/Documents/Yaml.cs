using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Superserve.ApiServer.Documents;

/// <summary>YAML to JSON and back. JSON is YAML, so that the readers take both.</summary>
internal static partial class Yaml
{
    /// <summary>Every document of a stream that is not empty.</summary>
    public static IReadOnlyList<JsonObject> ReadAll(string text)
    {
        YamlStream stream = [];
        stream.Load(new StringReader(text));
        return [.. stream.Documents.Select(document => ToJson(document.RootNode)).OfType<JsonObject>()];
    }

    public static JsonNode? Read(string text)
    {
        YamlStream stream = [];
        stream.Load(new StringReader(text));
        return stream.Documents.Count == 0 ? null : ToJson(stream.Documents[0].RootNode);
    }

    /// <summary>Writes JSON as block YAML; strings are always quoted, so that nothing changes its type.</summary>
    public static string Write(JsonNode? node)
    {
        StringWriter writer = new(CultureInfo.InvariantCulture);
        WriteNode(writer, node, 0);
        return writer.ToString();
    }

    private static JsonNode? ToJson(YamlNode node) => node switch
    {
        YamlMappingNode mapping => ToObject(mapping),
        YamlSequenceNode sequence => new JsonArray([.. sequence.Children.Select(ToJson)]),
        YamlScalarNode scalar => ToValue(scalar),
        _ => throw new YamlException($"A {node.GetType().Name} is not expected here."),
    };

    private static JsonObject ToObject(YamlMappingNode mapping)
    {
        JsonObject result = [];
        foreach ((YamlNode key, YamlNode value) in mapping.Children) result.Add(((YamlScalarNode)key).Value ?? "", ToJson(value));
        return result;
    }

    private static JsonValue? ToValue(YamlScalarNode scalar)
    {
        string text = scalar.Value ?? "";
        if (scalar.Style is not (ScalarStyle.Plain or ScalarStyle.Any)) return JsonValue.Create(text);
        if (text is "" or "~" or "null" or "Null" or "NULL") return null;
        if (text is "true" or "True" or "TRUE") return JsonValue.Create(true);
        if (text is "false" or "False" or "FALSE") return JsonValue.Create(false);
        if (Integer().IsMatch(text) && long.TryParse(text, CultureInfo.InvariantCulture, out long number)) return JsonValue.Create(number);
        if (Float().IsMatch(text) && double.TryParse(text, CultureInfo.InvariantCulture, out double real)) return JsonValue.Create(real);
        return JsonValue.Create(text);
    }

    private static void WriteNode(TextWriter writer, JsonNode? node, int indent)
    {
        string margin = new(' ', indent);
        switch (node)
        {
            case JsonObject { Count: > 0 } value:
                foreach ((string name, JsonNode? child) in value)
                {
                    writer.Write($"{margin}{WriteKey(name)}:");
                    WriteChild(writer, child, indent + 2);
                }

                break;
            case JsonArray { Count: > 0 } list:
                foreach (JsonNode? item in list)
                {
                    writer.Write($"{margin}-");
                    WriteChild(writer, item, indent + 2);
                }

                break;
            default:
                writer.Write($"{margin}{node.ToText()}\n");
                break;
        }
    }

    private static void WriteChild(TextWriter writer, JsonNode? child, int indent)
    {
        bool nested = child is JsonObject { Count: > 0 } or JsonArray { Count: > 0 };
        writer.Write(nested ? "\n" : " ");
        WriteNode(writer, child, nested ? indent : 0);
    }

    private static string WriteKey(string name) => PlainKey().IsMatch(name) ? name : JsonSerializer.Serialize(name);

    [GeneratedRegex("^[-+]?(0|[1-9][0-9]*)$")]
    private static partial Regex Integer();

    [GeneratedRegex(@"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")]
    private static partial Regex Float();

    [GeneratedRegex("^[A-Za-z_][A-Za-z0-9_./-]*$")]
    private static partial Regex PlainKey();
}
