using System.Reflection;
using k8s.Models;

namespace Superserve.Kubernetes.Api;

/// <summary>A kind of object and where the API server serves it.</summary>
public sealed record ResourceKind(string Group, string Version, string Kind, string Plural)
{
    /// <summary>The <c>apiVersion</c> of its objects.</summary>
    public string ApiVersion => Group.Length == 0 ? Version : $"{Group}/{Version}";

    /// <summary>The plural with the group, as kubectl takes it: two groups may have one plural.</summary>
    public string QualifiedName => Group.Length == 0 ? Plural : $"{Plural}.{Group}";

    /// <summary>What the type's <see cref="KubernetesEntityAttribute"/> says.</summary>
    public static ResourceKind Of<T>()
    {
        KubernetesEntityAttribute attribute = typeof(T).GetCustomAttribute<KubernetesEntityAttribute>()
            ?? throw new ArgumentException($"{typeof(T)} has no [KubernetesEntity], which says its kind and plural.");
        return new ResourceKind(attribute.Group ?? "", attribute.ApiVersion, attribute.Kind, attribute.PluralName);
    }

    /// <summary>The path of the collection in a namespace, or, with neither, in the cluster.</summary>
    public string CollectionPath(string? @namespace) =>
        (Group.Length == 0 ? $"api/{Version}/" : $"apis/{Group}/{Version}/")
        + (string.IsNullOrEmpty(@namespace) ? "" : $"namespaces/{Uri.EscapeDataString(@namespace)}/")
        + Plural;

    /// <summary>The path of one object, or of its subresource.</summary>
    public string ObjectPath(ObjectKey key, string? subresource = null) =>
        $"{CollectionPath(key.Namespace)}/{Uri.EscapeDataString(key.Name)}{(subresource is null ? "" : "/" + subresource)}";
}
