using Superserve.Core.Providers;
using Superserve.Core.Requests;
using Superserve.Core.Secrets;
using static Superserve.Core.Tests.TestSecrets;

namespace Superserve.Core.Tests.Requests;

public sealed class RequestRulesTests
{
    private static RequestRules Of(params RequestRuleSpec[] rules) => SecretA(BearerAuth).WithRules(rules).Definition.Rules;

    private static RequestRules Provider(string name, params RequestRuleSpec[] rules)
    {
        Assert.True(ProviderCatalog.BuiltIn.TryGet(name, out Provider? provider));
        return new RequestRules(Of(rules).Allowed, provider.Minting);
    }

    private static string[] Errors(RequestRuleSpec spec)
    {
        List<SpecError> errors = [];
        bool created = RequestRule.TryCreate(spec, "rules[0]", errors, out RequestRule? rule);
        Assert.Equal(created, errors.Count == 0);
        Assert.Equal(created, rule is not null);
        return [.. errors.Select(error => error.ToString())];
    }

    [Fact]
    public void A_rule_names_methods_or_paths()
    {
        Assert.Equal(["rules[0]: the rule names neither methods nor paths; name at least one, or remove the rule"], Errors(new()));
        Assert.Single(Errors(new() { Methods = [], Paths = [] }));
        Assert.Empty(Errors(new() { Methods = ["GET", "PURGE", new string('A', 32)] }));
        Assert.Empty(Errors(new() { Paths = ["/**"] }));
        foreach (string? method in (string?[])["get", "", null, "GET ", "G3T", "*", "GÉT", new string('A', 33)])
            Assert.Equal(["rules[0].methods[1]: a method is written in upper-case letters, as GET"], Errors(new() { Methods = ["GET", method!] }));
        Assert.Equal(["rules[0].paths[0]: a path starts with '/', as /repos/acme/**"], Errors(new() { Paths = [null!, "/a"] }));
    }

    [Fact]
    public void A_rule_has_at_most_64_methods_and_64_paths()
    {
        string[] methods = [.. Enumerable.Repeat("GET", 65)];
        string[] paths = [.. Enumerable.Repeat("/a", 65)];
        Assert.Empty(Errors(new() { Methods = methods[1..], Paths = paths[1..] }));
        Assert.Equal(["rules[0].methods: more than 64 methods", "rules[0].paths: more than 64 paths"], Errors(new() { Methods = methods, Paths = paths }));
    }

    [Fact]
    public void Without_rules_every_request_may_carry_the_credential()
    {
        Assert.False(RequestRules.None.Exist);
        Assert.Null(RequestRules.None.ReasonAgainst("DELETE", "/a/../b"));
        Assert.True(Of(new RequestRuleSpec { Methods = ["GET"] }).Exist);
        Assert.True(Provider("github").Exist);
    }

    [Theory]
    [InlineData("GET", "/repos/acme/app", true)]
    [InlineData("POST", "/repos/acme/app", false)]
    [InlineData("get", "/repos/acme/app", false)]
    [InlineData("GET", "/repos/other/app", false)]
    [InlineData("GET", "/Repos/acme/app", false)]
    [InlineData("POST", "/issues", true)]
    [InlineData("GET", "/issues", true)]
    [InlineData("DELETE", "/anything", true)]
    [InlineData("DELETE", "/a/../b", true)]
    [InlineData("GET", "/repos/%61cme/app", true)]
    public void A_request_that_a_rule_covers_may_carry_it(string method, string path, bool may)
    {
        RequestRules rules = Of(
            new RequestRuleSpec { Methods = ["GET"], Paths = ["/none", "/repos/acme/**"] }, new RequestRuleSpec { Paths = ["/issues"] }, new RequestRuleSpec { Methods = ["DELETE"] });
        Assert.Equal(may ? null : "no rule of the secret covers this method and path", rules.ReasonAgainst(method, path));
    }

    [Theory]
    [InlineData("/repos/acme/../other")]
    [InlineData("/repos/acme/%2e%2e/other")]
    [InlineData("/repos/acme/..%2fother")]
    [InlineData("/repos/acme//other")]
    [InlineData("/repos/acme/%25%32%65%25%32%65/other")]
    public void A_path_that_a_rule_cannot_judge_is_refused(string path)
    {
        Assert.Equal(
            "the path has dot segments, empty segments or encoded slashes, which a path rule cannot judge",
            Of(new RequestRuleSpec { Paths = ["/repos/acme/**"] }).ReasonAgainst("GET", path));
        Assert.NotNull(Of(new RequestRuleSpec { Paths = ["/**"] }).ReasonAgainst("GET", path));
    }

