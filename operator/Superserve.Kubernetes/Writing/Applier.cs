using System.Text.Json;
using System.Text.Json.Nodes;
using k8s;
using k8s.Models;
using Superserve.Kubernetes.Api;

namespace Superserve.Kubernetes.Writing;

/// <summary>Writes objects as one field manager, and only where something is different.</summary>
public sealed class Applier(KubernetesConnection connection, string fieldManager)
{
    /// <summary>
    /// Applies <paramref name="fields"/> server-side, with force, to the object or to its <paramref name="subresource"/>. These are all
    /// the fields that this manager wants; one it applied before and leaves out is removed.
    /// </summary>
    /// <param name="key">Which object.</param>
    /// <param name="fields">The fields, of any type that serializes to them, without apiVersion, kind and name.</param>
    /// <param name="live">
    /// The object as it is known, with this manager's <c>managedFields</c>. If it is like that already nothing is sent, and it is
    /// returned. A call that is sent names its UID, so that it does not create an object that was deleted meanwhile.
    /// Null creates the object if it is not there.
    /// </param>
    /// <param name="subresource">Usually <c>status</c>.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    public async Task<T> ApplyAsync<T>(ObjectKey key, object fields, T? live, string? subresource = null, CancellationToken cancellationToken = default)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        ResourceKind kind = ResourceKind.Of<T>();
        JsonObject body = JsonSerializer.SerializeToNode(fields, fields.GetType(), connection.Json) as JsonObject
            ?? throw new ArgumentException("The fields of an object are an object.", nameof(fields));
        body["apiVersion"] = kind.ApiVersion;
        body["kind"] = kind.Kind;
        JsonObject metadata = body["metadata"] as JsonObject ?? [];
        body["metadata"] = metadata;
        metadata["name"] = key.Name;
        if (key.Namespace.Length > 0) metadata["namespace"] = key.Namespace;
        if (live is not null)
        {
            if (FieldOwnership.IsApplied(body, live, fieldManager, subresource, connection.Json)) return live;
            metadata["uid"] = live.Metadata.Uid;
        }

        string path = $"{kind.ObjectPath(key, subresource)}?fieldManager={Uri.EscapeDataString(fieldManager)}&force=true";
        return await connection.SendAsync<T>(HttpMethod.Patch, path, body, "application/apply-patch+yaml", cancellationToken);
    }

    /// <summary>
    /// Merges <paramref name="patch"/> into an object, for what apply cannot say, such as removing another manager's field. With a
    /// <c>metadata.resourceVersion</c> in it, a conflict is an error.
    /// </summary>
    public async Task<T> MergeAsync<T>(ObjectKey key, object patch, string? subresource = null, CancellationToken cancellationToken = default)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        string path = $"{ResourceKind.Of<T>().ObjectPath(key, subresource)}?fieldManager={Uri.EscapeDataString(fieldManager)}";
        return await connection.SendAsync<T>(HttpMethod.Patch, path, patch, "application/merge-patch+json", cancellationToken);
    }
}
