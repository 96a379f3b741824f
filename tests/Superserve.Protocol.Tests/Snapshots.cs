using System.Net;
using FsCheck;
using FsCheck.Fluent;
using Superserve.Core.Authentication;
using Superserve.Core.Events;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Core.StandIns;
using CoreSecret = Superserve.Core.Snapshots.BoundSecret;

namespace Superserve.Protocol.Tests;

/// <summary>Snapshots as an operator makes them: every part is checked by Core.</summary>
public static class Snapshots
{
    private const string Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    private static readonly string[] Texts = ["a", "Token ", "{{", "}}", " value ", "$", "(", "{", "x-", "\"", "'", "~ "];

    private static readonly Gen<string> Text = Gen.Choose(0, 4).SelectMany(n => Gen.ArrayOf(Gen.Elements(Texts), n)).Select(string.Concat);

    private static readonly Gen<string> Template =
        from before in Text
        from place in Gen.Elements("{{ value }}", "{{value}}", "$(value)")
        from after in Text
        select before + place + after;

    private static readonly Gen<AuthSchemeSpec> Scheme = Gen.OneOf(
        Gen.Constant(new AuthSchemeSpec { Type = "bearer" }),
        Text.Select(prefix => new AuthSchemeSpec { Type = "api-key", Header = "X-Api-Key", Prefix = prefix }),
        Gen.Elements("x-access-token", "{{ value }}", null, "").Select(user => new AuthSchemeSpec { Type = "basic", Username = user }),
        Template.SelectMany(a => Template.Select(b => new AuthSchemeSpec { Type = "custom", Headers = new Dictionary<string, string> { ["X-A"] = a, ["x-b"] = b, ["X-C"] = "constant" } })),
        Gen.Elements("key", "a[b]", "$filter").Select(name => new AuthSchemeSpec { Type = "query", Parameter = name }),
        Gen.Elements("/bot{{ value }}/", "/v1/$(value)/x").Select(prefix => new AuthSchemeSpec { Type = "path", Prefix = prefix }))
        .Where(spec => AuthScheme.TryCreate(spec, "", [], out _, inCatalog: true));

    private static readonly Gen<RequestRuleSpec> Rule =
        from methods in Gen.Elements<string[]>([], ["GET"], ["GET", "POST"])
        from paths in Gen.Elements<string[]>(["/"], ["/repos/**"], ["/a/*", "/b/**/c"])
        select new RequestRuleSpec { Methods = methods, Paths = paths };

    private static readonly Gen<SecretDefinition> Definition = Gen.OneOf(
        from provider in Gen.Elements(ProviderCatalog.BuiltIn.Providers)
        from rules in Gen.Choose(0, 2).SelectMany(n => Gen.ArrayOf(Rule, n))
        from cookies in Gen.Elements(true, false)
        select OfProvider(provider, rules) with { AllowSetCookie = cookies },
        from scheme in Scheme
        from second in Scheme
        from host in Gen.Elements("api.example.com", "*.example.com", "api.example.com:8443", "*.a.example.com:99")
        select Bearer(host) is var plain ? plain with { Hosts = [plain.Hosts[0] with { Schemes = [Read(scheme), Read(second)] }] } : plain);

    private static readonly Gen<CredentialState> Credential = Gen.OneOf<CredentialState>(
        Gen.Choose(1, 40).SelectMany(n => Gen.ArrayOf(Gen.Choose('!', 255).Where(b => b != 127), n)).Select(bytes => (CredentialState)Available([.. bytes.Select(b => (byte)b)])),
        Gen.Constant<CredentialState>(CredentialState.Revoked.Instance),
        Gen.Elements("the key 'api-key' is missing", "").Select(message => (CredentialState)new CredentialState.Unavailable(message)));

    private static readonly Gen<NetworkPolicy?> Policy =
        from allow in Gen.Choose(0, 3).SelectMany(n => Gen.ArrayOf(Gen.Elements("api.example.com", "*.example.com:443", "140.82.112.0/20", "10.0.0.1", "2606:4700::/32"), n))
        from deny in Gen.Choose(0, 2).SelectMany(n => Gen.ArrayOf(Gen.Elements("0.0.0.0/0", "evil.test", "::/0", "10.0.0.0/8"), n))
        from mode in Gen.Elements(NetworkMode.Enforce, NetworkMode.LogOnly)
        from isSet in Gen.Frequency((3, Gen.Constant(true)), (1, Gen.Constant(false)))
        select isSet ? Network(allow, deny, mode) : null;

