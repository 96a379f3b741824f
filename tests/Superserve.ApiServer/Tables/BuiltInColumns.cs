using System.Globalization;
using Superserve.ApiServer.Resources;

namespace Superserve.ApiServer.Tables;

/// <summary>The columns of built-in types, much as the real server has them.</summary>
internal static class BuiltInColumns
{
    private static readonly Dictionary<string, Column[]> Middle = new(StringComparer.Ordinal)
    {
        ["/pods"] =
        [
            new("Ready", "string", (pod, _) => $"{ReadyContainers(pod)}/{pod.Array("spec", "containers")?.Count ?? 0}"),
            new("Status", "string", (pod, _) => pod.IsBeingDeleted() ? "Terminating" : pod.Text("status", "reason") ?? pod.Text("status", "phase") ?? "Unknown"),
            new("Restarts", "string", (pod, _) => pod.Objects("status", "containerStatuses").Sum(status => status.Number("restartCount") ?? 0).ToString(CultureInfo.InvariantCulture)),
            Column.Age,
            Column.Of("IP", "status.podIP", 1),
            Column.Of("Node", "spec.nodeName", 1),
        ],
        ["/namespaces"] = [Column.Of("Status", "status.phase"), Column.Age],
        ["/secrets"] = [Column.Of("Type", "type"), new("Data", "integer", (value, _) => value.Object("data")?.Count ?? 0), Column.Age],
        ["/configmaps"] = [new("Data", "integer", (value, _) => (value.Object("data")?.Count ?? 0) + (value.Object("binaryData")?.Count ?? 0)), Column.Age],
        ["/serviceaccounts"] = [new("Secrets", "integer", (value, _) => value.Array("secrets")?.Count ?? 0), Column.Age],
        ["/services"] =
        [
            Column.Of("Type", "spec.type"),
            Column.Of("Cluster-IP", "spec.clusterIP"),
            Column.Of("External-IP", "spec.externalName"),
            new("Port(s)", "string", (value, _) => Or(string.Join(",", value.Objects("spec", "ports").Select(port => $"{port.Number("port")}/{port.Text("protocol") ?? "TCP"}")))),
            Column.Age,
        ],
        ["apps/deployments"] =
        [
            new("Ready", "string", (value, _) => $"{value.Number("status", "readyReplicas") ?? 0}/{value.Number("spec", "replicas") ?? 0}"),
            new("Up-to-date", "string", (value, _) => value.Number("status", "updatedReplicas") ?? 0),
            new("Available", "string", (value, _) => value.Number("status", "availableReplicas") ?? 0),
            Column.Age,
        ],
        ["coordination.k8s.io/leases"] = [Column.Of("Holder", "spec.holderIdentity"), Column.Age],
        ["apiextensions.k8s.io/customresourcedefinitions"] = [new("Created At", "date", (value, _) => value.Text("metadata", "creationTimestamp"))],
        ["apiregistration.k8s.io/apiservices"] =
        [
            new("Service", "string", (value, _) => value.Object("spec", "service") is { } service ? $"{service.Text("namespace")}/{service.Text("name")}" : "Local"),
            new("Available", "string", (value, _) => value.Objects("status", "conditions").FirstOrDefault(condition => condition.Text("type") == "Available").Text("status") ?? "Unknown"),
            Column.Age,
        ],
        ["rbac.authorization.k8s.io/roles"] = [CreatedAt()],
        ["rbac.authorization.k8s.io/clusterroles"] = [CreatedAt()],
        ["rbac.authorization.k8s.io/rolebindings"] = [RoleOf(), Column.Age],
        ["rbac.authorization.k8s.io/clusterrolebindings"] = [RoleOf(), Column.Age],
        ["admissionregistration.k8s.io/mutatingwebhookconfigurations"] = [Webhooks(), Column.Age],
        ["admissionregistration.k8s.io/validatingwebhookconfigurations"] = [Webhooks(), Column.Age],
    };

    private static readonly Column[] Events =
    [
        new("Last Seen", "string", (value, now) => Ages.Since(LastSeen(value), now)),
        Column.Of("Type", "type"),
        Column.Of("Reason", "reason"),
        new("Object", "string", (value, _) => (value.Object("involvedObject") ?? value.Object("regarding")) is { } about ? $"{about.Text("kind")?.ToLowerInvariant()}/{about.Text("name")}" : "<none>"),
        new("Message", "string", (value, _) => value.Text("message") ?? value.Text("note")),
        new("Name", "string", (value, _) => value.Name(), 1) { Format = "name" },
    ];

    public static IReadOnlyList<Column> Of(ResourceType type) =>
        type.StorageResource == "/events" ? Events : [Column.NameColumn, .. Middle.GetValueOrDefault(type.StorageResource) ?? [Column.Age]];

    private static string? LastSeen(JsonObject value) =>
        value.Text("lastTimestamp") ?? value.Text("series", "lastObservedTime") ?? value.Text("eventTime") ?? value.Text("metadata", "creationTimestamp");

    private static int ReadyContainers(JsonObject pod) => pod.Objects("status", "containerStatuses").Count(status => status.Flag("ready") == true);

    private static Column CreatedAt() => new("Created At", "date", (value, _) => value.Text("metadata", "creationTimestamp"));

    private static Column RoleOf() => new("Role", "string", (value, _) => $"{value.Text("roleRef", "kind")}/{value.Text("roleRef", "name")}");

    private static Column Webhooks() => new("Webhooks", "integer", (value, _) => value.Array("webhooks")?.Count ?? 0);

    private static string Or(string text) => text.Length == 0 ? "<none>" : text;
}
