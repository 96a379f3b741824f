using k8s;
using k8s.Models;

namespace Superserve.Kubernetes;

/// <summary>Which object: its namespace (empty for a cluster-scoped one) and its name.</summary>
public readonly record struct ObjectKey(string Namespace, string Name)
{
    /// <summary>The key of an object that the API server returned.</summary>
    public static ObjectKey Of(IKubernetesObject<V1ObjectMeta> value) => new(value.Metadata.NamespaceProperty ?? "", value.Metadata.Name);

    /// <inheritdoc />
    public override string ToString() => Namespace.Length == 0 ? Name : $"{Namespace}/{Name}";
}
