using System.Globalization;
using System.Text;
using Superserve.ApiServer.Schema;

namespace Superserve.ApiServer.Resources;

/// <summary>Defaults and checks of built-in types: those that a client notices.</summary>
internal static class BuiltInRules
{
    private static int _addresses;

    public static void Default(ResourceType type, JsonObject value)
    {
        switch (type.StorageResource)
        {
            case "/pods":
                PodRules.Default(value);
                break;
            case "/secrets":
                DefaultSecret(value);
                break;
            case "/namespaces":
                value.Child("spec").Default("finalizers", new JsonArray("kubernetes"));
                value.Metadata().Child("labels")["kubernetes.io/metadata.name"] = value.Name();
                break;
            case "/services":
                DefaultService(value);
                break;
            case "apps/deployments" or "apps/replicasets" or "apps/statefulsets":
                value.Child("spec").Default("replicas", 1);
                break;
            case "rbac.authorization.k8s.io/rolebindings" or "rbac.authorization.k8s.io/clusterrolebindings":
                foreach (JsonObject subject in value.Objects("subjects").Where(subject => subject.Text("kind") is "User" or "Group")) subject.Default("apiGroup", "rbac.authorization.k8s.io");
                value.Child("roleRef").Default("apiGroup", "rbac.authorization.k8s.io");
                break;
            case "admissionregistration.k8s.io/mutatingwebhookconfigurations" or "admissionregistration.k8s.io/validatingwebhookconfigurations":
                foreach (JsonObject webhook in value.Objects("webhooks")) DefaultWebhook(webhook, type.Kind.StartsWith("Mutating", StringComparison.Ordinal));
                break;
        }
    }

    /// <summary>The status of a new object.</summary>
    public static JsonObject? InitialStatus(ResourceType type, JsonObject value) => type.StorageResource switch
    {
        "/pods" => new JsonObject { ["phase"] = "Pending", ["qosClass"] = PodRules.QosClass(value) },
        "/namespaces" => new JsonObject { ["phase"] = "Active" },
        "/services" => new JsonObject { ["loadBalancer"] = new JsonObject() },
        _ when type.HasStatus && type.Custom is null => [],
        _ => null,
    };

    public static IEnumerable<Violation> Validate(ResourceType type, JsonObject value, JsonObject? old) => type.StorageResource switch
    {
        "/pods" => PodRules.Validate(value, old),
        "/secrets" => ValidateData(value, old, "data").Concat(ValidateSecretType(value, old)),
        "/configmaps" => ValidateData(value, old, "data"),
        "rbac.authorization.k8s.io/rolebindings" or "rbac.authorization.k8s.io/clusterrolebindings" when old is not null && !Json.Same(value["roleRef"], old["roleRef"]) =>
            [Violation.Invalid("roleRef", value["roleRef"], "cannot change roleRef")],
        "apiextensions.k8s.io/customresourcedefinitions" => ValidateDefinition(value),
        "admissionregistration.k8s.io/mutatingwebhookconfigurations" or "admissionregistration.k8s.io/validatingwebhookconfigurations" => ValidateWebhooks(value),
        _ => [],
    };

    private static void DefaultSecret(JsonObject value)
    {
        value.Default("type", "Opaque");
        if (value["stringData"] is not JsonObject texts) return;
        JsonObject data = value.Child("data");
        foreach ((string name, JsonNode? text) in texts) data[name] = Convert.ToBase64String(Encoding.UTF8.GetBytes(text.Text() ?? ""));
        value.Remove("stringData");
    }

    private static void DefaultService(JsonObject value)
    {
        JsonObject spec = value.Child("spec");
        spec.Default("type", "ClusterIP");
        spec.Default("sessionAffinity", "None");
        foreach (JsonObject port in spec.Objects("ports"))
        {
            port.Default("protocol", "TCP");
            port.Default("targetPort", port["port"]?.DeepClone());
        }

        if (spec.Text("type") == "ExternalName" || spec["clusterIP"] is not null) return;
        int number = Interlocked.Increment(ref _addresses);
        spec["clusterIP"] = string.Create(CultureInfo.InvariantCulture, $"10.96.{number / 250}.{(number % 250) + 1}");
        spec["clusterIPs"] = new JsonArray(spec.Text("clusterIP"));
    }

