using System.Collections.Immutable;
using Superserve.Core.Secrets;
using Superserve.Core.StandIns;

namespace Superserve.Core.Snapshots;

/// <summary>One secret as one sandbox has it: the variable, the stand-in in it, and what it stands for.</summary>
/// <param name="Env">The environment variable.</param>
/// <param name="Name">The Superserve Secret's name.</param>
/// <param name="StandIn">What the sandbox sees.</param>
/// <param name="Credential">What the service gets, if there is one now.</param>
/// <param name="Definition">Hosts, schemes and rules.</param>
public sealed record BoundSecret(string Env, string Name, StandIn StandIn, CredentialState Credential, SecretDefinition Definition)
{
    private const int MaxGone = 64;

    /// <summary>
    /// The binding is gone. The secret stays in the snapshot for a while so that its stand-in is still known, and refused with a
    /// reason; it opens no host any more.
    /// </summary>
    public bool IsDetached { get; init; }

    /// <summary>
    /// What to remember of the secrets before when others take their place: those whose stand-in nobody has any more, detached,
    /// and of too many the newest.
    /// </summary>
    public static ImmutableArray<BoundSecret> Gone(IEnumerable<BoundSecret> before, IReadOnlyCollection<BoundSecret> now) =>
        [.. before.Where(secret => !now.Any(other => other.StandIn.Value == secret.StandIn.Value)).Select(secret => secret.Detach()).TakeLast(MaxGone)];

    /// <summary>The same without its credential.</summary>
    public BoundSecret Detach() => this with { IsDetached = true, Credential = CredentialState.Revoked.Instance };
}
