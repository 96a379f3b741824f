namespace Superserve.ApiServer.Resources;

/// <summary>The built-in types that are served, as documents without controllers behind them.</summary>
internal static class BuiltInTypes
{
    private const string Rbac = "rbac.authorization.k8s.io";
    private const string Admission = "admissionregistration.k8s.io";
    private const string Authorization = "authorization.k8s.io";

    public static IReadOnlyList<ResourceType> All { get; } =
    [
        Core("bindings", "Binding") with { IsReview = true },
        Core("configmaps", "ConfigMap", "cm"),
        Core("endpoints", "Endpoints", "ep"),
        Core("events", "Event", "ev"),
        Core("limitranges", "LimitRange", "limits"),
        new("", "v1", "namespaces", "Namespace", false) { ShortNames = ["ns"], Subresources = ["status", "finalize"] },
        new("", "v1", "nodes", "Node", false) { ShortNames = ["no"], Subresources = ["status"] },
        new("", "v1", "persistentvolumes", "PersistentVolume", false) { ShortNames = ["pv"], Subresources = ["status"] },
        Core("persistentvolumeclaims", "PersistentVolumeClaim", "pvc") with { Subresources = ["status"] },
        Core("pods", "Pod", "po") with
        {
            Categories = ["all"],
            Subresources = ["status", "log", "exec", "attach", "portforward", "eviction", "binding", "ephemeralcontainers"],
            TracksGeneration = true,
        },
        Core("resourcequotas", "ResourceQuota", "quota") with { Subresources = ["status"] },
        Core("secrets", "Secret"),
        Core("serviceaccounts", "ServiceAccount", "sa") with { Subresources = ["token"] },
        Core("services", "Service", "svc") with { Categories = ["all"], Subresources = ["status"] },

        Workload("apps", "deployments", "Deployment", "deploy"),
        Workload("apps", "replicasets", "ReplicaSet", "rs"),
        Workload("apps", "statefulsets", "StatefulSet", "sts"),
        Workload("apps", "daemonsets", "DaemonSet", "ds"),
        Workload("batch", "jobs", "Job"),
        Workload("batch", "cronjobs", "CronJob", "cj"),

        new("events.k8s.io", "v1", "events", "Event", true) { ShortNames = ["ev"], StoredAs = "/events" },
        new("coordination.k8s.io", "v1", "leases", "Lease", true),
        new("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true) { ShortNames = ["netpol"], TracksGeneration = true, Singular = "networkpolicy" },
        new("networking.k8s.io", "v1", "ingresses", "Ingress", true) { ShortNames = ["ing"], TracksGeneration = true, Subresources = ["status"] },
        new("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true) { TracksGeneration = true },
        new("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true) { ShortNames = ["pdb"], TracksGeneration = true, Subresources = ["status"] },
        new("storage.k8s.io", "v1", "storageclasses", "StorageClass", false) { ShortNames = ["sc"] },
        new("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false) { ShortNames = ["pc"] },
        new("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", false),

        new("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false)
        {
            ShortNames = ["crd", "crds"], Categories = ["api-extensions"], Subresources = ["status"], TracksGeneration = true,
        },
        new("apiregistration.k8s.io", "v1", "apiservices", "APIService", false) { Categories = ["api-extensions"], Subresources = ["status"] },

        new(Rbac, "v1", "roles", "Role", true),
        new(Rbac, "v1", "rolebindings", "RoleBinding", true),
        new(Rbac, "v1", "clusterroles", "ClusterRole", false),
        new(Rbac, "v1", "clusterrolebindings", "ClusterRoleBinding", false),

        new(Admission, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", false) { Categories = ["api-extensions"], TracksGeneration = true },
        new(Admission, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", false) { Categories = ["api-extensions"], TracksGeneration = true },

        Review("authentication.k8s.io", "tokenreviews", "TokenReview", false),
        Review("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", false),
        Review(Authorization, "subjectaccessreviews", "SubjectAccessReview", false),
        Review(Authorization, "selfsubjectaccessreviews", "SelfSubjectAccessReview", false),
        Review(Authorization, "selfsubjectrulesreviews", "SelfSubjectRulesReview", false),
        Review(Authorization, "localsubjectaccessreviews", "LocalSubjectAccessReview", true),
    ];

    public static ResourceType Get(string group, string resource) => All.First(type => type.Is(group, resource));

    private static ResourceType Core(string resource, string kind, params string[] shortNames) => new("", "v1", resource, kind, true) { ShortNames = shortNames };

    private static ResourceType Workload(string group, string resource, string kind, params string[] shortNames) => new(group, "v1", resource, kind, true)
    {
        ShortNames = shortNames,
        Categories = ["all"],
        Subresources = resource is "deployments" or "replicasets" or "statefulsets" ? ["status", "scale"] : ["status"],
        TracksGeneration = true,
    };

    private static ResourceType Review(string group, string resource, string kind, bool namespaced) => new(group, "v1", resource, kind, namespaced) { IsReview = true };
}
