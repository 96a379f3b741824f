using System.Security.Cryptography;
using Superserve.ApiServer.Resources;

namespace Superserve.ApiServer.Discovery;

/// <summary>
/// OpenAPI v3, one document for each group and version: the paths that say which query parameters there are, and the schemas
/// of CRDs. Built-in types are objects of which nothing is said.
/// </summary>
internal sealed class OpenApiDocuments(ResourceRegistry registry)
{
    public JsonObject Index()
    {
        JsonObject paths = [];
        foreach ((string group, IReadOnlyList<string> versions) in registry.Groups)
        {
            foreach (string version in versions)
            {
                string path = group.Length == 0 ? $"api/{version}" : $"apis/{group}/{version}";
                string hash = Convert.ToHexString(SHA256.HashData(Of(group, version).ToUtf8()));
                paths[path] = new JsonObject { ["serverRelativeURL"] = $"/openapi/v3/{path}?hash={hash}" };
            }
        }

        return new JsonObject { ["paths"] = paths };
    }

    public JsonObject Of(string group, string version)
    {
        ResourceType[] types = [.. registry.All.Where(type => type.Group == group && type.Version == version)];
        if (types.Length == 0) throw ApiErrors.NoSuchPath();
        JsonObject paths = [];
        JsonObject schemas = new() { ["ObjectMeta"] = new JsonObject { ["type"] = "object", ["description"] = "Standard object's metadata." } };
        foreach (ResourceType type in types)
        {
            string root = group.Length == 0 ? $"/api/{version}" : $"/apis/{group}/{version}";
            string collection = type.Namespaced ? $"{root}/namespaces/{{namespace}}/{type.Resource}" : $"{root}/{type.Resource}";
            JsonObject item = [];
            JsonObject list = new() { ["post"] = Operation(type, "post", "fieldValidation", "dryRun", "fieldManager") };
            if (!type.IsReview)
            {
                list["get"] = Operation(type, "list", "limit", "continue", "labelSelector", "fieldSelector");
                item["get"] = Operation(type, "get");
                item["put"] = Operation(type, "put", "fieldValidation", "dryRun", "fieldManager");
                item["patch"] = Operation(type, "patch", "fieldValidation", "dryRun", "fieldManager", "force");
                item["delete"] = Operation(type, "delete", "dryRun");
                paths[$"{collection}/{{name}}"] = item;
            }

            paths[collection] = list;
            schemas[Reference(type)] = Schema(type);
        }

        return new JsonObject
        {
            ["openapi"] = "3.0.0",
            ["info"] = new JsonObject { ["title"] = "Kubernetes", ["version"] = "v1.36.2" },
            ["paths"] = paths,
            ["components"] = new JsonObject { ["schemas"] = schemas },
        };
    }

    private static JsonObject Operation(ResourceType type, string action, params string[] parameters) => new()
    {
        ["operationId"] = $"{action}{type.Kind}",
        ["parameters"] = Json.ToArray(parameters.Select(name => new JsonObject { ["name"] = name, ["in"] = "query", ["schema"] = new JsonObject { ["type"] = "string" } })),
        ["responses"] = new JsonObject
        {
            ["200"] = new JsonObject
            {
                ["description"] = "OK",
                ["content"] = new JsonObject { ["application/json"] = new JsonObject { ["schema"] = new JsonObject { ["$ref"] = $"#/components/schemas/{Reference(type)}" } } },
            },
        },
        ["x-kubernetes-action"] = action,
        ["x-kubernetes-group-version-kind"] = Kind(type),
    };

    private static JsonObject Schema(ResourceType type)
    {
        JsonObject schema = type.Custom?.Schema.Copy() ?? new JsonObject { ["type"] = "object", ["x-kubernetes-preserve-unknown-fields"] = true };
        JsonObject properties = schema.Child("properties");
        properties["apiVersion"] = new JsonObject { ["type"] = "string" };
        properties["kind"] = new JsonObject { ["type"] = "string" };
        properties["metadata"] = new JsonObject { ["allOf"] = new JsonArray(new JsonObject { ["$ref"] = "#/components/schemas/ObjectMeta" }) };
        schema["x-kubernetes-group-version-kind"] = new JsonArray(Kind(type));
        return schema;
    }

    private static JsonObject Kind(ResourceType type) => new() { ["group"] = type.Group, ["version"] = type.Version, ["kind"] = type.Kind };

    private static string Reference(ResourceType type) =>
        string.Join('.', (type.Group.Length == 0 ? "core" : type.Group).Split('.').Reverse()) + $".{type.Version}.{type.Kind}";
}
