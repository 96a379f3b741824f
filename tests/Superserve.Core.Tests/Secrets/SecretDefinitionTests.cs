using Superserve.Core.Authentication;
using Superserve.Core.Secrets;
using Superserve.Core.StandIns;
using static Superserve.Core.Tests.TestSecrets;

namespace Superserve.Core.Tests.Secrets;

public sealed class SecretDefinitionTests
{
    private static void AssertErrors(SecretSpec spec, params string[] expected) => Assert.Equal(expected, ErrorsOf(spec).Select(error => error.ToString()));

    private static SecretSpec Bearer(params string[] hosts) => new() { Auth = BearerAuth, Hosts = hosts };

    private static SecretSpec PerHost(params PerHostAuthSpec[] rules) => new() { Auth = new AuthSpec { PerHost = rules } };

    private static string[] Hosts(int count) => [.. Enumerable.Range(0, count).Select(i => $"h{i}.example.com")];

    [Fact]
    public void Hosts_and_a_scheme_make_a_definition()
    {
        SecretDefinition definition = Definition(Bearer("api.example.com", "*.example.org:8443"));
        Assert.Equal("bearer", definition.AuthType);
        Assert.Equal(["api.example.com", "*.example.org:8443"], definition.Hosts.Select(h => h.Pattern.ToString()));
        Assert.All(definition.Hosts, h => Assert.Equal([AuthScheme.Bearer], h.Schemes));
        Assert.Same(TokenShape.Default, definition.Shape);
        Assert.False(definition.Rules.Exist);
        Assert.False(definition.AllowSetCookie);
        Assert.True(Definition(Bearer("api.example.com") with { AllowSetCookie = true }).AllowSetCookie);
        Assert.True(Definition(new SecretSpec { Provider = "groq", AllowSetCookie = true }).AllowSetCookie);
    }

    [Fact]
    public void A_scheme_is_found_by_host_and_port()
    {
        SecretDefinition definition = Definition(Bearer("api.example.com", "*.example.org:8443"));
        Assert.Same(definition.Hosts[0], definition.ForHost("api.example.com", 443));
        Assert.Same(definition.Hosts[1], definition.ForHost("a.b.example.org", 8443));
        Assert.Null(definition.ForHost("api.example.com", 8443));
        Assert.Null(definition.ForHost("a.example.org", 443));
        Assert.Null(definition.ForHost("evil.test", 443));
    }

    [Fact]
    public void Exactly_one_of_provider_and_auth_is_set()
    {
        AssertErrors(new SecretSpec { Hosts = [Host] }, "spec: neither provider nor auth is set; name a provider, as provider: anthropic, or write hosts and auth");
        AssertErrors(new SecretSpec { Provider = "anthropic", Auth = BearerAuth }, "spec.auth: provider and auth exclude each other; remove one of them");
    }

    [Fact]
    public void A_provider_brings_its_own_hosts()
    {
        AssertErrors(
            new SecretSpec { Provider = "anthropic", Hosts = [Host] }, "spec.hosts: a provider brings its own hosts; remove hosts, or write auth in place of provider");
        SecretDefinition definition = Definition(new SecretSpec { Provider = "anthropic" });
        Assert.Equal("api-key", definition.AuthType);
        Assert.Equal(["api.anthropic.com"], definition.Hosts.Select(h => h.Pattern.ToString()));
        Assert.StartsWith("sk-ant-api03-", definition.Shape.Text);
        Assert.NotEmpty(definition.Rules.Minting);
        Assert.Empty(definition.Rules.Allowed);
    }

    [Fact]
    public void A_provider_that_is_not_known_is_refused_with_the_nearest_names()
    {
        AssertErrors(new SecretSpec { Provider = "antropic" }, "spec.provider: there is no provider 'antropic'; the nearest names are anthropic; or write hosts and auth in its place");
        AssertErrors(new SecretSpec { Provider = "zzzzzzzzzzz" }, "spec.provider: there is no provider 'zzzzzzzzzzz'; or write hosts and auth in its place");
    }

