using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using Google.Protobuf.Collections;
using Superserve.Core.Authentication;
using Superserve.Core.Events;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Requests;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Core.StandIns;
using CoreHostAuth = Superserve.Core.Secrets.HostAuth;
using CoreRule = Superserve.Core.Requests.RequestRule;
using CoreSecret = Superserve.Core.Snapshots.BoundSecret;

namespace Superserve.Protocol;

/// <summary>Reads the parts of a snapshot. What it returns counts only where it added no error.</summary>
internal sealed class SnapshotReader(List<SpecError> errors)
{
    private const int MaxSecrets = 128;
    private const int MaxBindings = 64;
    private const int MaxPassthrough = 256;
    private const int MaxPorts = 64;
    private const int MaxRanges = 256;

    // More than an owner may write: a provider of the catalog brings its own.
    private const int MaxHosts = 64;
    private const int MaxSchemes = 16;
    private const int MaxRules = 64;
    private const int MaxShapeLength = 256;
    private const int MaxMessageLength = 512;

    public DeliveredSnapshot Snapshot(Snapshot message)
    {
        if (message.Revision < 1) Error("revision", "a revision is 1 or more");
        DateTimeOffset createdAt = DateTimeOffset.UnixEpoch;
        // Out of range, ToDateTimeOffset throws.
        if (message.CreatedAt is { Seconds: >= 0 and < 253402300800, Nanos: >= 0 and < 1_000_000_000 } time) createdAt = time.ToDateTimeOffset();
        else Error("created_at", "the time is missing or out of range");
        return new DeliveredSnapshot(message.Revision, createdAt, Sandbox(message.Sandbox), Secrets(message.Secrets),
            Bindings(message.Bindings, MaxBindings, isKept: false), Cluster(message.Cluster), Choice<AuditMode>(message.Audit, "audit"));
    }

    public ImmutableArray<BindingRules> Bindings(IReadOnlyList<Binding> messages, int max, bool isKept)
    {
        ImmutableArray<BindingRules>.Builder bindings = ImmutableArray.CreateBuilder<BindingRules>();
        HashSet<string> names = new(StringComparer.Ordinal);
        for (int i = 0; i < Bounded(messages.Count, max, "bindings"); i++)
        {
            string path = $"bindings[{i}]";
            Binding message = messages[i];
            if (!IsName(message.Name) && !(isKept && message.Name == KnownBindings.ForgottenName)) Error(path + ".name", "this is no name of a resource");
            if (!names.Add(message.Name)) Error(path + ".name", "another binding has the same name");
            Interception interception = Choice<Interception>(message.Interception, path + ".interception");
            bindings.Add(new BindingRules(message.Name, Policy(message.Network, path + ".network"), interception, Passthrough(message.Passthrough, path + ".passthrough"))
            {
                AllowIn = message.Network?.AllowIn is { } inbound ? Ports(inbound.Ports, path + ".network.allow_in.ports") : null,
            });
        }

        return bindings.ToImmutable();
    }

    private SandboxIdentity Sandbox(Sandbox? message)
    {
        if (message is null || !IsName(message.Namespace) || !IsName(message.Pod) || !IsName(message.Uid)) Error("sandbox", "namespace, pod and uid are names in lower-case letters, digits, '-' and '.'");
        return new SandboxIdentity(message?.Namespace ?? "", message?.Pod ?? "", message?.Uid ?? "");
    }

    private ImmutableArray<CoreSecret> Secrets(RepeatedField<BoundSecret> messages)
    {
        ImmutableArray<CoreSecret>.Builder secrets = ImmutableArray.CreateBuilder<CoreSecret>();
        HashSet<string> variables = new(StringComparer.Ordinal);
        for (int i = 0; i < Bounded(messages.Count, MaxSecrets, "secrets"); i++)
        {
            string path = $"secrets[{i}]";
            BoundSecret message = messages[i];
            if (!IsVariable(message.Env)) Error(path + ".env", "this is no name of an environment variable");
            else if (!message.Detached && !variables.Add(message.Env)) Error(path + ".env", "the variable has a secret already");
            if (!IsName(message.Secret)) Error(path + ".secret", "this is no name of a resource");
            CredentialState credential = Credential(message, path);
            SecretDefinition definition = Definition(message.Definition, path + ".definition");
            if (!StandIn.TryCreate(message.StandIn, out StandIn? standIn, out string? error)) Error(path + ".stand_in", error);
            else if (secrets.Any(other => other.StandIn.Value.Contains(standIn.Value, StringComparison.Ordinal) || standIn.Value.Contains(other.StandIn.Value, StringComparison.Ordinal)))
                Error(path + ".stand_in", "another secret's stand-in is this one, or holds it, or is held by it");
            else if (message.Available.Span.IndexOf(System.Text.Encoding.ASCII.GetBytes(standIn.Value)) >= 0) Error(path + ".available", "the credential holds its own stand-in");
            else
            {
                CoreSecret secret = new(message.Env, message.Secret, standIn, credential, definition);
                secrets.Add(message.Detached ? secret.Detach() : secret);
            }
        }

        return secrets.ToImmutable();
    }

