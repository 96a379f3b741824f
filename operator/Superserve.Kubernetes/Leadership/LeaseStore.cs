using System.Net;
using k8s.Models;
using Superserve.Kubernetes.Api;

namespace Superserve.Kubernetes.Leadership;

/// <summary>Where the Lease is.</summary>
public interface ILeaseStore
{
    /// <summary>The Lease as it is now, or null.</summary>
    Task<V1Lease?> ReadAsync(CancellationToken cancellationToken);

    /// <summary>
    /// Writes it if it still has the given resource version (none: if there is no Lease yet), and returns what was written; null if
    /// someone else was first.
    /// </summary>
    Task<V1Lease?> WriteAsync(V1Lease lease, CancellationToken cancellationToken);
}

/// <summary>The Lease in the API server.</summary>
public sealed class LeaseStore(KubernetesConnection connection, LeaderElectionOptions options) : ILeaseStore
{
    private static readonly ResourceKind Kind = ResourceKind.Of<V1Lease>();

    private readonly ObjectKey _key = new(options.Namespace, options.Name);

    /// <inheritdoc />
    public async Task<V1Lease?> ReadAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await connection.SendAsync<V1Lease>(HttpMethod.Get, Kind.ObjectPath(_key), cancellationToken: cancellationToken);
        }
        catch (ApiException exception) when (exception.IsNotFound)
        {
            return null;
        }
    }

    /// <inheritdoc />
    public async Task<V1Lease?> WriteAsync(V1Lease lease, CancellationToken cancellationToken)
    {
        try
        {
            return lease.Metadata.ResourceVersion is null
                ? await connection.SendAsync<V1Lease>(HttpMethod.Post, Kind.CollectionPath(_key.Namespace), lease, cancellationToken: cancellationToken)
                : await connection.SendAsync<V1Lease>(HttpMethod.Put, Kind.ObjectPath(_key), lease, cancellationToken: cancellationToken);
        }
        catch (ApiException exception) when (exception.StatusCode is HttpStatusCode.Conflict or HttpStatusCode.NotFound)
        {
            return null;
        }
    }
}