    [Fact]
    public void A_provider_with_a_host_per_tenant_takes_one_label()
    {
        Assert.Equal(["acme.zendesk.com"], Definition(new SecretSpec { Provider = "zendesk", Tenant = "acme" }).Hosts.Select(h => h.Pattern.ToString()));
        AssertErrors(
            new SecretSpec { Provider = "zendesk" },
            "spec.tenant: the provider zendesk has a host per tenant; write tenant: acme (The subdomain of the account: acme for acme.zendesk.com)");
        AssertErrors(new SecretSpec { Provider = "groq", Tenant = "acme" }, "spec.tenant: the provider groq has the same hosts for everybody; remove tenant");
        AssertErrors(Bearer(Host) with { Tenant = "acme" }, "spec.tenant: only a provider takes a tenant; remove it");
        foreach (string tenant in (string[])["", "a.b", "evil.test/", "*", "Acme", "-a", "a-", "a_b", "a:1", "ü", new string('a', 64)])
            AssertErrors(
                new SecretSpec { Provider = "zendesk", Tenant = tenant }, "spec.tenant: a tenant is one label of a host name: lower-case letters, digits and '-', as acme");
        Assert.Single(Definition(new SecretSpec { Provider = "zendesk", Tenant = new string('a', 63) }).Hosts);
        Assert.Single(Definition(new SecretSpec { Provider = "zendesk", Tenant = "a-9" }).Hosts);
    }

    [Fact]
    public void A_scheme_needs_hosts()
    {
        const string None = "spec.hosts: no host is named; write the hosts that may get the credential, as [api.example.com]";
        AssertErrors(new SecretSpec { Auth = BearerAuth }, None);
        AssertErrors(Bearer(), None);
        AssertErrors(PerHost(new PerHostAuthSpec { Type = "bearer" }), None.Replace("spec.hosts", "spec.auth.perHost[0].hosts"));
        AssertErrors(PerHost(new PerHostAuthSpec { Type = "bearer", Hosts = [] }), None.Replace("spec.hosts", "spec.auth.perHost[0].hosts"));
    }

    [Fact]
    public void A_mistake_in_a_host_has_the_hosts_path()
    {
        AssertErrors(Bearer(Host, "*.com"), "spec.hosts[1]: '*.com' is too wide: anybody can register a name below the public suffix 'com'; list the hosts one by one");
        Assert.Equal(["spec.hosts[0]", "spec.hosts[2]"], ErrorsOf(Bearer("localhost", Host, "1.2.3.4")).Select(e => e.Path));
        Assert.Equal(
            ["spec.auth.perHost[1].hosts[1]"],
            ErrorsOf(PerHost(new() { Type = "bearer", Hosts = [Host] }, new() { Type = "bearer", Hosts = ["b.example.com", ""] })).Select(e => e.Path));
    }

    [Fact]
    public void A_mistake_in_the_scheme_and_one_in_a_host_are_both_told()
    {
        Assert.Equal(["spec.auth.type", "spec.hosts[0]"], ErrorsOf(new SecretSpec { Auth = new AuthSpec { Type = "x" }, Hosts = [""] }).Select(e => e.Path));
        Assert.Equal(
            ["spec.auth.perHost[0].header", "spec.auth.perHost[0].hosts"], ErrorsOf(PerHost(new PerHostAuthSpec { Type = "api-key", Hosts = null })).Select(e => e.Path));
    }

    [Fact]
    public void A_secret_has_at_most_16_hosts()
    {
        Assert.Equal(16, Definition(Bearer(Hosts(16))).Hosts.Length);
        AssertErrors(Bearer(Hosts(17)), "spec.hosts: 17 hosts; at most 16 for one secret, split it");
        Assert.Equal("spec.hosts", Assert.Single(ErrorsOf(Bearer(Hosts(1000)))).Path);
        AssertErrors(
            PerHost(new() { Type = "bearer", Hosts = Hosts(16) }, new() { Type = "bearer", Hosts = [Host] }), "spec.auth.perHost: 17 hosts; at most 16 for one secret, split it");
    }

    [Fact]
    public void A_secret_has_1_to_16_rules_per_host()
    {
        PerHostAuthSpec[] rules = [.. Hosts(17).Select(host => new PerHostAuthSpec { Type = "bearer", Hosts = [host] })];
        Assert.Equal(16, Definition(PerHost(rules[..16])).Hosts.Length);
        AssertErrors(PerHost(), "spec.auth.perHost: 0 rules; write 1 to 16");
        AssertErrors(PerHost(rules), "spec.auth.perHost: 17 rules; write 1 to 16");
        AssertErrors(PerHost(rules[0], null!), "spec.auth.perHost[1]: there is no rule here, only null; remove it");
    }

    [Fact]
    public void Each_rule_per_host_has_a_scheme_of_its_own()
    {
        SecretDefinition definition = Definition(PerHost(
            new() { Type = "bearer", Hosts = ["api.github.com"] }, new() { Type = "basic", Username = "x", Hosts = ["github.com", "gist.github.com"] }));
        Assert.Equal("per-host", definition.AuthType);
        Assert.Equal(["bearer", "basic", "basic"], definition.Hosts.Select(h => Assert.Single(h.Schemes).Type));
    }