    private CredentialState Credential(BoundSecret message, string path)
    {
        switch (message.CredentialCase)
        {
            case BoundSecret.CredentialOneofCase.Available:
                if (Core.Secrets.Credential.TryCreate(message.Available.Span, out Credential? credential, out string? error)) return new CredentialState.Available(credential);
                Error(path + ".available", error);
                return CredentialState.Revoked.Instance;
            case BoundSecret.CredentialOneofCase.Revoked:
                return CredentialState.Revoked.Instance;
            case BoundSecret.CredentialOneofCase.Unavailable:
                return new CredentialState.Unavailable(SnapshotMapping.Printable(message.Unavailable, MaxMessageLength));
            default:
                // A newer operator may know more kinds.
                return new CredentialState.Unavailable("the operator sent it in a form that this sidecar is too old for; the pod needs to be made anew");
        }
    }

    private SecretDefinition Definition(Definition? message, string path)
    {
        if (message is null)
        {
            Error(path, "it is missing");
            message = new Definition();
        }

        ImmutableArray<CoreHostAuth>.Builder hosts = ImmutableArray.CreateBuilder<CoreHostAuth>();
        if (message.AuthType.Length is 0 or > 32 || message.AuthType.AsSpan().ContainsAnyExcept(LowerLettersAndDash)) Error(path + ".auth_type", "this is no scheme's name");
        if (message.Hosts.Count == 0) Error(path + ".hosts", "there is none");
        for (int i = 0; i < Bounded(message.Hosts.Count, MaxHosts, path + ".hosts"); i++)
        {
            string at = $"{path}.hosts[{i}]";
            HostAuth host = message.Hosts[i];
            if (host.Schemes.Count == 0) Error(at + ".schemes", "there is none");
            ImmutableArray<AuthScheme>.Builder schemes = ImmutableArray.CreateBuilder<AuthScheme>();
            for (int k = 0; k < Bounded(host.Schemes.Count, MaxSchemes, at + ".schemes"); k++)
                if (AuthScheme.TryCreate(Spec(host.Schemes[k]), $"{at}.schemes[{k}]", errors, out AuthScheme? scheme, inCatalog: true)) schemes.Add(scheme);
            if (!TryPattern(host.Pattern, at + ".pattern", out HostPattern? pattern)) continue;
            if (hosts.Any(other => other.Pattern.Overlaps(pattern))) Error(at + ".pattern", "it overlaps another one of the same secret");
            hosts.Add(new CoreHostAuth(pattern, schemes.ToImmutable()));
        }

        TokenShape? shape = TokenShape.Default;
        if (message.TokenShape.Length > MaxShapeLength) Error(path + ".token_shape", $"it is longer than {MaxShapeLength} characters");
        else if (!TokenShape.TryParse(message.TokenShape, out shape, out string? error)) Error(path + ".token_shape", error);
        RequestRules rules = new(Rules(message.Rules, path + ".rules"), Rules(message.Minting, path + ".minting"));
        return new SecretDefinition(message.AuthType, hosts.ToImmutable(), rules, shape ?? TokenShape.Default, message.AllowSetCookie);
    }

    // An absent text and an empty one are the same on the wire.
    private static AuthSchemeSpec Spec(Scheme message) => new()
    {
        Type = message.Type,
        Header = NullIfEmpty(message.Header),
        Prefix = NullIfEmpty(message.Prefix),
        Username = message.HasUsername ? message.Username : null,
        Headers = message.Headers.Count == 0 ? null : message.Headers.AsReadOnly(),
        Parameter = NullIfEmpty(message.Parameter),
    };

