using System.Text;
using System.Text.Json.Nodes;
using FsCheck.Xunit;
using Superserve.Operator.Admission.Pods;

namespace Superserve.Operator.Tests.Admission.Pods;

public sealed class JsonPatchTests
{
    [Theory]
    [InlineData("""{"a":1}""", """{"a":1}""", "[]")]
    [InlineData("""{"a":1}""", """{"a":2}""", """[{"op":"replace","path":"/a","value":2}]""")]
    [InlineData("""{}""", """{"a/b":{"c~d":null}}""", """[{"op":"add","path":"/a~1b","value":{"c~d":null}}]""")]
    [InlineData("""{"a":{"x~/y":1,"z":2}}""", """{"a":{"z":2}}""", """[{"op":"remove","path":"/a/x~0~1y"}]""")]
    [InlineData("""{"a":[{"b":1},{"b":2}]}""", """{"a":[{"b":1},{"b":3}]}""", """[{"op":"replace","path":"/a/1/b","value":3}]""")]
    [InlineData("""{"a":[1]}""", """{"a":[0,1]}""", """[{"op":"replace","path":"/a","value":[0,1]}]""")]
    [InlineData("""{"a":null}""", """{"a":{}}""", """[{"op":"replace","path":"/a","value":{}}]""")]
    [InlineData("""{"a":{"b":1}}""", """{"a":[1]}""", """[{"op":"replace","path":"/a","value":[1]}]""")]
    public void A_patch_makes_one_of_the_other(string before, string after, string expected)
    {
        JsonObject from = JsonNode.Parse(before)!.AsObject();
        JsonArray patch = JsonPatch.Between(from, JsonNode.Parse(after)!.AsObject());
        Assert.Equal(JsonNode.Parse(expected)!.ToJsonString(), patch.ToJsonString());
        Assert.Equal(after, Patching.Apply(from, Encoding.UTF8.GetBytes(patch.ToJsonString())).ToJsonString());
        Assert.Equal(before, from.ToJsonString());
    }

    [Property]
    public void A_patch_makes_one_of_the_other_whatever_they_are(byte[] one, byte[] other)
    {
        JsonObject before = Build(one);
        JsonObject after = Build(other);
        byte[] patch = Encoding.UTF8.GetBytes(JsonPatch.Between(before, after).ToJsonString());
        Assert.True(JsonNode.DeepEquals(after, Patching.Apply(before, patch)));
    }

    /// <summary>A small tree in which few names and values come often, so that two of them have much in common.</summary>
    private static JsonObject Build(byte[] plan)
    {
        Queue<byte> rest = new(plan);
        JsonObject root = [];
        while (rest.Count > 0) root[Name()] = Value(0);
        return root;

        byte Next() => rest.Count > 0 ? rest.Dequeue() : (byte)0;

        string Name() => ((string[])["a", "b", "c/d", "e~f", ""])[Next() % 5];

        JsonNode? Value(int depth)
        {
            byte kind = Next();
            if (kind % 5 == 4 || depth > 3) return kind % 2 == 0 ? null : JsonValue.Create(kind % 3);
            int count = Next() % 4;
            if (kind % 5 < 2) return new JsonArray([.. Enumerable.Range(0, count).Select(_ => Value(depth + 1))]);
            JsonObject map = [];
            for (int i = 0; i < count; i++) map[Name()] = Value(depth + 1);
            return map;
        }
    }
}
