using System.Collections.Immutable;
using System.Text;
using Superserve.Core.Authentication;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Providers;
using Superserve.Core.Requests;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Core.StandIns;
using Superserve.Core.Swapping;

namespace Superserve.Core.Tests;

/// <summary>Short ways to make secrets, snapshots and requests in the tests.</summary>
internal static class TestSecrets
{
    public const string A = "sk-test-AAAAaaaa0123456789AAAAaaaa";
    public const string B = "sk-test-BBBBbbbb0123456789BBBBbbbb";
    public const string RealA = "real-credential-a";
    public const string RealB = "real-credential-b";
    public const string Host = "api.example.com";

    public static AuthSpec BearerAuth { get; } = new() { Type = "bearer" };

    public static AuthSpec BasicAuth { get; } = new() { Type = "basic", Username = "x-access-token" };

    public static AuthSpec QueryAuth { get; } = new() { Type = "query", Parameter = "key" };

    public static AuthSpec PathAuth { get; } = new() { Type = "path", Prefix = "/bot{{ value }}/" };

    public static AuthSpec ApiKey(string header, string? prefix = null) => new() { Type = "api-key", Header = header, Prefix = prefix };

    public static StandIn StandIn(string text)
    {
        Assert.True(Core.StandIns.StandIn.TryCreate(text, out StandIn? standIn, out string? error), error);
        return standIn;
    }

    public static CredentialState Available(string latin1)
    {
        Assert.True(Core.Secrets.Credential.TryCreate(Encoding.Latin1.GetBytes(latin1), out Credential? credential, out string? error), error);
        return new CredentialState.Available(credential);
    }

    public static SecretDefinition Definition(SecretSpec spec)
    {
        List<SpecError> errors = [];
        SecretDefinition.TryCreate(spec, "spec", ProviderCatalog.BuiltIn, PublicSuffixList.Embedded, errors, out SecretDefinition? definition);
        Assert.Empty(errors);
        Assert.NotNull(definition);
        return definition;
    }

    public static SecretDefinition Definition(AuthSpec auth, params string[] hosts) =>
        Definition(new SecretSpec { Auth = auth, Hosts = hosts.Length == 0 ? [Host] : hosts });

    public static IReadOnlyList<SpecError> ErrorsOf(SecretSpec spec)
    {
        List<SpecError> errors = [];
        bool created = SecretDefinition.TryCreate(spec, "spec", ProviderCatalog.BuiltIn, PublicSuffixList.Embedded, errors, out SecretDefinition? definition);
        Assert.Equal(created, errors.Count == 0);
        Assert.Equal(created, definition is not null);
        return errors;
    }

    public static HostPattern Pattern(string text)
    {
        Assert.True(HostPattern.TryParse(text, PublicSuffixList.Embedded, out HostPattern? pattern, out string? error), error);
        return pattern;
    }

    public static AuthScheme Scheme(AuthSchemeSpec spec)
    {
        List<SpecError> errors = [];
        AuthScheme.TryCreate(spec, "auth", errors, out AuthScheme? scheme, inCatalog: true);
        Assert.Empty(errors);
        Assert.NotNull(scheme);
        return scheme;
    }

    public static BoundSecret SecretA(AuthSpec auth, params string[] hosts) =>
        new("KEY_A", "secret-a", StandIn(A), Available(RealA), Definition(auth, hosts));

    public static BoundSecret SecretB(AuthSpec auth, params string[] hosts) =>
        new("KEY_B", "secret-b", StandIn(B), Available(RealB), Definition(auth, hosts));

    /// <summary>Secret A with several schemes accepted at one host, as providers have them.</summary>
    public static BoundSecret Accepting(params AuthSchemeSpec[] schemes) => SecretA(BearerAuth) with
    {
        Definition = new("bearer", [new HostAuth(Pattern(Host), [.. schemes.Select(Scheme)])], RequestRules.None, TokenShape.Default, false),
    };

