using Superserve.ApiServer.Aggregation;
using Superserve.ApiServer.Resources;

namespace Superserve.ApiServer.Discovery;

/// <summary>All groups and resources in one answer.</summary>
internal static class AggregatedDiscovery
{
    public static JsonObject Of(ResourceRegistry registry, bool core)
    {
        JsonArray items = [];
        foreach ((string group, IReadOnlyList<string> versions) in registry.Groups.Where(group => group.Group.Length == 0 == core))
        {
            JsonArray list = [];
            foreach (string version in versions)
            {
                JsonArray resources = Json.ToArray(registry.All.Where(type => type.Group == group && type.Version == version).Select(Resource));
                list.Add(new JsonObject { ["version"] = version, ["resources"] = resources, ["freshness"] = "Current" });
            }

            JsonObject metadata = new() { ["creationTimestamp"] = null };
            if (group.Length > 0) metadata["name"] = group;
            items.Add(new JsonObject { ["metadata"] = metadata, ["versions"] = list });
        }

        return new JsonObject { ["kind"] = "APIGroupDiscoveryList", ["apiVersion"] = "apidiscovery.k8s.io/v2", ["metadata"] = new JsonObject(), ["items"] = items };
    }

    /// <summary>Adds what other servers answer; one that does not answer is listed as stale.</summary>
    public static async Task AddAsync(JsonObject document, AggregatedApis apis, CancellationToken cancellation)
    {
        foreach (IGrouping<string, AggregatedApi> group in apis.All.GroupBy(api => api.Group))
        {
            JsonArray versions = [];
            foreach (AggregatedApi api in group)
            {
                JsonObject? list = await apis.DiscoverAsync(api, cancellation);
                JsonArray resources = Json.ToArray(list.Objects("resources").Where(entry => entry.Text("name")?.Contains('/') == false).Select(entry => Resource(api, entry)));
                versions.Add(new JsonObject { ["version"] = api.Version, ["resources"] = resources, ["freshness"] = list is null ? "Stale" : "Current" });
            }

            document.Array("items")!.Add(new JsonObject { ["metadata"] = new JsonObject { ["name"] = group.Key, ["creationTimestamp"] = null }, ["versions"] = versions });
        }
    }

    private static JsonObject Resource(AggregatedApi api, JsonObject entry)
    {
        JsonObject resource = new()
        {
            ["resource"] = entry.Text("name"),
            ["responseKind"] = Kind(entry.Text("group") ?? api.Group, entry.Text("version") ?? api.Version, entry.Text("kind") ?? ""),
            ["scope"] = entry.Flag("namespaced") == true ? "Namespaced" : "Cluster",
            ["singularResource"] = entry.Text("singularName") ?? "",
        };
        foreach (string name in new[] { "verbs", "shortNames", "categories" })
        {
            if (entry[name] is { } list) resource[name] = list.DeepClone();
        }

        return resource;
    }

    private static JsonObject Resource(ResourceType type)
    {
        JsonObject resource = new()
        {
            ["resource"] = type.Resource,
            ["responseKind"] = Kind(type.Group, type.Version, type.Kind),
            ["scope"] = type.Namespaced ? "Namespaced" : "Cluster",
            ["singularResource"] = type.Singular,
            ["verbs"] = Json.ToArray(type.Verbs),
        };
        if (type.ShortNames.Count > 0) resource["shortNames"] = Json.ToArray(type.ShortNames);
        if (type.Categories.Count > 0) resource["categories"] = Json.ToArray(type.Categories);
        if (type.Subresources.Count > 0)
        {
            resource["subresources"] = Json.ToArray(type.Subresources.Select(name =>
            {
                Subresource described = Subresource.Of(type, name);
                return new JsonObject { ["subresource"] = name, ["responseKind"] = Kind(described.Group, described.Version, described.Kind), ["verbs"] = Json.ToArray(described.Verbs) };
            }));
        }

        return resource;
    }

    private static JsonObject Kind(string group, string version, string kind) => new() { ["group"] = group, ["version"] = version, ["kind"] = kind };
}
