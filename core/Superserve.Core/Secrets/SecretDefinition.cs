using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using Superserve.Core.Authentication;
using Superserve.Core.Hosts;
using Superserve.Core.Providers;
using Superserve.Core.Requests;
using Superserve.Core.StandIns;

namespace Superserve.Core.Secrets;

/// <summary>A host pattern and the shapes in which requests to it may carry the credential, the usual one first.</summary>
public sealed record HostAuth(HostPattern Pattern, ImmutableArray<AuthScheme> Schemes);

/// <summary>A checked <see cref="SecretSpec"/>: which hosts, which schemes, which requests.</summary>
/// <param name="AuthType">The scheme's type for people: <c>bearer</c>, <c>per-host</c>, or the provider's usual one.</param>
/// <param name="Hosts">No two patterns overlap.</param>
/// <param name="Rules">Which requests may carry the credential.</param>
/// <param name="Shape">The form of stand-ins.</param>
/// <param name="AllowSetCookie">Whether answers may set cookies.</param>
public sealed record SecretDefinition(
    string AuthType, ImmutableArray<HostAuth> Hosts, RequestRules Rules, TokenShape Shape, bool AllowSetCookie)
{
    /// <summary>Host patterns of one secret.</summary>
    public const int MaxHosts = 16;

    /// <summary>Per-host rules of one secret.</summary>
    public const int MaxPerHostRules = 16;

    private const int MaxRequestRules = 32;

    /// <summary>The schemes for a host and port; null where the secret is not for it.</summary>
    public HostAuth? ForHost(string host, int port)
    {
        foreach (HostAuth auth in Hosts)
            if (auth.Pattern.Matches(host, port)) return auth;
        return null;
    }

    /// <summary>Checks what an owner wrote; each mistake is added with the path of its field and what to change.</summary>
    /// <param name="spec">The owner's text.</param>
    /// <param name="path">Where it stands, as <c>secrets[0]</c> or <c>spec</c>.</param>
    /// <param name="catalog">The known providers.</param>
    /// <param name="suffixes">Where wildcards are refused.</param>
    /// <param name="errors">Where mistakes go.</param>
    /// <param name="definition">The result, where there was no mistake.</param>
    public static bool TryCreate(
        SecretSpec spec,
        string path,
        ProviderCatalog catalog,
        PublicSuffixList suffixes,
        ICollection<SpecError> errors,
        [NotNullWhen(true)] out SecretDefinition? definition)
    {
        int before = errors.Count;
        definition = null;
        ImmutableArray<RequestRule> rules = ReadRules(spec.Rules, path + ".rules", errors);

        switch (spec.Provider, spec.Auth)
        {
            case (null, null):
                errors.Add(new(path, "neither provider nor auth is set; name a provider, as provider: anthropic, or write hosts and auth"));
                break;
            case (not null, not null):
                errors.Add(new(path + ".auth", "provider and auth exclude each other; remove one of them"));
                break;
            case ({ } provider, null):
                definition = FromProvider(spec, provider, path, catalog, errors, rules);
                break;
            case (null, { } auth):
                if (spec.Tenant is not null) errors.Add(new(path + ".tenant", "only a provider takes a tenant; remove it"));
                definition = FromAuth(spec, auth, path, suffixes, errors, rules);
                break;
        }

        if (errors.Count == before && definition is not null) return true;
        definition = null;
        return false;
    }

    private static SecretDefinition? FromProvider(
        SecretSpec spec, string name, string path, ProviderCatalog catalog, ICollection<SpecError> errors, ImmutableArray<RequestRule> rules)
    {
        if (spec.Hosts is not null) errors.Add(new(path + ".hosts", "a provider brings its own hosts; remove hosts, or write auth in place of provider"));
        if (!catalog.TryGet(name, out Provider? provider))
        {
            string near = string.Join(", ", catalog.NearestNames(name));
            errors.Add(new(path + ".provider", $"there is no provider '{name}'; {(near.Length > 0 ? $"the nearest names are {near}; " : "")}or write hosts and auth in its place"));
            return null;
        }

        if (!provider.TryResolveHosts(spec.Tenant, out ImmutableArray<HostAuth> hosts, out string? error))
        {
            errors.Add(new(path + ".tenant", error));
            return null;
        }

        return new(hosts[0].Schemes[0].Type, hosts, new RequestRules(rules, provider.Minting), provider.Shape, spec.AllowSetCookie);
    }

    private static SecretDefinition? FromAuth(
        SecretSpec spec, AuthSpec auth, string path, PublicSuffixList suffixes, ICollection<SpecError> errors, ImmutableArray<RequestRule> rules)
    {
        ImmutableArray<HostAuth>.Builder hosts = ImmutableArray.CreateBuilder<HostAuth>();
        string authType = auth.Type ?? "per-host";
        if (auth.PerHost is { } perHost)
        {
            if (spec.Hosts is not null) errors.Add(new(path + ".hosts", "hosts and auth.perHost exclude each other; each perHost rule has hosts of its own"));
            if (auth is not { Type: null, Header: null, Prefix: null, Username: null, Headers: null, Parameter: null })
                errors.Add(new(path + ".auth", "a scheme and perHost exclude each other; move the scheme into a perHost rule, or remove perHost"));
            if (perHost.Count is 0 or > MaxPerHostRules) errors.Add(new(path + ".auth.perHost", $"{perHost.Count} rules; write 1 to {MaxPerHostRules}"));
            for (int i = 0; i < perHost.Count && i < MaxPerHostRules; i++)
            {
                string at = $"{path}.auth.perHost[{i}]";
                if (perHost[i] is null) errors.Add(new(at, "there is no rule here, only null; remove it"));
                else if (AuthScheme.TryCreate(perHost[i], at, errors, out AuthScheme? scheme)) Add(perHost[i].Hosts, at + ".hosts", scheme);
                else Add(perHost[i].Hosts, at + ".hosts", AuthScheme.Bearer);
            }
        }
        else
        {
            bool known = AuthScheme.TryCreate(auth, path + ".auth", errors, out AuthScheme? scheme);
            Add(spec.Hosts, path + ".hosts", known ? scheme! : AuthScheme.Bearer);
        }

        if (hosts.Count > MaxHosts) errors.Add(new(path + (auth.PerHost is null ? ".hosts" : ".auth.perHost"), $"{hosts.Count} hosts; at most {MaxHosts} for one secret, split it"));
        return new(authType, hosts.ToImmutable(), new RequestRules(rules, []), TokenShape.Default, spec.AllowSetCookie);

        void Add(IReadOnlyList<string>? texts, string at, AuthScheme scheme)
        {
            if (texts is null or { Count: 0 })
            {
                errors.Add(new(at, "no host is named; write the hosts that may get the credential, as [api.example.com]"));
                return;
            }

            for (int i = 0; i < texts.Count && hosts.Count <= MaxHosts; i++)
            {
                if (!HostPattern.TryParse(texts[i], suffixes, out HostPattern? pattern, out string? error))
                {
                    errors.Add(new($"{at}[{i}]", error));
                    continue;
                }

                foreach (HostAuth other in hosts)
                    if (other.Pattern.Overlaps(pattern)) errors.Add(new($"{at}[{i}]", $"'{pattern}' overlaps '{other.Pattern}' of the same secret; name each host once"));
                hosts.Add(new HostAuth(pattern, [scheme]));
            }
        }
    }

    private static ImmutableArray<RequestRule> ReadRules(IReadOnlyList<RequestRuleSpec>? specs, string path, ICollection<SpecError> errors)
    {
        if (specs is null) return [];
        if (specs.Count is 0 or > MaxRequestRules) errors.Add(new(path, $"{specs.Count} rules; write 1 to {MaxRequestRules}, or remove rules to let every request carry the credential"));
        ImmutableArray<RequestRule>.Builder rules = ImmutableArray.CreateBuilder<RequestRule>();
        for (int i = 0; i < specs.Count && i < MaxRequestRules; i++)
            if (specs[i] is null) errors.Add(new($"{path}[{i}]", "there is no rule here, only null; remove it"));
            else if (RequestRule.TryCreate(specs[i], $"{path}[{i}]", errors, out RequestRule? rule)) rules.Add(rule);
        return rules.ToImmutable();
    }
}