    public static BoundSecret WithRules(this BoundSecret secret, params RequestRuleSpec[] rules)
    {
        List<SpecError> errors = [];
        List<RequestRule> read = [];
        foreach (RequestRuleSpec spec in rules)
            if (RequestRule.TryCreate(spec, "rules", errors, out RequestRule? rule)) read.Add(rule);
        Assert.Empty(errors);
        return secret with { Definition = secret.Definition with { Rules = new RequestRules([.. read], []) } };
    }

    public static Snapshot Snapshot(params BoundSecret[] secrets) => Snapshot(Interception.BoundHosts, [], secrets);

    public static Snapshot Snapshot(Interception interception, string[] passthrough, params BoundSecret[] secrets) => new(
        1, DateTimeOffset.UnixEpoch, "agents/research", [.. secrets], NetworkRules.Unrestricted(SpecialRanges.Default),
        interception, [.. passthrough.Select(Pattern)]);

    public static string Basic(string user, string password) =>
        "Basic " + Convert.ToBase64String(Encoding.Latin1.GetBytes($"{user}:{password}"));

    public static string UnBasic(string value)
    {
        Assert.StartsWith("Basic ", value, StringComparison.Ordinal);
        return Encoding.Latin1.GetString(Convert.FromBase64String(value["Basic ".Length..]));
    }

    /// <summary>Every character as a percent escape.</summary>
    public static string Escaped(string text) => string.Concat(text.Select(c => $"%{(int)c:x2}"));
}

/// <summary>A request head that a test can hold on to.</summary>
internal sealed record Request(string Target = "/v1/items")
{
    public string Method { get; init; } = "GET";

    public string Host { get; init; } = TestSecrets.Host;

    public int Port { get; init; } = 443;

    public bool IsSecure { get; init; } = true;

    public ImmutableArray<HeaderField> Headers { get; init; } = [];

    public Request With(string name, string value) => this with { Headers = Headers.Add(new HeaderField(name, value)) };

    public SwapDecision Decide(params BoundSecret[] secrets) =>
        Swap.Decide(new RequestHead(Method, Target, Host, Port, IsSecure, Headers.AsSpan()), TestSecrets.Snapshot(secrets));

    /// <summary>The request as it goes out.</summary>
    public Request Swapped(params BoundSecret[] secrets)
    {
        SwapDecision decision = Decide(secrets);
        Assert.Null(decision.Refusal);
        Assert.NotNull(decision.Plan);
        return Apply(decision.Plan);
    }

    public Request Apply(SwapPlan plan)
    {
        Assert.Equal(plan.Headers.Length, plan.Headers.Select(edit => edit.Name.ToUpperInvariant()).Distinct().Count());
        IEnumerable<HeaderField> kept = Headers.Where(field => !plan.Headers.Any(edit => field.Is(edit.Name)));
        IEnumerable<HeaderField> set = plan.Headers.Where(edit => edit.Value is not null).Select(edit => new HeaderField(edit.Name, edit.Value!));
        return this with { Target = plan.Target ?? Target, Headers = [.. kept, .. set] };
    }

    public Refusal Refused(RefusalReason reason, params BoundSecret[] secrets)
    {
        SwapDecision decision = Decide(secrets);
        Assert.Null(decision.Plan);
        Assert.NotNull(decision.Refusal);
        Assert.Equal(reason, decision.Refusal.Reason);
        foreach (string hidden in (string[])[TestSecrets.A, TestSecrets.B, TestSecrets.RealA, TestSecrets.RealB])
            Assert.DoesNotContain(hidden, decision.Refusal.Detail, StringComparison.OrdinalIgnoreCase);
        return decision.Refusal;
    }

    public void Passes(params BoundSecret[] secrets) => Assert.Equal(SwapDecision.Pass, Decide(secrets));

    public string[] Values(string name) => [.. Headers.Where(field => field.Is(name)).Select(field => field.Value)];

    public bool Equals(Request? other) => other is not null && ToString() == other.ToString();

    public override int GetHashCode() => ToString().GetHashCode(StringComparison.Ordinal);

    public override string ToString() =>
        $"{Method} {(IsSecure ? "https" : "http")}://{Host}:{Port}{Target} [{string.Join(" | ", Headers.Select(field => $"{field.Name}: {field.Value}"))}]";
}
