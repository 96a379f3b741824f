using System.Buffers;
using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization;
using Superserve.Core.Authentication;
using Superserve.Core.Hosts;
using Superserve.Core.Requests;
using Superserve.Core.Secrets;
using Superserve.Core.StandIns;

namespace Superserve.Core.Providers;

/// <summary>A known service: its hosts, how requests to it authenticate, and how its tokens look.</summary>
public sealed record Provider
{
    private const string TenantPlaceholder = "{tenant}";

    private static readonly SearchValues<char> LabelCharacters = SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789-");

    private readonly ImmutableArray<(ImmutableArray<string> Hosts, ImmutableArray<AuthScheme> Schemes)> _hosts;

    private Provider(ProviderEntry entry, ImmutableArray<(ImmutableArray<string>, ImmutableArray<AuthScheme>)> hosts, TokenShape shape, ImmutableArray<RequestRule> minting)
    {
        Name = entry.Name ?? "";
        DisplayName = entry.DisplayName ?? Name;
        Category = entry.Category ?? "";
        Source = entry.Source ?? "";
        TenantDescription = entry.Tenant?.Description;
        TenantExample = entry.Tenant?.Example;
        _hosts = hosts;
        Shape = shape;
        Minting = minting;
    }

    /// <summary>The name that secrets write.</summary>
    public string Name { get; }

    /// <summary>The service's own spelling.</summary>
    public string DisplayName { get; }

    /// <summary>llm, developer-tools, saas or data.</summary>
    public string Category { get; }

    /// <summary>The vendor's page that the entry was checked against.</summary>
    public string Source { get; }

    /// <summary>What the tenant is; null where the service has no host per tenant.</summary>
    public string? TenantDescription { get; }

    /// <summary>A tenant for messages.</summary>
    public string? TenantExample { get; }

    /// <summary>The form of stand-ins.</summary>
    public TokenShape Shape { get; }

    /// <summary>Endpoints that create new credentials.</summary>
    public ImmutableArray<RequestRule> Minting { get; }

    /// <summary>The hosts as the catalog writes them, with <c>{tenant}</c> where one goes.</summary>
    public IEnumerable<(string Host, ImmutableArray<AuthScheme> Schemes)> HostTemplates
    {
        get
        {
            foreach ((ImmutableArray<string> hosts, ImmutableArray<AuthScheme> schemes) in _hosts)
                foreach (string host in hosts) yield return (host, schemes);
        }
    }

    /// <summary>The hosts of one tenant; on failure <paramref name="error"/> says what to write.</summary>
    public bool TryResolveHosts(string? tenant, out ImmutableArray<HostAuth> hosts, [NotNullWhen(false)] out string? error)
    {
        hosts = [];
        if (TenantDescription is null && tenant is not null) error = $"the provider {Name} has the same hosts for everybody; remove tenant";
        else if (TenantDescription is not null && tenant is null) error = $"the provider {Name} has a host per tenant; write tenant: {TenantExample} ({TenantDescription})";
        else if (tenant is not null && !IsLabel(tenant)) error = $"a tenant is one label of a host name: lower-case letters, digits and '-', as {TenantExample}";
        else error = null;
        if (error is not null) return false;

        ImmutableArray<HostAuth>.Builder resolved = ImmutableArray.CreateBuilder<HostAuth>();
        foreach ((string template, ImmutableArray<AuthScheme> schemes) in HostTemplates)
        {
            string host = template.Replace(TenantPlaceholder, tenant, StringComparison.Ordinal);
            if (!HostPattern.TryParse(host, PublicSuffixList.Embedded, out HostPattern? pattern, out error)) return false;
            resolved.Add(new HostAuth(pattern, schemes));
        }

        hosts = resolved.ToImmutable();
        return true;
    }