    private static readonly Gen<BindingRules> Binding =
        from policy in Policy
        from interception in Gen.Elements(Interception.All, Interception.BoundHosts)
        from passthrough in Gen.Elements<string[]>([], ["pinned.example.com"], ["*.pinned.test:443", "pinned.example.com"])
        from ports in Gen.Elements<int[]?>(null, [], [8888, 1, 65535])
        select new BindingRules("", policy, interception, [.. passthrough.Select(Pattern)]) { AllowIn = policy is null || ports is null ? null : [.. ports] };

    private static readonly Gen<CoreSecret> Secret =
        from definition in Definition
        from credential in Credential
        from isDetached in Gen.Frequency((1, Gen.Constant(true)), (4, Gen.Constant(false)))
        from token in Gen.ArrayOf(Gen.Elements(Letters.ToCharArray()), 24)
        select new CoreSecret("", "", StandIn(new string(token)), isDetached ? CredentialState.Revoked.Instance : credential, definition) { IsDetached = isDetached };

    public static Arbitrary<DeliveredSnapshot> Any() => (
        from revision in Gen.Choose(1, int.MaxValue)
        from ticks in Gen.Choose(0, int.MaxValue)
        from secrets in Gen.Choose(0, 5).SelectMany(n => Gen.ArrayOf(Secret, n))
        from bindings in Gen.Choose(0, 3).SelectMany(n => Gen.ArrayOf(Binding, n))
        from ranges in Gen.Elements<string[]>([], ["52.0.0.0/16", "2600:1f00::/40"], ["::ffff:52.0.0.0/112"])
        from domain in Gen.Elements("cluster.local", "example.internal")
        from audit in Gen.Elements(AuditMode.BestEffort, AuditMode.Required)
        select new DeliveredSnapshot(revision, DateTimeOffset.UnixEpoch.AddTicks(ticks * 1000L), new SandboxIdentity("agents", "research-0", "7d1f0c6e-0000-4000-8000-000000000001"),
            [.. secrets.Select((secret, i) => secret with { Env = $"KEY_{i}", Name = $"secret-{i}" })],
            [.. bindings.Select((binding, i) => binding with { Name = $"binding-{i}" })],
            new SpecialRanges(ranges.Select(range => IPNetwork.Parse(range)), domain), audit)).ToArbitrary();

    /// <summary>One with a bearer secret and one binding.</summary>
    public static DeliveredSnapshot Usual() => new(1, DateTimeOffset.UnixEpoch, new SandboxIdentity("agents", "research-0", "uid-1"),
        [new CoreSecret("API_KEY", "example", StandIn("stand-in-0123456789-abcdef"), Available("the-real-credential-0123456789"u8), Bearer("api.example.com"))],
        [new BindingRules("research", Network(["api.example.com"], [], NetworkMode.Enforce), Interception.All, [])], SpecialRanges.Default, AuditMode.BestEffort);

    public static SecretDefinition OfProvider(Provider provider, params RequestRuleSpec[] rules) => Check(new SecretSpec
    {
        Provider = provider.Name,
        Tenant = provider.TenantExample,
        Rules = rules.Length == 0 ? null : rules,
    });

    public static SecretDefinition Bearer(string host) => Check(new SecretSpec { Hosts = [host], Auth = new AuthSpec { Type = "bearer" } });

    public static StandIn StandIn(string text) => Core.StandIns.StandIn.TryCreate(text, out StandIn? standIn, out string? error) ? standIn : throw new ArgumentException(error);

    public static CredentialState.Available Available(ReadOnlySpan<byte> bytes) =>
        Core.Secrets.Credential.TryCreate(bytes, out Credential? credential, out string? error) ? new(credential) : throw new ArgumentException(error);

    public static NetworkPolicy Network(string[] allow, string[] deny, NetworkMode mode) =>
        NetworkPolicy.TryParse(allow, deny, mode, PublicSuffixList.Embedded, "network", [], out NetworkPolicy? policy) ? policy : throw new ArgumentException("network");

    private static HostPattern Pattern(string text) => HostPattern.TryParse(text, PublicSuffixList.Embedded, out HostPattern? pattern, out string? error) ? pattern : throw new ArgumentException(error);

    private static AuthScheme Read(AuthSchemeSpec spec) => AuthScheme.TryCreate(spec, "", [], out AuthScheme? scheme, inCatalog: true) ? scheme : throw new ArgumentException(spec.Type);

    private static SecretDefinition Check(SecretSpec spec)
    {
        List<SpecError> errors = [];
        return SecretDefinition.TryCreate(spec, "spec", ProviderCatalog.BuiltIn, PublicSuffixList.Embedded, errors, out SecretDefinition? definition)
            ? definition
            : throw new ArgumentException(string.Join("; ", errors));
    }
}
