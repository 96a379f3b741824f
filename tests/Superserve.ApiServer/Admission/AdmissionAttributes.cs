using Superserve.ApiServer.Authentication;
using Superserve.ApiServer.Resources;

namespace Superserve.ApiServer.Admission;

/// <summary>What is asked of admission: one write, or one connection to a pod.</summary>
internal sealed record AdmissionAttributes(string Operation, ResourceType Type, string Subresource, string Namespace, string Name, UserInfo User, bool DryRun)
{
    public JsonObject? Object { get; init; }

    public JsonObject? OldObject { get; init; }

    public JsonObject? Options { get; init; }

    /// <summary>The kind of the object, where it is not the resource's own: PodExecOptions.</summary>
    public (string Group, string Version, string Kind)? ObjectKind { get; init; }

    public JsonObject ToRequest(string uid)
    {
        (string group, string version, string kind) = ObjectKind ?? (Type.Group, Type.Version, Type.Kind);
        JsonObject KindJson() => new() { ["group"] = group, ["version"] = version, ["kind"] = kind };
        JsonObject ResourceJson() => new() { ["group"] = Type.Group, ["version"] = Type.Version, ["resource"] = Type.Resource };

        JsonObject request = new()
        {
            ["uid"] = uid,
            ["kind"] = KindJson(),
            ["resource"] = ResourceJson(),
            ["requestKind"] = KindJson(),
            ["requestResource"] = ResourceJson(),
            ["operation"] = Operation,
            ["userInfo"] = User.ToJson(),
            ["object"] = Object?.DeepClone(),
            ["oldObject"] = OldObject?.DeepClone(),
            ["dryRun"] = DryRun,
            ["options"] = Options?.DeepClone(),
        };
        if (Subresource.Length > 0) request["subResource"] = Subresource;
        if (Subresource.Length > 0) request["requestSubResource"] = Subresource;
        if (Name.Length > 0) request["name"] = Name;
        if (Namespace.Length > 0) request["namespace"] = Namespace;
        return request;
    }
}