    // ---- endpoints that mint new credentials ---------------------------------------------------------------------------

    [Theory]
    [InlineData("POST", "/user/keys")]
    [InlineData("POST", "/user/keys/")]
    [InlineData("POST", "/user/keys//")]
    [InlineData("POST", "//user/keys")]
    [InlineData("POST", "/user//keys")]
    [InlineData("POST", "/./user/./keys/.")]
    [InlineData("POST", "/x/../user/keys")]
    [InlineData("POST", "/x/y/../../user/keys")]
    [InlineData("POST", "/../user/keys")]
    [InlineData("POST", "/user/keys/x/..")]
    [InlineData("POST", "/x/%2e%2e/user/keys")]
    [InlineData("POST", "/x/.%2E/user/keys")]
    [InlineData("POST", "/x/%252e%252e/user/keys")]
    [InlineData("POST", "/x/%25%32%65%25%32%65/user/keys")]
    [InlineData("POST", "/x/..;a=b/user/keys")]
    [InlineData("POST", "/x/..%3ba/user/keys")]
    [InlineData("POST", "/User/KEYS")]
    [InlineData("POST", "/%75ser/ke%79s")]
    [InlineData("POST", "/%2575ser/keys")]
    [InlineData("POST", "/user%2fkeys")]
    [InlineData("POST", "/user%2Fkeys")]
    [InlineData("POST", "/user%252fkeys")]
    [InlineData("POST", "/user\\keys")]
    [InlineData("POST", "/user%5ckeys")]
    [InlineData("POST", "/user%255ckeys")]
    [InlineData("POST", "/x%2f..%2fuser%2fkeys")]
    [InlineData("POST", "/x%2f../user/keys")]
    [InlineData("POST", "/user;a=b/keys;c")]
    [InlineData("POST", "/user/keys%3bx")]
    [InlineData("POST", "/user/;a/keys")]
    [InlineData("POST", "/user/keys.json")]
    [InlineData("POST", "/user/keys.xml/")]
    [InlineData("POST", "/user/keys.")]
    [InlineData("POST", "/user/keys%20")]
    [InlineData("POST", "/user/%20keys")]
    [InlineData("POST", "/user/keys%00")]
    [InlineData("POST", "/user/keys%00.png")]
    [InlineData("POST", "/user/keys%2500x")]
    [InlineData("POST", "/user/keys#x")]
    [InlineData("POST", "/user/keys%23x")]
    [InlineData("POST", "/user/keys%3fx")]
    [InlineData("POST", "/user/keys%253fx/y")]
    [InlineData("POST", "/x%3f/../user/keys")]
    [InlineData("POST", "/user/keys%0a")]
    [InlineData("post", "/user/keys")]
    [InlineData("Post", "/user/keys")]
    public void An_endpoint_that_mints_credentials_is_refused_in_every_spelling(string method, string path)
    {
        const string Reason = "/user/keys creates new credentials, and the secret's rules do not name it";
        Assert.Equal(Reason, Provider("github").ReasonAgainst(method, path));
        Assert.NotNull(Provider("github", new RequestRuleSpec { Methods = ["POST"] }).ReasonAgainst(method, path));
        Assert.NotNull(Provider("github", new RequestRuleSpec { Methods = ["POST"], Paths = ["/**"] }).ReasonAgainst(method, path));
        Assert.NotNull(Provider("github", new RequestRuleSpec { Paths = ["/user/**", "/*/keys", "/user/*", "/**/keys"] }).ReasonAgainst(method, path));
    }

    [Theory]
    [InlineData("POST", "/repos/acme/app/keys")]
    [InlineData("POST", "/repos/acme/app/../app/keys")]
    [InlineData("POST", "/repos/acme%2fapp/x/keys")]
    [InlineData("POST", "/repos/%2f/app/keys")]
    [InlineData("POST", "/repos/%5C/app/keys")]
    [InlineData("PATCH", "/applications/1/token/scoped")]
    [InlineData("PUT", "/authorizations/a/b/c")]
    [InlineData("PUT", "/authorizations")]
    public void Minting_endpoints_have_globs(string method, string path) => Assert.NotNull(Provider("github").ReasonAgainst(method, path));

