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
    /// <summary>
    /// The binding is gone. The secret stays in the snapshot for a while so that its stand-in is still known, and refused with a
    /// reason; it opens no host any more.
    /// </summary>
    public bool IsDetached { get; init; }
}
