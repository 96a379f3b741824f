using System.Text.Json;

namespace Superserve.ApiServer.Resources;

/// <summary>What a client sent, checked against what its path says.</summary>
internal static class ReceivedObject
{
    /// <summary>Checks that what was sent is what the path names, and fills in what it may leave out.</summary>
    public static JsonObject Read(WriteRequest request, JsonObject sent)
    {
        ResourceType type = request.Type;
        JsonObject value = type is { StoredAs: not null } && sent.Text("apiVersion") != "v1" ? EventConversion.ToCore(sent) : sent.Copy();
        if (value["metadata"] is null) value.Remove("metadata");
        string apiVersion = type.StoredAs is null ? type.ApiVersion : "v1";
        if (value.Text("kind") is { Length: > 0 } kind && kind != type.Kind) throw ApiErrors.BadRequest($"{kind} in version \"{type.Version}\" cannot be handled as a {type.Kind}");
        if (value.Text("apiVersion") is { Length: > 0 } version && version != apiVersion && version.Split('/')[0] != type.Group)
        {
            throw ApiErrors.BadRequest($"the API version in the data ({version}) does not match the expected API version ({type.ApiVersion})");
        }

        value["apiVersion"] = apiVersion;
        value["kind"] = type.Kind;
        if (request.Name.Length > 0 && value.Name().Length > 0 && value.Name() != request.Name)
        {
            throw ApiErrors.BadRequest($"the name of the object ({value.Name()}) does not match the name on the URL ({request.Name})");
        }

        if (value.Namespace().Length > 0 && value.Namespace() != request.Namespace)
        {
            throw ApiErrors.BadRequest("the namespace of the provided object does not match the namespace sent on the request");
        }

        if (type.Namespaced) value.Metadata()["namespace"] = request.Namespace;
        CheckTexts(type, value);
        return value;
    }

    /// <summary>The values that people write without quotes, and YAML then reads as something else.</summary>
    private static void CheckTexts(ResourceType type, JsonObject value)
    {
        foreach (string map in new[] { "labels", "annotations" })
        {
            foreach ((string name, JsonNode? text) in value.Object("metadata", map) ?? []) CheckText(type, $"metadata.{map}.{name}", text);
        }

        if (!type.Is("", "pods")) return;
        foreach (JsonObject variable in new[] { "initContainers", "containers" }.SelectMany(list => value.Objects("spec", list)).SelectMany(container => container.Objects("env")))
        {
            CheckText(type, $"spec.containers.env.{variable.Text("name")}", variable["value"]);
        }
    }

    private static void CheckText(ResourceType type, string field, JsonNode? value)
    {
        if (value is null || value.GetValueKind() == JsonValueKind.String) return;
        throw ApiErrors.BadRequest($"{type.Kind} in version \"{type.Version}\" cannot be handled as a {type.Kind}: json: cannot unmarshal {value.GetValueKind()} into {field} of type string");
    }
}
