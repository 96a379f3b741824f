using System.Collections.Immutable;
using System.Text;
using k8s.Models;
using Superserve.Core.Events;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Core.StandIns;
using Superserve.Operator.Bindings;
using Superserve.Operator.Resources;
using Superserve.Operator.Secrets;
using Superserve.Protocol;
using BoundSecret = Superserve.Protocol.BoundSecret;
using CoreBoundSecret = Superserve.Core.Snapshots.BoundSecret;
using Snapshot = Superserve.Protocol.Snapshot;

namespace Superserve.Operator.Delivery;

/// <summary>A Superserve Secret and what it is worth now.</summary>
public sealed record KnownSecret(string Uid, SecretState State);

/// <summary>Everything that a snapshot is made from.</summary>
public sealed record SnapshotSource
{
    /// <summary>The pod.</summary>
    public required SandboxFacts Sandbox { get; init; }

    /// <summary>The bindings of the pod's namespace, whatever they select.</summary>
    public required IEnumerable<SandboxBindingResource> Bindings { get; init; }

    /// <summary>The Superserve Secret of a name in the pod's namespace; null where there is none.</summary>
    public required Func<string, KnownSecret?> Secret { get; init; }

    /// <summary>What a deleted Superserve Secret was, by its UID, as far as that is remembered.</summary>
    public required Func<string, SecretDefinition?> Deleted { get; init; }

    /// <summary>The key of stand-ins.</summary>
    public required ReadOnlyMemory<byte> Key { get; init; }

    /// <summary>The cluster's domain and ranges.</summary>
    public required ClusterNetwork Cluster { get; init; }

    /// <summary>BestEffort or Required, where no binding says it.</summary>
    public required string Audit { get; init; }

    /// <summary>The moment.</summary>
    public required DateTimeOffset Now { get; init; }
}

/// <summary>A snapshot, and when to look again.</summary>
/// <param name="Message">Without revision and time, so that equal ones are equal.</param>
/// <param name="SecretNames">The Superserve Secrets that were looked up: a change of any of them may change the snapshot.</param>
/// <param name="Pending">Stand-ins whose credentials have not been read yet; in a moment the snapshot is another one.</param>
/// <param name="ChangesAt">When the next binding of the pod expires.</param>
public sealed record BuiltSnapshot(Snapshot Message, IReadOnlySet<string> SecretNames, IReadOnlyCollection<string> Pending, DateTimeOffset? ChangesAt);

/// <summary>
/// Makes what one sidecar acts on. Pure: the same source gives the same message on every replica, in the same order.
/// </summary>
/// <remarks>
/// A credential is put in at one place, for a variable that a live binding gives and that no other binding contests. A stand-in that
/// admission recorded is known for as long as the pod lives, so that it is refused with a reason when it opens nothing any more; it
/// goes on working while some live binding gives the pod the same Superserve Secret in the same variable. A Superserve Secret that was
/// deleted and made again is another one: what was recorded stays revoked, and the new one has a stand-in of its own. Only one
/// secret of a variable is not detached, because that is the one that processes started later get.
/// </remarks>
public static class SnapshotBuilder
{
    /// <summary>Bindings of one pod that a sidecar takes.</summary>
    public const int MaxBindings = 64;

    /// <summary>Variables of one pod that a sidecar takes.</summary>
    public const int MaxSecrets = 128;

    private const string Required = nameof(AuditMode.Required);

    // What a sidecar takes, as above; the CRD has the same bounds.
    private const int MaxPassthrough = 256;
    private const int MaxPorts = 64;

    // Revision and time are not in yet.
    private const int HeadLength = 64;

    private static readonly string[] Everywhere = ["0.0.0.0/0", "::/0"];

