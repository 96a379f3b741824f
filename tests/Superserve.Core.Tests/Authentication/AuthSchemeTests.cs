using Superserve.Core.Authentication;
using Superserve.Core.Secrets;
using static Superserve.Core.Tests.TestSecrets;

namespace Superserve.Core.Tests.Authentication;

public sealed class AuthSchemeTests
{
    private static string[] Errors(AuthSchemeSpec spec, bool inCatalog = false)
    {
        List<SpecError> errors = [];
        bool created = AuthScheme.TryCreate(spec, "auth", errors, out AuthScheme? scheme, inCatalog);
        Assert.Equal(created, errors.Count == 0);
        Assert.Equal(created, scheme is not null);
        return [.. errors.Select(error => error.ToString())];
    }

    private static void AssertError(AuthSchemeSpec spec, string expected) => Assert.Equal(expected, Assert.Single(Errors(spec)));

    private static AuthSchemeSpec Custom(params (string Name, string? Text)[] headers) =>
        new() { Type = "custom", Headers = headers.ToDictionary(h => h.Name, h => h.Text!, StringComparer.Ordinal) };

    [Fact]
    public void A_scheme_has_a_known_type()
    {
        AssertError(new(), "auth.type: a scheme needs a type; write one of bearer, api-key, basic, custom, query, path");
        AssertError(new() { Type = "Bearer" }, "auth.type: there is no scheme 'Bearer'; write one of bearer, api-key, basic, custom, query, path");
        AssertError(new() { Type = "", Header = "X" }, "auth.type: there is no scheme ''; write one of bearer, api-key, basic, custom, query, path");
    }

    [Theory]
    [InlineData("bearer", "")]
    [InlineData("api-key", "header prefix")]
    [InlineData("basic", "username")]
    [InlineData("custom", "headers")]
    [InlineData("query", "parameter")]
    [InlineData("path", "prefix")]
    public void Fields_of_another_scheme_are_refused(string type, string own)
    {
        AuthSchemeSpec all = new()
        {
            Type = type,
            Header = "X-Key",
            Prefix = "/bot{{ value }}/",
            Username = "u",
            Headers = new Dictionary<string, string> { ["X"] = "{{ value }}" },
            Parameter = "key",
        };
        string[] fields = ["header", "prefix", "username", "headers", "parameter"];
        if (type == "api-key") all = all with { Prefix = "Key " };
        Assert.Equal(
            fields.Except(own.Split(' ')).Select(field => $"auth.{field}: the scheme {type} has no {field}; remove it"), Errors(all));
    }

    [Fact]
    public void Bearer_is_one_header()
    {
        Assert.Same(AuthScheme.Bearer, Scheme(BearerAuth));
        Assert.Equal("bearer", AuthScheme.Bearer.Type);
        HeaderTemplate header = Assert.Single(AuthScheme.Bearer.Headers);
        Assert.Equal(("Authorization", "Bearer x"), (header.Name, header.Template.Render("x")));
    }

    [Fact]
    public void An_API_key_is_a_header_with_an_optional_prefix()
    {
        HeaderScheme scheme = Assert.IsType<HeaderScheme>(Scheme(ApiKey("X-Key", "Token ")));
        Assert.Equal("api-key", scheme.Type);
        Assert.Equal(("X-Key", "Token x"), (scheme.Headers[0].Name, scheme.Headers[0].Template.Render("x")));
        Assert.Equal("x", Assert.IsType<HeaderScheme>(Scheme(ApiKey("X-Key"))).Headers[0].Template.Render("x"));
        AssertError(new() { Type = "api-key" }, "auth.header: api-key needs the name of its header, as header: X-Api-Key");
        AssertError(ApiKey("X-Key", "a\nb"), "auth.prefix: the prefix holds a control character or one outside ASCII; use printable ASCII");
        AssertError(ApiKey("X-Key", new string('a', 1025)), "auth.prefix: the prefix is longer than 1024 characters");
        foreach (string template in (string[])["Key {{ value }}", "$(value)", "{{value}}{{value}}"])
            AssertError(ApiKey("X-Key", template), "auth.prefix: the prefix is the text ahead of the credential, without {{ value }}; for text behind it use type: custom");
        Assert.Empty(Errors(ApiKey("X-Key", new string('a', 1024))));
        Assert.Equal(2, Errors(ApiKey("Host", "\0")).Length);
    }