    [Fact]
    public void Hosts_and_a_scheme_exclude_rules_per_host()
    {
        PerHostAuthSpec[] rules = [new() { Type = "bearer", Hosts = [Host] }];
        AssertErrors(
            new SecretSpec { Hosts = ["b.example.com"], Auth = new AuthSpec { PerHost = rules } },
            "spec.hosts: hosts and auth.perHost exclude each other; each perHost rule has hosts of its own");
        foreach (AuthSpec auth in (AuthSpec[])
            [new() { Type = "bearer" }, new() { Header = "X" }, new() { Prefix = "p" }, new() { Username = "u" }, new() { Parameter = "k" }, new() { Headers = new Dictionary<string, string>() }])
            AssertErrors(
                new SecretSpec { Auth = auth with { PerHost = rules } },
                "spec.auth: a scheme and perHost exclude each other; move the scheme into a perHost rule, or remove perHost");
    }

    [Fact]
    public void Hosts_of_one_secret_do_not_overlap()
    {
        AssertErrors(Bearer("*.example.com", Host), "spec.hosts[1]: 'api.example.com' overlaps '*.example.com' of the same secret; name each host once");
        AssertErrors(Bearer(Host, Host), "spec.hosts[1]: 'api.example.com' overlaps 'api.example.com' of the same secret; name each host once");
        AssertErrors(
            PerHost(new() { Type = "bearer", Hosts = ["*.a.example.com"] }, new() { Type = "basic", Username = "x", Hosts = ["b.example.com", "*.example.com"] }),
            "spec.auth.perHost[1].hosts[1]: '*.example.com' overlaps '*.a.example.com' of the same secret; name each host once",
            "spec.auth.perHost[1].hosts[1]: '*.example.com' overlaps 'b.example.com' of the same secret; name each host once");
        Assert.Equal(3, Definition(Bearer(Host, Host + ":8443", "example.com")).Hosts.Length);
    }

    [Fact]
    public void Rules_are_read_for_a_provider_and_for_a_scheme()
    {
        RequestRuleSpec[] rules = [new() { Methods = ["GET", "POST"], Paths = ["/repos/acme/**"] }];
        foreach (SecretSpec spec in (SecretSpec[])[Bearer(Host), new() { Provider = "github" }])
        {
            SecretDefinition definition = Definition(spec with { Rules = rules });
            Assert.Equal(["GET", "POST"], Assert.Single(definition.Rules.Allowed).Methods);
            Assert.True(definition.Rules.Exist);
        }
    }

    [Fact]
    public void A_mistake_in_a_rule_has_the_rules_path()
    {
        AssertErrors(Bearer(Host) with { Rules = [] }, "spec.rules: 0 rules; write 1 to 32, or remove rules to let every request carry the credential");
        RequestRuleSpec rule = new() { Methods = ["GET"] };
        Assert.Equal(32, Definition(Bearer(Host) with { Rules = [.. Enumerable.Repeat(rule, 32)] }).Rules.Allowed.Length);
        AssertErrors(
            Bearer(Host) with { Rules = [.. Enumerable.Repeat(rule, 32), new()] }, "spec.rules: 33 rules; write 1 to 32, or remove rules to let every request carry the credential");
        AssertErrors(Bearer(Host) with { Rules = [null!, rule] }, "spec.rules[0]: there is no rule here, only null; remove it");
        AssertErrors(
            Bearer(Host) with { Rules = [rule, new(), new() { Methods = ["get"], Paths = ["/a", "b"] }] },
            "spec.rules[1]: the rule names neither methods nor paths; name at least one, or remove the rule",
            "spec.rules[2].methods[0]: a method is written in upper-case letters, as GET",
            "spec.rules[2].paths[1]: a path starts with '/', as /repos/acme/**");
    }

    [Fact]
    public void A_mistake_is_one_line()
    {
        Assert.Equal("spec.auth: wrong", new SpecError("spec.auth", "wrong").ToString());
        Assert.Equal("wrong", new SpecError("", "wrong").ToString());
    }

    [Fact]
    public void Earlier_mistakes_of_others_do_not_spoil_a_definition()
    {
        List<SpecError> errors = [new("other", "wrong")];
        Assert.True(SecretDefinition.TryCreate(
            Bearer(Host), "spec", Core.Providers.ProviderCatalog.BuiltIn, Core.Hosts.PublicSuffixList.Embedded, errors, out SecretDefinition? definition));
        Assert.NotNull(definition);
        Assert.Single(errors);
    }
}
