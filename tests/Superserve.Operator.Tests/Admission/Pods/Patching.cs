using System.Globalization;
using System.Text.Json.Nodes;

namespace Superserve.Operator.Tests.Admission.Pods;

/// <summary>Applies a JSON patch as RFC 6902 says, as far as admission uses it.</summary>
internal static class Patching
{
    public static JsonObject Apply(JsonObject before, byte[]? patch)
    {
        JsonNode result = before.DeepClone();
        if (patch is null) return result.AsObject();
        foreach (JsonNode? operation in JsonNode.Parse(patch)!.AsArray())
        {
            string[] steps = [.. operation!["path"]!.GetValue<string>().Split('/')[1..].Select(step => step.Replace("~1", "/").Replace("~0", "~"))];
            JsonNode parent = result;
            foreach (string step in steps[..^1]) parent = parent is JsonArray list ? list[int.Parse(step, CultureInfo.InvariantCulture)]! : parent[step]!;
            string last = steps[^1];
            JsonNode? value = operation["value"]?.DeepClone();
            switch (operation["op"]!.GetValue<string>(), parent)
            {
                case ("add", JsonObject map):
                    Assert.False(map.ContainsKey(last));
                    map[last] = value;
                    break;
                case ("remove", JsonObject map):
                    Assert.True(map.Remove(last));
                    break;
                case ("replace", JsonObject map):
                    Assert.True(map.ContainsKey(last));
                    map[last] = value;
                    break;
                case ("replace", JsonArray list):
                    list[int.Parse(last, CultureInfo.InvariantCulture)] = value;
                    break;
                default:
                    Assert.Fail($"{operation} is none that admission writes");
                    break;
            }
        }

        return result.AsObject();
    }
}