    private static void DefaultWebhook(JsonObject webhook, bool mutating)
    {
        webhook.Default("failurePolicy", "Fail");
        webhook.Default("matchPolicy", "Equivalent");
        webhook.Default("timeoutSeconds", 10);
        webhook.Default("namespaceSelector", new JsonObject());
        webhook.Default("objectSelector", new JsonObject());
        if (mutating) webhook.Default("reinvocationPolicy", "Never");
        foreach (JsonObject rule in webhook.Objects("rules")) rule.Default("scope", "*");
        webhook.Object("clientConfig", "service")?.Default("port", 443);
    }

    private static IEnumerable<Violation> ValidateData(JsonObject value, JsonObject? old, string field)
    {
        if (value.At("metadata", "name") is null) yield break;
        bool encoded = value.Text("kind") == "Secret";
        foreach ((string name, JsonNode? item) in value.Object(field) ?? [])
        {
            if (item.Text() is not { } text) yield return Violation.Invalid($"{field}[{name}]", item, "must be a string");
            else if (encoded && !Convert.TryFromBase64String(text, new byte[text.Length], out _)) yield return Violation.Invalid($"{field}[{name}]", "<hidden>", "illegal base64 data");
        }

        if (old?.Flag("immutable") == true && !Json.Same(old[field], value[field])) yield return Violation.Forbidden(field, "field is immutable when `immutable` is set");
    }

    private static IEnumerable<Violation> ValidateSecretType(JsonObject value, JsonObject? old)
    {
        if (old is not null && old.Text("type") != value.Text("type")) yield return Violation.Invalid("type", value["type"], "field is immutable");
    }

    private static IEnumerable<Violation> ValidateDefinition(JsonObject value)
    {
        string expected = $"{value.Text("spec", "names", "plural")}.{value.Text("spec", "group")}";
        if (value.Name() != expected) yield return Violation.Invalid("metadata.name", value.Name(), "must be spec.names.plural+\".\"+spec.group");
        if (value.Text("spec", "scope") is not ("Namespaced" or "Cluster")) yield return Violation.NotSupported("spec.scope", value.At("spec", "scope"), ["\"Cluster\"", "\"Namespaced\""]);
        if (value.Objects("spec", "versions").Count(version => version.Flag("storage") == true) != 1)
        {
            yield return Violation.Invalid("spec.versions", value.At("spec", "versions"), "must have exactly one version marked as storage version");
        }

        int index = 0;
        foreach (JsonObject version in value.Objects("spec", "versions"))
        {
            if (version.Object("schema", "openAPIV3Schema") is null) yield return Violation.Required($"spec.versions[{index}].schema.openAPIV3Schema", "schemas are required");
            index++;
        }
    }

    private static IEnumerable<Violation> ValidateWebhooks(JsonObject value)
    {
        int index = 0;
        foreach (JsonObject webhook in value.Objects("webhooks"))
        {
            string path = $"webhooks[{index++}]";
            if (webhook.Text("sideEffects") is not ("None" or "NoneOnDryRun"))
            {
                yield return Violation.NotSupported($"{path}.sideEffects", webhook["sideEffects"], ["\"None\"", "\"NoneOnDryRun\""]);
            }

            if (!webhook.Texts("admissionReviewVersions").Contains("v1"))
            {
                yield return Violation.Invalid($"{path}.admissionReviewVersions", webhook["admissionReviewVersions"], "must include at least one of v1, v1beta1");
            }

            if ((webhook.At("clientConfig", "url") is null) == (webhook.At("clientConfig", "service") is null))
            {
                yield return Violation.Required($"{path}.clientConfig", "exactly one of url or service is required");
            }
        }
    }
}
