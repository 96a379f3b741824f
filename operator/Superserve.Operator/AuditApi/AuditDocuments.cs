using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Superserve.Operator.AuditApi;

/// <summary>Discovery and OpenAPI: what never changes, and is answered whether or not there is an audit service.</summary>
internal static class AuditDocuments
{
    private const string Root = $"/apis/{AuditResource.ApiVersion}";
    private const string OpenApiPath = "/openapi/v3" + Root;

    private static readonly byte[] OpenApi = JsonSerializer.SerializeToUtf8Bytes(OpenApiDocument());

    private static readonly Dictionary<string, byte[]> Documents = new(StringComparer.Ordinal)
    {
        [$"/apis/{AuditResource.Group}"] = JsonSerializer.SerializeToUtf8Bytes(ApiGroup()),
        [Root] = JsonSerializer.SerializeToUtf8Bytes(ResourceList()),
        ["/openapi/v3"] = JsonSerializer.SerializeToUtf8Bytes(OpenApiIndex()),
        [OpenApiPath] = OpenApi,
    };

    /// <summary>The document at a path, in JSON; null where there is none. Of /apis and /openapi/v2 there is none: the API server does without.</summary>
    public static byte[]? Find(string path) => Documents.GetValueOrDefault(path.TrimEnd('/'));

    private static JsonObject ApiGroup()
    {
        JsonObject version = new() { ["groupVersion"] = AuditResource.ApiVersion, ["version"] = AuditResource.Version };
        return new JsonObject
        {
            ["kind"] = "APIGroup",
            ["apiVersion"] = "v1",
            ["name"] = AuditResource.Group,
            ["versions"] = new JsonArray(version),
            ["preferredVersion"] = version.DeepClone(),
        };
    }

    // get and list alone: the controller that empties namespaces leaves alone what cannot be deleted.
    private static JsonObject ResourceList() => new()
    {
        ["kind"] = "APIResourceList",
        ["apiVersion"] = "v1",
        ["groupVersion"] = AuditResource.ApiVersion,
        ["resources"] = new JsonArray([.. AuditResource.All.Select(resource => new JsonObject
        {
            ["name"] = resource.Kind.Plural,
            ["singularName"] = resource.Singular,
            ["namespaced"] = true,
            ["kind"] = resource.Kind.Kind,
            ["verbs"] = new JsonArray("get", "list"),
            ["shortNames"] = new JsonArray(resource.ShortName),
        })]),
    };

    private static JsonObject OpenApiIndex() => new()
    {
        ["paths"] = new JsonObject
        {
            [Root[1..]] = new JsonObject { ["serverRelativeURL"] = $"{OpenApiPath}?hash={Convert.ToHexString(SHA256.HashData(OpenApi))}" },
        },
    };

    private static JsonObject OpenApiDocument()
    {
        JsonObject paths = [];
        JsonObject schemas = new() { ["ObjectMeta"] = ObjectMeta() };
        foreach (AuditResource resource in AuditResource.All)
        {
            JsonObject one = Operation(resource, "get", resource.Kind.Kind);
            JsonObject list = Operation(resource, "list", resource.Kind.Kind + "List", "fieldSelector", "limit", "continue");
            paths[$"{Root}/{resource.Kind.Plural}"] = new JsonObject { ["get"] = list };
            paths[$"{Root}/namespaces/{{namespace}}/{resource.Kind.Plural}"] = new JsonObject { ["get"] = list.DeepClone() };
            paths[$"{Root}/namespaces/{{namespace}}/{resource.Kind.Plural}/{{name}}"] = new JsonObject { ["get"] = one };
            schemas[Reference(resource.Kind.Kind)] = Schema(resource);
            schemas[Reference(resource.Kind.Kind + "List")] = ListSchema(resource);
        }

        return new JsonObject
        {
            ["openapi"] = "3.0.0",
            ["info"] = new JsonObject { ["title"] = "Superserve audit and network log", ["version"] = AuditResource.Version },
            ["paths"] = paths,
            ["components"] = new JsonObject { ["schemas"] = schemas },
        };
    }

    private static JsonObject Operation(AuditResource resource, string action, string answer, params string[] parameters) => new()
    {
        ["description"] = action == "get" ? $"reads one {resource.Kind.Kind}" : $"lists {resource.Kind.Plural}, newest first; without the field selector since, those of the last hour",
        ["operationId"] = $"{action}{answer}",
        ["parameters"] = new JsonArray([.. parameters.Select(name => new JsonObject
        {
            ["name"] = name,
            ["in"] = "query",
            ["schema"] = new JsonObject { ["type"] = name == "limit" ? "integer" : "string" },
        })]),
        ["responses"] = new JsonObject
        {
            ["200"] = new JsonObject
            {
                ["description"] = "OK",
                ["content"] = new JsonObject { ["application/json"] = new JsonObject { ["schema"] = new JsonObject { ["$ref"] = $"#/components/schemas/{Reference(answer)}" } } },
            },
        },
        ["x-kubernetes-action"] = action,
        ["x-kubernetes-group-version-kind"] = KindOf(resource.Kind.Kind),
    };

    private static JsonObject Schema(AuditResource resource)
    {
        JsonObject schema = Head(resource.Description, resource.Kind.Kind, "#/components/schemas/ObjectMeta");
        foreach ((string name, JsonObject field) in resource.Fields) schema["properties"]![name] = field.DeepClone();
        return schema;
    }

    private static JsonObject ListSchema(AuditResource resource)
    {
        JsonObject schema = Head($"{resource.Kind.Kind}List is a page of {resource.Kind.Plural}, newest first.", resource.Kind.Kind + "List", null);
        schema["properties"]!["items"] = AuditSchema.List("The rows.", new JsonObject { ["$ref"] = $"#/components/schemas/{Reference(resource.Kind.Kind)}" });
        return schema;
    }

    private static JsonObject Head(string description, string kind, string? metadata) => new()
    {
        ["description"] = description,
        ["type"] = "object",
        ["properties"] = new JsonObject
        {
            ["apiVersion"] = AuditSchema.Text($"Always {AuditResource.ApiVersion}."),
            ["kind"] = AuditSchema.Text($"Always {kind}."),
            ["metadata"] = metadata is null
                ? AuditSchema.Object("Where the next page begins.", ("continue", AuditSchema.Text("What to ask for the next page with; absent at the end.")))
                : new JsonObject { ["description"] = "What names the row.", ["allOf"] = new JsonArray(new JsonObject { ["$ref"] = metadata }) },
        },
        ["x-kubernetes-group-version-kind"] = new JsonArray(KindOf(kind)),
    };

    private static JsonObject ObjectMeta() => AuditSchema.Object(
        "What names the row.",
        ("name", AuditSchema.Text("The row's name, for good.")),
        ("namespace", AuditSchema.Text("The sandbox's namespace.")),
        ("uid", AuditSchema.Text("The row's UID, for good.")),
        ("creationTimestamp", AuditSchema.Moment("The row's time, to the second.")));

    private static JsonObject KindOf(string kind) => new() { ["group"] = AuditResource.Group, ["version"] = AuditResource.Version, ["kind"] = kind };

    private static string Reference(string kind) => $"ai.superserve.audit.{AuditResource.Version}.{kind}";
}
