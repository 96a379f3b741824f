using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Selectors;
using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Admission;

/// <summary>One webhook of a stored configuration.</summary>
internal sealed record Webhook(string Configuration, JsonObject Definition)
{
    private const string Group = "admissionregistration.k8s.io";

    public string Name => Definition.Text("name") ?? "";

    public bool FailsClosed => Definition.Text("failurePolicy") != "Ignore";

    public bool ReinvokesIfNeeded => Definition.Text("reinvocationPolicy") == "IfNeeded";

    public TimeSpan Timeout => TimeSpan.FromSeconds(Definition.Number("timeoutSeconds") ?? 10);

    /// <summary>The webhooks of all configurations, in the order of their names.</summary>
    public static IReadOnlyList<Webhook> All(ObjectStore store, string resource) =>
    [
        .. store.List($"{Group}/{resource}").Items.SelectMany(configuration => configuration.Objects("webhooks").Select(webhook => new Webhook(configuration.Name(), webhook))),
    ];

    public bool Matches(AdmissionAttributes attributes, ObjectStore store)
    {
        // No webhook can lock itself in.
        if (attributes.Type.Group == Group) return false;
        return Definition.Objects("rules").Any(rule => MatchesRule(rule, attributes))
            && MatchesNamespace(attributes, store)
            && MatchesObject(attributes);
    }

    private static bool MatchesRule(JsonObject rule, AdmissionAttributes attributes)
    {
        ResourceType type = attributes.Type;
        static bool Has(IReadOnlyList<string> list, string value) => list.Contains("*") || list.Contains(value);
        string scope = rule.Text("scope") ?? "*";
        return Has(rule.Texts("operations"), attributes.Operation)
            && Has(rule.Texts("apiGroups"), type.Group)
            && Has(rule.Texts("apiVersions"), type.Version)
            && (scope == "*" || scope == "Namespaced" == type.Namespaced)
            && rule.Texts("resources").Any(pattern => MatchesResource(pattern, type.Resource, attributes.Subresource));
    }

    private static bool MatchesResource(string pattern, string resource, string subresource)
    {
        string[] parts = pattern.Split('/', 2);
        if (parts[0] != "*" && parts[0] != resource) return false;
        return parts.Length == 1 ? subresource.Length == 0 : parts[1] == "*" || parts[1] == subresource;
    }

    private bool MatchesNamespace(AdmissionAttributes attributes, ObjectStore store)
    {
        LabelSelector selector = LabelSelector.Of(Definition.Object("namespaceSelector"));
        if (selector.IsEmpty) return true;
        ResourceType namespaces = BuiltInTypes.Get("", "namespaces");
        if (attributes.Type == namespaces) return selector.Matches(attributes.Object ?? attributes.OldObject);
        return !attributes.Type.Namespaced || selector.Matches(store.Get(namespaces.Key("", attributes.Namespace)));
    }

    private bool MatchesObject(AdmissionAttributes attributes)
    {
        LabelSelector selector = LabelSelector.Of(Definition.Object("objectSelector"));
        return selector.IsEmpty
            || (attributes.Object is not null && selector.Matches(attributes.Object))
            || (attributes.OldObject is not null && selector.Matches(attributes.OldObject));
    }
}
