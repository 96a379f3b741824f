using k8s;
using k8s.Models;
using Superserve.Kubernetes.Caching;

namespace Superserve.Operator.Cluster;

/// <summary>Telling what an owner changed from what the operator itself wrote.</summary>
public static class SpecChanges
{
    /// <summary>
    /// Whether the spec is another one, or the object is new or gone. The generation counts specs alone: every status that the operator
    /// writes comes back as a change, and would make work for all that depend on the object, and for its own status again.
    /// </summary>
    public static bool IsOfSpec<T>(this Change<T> change)
        where T : class, IKubernetesObject<V1ObjectMeta> =>
        change.Kind != ChangeKind.Updated || change.Object.Metadata.Generation != change.Old!.Metadata.Generation
        || change.Object.Metadata.Uid != change.Old.Metadata.Uid;
}