    [Theory]
    [InlineData("Host")]
    [InlineData("content-length")]
    [InlineData("Transfer-Encoding")]
    [InlineData("CONNECTION")]
    [InlineData("Keep-Alive")]
    [InlineData("Proxy-Connection")]
    [InlineData("Proxy-Authenticate")]
    [InlineData("Proxy-Authorization")]
    [InlineData("Proxy-Authentication-Info")]
    [InlineData("TE")]
    [InlineData("te")]
    [InlineData("Trailer")]
    [InlineData("Upgrade")]
    [InlineData("Expect")]
    [InlineData("HTTP2-Settings")]
    [InlineData("Content-Encoding")]
    [InlineData("Content-Type")]
    [InlineData("Accept-Encoding")]
    public void A_header_that_frames_or_routes_is_refused(string name)
    {
        string reason = $"the header '{name}' frames or routes the message and cannot hold a credential; use the header that the service's documentation names";
        Assert.Equal(reason, HeaderRules.ReasonAgainst(name));
        AssertError(ApiKey(name), "auth.header: " + reason);
        AssertError(Custom((name, "{{ value }}")), $"auth.headers[{name}]: {reason}");
    }

    [Theory]
    [InlineData("")]
    [InlineData("X Key")]
    [InlineData("X-Key:")]
    [InlineData("X-Key\r\nHost")]
    [InlineData(":authority")]
    [InlineData("X(Key)")]
    [InlineData("X/Key")]
    [InlineData("\"X\"")]
    [InlineData("X-Kéy")]
    [InlineData("X\0")]
    public void A_header_name_is_a_token(string name)
    {
        string shown = new([.. name.Select(c => c is < ' ' or > '~' ? '?' : c)]);
        AssertError(ApiKey(name), $"auth.header: '{shown}' is not a header name; use letters, digits and -, as X-Api-Key");
    }

    [Fact]
    public void A_header_name_has_at_most_128_characters_of_which_64_are_shown()
    {
        Assert.Null(HeaderRules.ReasonAgainst(new string('x', 128)));
        Assert.StartsWith($"'{new string('x', 64)}' is not", HeaderRules.ReasonAgainst(new string('x', 129)));
        Assert.StartsWith($"'{new string(' ', 64)}' is not", HeaderRules.ReasonAgainst(new string(' ', 65)));
        Assert.Null(HeaderRules.ReasonAgainst("!#$%&'*+-.^_`|~09azAZ"));
    }

    [Theory]
    [InlineData("Te", true)]
    [InlineData("tRAILER", true)]
    [InlineData("upgrade", true)]
    [InlineData("connection", true)]
    [InlineData("keep-alive", true)]
    [InlineData("proxy-connection", true)]
    [InlineData("transfer-encoding", true)]
    [InlineData("proxy-authenticate", true)]
    [InlineData("proxy-authorization", true)]
    [InlineData("proxy-authentication-info", true)]
    [InlineData("xx", false)]
    [InlineData("Trailes", false)]
    [InlineData("connectiom", false)]
    [InlineData("Authorization", false)]
    [InlineData("Host", false)]
    [InlineData("proxy-connectiom", false)]
    [InlineData("", false)]
    public void Hop_by_hop_headers_are_told_without_case(string name, bool isHopByHop) => Assert.Equal(isHopByHop, HeaderRules.IsHopByHop(name));

