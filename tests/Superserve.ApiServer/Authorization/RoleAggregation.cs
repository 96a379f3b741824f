using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Authorization;

/// <summary>Writes the rules that aggregated cluster roles have into them, so that a reader sees them.</summary>
internal sealed class RoleAggregation(ObjectStore store, RbacAuthorizer authorizer)
{
    private static readonly ResourceType Roles = BuiltInTypes.Get("rbac.authorization.k8s.io", "clusterroles");

    public void OnChange(Change change)
    {
        if (change.Key.Resource != Roles.StorageResource) return;
        foreach (JsonObject role in store.List(Roles.StorageResource).Items)
        {
            if (role.Object("aggregationRule") is not { } aggregation) continue;
            JsonArray rules = Json.ToArray(authorizer.Aggregate(aggregation));
            if (Json.Same(role.Array("rules"), rules)) continue;
            JsonObject updated = role.Copy();
            updated["rules"] = rules;
            store.Replace(Roles.Key("", role.Name()), role, updated);
        }
    }
}
