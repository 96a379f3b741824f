namespace Superserve.ApiServer.Apply;

/// <summary>
/// The shapes of built-in types, by the names of their fields: there is no schema for them here, and the names are used alike
/// in all of them. Where one name means two things, the field above decides.
/// </summary>
internal sealed class BuiltInShape : Shape
{
    private static readonly Dictionary<string, string[]> MapKeys = new(StringComparer.Ordinal)
    {
        ["containers"] = ["name"],
        ["initContainers"] = ["name"],
        ["ephemeralContainers"] = ["name"],
        ["env"] = ["name"],
        ["volumes"] = ["name"],
        ["volumeMounts"] = ["mountPath"],
        ["volumeDevices"] = ["devicePath"],
        ["imagePullSecrets"] = ["name"],
        ["hostAliases"] = ["ip"],
        ["resourceClaims"] = ["name"],
        ["claims"] = ["name"],
        ["schedulingGates"] = ["name"],
        ["topologySpreadConstraints"] = ["topologyKey", "whenUnsatisfiable"],
        ["conditions"] = ["type"],
        ["ownerReferences"] = ["uid"],
        ["webhooks"] = ["name"],
        ["matchConditions"] = ["name"],
        ["podIPs"] = ["ip"],
        ["hostIPs"] = ["ip"],
        ["addresses"] = ["type"],
    };

    /// <summary>Keys of lists where the field above counts: "above.list".</summary>
    private static readonly Dictionary<string, string[]> MapKeysBelow = new(StringComparer.Ordinal)
    {
        ["containers.ports"] = ["containerPort", "protocol"],
        ["initContainers.ports"] = ["containerPort", "protocol"],
        ["spec.ports"] = ["port", "protocol"],
        ["serviceaccount.secrets"] = ["name"],
    };

    private static readonly HashSet<string> Sets = new(StringComparer.Ordinal) { "finalizers" };

    private static readonly HashSet<string> AtomicObjects = new(StringComparer.Ordinal)
    {
        "secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef", "roleRef", "involvedObject", "regarding", "related", "nodeSelector",
        "labelSelector", "namespaceSelector", "objectSelector", "podSelector", "selector", "scopeSelector", "fieldsV1", "claimRef",
    };

    /// <summary>Objects that are maps and not types: their entries are owned as such.</summary>
    private static readonly HashSet<string> Maps = new(StringComparer.Ordinal)
    {
        "labels", "annotations", "data", "binaryData", "stringData", "limits", "requests", "matchLabels", "capacity", "allocatable", "hard", "used", "overhead",
    };

    private readonly string _field;
    private readonly string _above;

    private BuiltInShape(string field, string above)
    {
        _field = field;
        _above = above;
    }

    public static Shape Root { get; } = new BuiltInShape("", "");

    public static Shape Metadata { get; } = new BuiltInShape("metadata", "");

    public override bool IsAtomic => AtomicObjects.Contains(_field) && _above != "containers";

    public override ListKind List => Sets.Contains(_field) ? ListKind.Set : Keys.Count > 0 ? ListKind.Map : ListKind.Atomic;

    public override IReadOnlyList<string> Keys => MapKeysBelow.GetValueOrDefault($"{_above}.{_field}") ?? MapKeys.GetValueOrDefault(_field) ?? [];

    public override Shape Item => this;

    public override bool Declares(string field) => !Maps.Contains(_field);

    public override Shape Field(string name) => Maps.Contains(_field) ? Scalar : new BuiltInShape(name, _field);

    public override JsonNode? DefaultKey(string key) => key == "protocol" ? "TCP" : null;

    private static Shape Scalar { get; } = new BuiltInShape("*", "*");
}
