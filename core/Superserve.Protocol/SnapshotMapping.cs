using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using CoreRule = Superserve.Core.Requests.RequestRule;
using CoreSecret = Superserve.Core.Snapshots.BoundSecret;

namespace Superserve.Protocol;

/// <summary>Snapshots as they travel, and as Core has them.</summary>
public static class SnapshotMapping
{
    /// <summary>The newest protocol that this code speaks.</summary>
    public const uint Version = 1;

    /// <summary>
    /// No message is longer. A snapshot of the greatest length in every field would be: the operator refuses to send such a one.
    /// </summary>
    public const int MaxMessageLength = 4 * 1024 * 1024;

    private const int MaxErrors = 16;
    private const int MinHiddenLength = 4;

    /// <summary>Writes a snapshot.</summary>
    public static Snapshot ToMessage(DeliveredSnapshot snapshot) => new()
    {
        Revision = snapshot.Revision,
        CreatedAt = Timestamp.FromDateTimeOffset(snapshot.CreatedAt),
        Sandbox = new Sandbox { Namespace = snapshot.Sandbox.Namespace, Pod = snapshot.Sandbox.Pod, Uid = snapshot.Sandbox.Uid },
        Secrets = { snapshot.Secrets.Select(ToMessage) },
        Bindings = { snapshot.Bindings.Select(ToMessage) },
        Cluster = new ClusterNetwork { Domain = snapshot.Ranges.ClusterDomain, Ranges = { snapshot.Ranges.Extra.Select(range => range.ToString()) } },
        Audit = snapshot.Audit.ToString(),
    };

    /// <summary>Writes one bound secret.</summary>
    public static BoundSecret ToMessage(CoreSecret secret)
    {
        BoundSecret message = new()
        {
            Env = secret.Env,
            Secret = secret.Name,
            StandIn = secret.StandIn.Value,
            Definition = ToMessage(secret.Definition),
            Detached = secret.IsDetached,
        };
        switch (secret.Credential)
        {
            case CredentialState.Available available:
                message.Available = ByteString.CopyFrom(available.Credential.Bytes.Span);
                break;
            case CredentialState.Unavailable unavailable:
                message.Unavailable = unavailable.Message;
                break;
            default:
                message.Revoked = "";
                break;
        }

        return message;
    }

    /// <summary>Writes one binding.</summary>
    public static Binding ToMessage(BindingRules binding)
    {
        Binding message = new()
        {
            Name = binding.Name,
            Interception = binding.Interception.ToString(),
            Passthrough = { binding.Passthrough.Select(pattern => pattern.ToString()) },
        };
        if (binding.Policy is not { } policy) return message;
        message.Network = new Network { AllowOut = { policy.AllowOut }, DenyOut = { policy.DenyOut }, Mode = policy.Mode.ToString() };
        if (binding.AllowIn is { } ports) message.Network.AllowIn = new InboundPorts { Ports = { ports.Select(port => (uint)port) } };
        return message;
    }

    /// <summary>
    /// Checks a snapshot as if an attacker had written it, and takes it whole or not at all. Each error has the path of its field,
    /// and holds no credential and no stand-in.
    /// </summary>
    public static bool TryToSnapshot(Snapshot message, [NotNullWhen(true)] out DeliveredSnapshot? snapshot, out IReadOnlyList<SpecError> errors)
    {
        List<SpecError> found = [];
        snapshot = new SnapshotReader(found).Snapshot(message);
        if (found.Count > 0) snapshot = null;
        errors = found.Count > 0 && HidesNothing(message) ? [.. found.Take(MaxErrors).Select(Printable)]
            : found.Count > 0 ? [new("", "the snapshot has mistakes that are not shown, because a credential or a stand-in stands in a field where it does not belong")]
            : [];
        return snapshot is not null;
    }

    /// <summary>Checks bindings that were kept (<see cref="KnownBindings.All"/>), in the same way.</summary>
    public static bool TryToBindings(IReadOnlyList<Binding> messages, out ImmutableArray<BindingRules> bindings, out IReadOnlyList<SpecError> errors)
    {
        List<SpecError> found = [];
        bindings = new SnapshotReader(found).Bindings(messages, 2 * KnownBindings.MaxLost, isKept: true);
        errors = [.. found.Take(MaxErrors).Select(Printable)];
        return found.Count == 0;
    }

    /// <summary>A text of the other side's as messages and logs may show it.</summary>
    public static string Printable(string text, int maxLength) =>
        string.Create(Math.Min(text.Length, maxLength), text, static (span, from) =>
        {
            for (int i = 0; i < span.Length; i++) span[i] = from[i] is < ' ' or > '~' ? '?' : from[i];
        });

    private static Definition ToMessage(SecretDefinition definition) => new()
    {
        AuthType = definition.AuthType,
        Hosts = { definition.Hosts.Select(host => new HostAuth { Pattern = host.Pattern.ToString(), Schemes = { host.Schemes.Select(scheme => ToMessage(scheme.ToSpec())) } }) },
        Rules = { definition.Rules.Allowed.Select(ToMessage) },
        Minting = { definition.Rules.Minting.Select(ToMessage) },
        TokenShape = definition.Shape.Text,
        AllowSetCookie = definition.AllowSetCookie,
    };

    private static Scheme ToMessage(AuthSchemeSpec spec)
    {
        Scheme message = new()
        {
            Type = spec.Type,
            Header = spec.Header ?? "",
            Prefix = spec.Prefix ?? "",
            Parameter = spec.Parameter ?? "",
        };
        if (spec.Username is not null) message.Username = spec.Username;
        foreach ((string name, string text) in spec.Headers ?? ImmutableDictionary<string, string>.Empty) message.Headers[name] = text;
        return message;
    }

    private static RequestRule ToMessage(CoreRule rule) => new() { Methods = { rule.Methods }, Paths = { rule.Paths.Select(path => path.Text) } };

    /// <summary>Whether errors may quote the message: no credential or stand-in is in it outside of its own field.</summary>
    private static bool HidesNothing(Snapshot message)
    {
        byte[][] hidden = [.. message.Secrets.SelectMany(secret => (byte[][])[secret.Available.ToByteArray(), ByteString.CopyFromUtf8(secret.StandIn).ToByteArray()]).Where(bytes => bytes.Length >= MinHiddenLength)];
        Snapshot rest = message.Clone();
        foreach (BoundSecret secret in rest.Secrets)
        {
            secret.ClearCredential();
            secret.StandIn = "";
        }

        byte[] written = rest.ToByteArray();
        return !Array.Exists(hidden, bytes => written.AsSpan().IndexOf(bytes) >= 0);
    }

    private static SpecError Printable(SpecError error) => new(Printable(error.Path, 256), Printable(error.Message, 512));
}