    internal static Provider? TryCreate(ProviderEntry entry, string path, ICollection<SpecError> errors)
    {
        int before = errors.Count;
        if (string.IsNullOrEmpty(entry.Name) || !IsLabel(entry.Name)) errors.Add(new(path + ".name", "a provider's name is lower-case letters, digits and '-'"));
        if (!Uri.TryCreate(entry.Source, UriKind.Absolute, out Uri? source) || source.Scheme != "https") errors.Add(new(path + ".source", "the vendor's page is missing; write its https address"));
        if (!TokenShape.TryParse(entry.Token ?? "", out TokenShape? shape, out string? shapeError)) errors.Add(new(path + ".token", shapeError));
        if (entry.Hosts is null or { Count: 0 }) errors.Add(new(path + ".hosts", "a provider has at least one host"));

        ImmutableArray<(ImmutableArray<string>, ImmutableArray<AuthScheme>)>.Builder hosts = ImmutableArray.CreateBuilder<(ImmutableArray<string>, ImmutableArray<AuthScheme>)>();
        bool perTenant = false;
        HashSet<string> names = new(StringComparer.Ordinal);
        for (int i = 0; i < entry.Hosts?.Count; i++)
        {
            string at = $"{path}.hosts[{i}]";
            if (entry.Hosts[i] is not { } group || group.Accepts?.Contains(null!) == true || group.Hosts?.Contains(null!) == true)
            {
                errors.Add(new(at, "there is a null where a host or a scheme should be; remove it"));
                continue;
            }

            ImmutableArray<AuthScheme>.Builder schemes = ImmutableArray.CreateBuilder<AuthScheme>();
            for (int k = 0; k < group.Accepts?.Count; k++)
                if (AuthScheme.TryCreate(group.Accepts[k], $"{at}.accepts[{k}]", errors, out AuthScheme? scheme, inCatalog: true)) schemes.Add(scheme);
            if (schemes.Count == 0) errors.Add(new(at + ".accepts", "a host has at least one scheme"));
            foreach (string host in group.Hosts ?? [])
            {
                perTenant |= host.Contains(TenantPlaceholder, StringComparison.Ordinal);
                string probe = host.Replace(TenantPlaceholder, "tenant", StringComparison.Ordinal);
                if (!HostPattern.TryParse(probe, PublicSuffixList.Embedded, out HostPattern? pattern, out string? error)) errors.Add(new(at + ".hosts", error));
                else if (pattern.IsWildcard) errors.Add(new(at + ".hosts", "a provider names its hosts one by one; for a host per tenant write {tenant}"));
                if (!names.Add(host)) errors.Add(new(at + ".hosts", $"'{host}' stands twice"));
            }

            hosts.Add(([.. group.Hosts ?? []], schemes.ToImmutable()));
        }

        if (perTenant != entry.Tenant is not null) errors.Add(new(path + ".tenant", "a provider describes its tenant if, and only if, a host holds {tenant}"));
        ImmutableArray<RequestRule>.Builder minting = ImmutableArray.CreateBuilder<RequestRule>();
        for (int i = 0; i < entry.Mints?.Count; i++)
            if (entry.Mints[i] is null) errors.Add(new($"{path}.mints[{i}]", "there is no rule here, only null; remove it"));
            else if (RequestRule.TryCreate(entry.Mints[i], $"{path}.mints[{i}]", errors, out RequestRule? rule)) minting.Add(rule);
        return errors.Count == before ? new Provider(entry, hosts.ToImmutable(), shape!, minting.ToImmutable()) : null;
    }

    private static bool IsLabel(string text) =>
        text.Length is > 0 and <= 63 && text[0] != '-' && text[^1] != '-'
        && !text.AsSpan().ContainsAnyExcept(LabelCharacters);
}

/// <summary>The providers by name: the built-in ones and those that a cluster's owner added.</summary>
public sealed class ProviderCatalog
{
    private static readonly Lazy<ProviderCatalog> LazyBuiltIn = new(LoadBuiltIn);

    private readonly FrozenDictionary<string, Provider> _byName;

    private ProviderCatalog(IEnumerable<Provider> providers) => _byName = providers.ToFrozenDictionary(provider => provider.Name, StringComparer.Ordinal);

    /// <summary>The catalog that is built in.</summary>
    public static ProviderCatalog BuiltIn => LazyBuiltIn.Value;

    /// <summary>All providers, by name.</summary>
    public IEnumerable<Provider> Providers => _byName.Values.OrderBy(provider => provider.Name, StringComparer.Ordinal);