    [Theory]
    [InlineData("X-Key", true)]
    [InlineData("close, x-key", true)]
    [InlineData("a,X-KEY ,b", true)]
    [InlineData("X-Keys", false)]
    [InlineData("X-Key;q=1", false)]
    [InlineData("", false)]
    public void The_Connection_header_nominates_headers_of_this_hop(string connection, bool nominates) => Assert.Equal(nominates, HeaderRules.Nominates(connection, "X-Key"));

    [Fact]
    public void Basic_has_a_user_name()
    {
        BasicScheme scheme = Assert.IsType<BasicScheme>(Scheme(BasicAuth));
        Assert.Equal(("basic", "x-access-token", false), (scheme.Type, scheme.Username, scheme.CredentialIsUsername));
        Assert.Empty(Errors(new() { Type = "basic", Username = "" }));
        AssertError(
            new() { Type = "basic" },
            "auth.username: basic needs a username, as username: x-access-token; write \"{{ value }}\" where the credential itself is the user name");
        AssertError(
            new() { Type = "basic", Username = "user:" }, "auth.username: a basic username holds no ':'; the credential is the password, only the name goes here");
        AssertError(new() { Type = "basic", Username = "a\rb" }, "auth.username: the username holds a control character or one outside ASCII; use printable ASCII");
        AssertError(new() { Type = "basic", Username = "jürgen" }, "auth.username: the username holds a control character or one outside ASCII; use printable ASCII");
        AssertError(new() { Type = "basic", Username = new string('u', 1025) }, "auth.username: the username is longer than 1024 characters");
    }

    [Theory]
    [InlineData("{{ value }}")]
    [InlineData("{{value}}")]
    [InlineData("$(value)")]
    public void Basic_takes_the_credential_as_user_name(string username)
    {
        Assert.Same(BasicScheme.CredentialAsUsername, Scheme(new() { Type = "basic", Username = username }));
        Assert.True(BasicScheme.CredentialAsUsername.CredentialIsUsername);
        Assert.Null(BasicScheme.CredentialAsUsername.Username);
        Assert.NotEqual(new BasicScheme(null), BasicScheme.CredentialAsUsername);
        AssertError(new() { Type = "basic", Username = username + "x" }, "auth.username: write either a fixed user name or \"{{ value }}\" alone");
        AssertError(new() { Type = "basic", Username = "x" + username }, "auth.username: write either a fixed user name or \"{{ value }}\" alone");
        AssertError(new() { Type = "basic", Username = username + username }, "auth.username: the template holds {{ value }} twice; write it once");
    }

    [Fact]
    public void Only_the_catalog_leaves_the_user_name_to_the_client()
    {
        AuthSchemeSpec open = new() { Type = "basic" };
        Assert.NotEmpty(Errors(open));
        Assert.Empty(Errors(open, inCatalog: true));
        Assert.Equal(new BasicScheme(null), Scheme(open));
    }

    [Fact]
    public void Custom_has_one_to_eight_headers_of_which_one_holds_the_value()
    {
        const string None = "auth.headers: custom needs headers, as headers: {X-Key: \"{{ value }}\"}";
        AssertError(new() { Type = "custom" }, None);
        AssertError(Custom(), None);
        AssertError(Custom(("X-A", "constant")), "auth.headers: no header holds {{ value }}; write it where the credential goes, as X-Key: \"{{ value }}\"");
        AssertError(Custom(("X-A", "{{ value }} {{ value }}"), ("X-B", "$(value)")), "auth.headers[X-A]: the template holds {{ value }} twice; write it once");
        AssertError(Custom(("X-A", "{{ value }}"), ("x-a", "1")), "auth.headers[x-a]: the header stands twice; names are compared without case");
        AssertError(Custom(("X-A", "{{ value }}"), ("X-B", null)), "auth.headers[X-B]: the header has no value; write a text that holds {{ value }}");
        AssertError(Custom(("X-A", "{{ value }}"), ("X-B", "a\nb")), "auth.headers[X-B]: the value holds a control character or one outside ASCII; use printable ASCII");
        AssertError(Custom(("X-A", "{{ value }}"), ("X-B", new string('b', 1025))), "auth.headers[X-B]: the value is longer than 1024 characters");
        Assert.Equal(2, Errors(Custom(("X-A", null))).Length);

        (string, string?)[] nine = [.. Enumerable.Range(0, 9).Select(i => ($"X-{i}", (string?)"{{ value }}"))];
        Assert.Empty(Errors(Custom(nine[..8])));
        AssertError(Custom(nine), "auth.headers: 9 headers; at most 8");

        HeaderScheme scheme = Assert.IsType<HeaderScheme>(Scheme(Custom(("X-A", "v {{ value }} e"), ("X-B", "2"))));
        Assert.Equal(("custom", "X-A=v x e X-B=2"), (scheme.Type, string.Join(' ', scheme.Headers.Select(h => $"{h.Name}={h.Template.Render("x")}"))));
    }

