using System.Text.Json;
using System.Text.Json.Nodes;
using k8s;
using k8s.Models;

namespace Superserve.Kubernetes.Writing;

/// <summary>
/// Whether an object is already as a manager wants it: it owns exactly the fields it would apply, and they have these values. In
/// doubt the answer is no; an apply that changes nothing costs a request and makes no new version.
/// </summary>
internal static class FieldOwnership
{
    /// <summary>What names an object is owned by nobody.</summary>
    private static readonly string[] Identity = ["apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.uid"];

    public static bool IsApplied(
        JsonObject desired, IKubernetesObject<V1ObjectMeta> live, string manager, string? subresource, JsonSerializerOptions json)
    {
        V1ManagedFieldsEntry? entry = live.Metadata.ManagedFields?.FirstOrDefault(candidate =>
            candidate.Manager == manager && candidate.Operation == "Apply" && (candidate.Subresource ?? "") == (subresource ?? ""));
        if (entry is null || entry.ApiVersion != (string?)desired["apiVersion"]) return false;
        return JsonSerializer.SerializeToNode(entry.FieldsV1, json) is JsonObject owned
            && JsonSerializer.SerializeToNode(live, live.GetType(), json) is { } current
            && IsSame(WithoutIdentity(desired), current, owned);
    }

    private static JsonObject WithoutIdentity(JsonObject desired)
    {
        JsonObject copy = (JsonObject)desired.DeepClone();
        JsonObject? metadata = copy["metadata"] as JsonObject;
        foreach (string field in Identity)
            if (field.StartsWith("metadata.", StringComparison.Ordinal)) metadata?.Remove(field["metadata.".Length..]);
            else copy.Remove(field);
        if (metadata?.Count == 0) copy.Remove("metadata");
        return copy;
    }

    private static bool IsSame(JsonNode? desired, JsonNode? live, JsonObject owned)
    {
        // An empty set marks a leaf, or a list or map that is owned as a whole.
        if (owned.Count == 0) return JsonNode.DeepEquals(desired, live);
        int children = owned.Count(child => child.Key != ".");
        return (desired, live) switch
        {
            (JsonObject wanted, JsonObject current) =>
                wanted.Count(field => field.Value is not null) == children
                && wanted.All(field => field.Value is null
                    || (owned[$"f:{field.Key}"] is JsonObject below && IsSame(field.Value, current[field.Key], below))),
            (JsonArray wanted, JsonArray current) => wanted.Count == children && wanted.All(item => HasItem(item, current, owned)),
            _ => false,
        };
    }

    private static bool HasItem(JsonNode? item, JsonArray live, JsonObject owned)
    {
        foreach ((string name, JsonNode? below) in owned)
        {
            // A set's member, or an element of a list of maps that its keys name.
            if (name.StartsWith("v:", StringComparison.Ordinal) && JsonNode.DeepEquals(JsonNode.Parse(name[2..]), item))
                return live.Any(current => JsonNode.DeepEquals(current, item));
            if (name.StartsWith("k:", StringComparison.Ordinal) && JsonNode.Parse(name[2..]) is JsonObject keys && Matches(item, keys))
                return below is JsonObject fields
                    && live.FirstOrDefault(current => Matches(current, keys)) is { } found && IsSame(item, found, fields);
        }

        return false;
    }

    private static bool Matches(JsonNode? item, JsonObject keys) =>
        item is JsonObject map && keys.All(key => JsonNode.DeepEquals(map[key.Key], key.Value));
}