    private ImmutableArray<CoreRule> Rules(RepeatedField<RequestRule> messages, string path)
    {
        ImmutableArray<CoreRule>.Builder rules = ImmutableArray.CreateBuilder<CoreRule>();
        for (int i = 0; i < Bounded(messages.Count, MaxRules, path); i++)
            if (CoreRule.TryCreate(new RequestRuleSpec { Methods = messages[i].Methods, Paths = messages[i].Paths }, $"{path}[{i}]", errors, out CoreRule? rule)) rules.Add(rule);
        return rules.ToImmutable();
    }

    private NetworkPolicy? Policy(Network? message, string path)
    {
        if (message is null) return null;
        NetworkMode mode = Choice<NetworkMode>(message.Mode, path + ".mode");
        return NetworkPolicy.TryParse(message.AllowOut, message.DenyOut, mode, PublicSuffixList.Embedded, path, errors, out NetworkPolicy? policy) ? policy : null;
    }

    private ImmutableArray<HostPattern> Passthrough(RepeatedField<string> texts, string path)
    {
        ImmutableArray<HostPattern>.Builder patterns = ImmutableArray.CreateBuilder<HostPattern>();
        for (int i = 0; i < Bounded(texts.Count, MaxPassthrough, path); i++)
            if (TryPattern(texts[i], $"{path}[{i}]", out HostPattern? pattern)) patterns.Add(pattern);
        return patterns.ToImmutable();
    }

    private ImmutableArray<int> Ports(RepeatedField<uint> ports, string path)
    {
        for (int i = 0; i < Bounded(ports.Count, MaxPorts, path); i++)
            if (ports[i] is < 1 or > 65535) Error($"{path}[{i}]", "a port is 1 to 65535");
        return [.. ports.Take(MaxPorts).Select(port => (int)(port & 0xffff))];
    }

    private SpecialRanges Cluster(ClusterNetwork? message)
    {
        List<IPNetwork> ranges = [];
        for (int i = 0; i < Bounded(message?.Ranges.Count ?? 0, MaxRanges, "cluster.ranges"); i++)
        {
            if (message!.Ranges[i].Length <= 64 && IPNetwork.TryParse(message.Ranges[i], out IPNetwork range)) ranges.Add(range);
            else Error($"cluster.ranges[{i}]", "this is no CIDR");
        }

        if (message is not null && message.Domain.Length <= HostName.MaxLength && HostName.TryCanonicalize(message.Domain, out string? domain)) return new SpecialRanges(ranges, domain);
        Error("cluster.domain", "this is no DNS name");
        return SpecialRanges.Default;
    }

    private bool TryPattern(string text, string path, [NotNullWhen(true)] out HostPattern? pattern)
    {
        pattern = null;
        if (text.Length > HostName.MaxLength + "*.:65535".Length) Error(path, "it is longer than a host name can be");
        else if (HostPattern.TryParse(text, PublicSuffixList.Embedded, out pattern, out string? error)) return true;
        else Error(path, error);
        return false;
    }

    private T Choice<T>(string text, string path)
        where T : struct, Enum
    {
        foreach (T choice in Enum.GetValues<T>())
            if (choice.ToString() == text) return choice;
        Error(path, $"this is none of {string.Join(", ", Enum.GetNames<T>())}");
        return default;
    }

    private int Bounded(int count, int max, string path)
    {
        if (count > max) Error(path, $"there are {count}; at most {max} are taken");
        return Math.Min(count, max);
    }

    private static readonly System.Buffers.SearchValues<char> LowerLettersAndDash = System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyz-");
    private static readonly System.Buffers.SearchValues<char> NameCharacters = System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789-.");

    private static bool IsName(string text) =>
        text.Length is > 0 and <= HostName.MaxLength && char.IsAsciiLetterOrDigit(text[0]) && char.IsAsciiLetterOrDigit(text[^1]) && !text.AsSpan().ContainsAnyExcept(NameCharacters);

    private static bool IsVariable(string text)
    {
        if (text.Length is 0 or > 128 || char.IsAsciiDigit(text[0])) return false;
        foreach (char c in text)
            if (!char.IsAsciiLetterOrDigit(c) && c != '_') return false;
        return true;
    }

    private static string? NullIfEmpty(string text) => text.Length == 0 ? null : text;

    private void Error(string path, string message) => errors.Add(new SpecError(path, message));
}