    [Fact]
    public void Query_has_a_parameter()
    {
        Assert.Equal(new QueryScheme("auth[key]-._~$1"), Scheme(new() { Type = "query", Parameter = "auth[key]-._~$1" }));
        AssertError(new() { Type = "query" }, "auth.parameter: query needs the parameter's name, of 1 to 128 characters, as parameter: key");
        AssertError(new() { Type = "query", Parameter = "" }, "auth.parameter: query needs the parameter's name, of 1 to 128 characters, as parameter: key");
        foreach (string name in (string[])["a b", "a&b", "a=b", "a%62", "a+b", "a#", "a?", "é", "&&", "a\n"])
            AssertError(new() { Type = "query", Parameter = name }, "auth.parameter: a parameter's name holds letters, digits and - . _ ~ [ ] $ only");
    }

    [Fact]
    public void Path_has_a_start_that_ends_the_value_with_a_slash()
    {
        PathScheme scheme = Assert.IsType<PathScheme>(Scheme(PathAuth));
        Assert.Equal(("path", "/bot", "/"), (scheme.Type, scheme.Prefix.Before, scheme.Prefix.After));
        Assert.Equal("/a/$(value)/b/".Replace("$(value)", "x"), Assert.IsType<PathScheme>(Scheme(new() { Type = "path", Prefix = "/a/$(value)/b/" })).Prefix.Render("x"));
        AssertError(new() { Type = "path" }, "auth.prefix: path needs the path's start, as prefix: \"/bot{{ value }}/\"");
        AssertError(new() { Type = "path", Prefix = "/bot/" }, "auth.prefix: the prefix has no place for the credential; write it as prefix: \"/bot{{ value }}/\"");
        AssertError(new() { Type = "path", Prefix = "/{{ value }}/{{ value }}/" }, "auth.prefix: the template holds {{ value }} twice; write it once");
        foreach (string prefix in (string[])["bot{{ value }}/", "/bot{{ value }}", "/bot{{ value }}x/", "{{ value }}/", ""])
            Assert.StartsWith("auth.prefix: the prefix ", Assert.Single(Errors(new() { Type = "path", Prefix = prefix })));
        AssertError(
            new() { Type = "path", Prefix = "/bot{{ value }}" },
            "auth.prefix: the prefix starts with '/' and has a '/' right after {{ value }}, as prefix: \"/bot{{ value }}/\"; otherwise the credential would run into what follows");
        foreach (char c in "?#% \\")
        {
            AssertError(new() { Type = "path", Prefix = $"/b{c}t{{{{ value }}}}/" }, "auth.prefix: the prefix holds no '?', '#', '%', '\\' or space");
            AssertError(new() { Type = "path", Prefix = $"/bot{{{{ value }}}}/{c}" }, "auth.prefix: the prefix holds no '?', '#', '%', '\\' or space");
        }

        Assert.Contains("auth.prefix: the prefix holds a control character or one outside ASCII; use printable ASCII", Errors(new() { Type = "path", Prefix = "/\0{{ value }}/" }));
    }
}
