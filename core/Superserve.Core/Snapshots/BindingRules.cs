using System.Collections.Immutable;
using Superserve.Core.Hosts;
using Superserve.Core.Network;

namespace Superserve.Core.Snapshots;

/// <summary>What one SandboxBinding says about the connections of the sandboxes that it selects.</summary>
/// <param name="Name">The binding's name.</param>
/// <param name="Policy">Its network section; null where it has none.</param>
/// <param name="Interception">Which connections it wants inspected.</param>
/// <param name="Passthrough">The names that it exempts from <see cref="Interception.All"/>.</param>
public sealed record BindingRules(string Name, NetworkPolicy? Policy, Interception Interception, ImmutableArray<HostPattern> Passthrough)
{
    /// <summary>The ports of its network section that others may connect to, whatever the mode; null for as Kubernetes has it.</summary>
    public ImmutableArray<int>? AllowIn { get; init; }
}
