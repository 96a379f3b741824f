using k8s;
using k8s.Models;
using Superserve.Kubernetes.Api;
using Superserve.Operator.Cluster;
using Superserve.Operator.Resources;

namespace Superserve.Operator.Admission.Pods;

/// <summary>The resources of a namespace by the operator's caches, and by the API server where those may not know yet.</summary>
public sealed class NamespaceResources(ClusterCache cluster, KubernetesConnection connection) : INamespaceResources
{
    /// <inheritdoc />
    public IReadOnlyList<SandboxBindingResource> Bindings(string @namespace) => cluster.Bindings.Store.InNamespace(@namespace);

    /// <inheritdoc />
    public IReadOnlyList<SecretResource> Secrets(string @namespace) => cluster.Secrets.Store.InNamespace(@namespace);

    /// <inheritdoc />
    public Task<IReadOnlyList<SandboxBindingResource>> ListBindingsAsync(string @namespace, CancellationToken cancellationToken) =>
        ListAsync<SandboxBindingResource>(@namespace, cancellationToken);

    /// <inheritdoc />
    public Task<IReadOnlyList<SecretResource>> ListSecretsAsync(string @namespace, CancellationToken cancellationToken) =>
        ListAsync<SecretResource>(@namespace, cancellationToken);

    private async Task<IReadOnlyList<T>> ListAsync<T>(string inNamespace, CancellationToken cancellationToken)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        ResourceKind kind = ResourceKind.Of<T>();
        try
        {
            return (await connection.SendAsync<Page<T>>(HttpMethod.Get, kind.CollectionPath(inNamespace), cancellationToken: cancellationToken)).Items ?? [];
        }
        catch (Exception exception) when (exception is ApiException or HttpRequestException or TimeoutException)
        {
            throw new CannotDecideException($"the operator could not list {kind.QualifiedName} of the namespace {inNamespace}, and a pod that may be a sandbox does not start unseen; try again", exception);
        }
    }

    private sealed record Page<T>(IReadOnlyList<T>? Items);
}