    /// <summary>Builds the snapshot of a sandbox.</summary>
    public static BuiltSnapshot Build(SnapshotSource source)
    {
        SandboxFacts sandbox = source.Sandbox;
        PodBindings given = PodBindings.Of(sandbox.Labels, source.Bindings, source.Now);
        Lookup lookup = new(source.Secret);
        List<BoundSecret> secrets = [];
        List<string> pending = [];
        HashSet<RecordedStandIn> live = [];

        foreach (BoundVariable variable in given.Variables)
            if (Find(variable) is var (origin, secret)) Add(origin, secret.State.Definition, secret.State.Credential, isPending: secret.State.Reason == SecretReasons.Pending);

        foreach (VariableConflict conflict in given.Conflicts)
        {
            // Given to nobody. Both stand-ins may be in use from before the bindings met; the one of the pod's environment leads.
            (RecordedStandIn Origin, KnownSecret Secret)[] sides =
                [.. new[] { Find(conflict.First), Find(conflict.Second) }.OfType<(RecordedStandIn, KnownSecret)>().OrderByDescending(side => sandbox.Recorded.Contains(side.Item1))];
            for (int i = 0; i < sides.Length; i++)
                if (i == 0) Add(sides[i].Origin, sides[i].Secret.State.Definition, new CredentialState.Unavailable(conflict.ToString()));
                else Add(sides[i].Origin, sides[i].Secret.State.Definition, CredentialState.Revoked.Instance, conflict.ToString(), isDetached: true);
        }

        foreach (RecordedStandIn recorded in sandbox.Recorded)
            if (!live.Contains(recorded)) Withdraw(recorded);

        Snapshot message = new()
        {
            Sandbox = new Sandbox { Namespace = sandbox.Pod.Namespace, Pod = sandbox.Pod.Name, Uid = sandbox.Uid },
            Cluster = source.Cluster.Clone(),
            Audit = given.Bindings.Any(binding => (binding.Spec?.Audit ?? source.Audit) == Required) ? Required : given.IsSandbox ? nameof(AuditMode.BestEffort) : source.Audit,
        };
        message.Secrets.AddRange(secrets
            .OrderBy(secret => secret.Detached).ThenBy(secret => secret.Env, StringComparer.Ordinal).ThenBy(secret => secret.StandIn, StringComparer.Ordinal).Take(MaxSecrets));
        message.Bindings.AddRange(given.Bindings.Take(MaxBindings).Select(MessageOf));
        // What a sidecar would not take as a whole would keep every later revocation from it as well.
        if (given.Bindings.Length > MaxBindings) Close(message, "too-many-bindings");
        if (message.CalculateSize() > SnapshotMapping.MaxMessageLength - HeadLength) Close(message, "too-large");
        return new BuiltSnapshot(message, lookup.Names, pending, given.Bindings.Min(binding => binding.Spec?.ExpiresAt));

        // Without a Superserve Secret there is no UID to derive a stand-in from, and nothing that it could stand for.
        (RecordedStandIn Origin, KnownSecret Secret)? Find(BoundVariable variable)
        {
            if (lookup.Find(variable.SecretName) is not { } secret) return null;
            RecordedStandIn? recorded = sandbox.Recorded.FirstOrDefault(candidate =>
                candidate.Env == variable.Env && candidate.SecretName == variable.SecretName && candidate.SecretUid == secret.Uid);
            if (recorded is not null) live.Add(recorded);
            V1ObjectMeta binding = variable.Binding.Metadata;
            return (recorded ?? new RecordedStandIn(
                variable.Env, variable.SecretName, secret.Uid, binding.Name, binding.Uid, secret.State.Definition?.Shape ?? TokenShape.Default, null), secret);
        }

        void Withdraw(RecordedStandIn recorded)
        {
            KnownSecret? now = lookup.Find(recorded.SecretName);
            bool isDeleted = now?.Uid != recorded.SecretUid;
            bool isBound = given.Variables.Any(variable => variable.Env == recorded.Env && variable.SecretName == recorded.SecretName);
            string why = !isDeleted ? $"no SandboxBinding gives this pod the Superserve Secret {recorded.SecretName} in {recorded.Env} any more"
                : now is null ? $"the Superserve Secret {recorded.SecretName} was deleted"
                : $"the Superserve Secret {recorded.SecretName} was deleted and made again: processes that start anew get its stand-in";
            // Bound to what is gone, it keeps its variable; beside a successor, or unbound, it is only known.
            Add(recorded, isDeleted ? source.Deleted(recorded.SecretUid) : now?.State.Definition, CredentialState.Revoked.Instance, why, isDetached: !isBound || now is not null);
        }

        void Add(RecordedStandIn origin, SecretDefinition? definition, CredentialState credential, string? revoked = null, bool isDetached = false, bool isPending = false)
        {
            // For no host: no request is looked at for its sake. What a sidecar had under the name before, it detaches by itself.
            if (definition is null) return;
            StandIn standIn = origin.Derive(source.Key.Span, sandbox.Pod.Namespace, sandbox.SandboxId);
            if (credential is CredentialState.Available { Credential: var value } && value.Bytes.Span.IndexOf(Encoding.ASCII.GetBytes(standIn.Value)) >= 0)
                credential = new CredentialState.Unavailable("the core Secret holds the stand-in of a sandbox: store the credential itself");
            BoundSecret bound = SnapshotMapping.ToMessage(new CoreBoundSecret(origin.Env, origin.SecretName, standIn, credential, definition) { IsDetached = isDetached });
            if (revoked is not null) bound.Revoked = revoked;
            if (isPending) pending.Add(bound.StandIn);
            secrets.Add(bound);
        }
    }

