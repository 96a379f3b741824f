using Superserve.ApiServer.Resources;

namespace Superserve.ApiServer.Discovery;

/// <summary>How discovery lists a subresource.</summary>
internal sealed record Subresource(string Group, string Version, string Kind, IReadOnlyList<string> Verbs)
{
    public static Subresource Of(ResourceType type, string name) => name switch
    {
        "token" => new("authentication.k8s.io", "v1", "TokenRequest", ["create"]),
        "scale" => new("autoscaling", "v1", "Scale", ["get", "patch", "update"]),
        "eviction" => new("policy", "v1", "Eviction", ["create"]),
        "binding" => new("", "v1", "Binding", ["create"]),
        "exec" => new("", "v1", "PodExecOptions", ["create", "get"]),
        "attach" => new("", "v1", "PodAttachOptions", ["create", "get"]),
        "portforward" => new("", "v1", "PodPortForwardOptions", ["create", "get"]),
        "log" => new("", "v1", "Pod", ["get"]),
        "finalize" => new("", "v1", "Namespace", ["update"]),
        _ => new(type.Group, type.Version, type.Kind, ["get", "patch", "update"]),
    };
}
