using System.Text.Json;
using System.Text.Json.Nodes;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using YamlDotNet.Serialization;

namespace Superserve.Operator.Tests.Admission.Pods;

/// <summary>YAML as JSON, and back.</summary>
internal static class PodYaml
{
    private static readonly IDeserializer Reader = new DeserializerBuilder().WithAttemptingUnquotedStringTypeDeserialization().Build();

    private static readonly ISerializer Writer = new SerializerBuilder().WithQuotingNecessaryStrings().Build();

    public static List<JsonObject> ParseAll(string yaml)
    {
        Parser parser = new(new StringReader(yaml));
        List<JsonObject> documents = [];
        parser.Consume<StreamStart>();
        while (parser.Accept<DocumentStart>(out _)) documents.Add(JsonNode.Parse(JsonSerializer.Serialize(Reader.Deserialize<object>(parser)))!.AsObject());
        return documents;
    }

    public static JsonObject Parse(string yaml) => Assert.Single(ParseAll(yaml));

    public static string Write(JsonNode node) => Writer.Serialize(ToPlain(node)!);

    private static object? ToPlain(JsonNode? node) => node switch
    {
        JsonObject map => map.ToDictionary(pair => pair.Key, pair => ToPlain(pair.Value)),
        JsonArray list => list.Select(ToPlain).ToList(),
        JsonValue value when value.TryGetValue(out string? text) => text,
        JsonValue value when value.TryGetValue(out bool flag) => flag,
        JsonValue value => value.Deserialize<long>(),
        _ => null,
    };
}
