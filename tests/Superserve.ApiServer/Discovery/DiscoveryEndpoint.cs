using Microsoft.AspNetCore.Http;
using Superserve.ApiServer.Aggregation;
using Superserve.ApiServer.Resources;

namespace Superserve.ApiServer.Discovery;

/// <summary>What there is to ask for: version, groups, resources, schemas. Everybody who is known may read it.</summary>
internal sealed class DiscoveryEndpoint(ResourceRegistry registry, AggregatedApis aggregated)
{
    private const string Aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

    private readonly OpenApiDocuments _openApi = new(registry);

    /// <summary>False where the path is none of discovery's.</summary>
    public async Task<bool> TryHandleAsync(HttpContext context)
    {
        string[] parts = [.. (context.Request.Path.Value ?? "").Split('/', StringSplitOptions.RemoveEmptyEntries)];
        switch (parts)
        {
            case ["healthz" or "livez" or "readyz", ..]:
                await context.Response.WriteAsync("ok");
                return true;
            case ["api"] or ["apis"] when WantsAggregated(context.Request):
                JsonObject document = AggregatedDiscovery.Of(registry, core: parts[0] == "api");
                if (parts[0] == "apis") await AggregatedDiscovery.AddAsync(document, aggregated, context.RequestAborted);
                await Responses.WriteAsync(context, 200, document, contentType: Aggregated);
                return true;
        }

        JsonObject? answer = parts switch
        {
            [] => new JsonObject { ["paths"] = Json.ToArray(["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]) },
            ["version"] => Version(),
            ["api"] => new JsonObject { ["kind"] = "APIVersions", ["versions"] = new JsonArray("v1"), ["serverAddressByClientCIDRs"] = new JsonArray() },
            ["apis"] => new JsonObject { ["kind"] = "APIGroupList", ["apiVersion"] = "v1", ["groups"] = Json.ToArray(Groups().Select(group => Group(group.Name, group.Versions))) },
            ["apis", var name] => Groups().Where(group => group.Name == name).Select(group => Group(name, group.Versions)).FirstOrDefault() ?? throw ApiErrors.NoSuchPath(),
            ["api", "v1"] => ResourceList("", "v1"),
            ["apis", var name, var version] => ResourceList(name, version),
            ["openapi", "v3"] => await IndexAsync(context.RequestAborted),
            ["openapi", "v3", "api", "v1"] => _openApi.Of("", "v1"),
            ["openapi", "v3", "apis", ..] when aggregated.Find(string.Join('/', parts[2..])) is { } api => await aggregated.OpenApiAsync(api, isIndex: false, context.RequestAborted) ?? throw ApiErrors.NoSuchPath(),
            ["openapi", "v3", "apis", var name, var version] => _openApi.Of(name, version),
            ["openapi", ..] => throw ApiErrors.NoSuchPath(),
            _ => null,
        };
        if (answer is null) return false;
        await Responses.WriteAsync(context, 200, answer);
        return true;
    }

    /// <summary>Of all APIs; of one that another server answers, what that server says.</summary>
    private async Task<JsonObject> IndexAsync(CancellationToken cancellation)
    {
        JsonObject index = _openApi.Index();
        foreach (AggregatedApi api in aggregated.All)
            if ((await aggregated.OpenApiAsync(api, isIndex: true, cancellation))?.Object("paths", api.Path) is { } entry) index.Child("paths")[api.Path] = entry.DeepClone();
        return index;
    }

    private static bool WantsAggregated(HttpRequest request) =>
        request.Headers.Accept.ToString().Split(',').Any(accepted => accepted.Contains("as=APIGroupDiscoveryList", StringComparison.Ordinal) && accepted.Contains("v=v2;", StringComparison.Ordinal));

    private IEnumerable<(string Name, IReadOnlyList<string> Versions)> Groups() => registry.Groups.Where(group => group.Group.Length > 0)
        .Concat(aggregated.All.GroupBy(api => api.Group).Select(group => (group.Key, (IReadOnlyList<string>)[.. group.Select(api => api.Version)])));

    private static JsonObject Version() => new()
    {
        ["major"] = "1",
        ["minor"] = "36",
        ["gitVersion"] = "v1.36.2",
        ["gitCommit"] = "",
        ["gitTreeState"] = "clean",
        ["buildDate"] = "2026-01-01T00:00:00Z",
        ["goVersion"] = "",
        ["compiler"] = "",
        ["platform"] = "linux/amd64",
    };

    private static JsonObject Group(string name, IReadOnlyList<string> versions)
    {
        JsonObject Version(string version) => new() { ["groupVersion"] = $"{name}/{version}", ["version"] = version };
        return new JsonObject
        {
            ["kind"] = "APIGroup",
            ["apiVersion"] = "v1",
            ["name"] = name,
            ["versions"] = Json.ToArray(versions.Select(Version)),
            ["preferredVersion"] = Version(versions[0]),
        };
    }

    private JsonObject ResourceList(string group, string version)
    {
        ResourceType[] types = [.. registry.All.Where(type => type.Group == group && type.Version == version)];
        if (types.Length == 0) throw ApiErrors.NoSuchPath();
        JsonArray resources = [];
        foreach (ResourceType type in types)
        {
            JsonObject entry = new() { ["name"] = type.Resource, ["singularName"] = type.Singular, ["namespaced"] = type.Namespaced, ["kind"] = type.Kind, ["verbs"] = Json.ToArray(type.Verbs) };
            if (type.ShortNames.Count > 0) entry["shortNames"] = Json.ToArray(type.ShortNames);
            if (type.Categories.Count > 0) entry["categories"] = Json.ToArray(type.Categories);
            resources.Add(entry);
            foreach (string subresource in type.Subresources)
            {
                Subresource described = Subresource.Of(type, subresource);
                JsonObject below = new()
                {
                    ["name"] = $"{type.Resource}/{subresource}",
                    ["singularName"] = "",
                    ["namespaced"] = type.Namespaced,
                    ["kind"] = described.Kind,
                    ["verbs"] = Json.ToArray(described.Verbs),
                };
                if (described.Group != type.Group || described.Version != type.Version)
                {
                    below["group"] = described.Group;
                    below["version"] = described.Version;
                }

                resources.Add(below);
            }
        }

        return new JsonObject { ["kind"] = "APIResourceList", ["apiVersion"] = "v1", ["groupVersion"] = group.Length == 0 ? version : $"{group}/{version}", ["resources"] = resources };
    }
}
