using System.Collections.Immutable;
using Superserve.Core.Events;
using Superserve.Core.Network;

namespace Superserve.Core.Snapshots;

/// <summary>Which pod a sandbox is.</summary>
public sealed record SandboxIdentity(string Namespace, string Pod, string Uid)
{
    /// <summary>The name in events.</summary>
    public override string ToString() => $"{Namespace}/{Pod}";
}

/// <summary>What an operator says about one sandbox at one moment; with what a sidecar remembers it makes a <see cref="Snapshot"/>.</summary>
/// <param name="Revision">Grows within one stream.</param>
/// <param name="CreatedAt">When it was made.</param>
/// <param name="Sandbox">Whose it is.</param>
/// <param name="Secrets">The bound secrets, and detached ones.</param>
/// <param name="Bindings">The SandboxBindings that select the sandbox.</param>
/// <param name="Ranges">The cluster's special ranges and its domain.</param>
/// <param name="Audit">What happens to requests whose events cannot be kept.</param>
public sealed record DeliveredSnapshot(
    long Revision,
    DateTimeOffset CreatedAt,
    SandboxIdentity Sandbox,
    ImmutableArray<BoundSecret> Secrets,
    ImmutableArray<BindingRules> Bindings,
    SpecialRanges Ranges,
    AuditMode Audit)
{
    /// <summary>The snapshot to act on.</summary>
    /// <param name="known">The sandbox's bindings with those that it lost.</param>
    /// <param name="before">The secrets of the snapshot before: a stand-in that is gone is refused with a reason.</param>
    public Snapshot ToSnapshot(KnownBindings known, IEnumerable<BoundSecret> before)
    {
        // A secret comes by a binding: without one none is usable, whatever was sent.
        ImmutableArray<BoundSecret> secrets = Bindings.IsEmpty ? [.. Secrets.Select(secret => secret.Detach())] : Secrets;
        return new Snapshot(Revision, CreatedAt, Sandbox.ToString(), [.. secrets, .. BoundSecret.Gone(before, secrets)],
            known.Network(Ranges), known.Interception, known.Passthrough)
        { Audit = Audit, AllowIn = known.AllowIn };
    }
}