    /// <summary>Nothing gets out any more, and no credential gets in.</summary>
    private static void Close(Snapshot message, string why)
    {
        message.Secrets.Clear();
        message.Bindings.Clear();
        message.Bindings.Add(new Binding { Name = why, Interception = nameof(Interception.All), Network = Closed() });
    }

    private static Network Closed() => new() { Mode = nameof(NetworkMode.Enforce), DenyOut = { Everywhere }, AllowIn = new InboundPorts() };

    private static Binding MessageOf(SandboxBindingResource binding)
    {
        SandboxBindingSpec spec = binding.Spec!;
        Binding message = new()
        {
            Name = binding.Metadata.Name,
            Interception = spec.Interception switch
            {
                nameof(Interception.BoundHosts) => nameof(Interception.BoundHosts),
                null when spec.Network?.AllowOut is not { Count: > 0 } => nameof(Interception.BoundHosts),
                _ => nameof(Interception.All),
            },
        };
        // A name that cannot be read exempts nothing.
        message.Passthrough.AddRange((spec.Passthrough ?? []).Where(name => HostPattern.TryParse(name, PublicSuffixList.Embedded, out _, out _)).Take(MaxPassthrough));
        if (spec.Network is not { } network) return message;

        string mode = network.Mode ?? nameof(NetworkMode.Enforce);
        bool isReadable = mode is nameof(NetworkMode.Enforce) or nameof(NetworkMode.LogOnly)
            && NetworkPolicy.TryParse(network.AllowOut, network.DenyOut, NetworkMode.Enforce, PublicSuffixList.Embedded, "network", [], out _);
        // Rules that cannot be read, which the webhook refuses, allow nothing.
        message.Network = isReadable ? new Network { Mode = mode, AllowOut = { network.AllowOut ?? [] }, DenyOut = { network.DenyOut ?? [] } } : Closed();
        if (isReadable && network.AllowIn is { } ports) message.Network.AllowIn = new InboundPorts { Ports = { ports.Where(port => port is > 0 and <= 65535).Take(MaxPorts).Select(port => (uint)port) } };
        return message;
    }

    /// <summary>Looks each Superserve Secret up once, and keeps account.</summary>
    private sealed class Lookup(Func<string, KnownSecret?> secrets)
    {
        private readonly Dictionary<string, KnownSecret?> _known = new(StringComparer.Ordinal);

        public IReadOnlySet<string> Names => _known.Keys.ToImmutableHashSet(StringComparer.Ordinal);

        public KnownSecret? Find(string name)
        {
            if (!_known.TryGetValue(name, out KnownSecret? secret)) _known[name] = secret = secrets(name);
            return secret;
        }
    }
}
