using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Superserve.ApiServer.Tables;

/// <summary>The part of JSONPath that printer columns use: fields, indexes, [*], and filters by equality of one field.</summary>
internal static class JsonPath
{
    public static IReadOnlyList<JsonNode?> Find(JsonNode root, string path)
    {
        IEnumerable<JsonNode?> nodes = [root];
        int at = 0;
        while (at < path.Length)
        {
            if (path[at] == '.')
            {
                string name = ReadName(path, ref at);
                if (name.Length > 0) nodes = name == "*" ? nodes.SelectMany(Children) : nodes.Select(node => node.At(name)).Where(node => node is not null);
            }
            else if (path[at] == '[')
            {
                int close = Closing(path, at);
                string step = path[(at + 1)..close].Trim();
                at = close + 1;
                nodes = nodes.SelectMany(node => Step(node, step));
            }
            else
            {
                return [];
            }
        }

        return [.. nodes];
    }

    private static string ReadName(string path, ref int at)
    {
        StringBuilder name = new();
        for (at++; at < path.Length && path[at] is not ('.' or '['); at++)
        {
            if (path[at] == '\\' && at + 1 < path.Length) at++;
            name.Append(path[at]);
        }

        return name.ToString();
    }

    private static int Closing(string path, int open)
    {
        char quote = '\0';
        for (int index = open + 1; index < path.Length; index++)
        {
            char c = path[index];
            if (quote != '\0') quote = c == quote ? '\0' : quote;
            else if (c is '"' or '\'') quote = c;
            else if (c == ']') return index;
        }

        return path.Length - 1;
    }

    private static IEnumerable<JsonNode?> Step(JsonNode? node, string step)
    {
        if (step == "*") return Children(node);
        if (step is ['\'' or '"', ..]) return node.At(step[1..^1]) is { } field ? [field] : [];
        if (step.StartsWith("?(", StringComparison.Ordinal)) return Children(node).Where(child => Passes(child, step[2..^1].Trim()));
        if (node is not JsonArray items || !int.TryParse(step, CultureInfo.InvariantCulture, out int index)) return [];
        if (index < 0) index += items.Count;
        return index >= 0 && index < items.Count ? [items[index]] : [];
    }

    private static bool Passes(JsonNode? item, string filter)
    {
        foreach (string sign in new[] { "==", "!=" })
        {
            int at = filter.IndexOf(sign, StringComparison.Ordinal);
            if (at < 0) continue;
            string path = filter[..at].Trim().TrimStart('@');
            string wanted = filter[(at + 2)..].Trim().Trim('"', '\'');
            bool equal = item is not null && Find(item, path) is [{ } found, ..] && Json.Plain(found) == wanted;
            return equal == (sign == "==");
        }

        return item is not null && Find(item, filter.Trim().TrimStart('@')).Count > 0;
    }

    private static IEnumerable<JsonNode?> Children(JsonNode? node) => node?.GetValueKind() switch
    {
        JsonValueKind.Array => (JsonArray)node,
        JsonValueKind.Object => ((JsonObject)node).Select(field => field.Value),
        _ => [],
    };
}