    [Theory]
    [InlineData("GET", "/user/keys")]
    [InlineData("DELETE", "/user/keys")]
    [InlineData("POST", "/user/keys2")]
    [InlineData("POST", "/user/keys/1")]
    [InlineData("POST", "/x/user/keys")]
    [InlineData("POST", "/user")]
    [InlineData("POST", "/")]
    [InlineData("POST", "/repos/acme/app/issues")]
    [InlineData("POST", "/a/../b")]
    public void Other_requests_are_not_taken_for_minting(string method, string path) => Assert.Null(Provider("github").ReasonAgainst(method, path));

    [Theory]
    [InlineData("/user/keys")]
    [InlineData("/user/keys/**")]
    [InlineData("/USER/keys")]
    public void A_minting_endpoint_that_a_rule_names_is_open(string named)
    {
        RequestRules rules = Provider("github", new RequestRuleSpec { Methods = ["POST"], Paths = [named] });
        Assert.Equal(named.StartsWith("/user"), rules.ReasonAgainst("POST", "/user/keys") is null);
        Assert.NotNull(rules.ReasonAgainst("POST", "/user/gpg_keys"));
        Assert.NotNull(rules.ReasonAgainst("POST", "/x/../user/keys"));
        Assert.NotNull(rules.ReasonAgainst("PUT", "/user/keys"));
    }

    [Fact]
    public void A_rule_for_other_methods_does_not_name_an_endpoint()
    {
        RequestRules rules = Provider("github", new RequestRuleSpec { Methods = ["GET"], Paths = ["/user/keys"] }, new RequestRuleSpec { Methods = ["POST"], Paths = ["/user/**"] });
        Assert.Null(rules.ReasonAgainst("GET", "/user/keys"));
        Assert.NotNull(rules.ReasonAgainst("POST", "/user/keys"));
        Assert.Null(rules.ReasonAgainst("POST", "/user/repos"));
    }

    [Fact]
    public void The_glob_that_a_refusal_tells_opens_the_endpoint_when_it_is_written_as_a_rule()
    {
        foreach (Provider provider in ProviderCatalog.BuiltIn.Providers)
        {
            foreach (RequestRule mint in provider.Minting)
            {
                foreach (PathGlob endpoint in mint.Paths)
                {
                    string path = endpoint.Text.Replace("**", "x").Replace("*", "x");
                    string method = mint.Methods[0];
                    string? reason = new RequestRules([], provider.Minting).ReasonAgainst(method, path);
                    Assert.NotNull(reason);
                    string[] told = [.. provider.Minting.SelectMany(rule => rule.Paths).Select(glob => glob.Text)];
                    Assert.Contains(reason.Split(' ')[0], told);
                    Assert.Null(Provider(provider.Name, new RequestRuleSpec { Methods = [method], Paths = [.. told.Distinct().Take(64)] }).ReasonAgainst(method, path));
                    Assert.NotNull(Provider(provider.Name, new RequestRuleSpec { Paths = ["/**"] }).ReasonAgainst(method, path));
                    Assert.NotNull(Provider(provider.Name, new RequestRuleSpec { Methods = [method] }).ReasonAgainst(method, path));
                }
            }
        }
    }

    [Fact]
    public void A_rule_for_one_project_does_not_open_its_tokens()
    {
        foreach (string broad in (string[])["/api/v4/projects/1/**", "/api/v4/projects/*/**", "/api/v4/projects/**", "/api/v4/projects/1/*"])
        {
            RequestRules rules = Provider("gitlab", new RequestRuleSpec { Paths = [broad] });
            Assert.Null(rules.ReasonAgainst("POST", "/api/v4/projects/1/issues"));
            Assert.NotNull(rules.ReasonAgainst("POST", "/api/v4/projects/1/access_tokens"));
        }

        Assert.Null(Provider("gitlab", new RequestRuleSpec { Paths = ["/api/v4/projects/1/access_tokens"] }).ReasonAgainst("POST", "/api/v4/projects/1/access_tokens"));
    }

    [Theory]
    [InlineData("X-HTTP-Method-Override", true)]
    [InlineData("x-http-method", true)]
    [InlineData("X-METHOD-Override", true)]
    [InlineData("X-Original-Url", true)]
    [InlineData("X-Rewrite-Url", true)]
    [InlineData("X_HTTP_METHOD_OVERRIDE", true)]
    [InlineData("X-Original_URL", true)]
    [InlineData("X-HTTP-Methods", false)]
    [InlineData("Host", false)]
    public void Headers_that_override_the_method_or_path_are_known(string name, bool isOverride) => Assert.Equal(isOverride, RequestRules.IsOverride(name));
}
