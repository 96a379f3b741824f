using Superserve.ApiServer.Authentication;
using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Selectors;
using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Authorization;

/// <summary>Role-based access control over the stored roles and bindings; system:masters may do everything.</summary>
internal sealed class RbacAuthorizer(ObjectStore store)
{
    private const string Group = "rbac.authorization.k8s.io/";

    public bool Allows(AccessRequest request) => request.User.IsMaster || RulesFor(request.User, request.Namespace).Any(rule => Covers(rule, request));

    public void Demand(AccessRequest request)
    {
        if (!Allows(request)) throw ApiErrors.Forbidden(request.Refusal);
    }

    /// <summary>Every rule that a user has in a namespace, those for the whole cluster included.</summary>
    public IEnumerable<JsonObject> RulesFor(UserInfo user, string inNamespace)
    {
        foreach (JsonObject binding in store.List(Group + "clusterrolebindings").Items)
        {
            if (!Binds(binding, user)) continue;
            foreach (JsonObject rule in RulesOf(binding)) yield return rule;
        }

        if (inNamespace.Length == 0) yield break;
        foreach (JsonObject binding in store.List(Group + "rolebindings", inNamespace).Items)
        {
            if (!Binds(binding, user)) continue;
            foreach (JsonObject rule in RulesOf(binding)) yield return rule;
        }
    }

    private IEnumerable<JsonObject> RulesOf(JsonObject binding)
    {
        bool inNamespace = binding.Text("roleRef", "kind") == "Role";
        ResourceType type = BuiltInTypes.Get(Group.TrimEnd('/'), inNamespace ? "roles" : "clusterroles");
        JsonObject? role = store.Get(type.Key(binding.Namespace(), binding.Text("roleRef", "name") ?? ""));
        if (role is null) return [];
        return role.Object("aggregationRule") is { } aggregation ? Aggregate(aggregation) : role.Objects("rules");
    }

    /// <summary>The rules of all cluster roles that an aggregation selects.</summary>
    public IEnumerable<JsonObject> Aggregate(JsonObject aggregation)
    {
        LabelSelector[] selectors = [.. aggregation.Objects("clusterRoleSelectors").Select(LabelSelector.Of)];
        foreach (JsonObject role in store.List(Group + "clusterroles").Items)
        {
            if (!selectors.Any(selector => selector.Matches(role))) continue;
            IEnumerable<JsonObject> rules = role.Object("aggregationRule") is { } inner ? Aggregate(inner) : role.Objects("rules");
            foreach (JsonObject rule in rules) yield return rule;
        }
    }

    private static bool Binds(JsonObject binding, UserInfo user) => binding.Objects("subjects").Any(subject => subject.Text("kind") switch
    {
        "User" => subject.Text("name") == user.Name,
        "Group" => user.Groups.Contains(subject.Text("name") ?? ""),
        "ServiceAccount" => user.Name == $"system:serviceaccount:{subject.Text("namespace") ?? binding.Namespace()}:{subject.Text("name")}",
        _ => false,
    });

    private static bool Covers(JsonObject rule, AccessRequest request)
    {
        if (!Has(rule.Texts("verbs"), request.Verb)) return false;
        if (request.Path.Length > 0) return rule.Texts("nonResourceURLs").Any(pattern => MatchesPath(pattern, request.Path));
        IReadOnlyList<string> names = rule.Texts("resourceNames");
        return Has(rule.Texts("apiGroups"), request.Group)
            && rule.Texts("resources").Any(resource => resource == "*" || resource == request.Target || (request.Subresource.Length > 0 && resource == $"*/{request.Subresource}"))
            && (names.Count == 0 || (request.Name.Length > 0 && names.Contains(request.Name)));
    }

    private static bool Has(IReadOnlyList<string> allowed, string value) => allowed.Contains("*") || allowed.Contains(value);

    private static bool MatchesPath(string pattern, string path) =>
        pattern == path || pattern == "*" || (pattern.EndsWith('*') && path.StartsWith(pattern[..^1], StringComparison.Ordinal));
}
