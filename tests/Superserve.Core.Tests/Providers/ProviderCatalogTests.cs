using System.Collections.Immutable;
using System.Text;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Core.StandIns;

namespace Superserve.Core.Tests.Providers;

public sealed class ProviderCatalogTests
{
    public static TheoryData<string> Names => [.. ProviderCatalog.BuiltIn.Providers.Select(provider => provider.Name)];

    private static ProviderCatalog? Parse(string json, out string[] errors)
    {
        List<SpecError> list = [];
        ProviderCatalog? catalog = ProviderCatalog.TryParse(Encoding.UTF8.GetBytes(json), list);
        Assert.Equal(catalog is null, list.Count > 0);
        errors = [.. list.Select(error => error.ToString())];
        return catalog;
    }

    private static string Entry(string changed = "", string name = "acme", string hosts = """[{"hosts": ["api.acme.test"], "accepts": [{"type": "bearer"}]}]""") => $$"""
        {"providers": [{"name": "{{name}}", "source": "https://acme.test/docs", "token": "{hex:32}", "hosts": {{hosts}}{{changed}}}]}
        """;

    private static void AssertError(string json, string expected)
    {
        Assert.Null(Parse(json, out string[] errors));
        Assert.Equal(expected, Assert.Single(errors));
    }

    [Fact]
    public void At_least_forty_services_are_built_in()
    {
        string[] names = [.. ProviderCatalog.BuiltIn.Providers.Select(provider => provider.Name)];
        Assert.True(names.Length >= 40);
        Assert.Equal(names.Order(StringComparer.Ordinal).Distinct(), names);
        foreach (string asked in "anthropic openai gemini openrouter groq mistral cohere deepseek xai together fireworks perplexity huggingface replicate elevenlabs github gitlab npm pypi docker-hub vercel netlify cloudflare sentry linear supabase pinecone datadog stripe notion slack discord resend sendgrid twilio airtable hubspot jira intercom telegram".Split(' '))
            Assert.True(ProviderCatalog.BuiltIn.TryGet(asked, out _), asked);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void An_entry_is_whole(string name)
    {
        Assert.True(ProviderCatalog.BuiltIn.TryGet(name, out Provider? provider));
        Assert.Equal(name, provider.Name);
        Assert.NotEqual("", provider.DisplayName);
        Assert.Contains(provider.Category, (string[])["llm", "developer-tools", "saas", "data"]);
        Assert.StartsWith("https://", provider.Source);
        Assert.True(provider.Shape.EntropyBits >= 128);
        Assert.NotEmpty(provider.HostTemplates);
        Assert.All(provider.HostTemplates, template =>
        {
            Assert.DoesNotContain("*", template.Host);
            Assert.NotEmpty(template.Schemes);
        });
        Assert.Equal(provider.TenantDescription is null, provider.TenantExample is null);

        string? tenant = provider.TenantExample;
        Assert.True(provider.TryResolveHosts(tenant, out ImmutableArray<HostAuth> hosts, out string? error), error);
        Assert.Equal(provider.HostTemplates.Count(), hosts.Length);
        foreach (HostAuth one in hosts)
        {
            Assert.False(one.Pattern.IsWildcard);
            Assert.Equal(1, hosts.Count(other => other.Pattern.Overlaps(one.Pattern)));
        }

        Assert.False(provider.TryResolveHosts(tenant is null ? "acme" : null, out hosts, out error));
        Assert.Empty(hosts);
        Assert.NotNull(error);
        TestSecrets.Definition(new SecretSpec { Provider = name, Tenant = tenant });
        Assert.True(StandIn.TryCreate(StandIn.Derive(new byte[32], provider.Shape, name).Value, out _, out _));
    }

    [Fact]
    public void A_misspelt_name_has_up_to_three_near_ones()
    {
        ProviderCatalog catalog = ProviderCatalog.BuiltIn;
        Assert.Equal(["anthropic"], catalog.NearestNames("antropic"));
        Assert.Equal(["github", "gitlab"], catalog.NearestNames("GitHub"));
        Assert.Equal(["github"], catalog.NearestNames("gihtub"));
        Assert.Equal(["datadog", "datadog-app"], catalog.NearestNames("datadog"));
        Assert.Equal(["azure-openai", "openai"], catalog.NearestNames("openai"));
        Assert.Equal(["openai"], catalog.NearestNames("opnai"));
        Assert.Empty(catalog.NearestNames("qqqqqqqqqqqqqqqq"));
        Assert.Empty(catalog.NearestNames(new string('a', 65)));
        Assert.Equal(3, catalog.NearestNames("a").Count());
        Assert.Equal(["ai21", "airtable", "assemblyai"], catalog.NearestNames("ai"));
    }

    [Fact]
    public void An_owner_adds_providers_and_replaces_built_in_ones()
    {
        ProviderCatalog? own = Parse("""
            {"providers": [
              {"name": "groq", "source": "https://acme.test", "token": "{hex:32}", "hosts": [{"hosts": ["api.acme.test"], "accepts": [{"type": "bearer"}]}]},
              {"name": "own", "displayName": "Own", "category": "saas", "source": "https://own.test", "token": "{hex:40}", "hosts": [{"hosts": ["own.example.com"], "accepts": [{"type": "basic"}]}]}
            ]}
            """, out string[] errors);
        Assert.Empty(errors);
        Assert.NotNull(own);
        ProviderCatalog both = ProviderCatalog.BuiltIn.With(own);
        Assert.Equal(ProviderCatalog.BuiltIn.Providers.Count() + 1, both.Providers.Count());
        Assert.True(both.TryGet("groq", out Provider? groq));
        Assert.Equal(("api.acme.test", "groq", ""), (groq.HostTemplates.Single().Host, groq.DisplayName, groq.Category));
        Assert.True(both.TryGet("own", out Provider? added));
        Assert.Equal(("Own", "saas", "https://own.test"), (added.DisplayName, added.Category, added.Source));
        Assert.True(both.TryGet("github", out _));
        Assert.False(both.TryGet("GitHub", out _));
    }

    [Fact]
    public void A_catalog_is_checked()
    {
        AssertError(Entry(name: "Acme"), "providers[0].name: a provider's name is lower-case letters, digits and '-'");
        AssertError(Entry(name: ""), "providers[0].name: a provider's name is lower-case letters, digits and '-'");
        AssertError(Entry().Replace("https:", "http:"), "providers[0].source: the vendor's page is missing; write its https address");
        AssertError(Entry().Replace("\"source\": \"https://acme.test/docs\", ", ""), "providers[0].source: the vendor's page is missing; write its https address");
        AssertError(Entry().Replace("{hex:32}", "{hex:8}"), "providers[0].token: a token of the shape '{hex:8}' holds 32 random bits; at least 128 are needed");
        AssertError(Entry().Replace("\"token\": \"{hex:32}\", ", ""), "providers[0].token: a token of the shape '' holds 0 random bits; at least 128 are needed");
        AssertError(Entry(hosts: "[]"), "providers[0].hosts: a provider has at least one host");
        AssertError(Entry(hosts: "null"), "providers[0].hosts: a provider has at least one host");
        AssertError(Entry(hosts: """[{"hosts": ["a.acme.test"], "accepts": []}]"""), "providers[0].hosts[0].accepts: a host has at least one scheme");
        AssertError(Entry(hosts: """[{"hosts": ["*.acme.test"], "accepts": [{"type": "bearer"}]}]"""), "providers[0].hosts[0].hosts: a provider names its hosts one by one; for a host per tenant write {tenant}");
        AssertError(Entry(hosts: """[{"hosts": ["a.acme.test", "a.acme.test"], "accepts": [{"type": "bearer"}]}]"""), "providers[0].hosts[0].hosts: 'a.acme.test' stands twice");
        AssertError(Entry(hosts: """[{"hosts": ["{tenant}.acme.test"], "accepts": [{"type": "bearer"}]}]"""), "providers[0].tenant: a provider describes its tenant if, and only if, a host holds {tenant}");
        AssertError(Entry(""", "tenant": {"description": "x", "example": "y"}"""), "providers[0].tenant: a provider describes its tenant if, and only if, a host holds {tenant}");
        AssertError(Entry(""", "mints": [{"paths": ["x"]}]"""), "providers[0].mints[0].paths[0]: a path starts with '/', as /repos/acme/**");
        AssertError(Entry().Replace("\"providers\": [", "\"providers\": [" + Entry().Trim()[15..^2] + ", "), "providers[1].name: 'acme' stands twice");

        Assert.Null(Parse(Entry(hosts: """[{"hosts": ["localhost"], "accepts": [{"type": "x"}, {"type": "api-key", "header": "Host"}]}]"""), out string[] errors));
        Assert.Equal(
            ["providers[0].hosts[0].accepts[0].type", "providers[0].hosts[0].accepts[1].header", "providers[0].hosts[0].accepts", "providers[0].hosts[0].hosts"],
            errors.Select(error => error.Split(": ")[0]));
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("""{"providers": {}}""")]
    [InlineData("""{"providers": [], "more": 1}""")]
    [InlineData("""{"providers": [], "providers": []}""")]
    [InlineData("""{"providers": [{"nmae": "x"}]}""")]
    public void What_is_no_catalog_file_is_refused(string json)
    {
        Assert.Null(Parse(json, out string[] errors));
        Assert.Single(errors);
    }

    [Theory]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("""{"providers": []}""")]
    public void A_catalog_may_be_empty(string json) => Assert.Empty(Parse(json, out _)!.Providers);

