using System.Collections.Immutable;
using Superserve.Kubernetes;
using Superserve.Operator.Bindings;

namespace Superserve.Operator.Delivery;

/// <summary>What a snapshot needs to know of one pod.</summary>
/// <param name="Pod">Namespace and name.</param>
/// <param name="Uid">The pod's UID.</param>
/// <param name="SandboxId">The id that admission gave it.</param>
/// <param name="Labels">Its labels now.</param>
/// <param name="Recorded">What admission wrote into its containers.</param>
public sealed record SandboxFacts(
    ObjectKey Pod, string Uid, string SandboxId, IReadOnlyDictionary<string, string> Labels, ImmutableArray<RecordedStandIn> Recorded);
