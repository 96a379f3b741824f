using Superserve.ApiServer.Resources;

namespace Superserve.ApiServer.Selectors;

/// <summary>Which fields an object must have; only the fields that the type makes selectable.</summary>
internal sealed class FieldSelector
{
    private static readonly string[] Everywhere = ["metadata.name", "metadata.namespace"];

    private static readonly Dictionary<string, string[]> BuiltIn = new(StringComparer.Ordinal)
    {
        ["/pods"] = ["spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"],
        ["/events"] =
        [
            "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid", "involvedObject.apiVersion",
            "involvedObject.resourceVersion", "involvedObject.fieldPath", "regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid",
            "reason", "reportingComponent", "source", "type",
        ],
        ["/secrets"] = ["type"],
        ["/namespaces"] = ["status.phase"],
        ["/nodes"] = ["spec.unschedulable"],
        ["apps/replicasets"] = ["status.replicas"],
        ["batch/jobs"] = ["status.successful"],
    };

    private readonly List<(string Field, bool Equal, string Value)> _requirements = [];

    /// <summary>The one name that is asked for, if one is.</summary>
    public string? Name => _requirements.FirstOrDefault(requirement => requirement is ("metadata.name", true, _)).Value;

    public static FieldSelector Parse(string? text, ResourceType type)
    {
        FieldSelector selector = new();
        foreach (string part in (text ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            int at = part.IndexOf('=', StringComparison.Ordinal);
            if (at < 1) throw ApiErrors.BadRequest($"invalid selector: '{text}'; can't understand '{part}'");
            bool equal = part[at - 1] != '!';
            string field = part[..(equal ? at : at - 1)];
            if (!IsSelectable(type, field)) throw ApiErrors.BadRequest($"field label not supported: {field}");
            selector._requirements.Add((field, equal, part[(at + 1)..].TrimStart('=')));
        }

        return selector;
    }

    public bool Matches(JsonNode value) => _requirements.All(requirement => (Value(value, requirement.Field) == requirement.Value) == requirement.Equal);

    private static bool IsSelectable(ResourceType type, string field) =>
        Everywhere.Contains(field)
        || (BuiltIn.GetValueOrDefault(type.StorageResource)?.Contains(field) ?? false)
        || (type.Custom?.SelectableFields.Contains(field) ?? false);

    private static string Value(JsonNode value, string field)
    {
        // Both event groups serve the same objects, as core writes them.
        string path = field.StartsWith("regarding.", StringComparison.Ordinal) && value.At("regarding") is null ? "involvedObject" + field["regarding".Length..] : field;
        JsonNode? found = value.At(path.Split('.'));
        return found is null ? "" : Json.Plain(found);
    }
}