    [Theory]
    [InlineData("""{"providers": [null]}""", "providers[0]")]
    [InlineData("""{"providers": [{"name": "acme", "source": "https://acme.test/docs", "token": "{hex:32}", "hosts": [null]}]}""", "providers[0].hosts[0]")]
    [InlineData("""{"providers": [{"name": "acme", "source": "https://acme.test/docs", "token": "{hex:32}", "hosts": [{"hosts": [null], "accepts": [{"type": "bearer"}]}]}]}""", "providers[0].hosts[0]")]
    [InlineData("""{"providers": [{"name": "acme", "source": "https://acme.test/docs", "token": "{hex:32}", "hosts": [{"hosts": ["api.acme.test"], "accepts": [null]}]}]}""", "providers[0].hosts[0]")]
    [InlineData("""{"providers": [{"name": "acme", "source": "https://acme.test/docs", "token": "{hex:32}", "hosts": [{"hosts": ["api.acme.test"], "accepts": [{"type": "bearer"}]}], "mints": [null]}]}""", "providers[0].mints[0]")]
    public void A_null_in_a_list_is_an_error_with_its_path(string json, string path)
    {
        Assert.Null(Parse(json, out string[] errors));
        Assert.StartsWith(path + ": ", Assert.Single(errors));
    }
}
