using System.Text.Json.Nodes;
using Superserve.ApiServer.Apply;
using Superserve.ApiServer.Documents;
using Superserve.ApiServer.Selectors;
using Superserve.ApiServer.Tables;

namespace Superserve.ApiServer.Tests;

/// <summary>The parts that are functions.</summary>
public class PartsTests
{
    [Theory]
    [InlineData(".a.b", "1")]
    [InlineData(".list[0].n", "x")]
    [InlineData(".list[-1].n", "y")]
    [InlineData(".list[*].n", "x,y")]
    [InlineData(".list[?(@.n==\"y\")].v", "2")]
    [InlineData(".list[?(@.n!='y')].v", "true")]
    [InlineData("['a']['b']", "1")]
    [InlineData(".labels.app\\.io/name", "z")]
    [InlineData(".nothing.here", "")]
    [InlineData(".list[7].n", "")]
    public void Columns_find_their_values(string path, string expected)
    {
        JsonNode value = JsonNode.Parse("""{"a":{"b":1},"list":[{"n":"x","v":true},{"n":"y","v":2}],"labels":{"app.io/name":"z"}}""")!;
        Assert.Equal(expected, string.Join(',', JsonPath.Find(value, path).Select(Json.Plain)));
    }

    [Theory]
    [InlineData(0, "0s")]
    [InlineData(119, "119s")]
    [InlineData(125, "2m5s")]
    [InlineData(660, "11m")]
    [InlineData(3 * 3600, "3h")]
    [InlineData((7 * 3600) + 120, "7h2m")]
    [InlineData(30 * 3600, "30h")]
    [InlineData(50 * 3600, "2d2h")]
    [InlineData(30 * 86400, "30d")]
    public void Ages_are_short(int seconds, string expected) => Assert.Equal(expected, Ages.Short(TimeSpan.FromSeconds(seconds)));

    [Theory]
    [InlineData("""[{"op":"add","path":"/a/1","value":9}]""", """{"a":[1,9,2],"b":{"c/d":3}}""")]
    [InlineData("""[{"op":"add","path":"/a/-","value":9}]""", """{"a":[1,2,9],"b":{"c/d":3}}""")]
    [InlineData("""[{"op":"remove","path":"/b/c~1d"}]""", """{"a":[1,2],"b":{}}""")]
    [InlineData("""[{"op":"move","from":"/a","path":"/b/a"}]""", """{"b":{"c/d":3,"a":[1,2]}}""")]
    [InlineData("""[{"op":"test","path":"/a/0","value":1},{"op":"replace","path":"/a/0","value":5}]""", """{"a":[5,2],"b":{"c/d":3}}""")]
    public void Json_patches_apply(string patch, string expected)
    {
        JsonNode? result = JsonPatch.Apply(JsonNode.Parse("""{"a":[1,2],"b":{"c/d":3}}"""), (JsonArray)JsonNode.Parse(patch)!);
        Assert.Equal(expected, result.ToText());
    }

    [Fact]
    public void Strategic_patches_merge_replace_and_delete()
    {
        JsonObject pod = Parse("""{"spec":{"containers":[{"name":"a","image":"x","env":[{"name":"A","value":"1"}]},{"name":"b"}]},"metadata":{"finalizers":["f","g"]}}""");
        JsonObject result = StrategicMergePatch.Apply(pod, Parse("""
            {"spec":{"containers":[{"name":"a","env":[{"name":"B","value":"2"}]},{"$patch":"delete","name":"b"},{"name":"c"}]},
            "metadata":{"$deleteFromPrimitiveList/finalizers":["f"],"finalizers":["h"]}}
            """));
        Assert.Equal("""{"containers":[{"name":"a","image":"x","env":[{"name":"A","value":"1"},{"name":"B","value":"2"}]},{"name":"c"}]}""", result["spec"].ToText());
        Assert.Equal("""["g","h"]""", result["metadata"]!["finalizers"].ToText());
    }

    [Fact]
    public void Field_sets_survive_their_notation()
    {
        JsonObject fields = Parse("""{"f:spec":{"f:parts":{"k:{\"name\":\"a\"}":{".":{},"f:weight":{}}},"f:tags":{"v:\"x\"":{}}}}""");
        FieldSet set = FieldSet.Parse(fields);
        Assert.True(Json.Same(fields, set.ToFields()));
        Assert.Equal([".spec.parts[name=\"a\"]", ".spec.parts[name=\"a\"].weight", ".spec.tags[=\"x\"]"], set.Paths());
        Assert.True(set.Minus(set).IsEmpty);
    }

    [Fact]
    public void Label_selectors_inside_of_objects_select()
    {
        LabelSelector selector = LabelSelector.Of(Parse("""{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"c","operator":"In","values":["d"]},{"key":"e","operator":"DoesNotExist"}]}"""));
        Assert.True(selector.MatchesLabels(Parse("""{"a":"b","c":"d"}""")));
        Assert.False(selector.MatchesLabels(Parse("""{"a":"b","c":"d","e":""}""")));
        Assert.False(selector.MatchesLabels(Parse("""{"a":"b"}""")));
    }

    [Fact]
    public void Yaml_survives_writing_and_reading()
    {
        JsonObject value = Parse("""{"a":[{"b":"yes","c":[]},[1,2.5]],"d":{"e":null,"f g":"multi\nline","h":{}},"i":true}""");
        Assert.Equal(value.ToText(), Yaml.Read(Yaml.Write(value)).ToText());
    }

    private static JsonObject Parse(string json) => (JsonObject)JsonNode.Parse(json)!;
}