    /// <summary>Reads a catalog file; each mistake is added with the path of its field.</summary>
    public static ProviderCatalog? TryParse(ReadOnlySpan<byte> json, ICollection<SpecError> errors)
    {
        ProviderFile? file;
        try
        {
            file = JsonSerializer.Deserialize(json, ProviderJson.Default.ProviderFile);
        }
        catch (JsonException exception)
        {
            errors.Add(new(exception.Path ?? "", exception.Message));
            return null;
        }

        List<Provider> providers = [];
        HashSet<string> names = new(StringComparer.Ordinal);
        for (int i = 0; i < file?.Providers?.Count; i++)
        {
            string path = $"providers[{i}]";
            if (file.Providers[i] is null)
            {
                errors.Add(new(path, "there is no provider here, only null; remove it"));
                continue;
            }

            if (Provider.TryCreate(file.Providers[i], path, errors) is not { } provider) continue;
            if (names.Add(provider.Name)) providers.Add(provider);
            else errors.Add(new(path + ".name", $"'{provider.Name}' stands twice"));
        }

        return errors.Count == 0 ? new ProviderCatalog(providers) : null;
    }

    /// <summary>This catalog with the providers of another; the other's win where a name stands in both.</summary>
    public ProviderCatalog With(ProviderCatalog other) =>
        new(other._byName.Values.Concat(_byName.Values.Where(provider => !other._byName.ContainsKey(provider.Name))));

    /// <summary>Finds a provider.</summary>
    public bool TryGet(string name, [NotNullWhen(true)] out Provider? provider) => _byName.TryGetValue(name, out provider);

    /// <summary>Up to three names that a misspelt one may have meant.</summary>
    public IEnumerable<string> NearestNames(string name)
    {
        // Distances grow with both lengths; a long text is no misspelling.
        if (name.Length is 0 or > 64) return [];
        return _byName.Keys
            .Select(known => (Name: known, Distance: known.Contains(name, StringComparison.OrdinalIgnoreCase) ? 0 : Distance(name.ToLowerInvariant(), known)))
            .Where(near => near.Distance <= Math.Max(2, near.Name.Length / 3))
            .OrderBy(near => near.Distance).ThenBy(near => near.Name, StringComparer.Ordinal)
            .Take(3).Select(near => near.Name);
    }

    // Levenshtein.
    private static int Distance(string a, string b)
    {
        int[] row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                int cost = Math.Min(diagonal + (a[i - 1] == b[j - 1] ? 0 : 1), Math.Min(row[j], row[j - 1]) + 1);
                diagonal = row[j];
                row[j] = cost;
            }
        }

        return row[^1];
    }

    private static ProviderCatalog LoadBuiltIn()
    {
        using Stream stream = typeof(ProviderCatalog).Assembly.GetManifestResourceStream("catalog.json")
            ?? throw new InvalidOperationException("The provider catalog is not in the assembly.");
        byte[] json = new byte[stream.Length];
        stream.ReadExactly(json);
        List<SpecError> errors = [];
        return TryParse(json, errors) ?? throw new InvalidOperationException("The built-in provider catalog is invalid: " + string.Join("; ", errors));
    }
}

internal sealed record ProviderFile(IReadOnlyList<ProviderEntry>? Providers);

internal sealed record ProviderEntry
{
    public string? Name { get; init; }

    public string? DisplayName { get; init; }

    public string? Category { get; init; }

    public string? Source { get; init; }

    public IReadOnlyList<ProviderHostEntry>? Hosts { get; init; }

    public string? Token { get; init; }

    public IReadOnlyList<RequestRuleSpec>? Mints { get; init; }

    public ProviderTenantEntry? Tenant { get; init; }
}

internal sealed record ProviderHostEntry(IReadOnlyList<string>? Hosts, IReadOnlyList<AuthSchemeSpec>? Accepts);

internal sealed record ProviderTenantEntry(string? Description, string? Example);

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    AllowDuplicateProperties = false)]
[JsonSerializable(typeof(ProviderFile))]
internal sealed partial class ProviderJson : JsonSerializerContext;
