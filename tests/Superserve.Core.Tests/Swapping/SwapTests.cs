using System.Text;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Core.Swapping;
using static Superserve.Core.Tests.TestSecrets;

namespace Superserve.Core.Tests.Swaps;

public sealed class SwapTests
{
    private static readonly BoundSecret Bearer = SecretA(BearerAuth);

    // ---- pass ----------------------------------------------------------------------------------------------------------

    [Fact]
    public void A_request_without_a_stand_in_passes_as_it_is()
    {
        new Request().Passes();
        new Request().Passes(Bearer);
        new Request("/v1?key=%zz&a=%41").With("Authorization", "Bearer other").With("Authorization", Basic("u", "p")).Passes(Bearer);
        (new Request() with { IsSecure = false, Method = "TRACE", Host = "evil.test" }).Passes(Bearer);
    }

    [Fact]
    public void A_stand_in_in_another_case_is_inert_text()
    {
        new Request().With("Authorization", "Bearer " + A.ToUpperInvariant()).Passes(Bearer);
        new Request("/?key=" + A.ToLowerInvariant()).Passes(SecretA(QueryAuth));
        new Request().With("Authorization", Basic("x-access-token", A.ToLowerInvariant())).Passes(SecretA(BasicAuth));
    }

    [Fact]
    public void A_stand_in_less_its_last_character_is_inert_text() => new Request().With("Authorization", "Bearer " + A[..^1]).Passes(Bearer);

    [Theory]
    [InlineData("Basic !!!not-base64!!!")]
    [InlineData("Basic")]
    [InlineData("Basic ")]
    [InlineData("Digest eDp5")]
    public void What_is_no_Basic_credential_is_inert_text(string value) => new Request().With("Authorization", value).Passes(Bearer, SecretB(BasicAuth));

    [Fact]
    public void A_Basic_credential_longer_than_16_KiB_is_inert_text()
    {
        BoundSecret basic = SecretA(BasicAuth);
        string longest = Basic(new string('u', 12_248 - A.Length), A).PadRight(16 * 1024);
        Assert.Equal(16 * 1024, longest.Length);
        Assert.Equal([Basic("x-access-token", RealA)], new Request().With("Authorization", longest).Swapped(basic).Values("Authorization"));
        new Request().With("Authorization", longest + " ").Passes(basic);
    }

    // ---- header schemes ------------------------------------------------------------------------------------------------

    [Fact]
    public void Bearer_gets_the_credential()
    {
        Request before = new Request().With("Accept", "*/*").With("Authorization", "Bearer " + A);
        SwapPlan? plan = before.Decide(Bearer).Plan;
        Assert.NotNull(plan);
        Assert.Equal([Bearer], plan.Secrets);
        Assert.Equal([new HeaderEdit("Authorization", "Bearer " + RealA)], plan.Headers);
        Assert.Null(plan.Target);
    }

    [Theory]
    [InlineData("bearer {0}")]
    [InlineData("BEARER {0}")]
    [InlineData("Bearer   {0}")]
    [InlineData("Bearer {0}  ")]
    [InlineData("beaRER  {0} ")]
    public void Bearer_in_odd_spacing_and_case_is_bearer(string form) =>
        Assert.Equal(["Bearer " + RealA], new Request().With("authorization", string.Format(form, A)).Swapped(Bearer).Values("Authorization"));

    [Fact]
    public void Duplicates_of_the_header_are_replaced_by_one()
    {
        Request both = new Request().With("Authorization", "Bearer " + A).With("AUTHORIZATION", "Bearer " + A);
        Assert.Equal(["Bearer " + RealA], both.Swapped(Bearer).Values("Authorization"));
        Assert.Equal([Bearer], both.Decide(Bearer).Plan!.Secrets);
        Request other = new Request().With("Authorization", "Bearer of-the-sandbox").With("Authorization", "Bearer " + A);
        Assert.Equal(["Bearer " + RealA], other.Swapped(Bearer).Values("Authorization"));
    }

    [Theory]
    [InlineData(null, "{0}")]
    [InlineData("Token ", "Token {0}")]
    [InlineData("Token ", "token   {0}")]
    [InlineData("key=", "key={0}")]
    public void An_API_key_header_gets_the_credential_with_its_prefix(string? prefix, string sent)
    {
        Request swapped = new Request().With("X-API-KEY", string.Format(sent, A)).Swapped(SecretA(ApiKey("X-Api-Key", prefix)));
        Assert.Equal([new HeaderField("X-Api-Key", prefix + RealA)], swapped.Headers);
    }

    [Fact]
    public void Custom_headers_are_all_set_where_one_holds_the_stand_in()
    {
        AuthSpec custom = new()
        {
            Type = "custom",
            Headers = new Dictionary<string, string> { ["X-Key"] = "v1 {{ value }} end", ["X-Second"] = "$(value)", ["X-Version"] = "2" },
        };
        Request swapped = new Request().With("X-Version", "1").With("X-KEY", $"V1  {A} END").With("X-Other", "kept").Swapped(SecretA(custom));
        Assert.Equal(
            [new("X-Other", "kept"), new("X-Key", $"v1 {RealA} end"), new("X-Second", RealA), new("X-Version", "2")], swapped.Headers);
        Assert.Equal([$"v1 {RealA} end"], new Request().With("X-Second", A).With("X-Key", $"v1 {A} end").Swapped(SecretA(custom)).Values("X-Key"));
        new Request().With("X-Version", A).Refused(RefusalReason.CredentialMisplaced, SecretA(custom));
    }

    [Fact]
    public void Credential_bytes_from_0x80_survive_as_Latin_1()
    {
        const string Real = "clé-\u0080\u00ff";
        BoundSecret secret = Bearer with { Credential = Available(Real) };
        Assert.Equal(["Bearer " + Real], new Request().With("Authorization", "Bearer " + A).Swapped(secret).Values("Authorization"));
        BoundSecret basic = SecretA(BasicAuth) with { Credential = Available(Real) };
        string sent = new Request().With("Authorization", Basic("u", A)).Swapped(basic).Values("Authorization")[0];
        Assert.Equal(Encoding.Latin1.GetBytes("x-access-token:" + Real), Convert.FromBase64String(sent["Basic ".Length..]));
        BoundSecret query = SecretA(QueryAuth) with { Credential = Available(Real) };
        Assert.Equal("/?key=cl%E9-%80%FF", new Request("/?key=" + A).Swapped(query).Target);
    }

    // ---- basic ---------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("x-access-token")]
    [InlineData("anybody")]
    [InlineData("")]
    public void Basic_gets_the_credential_as_password_of_the_secrets_user(string user)
    {
        Request swapped = new Request().With("Authorization", Basic(user, A)).Swapped(SecretA(BasicAuth));
        Assert.Equal([new HeaderField("Authorization", Basic("x-access-token", RealA))], swapped.Headers);
    }

    [Theory]
    [InlineData("AC0123456789")]
    [InlineData("someone@example.com")]
    [InlineData("jürgen")]
    [InlineData("")]
    public void Basic_without_a_user_name_keeps_the_clients(string user) =>
        Assert.Equal(user + ":" + RealA, UnBasic(Assert.Single(
            new Request().With("authorization", Basic(user, A)).Swapped(Accepting(new AuthSchemeSpec { Type = "basic" })).Values("Authorization"))));

    [Theory]
    [InlineData("basic ")]
    [InlineData("BASIC ")]
    [InlineData("Basic   ")]
    public void Basic_in_odd_spacing_and_case_is_basic(string scheme)
    {
        string sent = scheme + Basic("u", A)["Basic ".Length..] + " ";
        Assert.Equal([Basic("x-access-token", RealA)], new Request().With("Authorization", sent).Swapped(SecretA(BasicAuth)).Values("Authorization"));
    }

    [Theory]
    [InlineData("")]
    [InlineData("x-oauth-basic")]
    public void Basic_with_the_credential_as_user_name_has_an_empty_password(string password)
    {
        BoundSecret secret = SecretA(new AuthSpec { Type = "basic", Username = "{{ value }}" });
        Assert.Equal(RealA + ":", UnBasic(new Request().With("Authorization", Basic(A, password)).Swapped(secret).Values("Authorization")[0]));
        new Request().With("Authorization", Basic("u", A)).Refused(RefusalReason.CredentialMisplaced, secret);
    }

    [Fact]
    public void A_password_that_holds_a_colon_is_the_text_after_the_first_one()
    {
        const string WithColon = "1234567890:AAbbccddeeffgghhii";
        BoundSecret secret = SecretA(BasicAuth) with { StandIn = StandIn(WithColon) };
        Assert.Equal("x-access-token:" + RealA, UnBasic(new Request().With("Authorization", Basic("u", WithColon)).Swapped(secret).Values("Authorization")[0]));
    }

    // ---- query ---------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("/v1?key={0}", "/v1?key={1}")]
    [InlineData("/v1?a=1&key={0}&b=%20+2", "/v1?a=1&key={1}&b=%20+2")]
    [InlineData("/v1?key={0}&key={0}", "/v1?key={1}")]
    [InlineData("/v1?key=&a&key={0}&key=mine&b=", "/v1?key={1}&a&b=")]
    [InlineData("/v1?%6b%65y={0}", "/v1?key={1}")]
    [InlineData("/v1?Key=mine&key={0}", "/v1?Key=mine&key={1}")]
    [InlineData("/v1?&key={0}&", "/v1?&key={1}&")]
    [InlineData("/a%2Fb/?x=y=z&key={0}", "/a%2Fb/?x=y=z&key={1}")]
    public void A_query_parameter_keeps_its_first_place_and_leaves_the_others_alone(string sent, string expected)
    {
        SwapPlan? plan = new Request(string.Format(sent, A)).Decide(SecretA(QueryAuth)).Plan;
        Assert.NotNull(plan);
        Assert.Empty(plan.Headers);
        Assert.Equal(string.Format(expected, A, RealA), plan.Target);
        Assert.Equal(plan.Target, new Request(string.Format(sent, Escaped(A))).Swapped(SecretA(QueryAuth)).Target);
    }

    [Fact]
    public void A_credential_is_escaped_in_the_query_and_in_the_path()
    {
        const string Real = "a&b=c#d?e/f%g+h i~.-_";
        const string Escaped = "a%26b%3Dc%23d%3Fe%2Ff%25g%2Bh%20i~.-_";
        Assert.Equal("/?key=" + Escaped, new Request("/?key=" + A).Swapped(SecretA(QueryAuth) with { Credential = Available(Real) }).Target);
        Assert.Equal($"/bot{Escaped}/x", new Request($"/bot{A}/x").Swapped(SecretA(PathAuth) with { Credential = Available(Real) }).Target);
    }

    [Fact]
    public void A_parameters_name_is_escaped_as_well()
    {
        BoundSecret secret = SecretA(new AuthSpec { Type = "query", Parameter = "auth[key]" });
        Assert.Equal($"/?auth%5Bkey%5D={RealA}", new Request($"/?auth[key]={A}").Swapped(secret).Target);
    }

    // ---- path ----------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("/bot{0}/sendMessage?chat=1", "/bot{1}/sendMessage?chat=1")]
    [InlineData("/bot{0}/", "/bot{1}/")]
    [InlineData("/%62ot{0}/x", "/bot{1}/x")]
    [InlineData("/bot{0}/a%2Fb/../c", "/bot{1}/a%2Fb/../c")]
    public void A_path_gets_the_credential_after_its_prefix(string sent, string expected)
    {
        SwapPlan? plan = new Request(string.Format(sent, A)).Decide(SecretA(PathAuth)).Plan;
        Assert.NotNull(plan);
        Assert.Empty(plan.Headers);
        Assert.Equal(string.Format(expected, A, RealA), plan.Target);
        Assert.Equal(plan.Target, new Request(string.Format(sent, Escaped(A))).Swapped(SecretA(PathAuth)).Target);
    }

    [Fact]
    public void Telegrams_tokens_stand_in_either_of_its_paths()
    {
        const string Token = "1234567890:AAabcdefghijklmnopqrstuvwxyz0123456";
        BoundSecret telegram = SecretA(BearerAuth) with
        {
            StandIn = StandIn(Token),
            Definition = Definition(new SecretSpec { Provider = "telegram" }),
        };
        const string Telegram = "api.telegram.org";
        foreach (string sent in (string[])[Token, Token.Replace(":", "%3A"), Escaped(Token)])
        {
            Assert.Equal($"/bot{RealA}/getMe", (new Request($"/bot{sent}/getMe") with { Host = Telegram }).Swapped(telegram).Target);
            Assert.Equal($"/file/bot{RealA}/photos/1.jpg", (new Request($"/file/bot{sent}/photos/1.jpg") with { Host = Telegram }).Swapped(telegram).Target);
        }
    }

    // ---- other accepted shapes -----------------------------------------------------------------------------------------

    [Fact]
    public void The_places_of_other_accepted_shapes_are_stripped()
    {
        BoundSecret secret = Accepting(new AuthSchemeSpec { Type = "api-key", Header = "x-api-key" }, BearerAuth, QueryAuth, new AuthSchemeSpec { Type = "basic" });
        Request swapped = new Request("/?a=1&key=mine&b=2&key").With("X-Api-Key", "mine").With("authorization", "Bearer " + A).With("Accept", "*/*").Swapped(secret);
        Assert.Equal([new("Accept", "*/*"), new("Authorization", "Bearer " + RealA)], swapped.Headers);
        Assert.Equal("/?a=1&b=2", swapped.Target);

        swapped = new Request("/only?key=mine").With("Authorization", Basic("u", "mine")).With("x-api-key", A).Swapped(secret);
        Assert.Equal([new HeaderField("x-api-key", RealA)], swapped.Headers);
        Assert.Equal("/only", swapped.Target);

        swapped = new Request("/?key=" + A).With("Authorization", "Bearer mine").With("X-API-KEY", "mine").Swapped(secret);
        Assert.Empty(swapped.Headers);
        Assert.Equal("/?key=" + RealA, swapped.Target);
    }

    [Fact]
    public void Basic_of_the_sandboxs_own_is_stripped_where_the_host_takes_it()
    {
        BoundSecret secret = Accepting(new AuthSchemeSpec { Type = "api-key", Header = "x-api-key" }, new AuthSchemeSpec { Type = "basic" });
        Request swapped = new Request().With("authorization", Basic("u", "mine")).With("x-api-key", A).Swapped(secret);
        Assert.Equal([new HeaderField("x-api-key", RealA)], swapped.Headers);
    }

    [Fact]
    public void A_stand_in_in_two_accepted_places_is_swapped_in_both()
    {
        BoundSecret secret = Accepting(new AuthSchemeSpec { Type = "api-key", Header = "x-api-key" }, BearerAuth);
        Request swapped = new Request().With("x-api-key", A).With("Authorization", "Bearer " + A).Swapped(secret);
        Assert.Equal([new("x-api-key", RealA), new("Authorization", "Bearer " + RealA)], swapped.Headers);
        Assert.Equal([secret], new Request().With("x-api-key", A).With("Authorization", "Bearer " + A).Decide(secret).Plan!.Secrets);
    }

    [Fact]
    public void The_first_of_two_schemes_in_one_header_that_fits_is_taken()
    {
        BoundSecret secret = Accepting(BearerAuth, ApiKey("Authorization", "token "), ApiKey("Authorization"), new AuthSchemeSpec { Type = "basic" });
        foreach ((string sent, string expected) in ((string, string)[])
            [("Bearer " + A, "Bearer " + RealA), ("token " + A, "token " + RealA), (A, RealA), (Basic("me", A), Basic("me", RealA))])
            Assert.Equal([expected], new Request().With("Authorization", sent).Swapped(secret).Values("Authorization"));
    }

    // ---- two secrets ---------------------------------------------------------------------------------------------------

    [Fact]
    public void Two_secrets_in_one_request_swap_independently()
    {
        BoundSecret a = SecretA(ApiKey("DD-API-KEY"));
        BoundSecret b = SecretB(ApiKey("DD-APPLICATION-KEY"));
        Request request = new Request().With("dd-application-key", B).With("dd-api-key", A);
        Assert.Equal([new("DD-APPLICATION-KEY", RealB), new("DD-API-KEY", RealA)], request.Swapped(a, b).Headers);
        Assert.Equal([b, a], request.Decide(a, b).Plan!.Secrets);
        Assert.Equal([a], new Request().With("dd-api-key", A).Decide(a, b).Plan!.Secrets);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void Two_secrets_in_one_query_swap_however_each_is_written(bool escapeA, bool escapeB)
    {
        BoundSecret b = SecretB(new AuthSpec { Type = "query", Parameter = "token" });
        string target = $"/1/boards?x=1&token={(escapeB ? Escaped(B) : B)}&key={(escapeA ? Escaped(A) : A)}";
        Assert.Equal($"/1/boards?x=1&token={RealB}&key={RealA}", new Request(target).Swapped(SecretA(QueryAuth), b).Target);
    }

    [Fact]
    public void A_secret_in_the_path_and_one_in_the_query_swap_both()
    {
        Request request = new($"/bot{A}/x?key={Escaped(B)}");
        Assert.Equal($"/bot{RealA}/x?key={RealB}", request.Swapped(SecretA(PathAuth), SecretB(QueryAuth)).Target);
        Assert.Equal($"/bot{RealA}/x?key={RealB}", request.Swapped(SecretB(QueryAuth), SecretA(PathAuth)).Target);
    }

    [Fact]
    public void One_secret_in_a_header_does_not_strip_what_another_one_sets()
    {
        BoundSecret a = Accepting(BearerAuth, new AuthSchemeSpec { Type = "api-key", Header = "X-Key" }, QueryAuth);
        Request swapped = new Request("/?key=" + B).With("X-Key", "mine").With("Authorization", "Bearer " + A).Swapped(a, SecretB(QueryAuth));
        Assert.Equal("/?key=" + RealB, swapped.Target);
        Assert.Equal([new HeaderField("Authorization", "Bearer " + RealA)], swapped.Headers);
        swapped = new Request().With("X-Key", B).With("Authorization", "Bearer " + A).Swapped(a, SecretB(ApiKey("x-key")));
        Assert.Equal([new("x-key", RealB), new("Authorization", "Bearer " + RealA)], swapped.Headers);
    }

    [Fact]
    public void Of_two_secrets_of_which_one_is_refused_none_is_swapped()
    {
        Request request = new Request().With("X-A", A).With("X-B", B);
        BoundSecret a = SecretA(ApiKey("X-A"));
        BoundSecret b = SecretB(ApiKey("X-B"));
        Assert.Equal("secret-b", request.Refused(RefusalReason.CredentialHostMismatch, a, SecretB(ApiKey("X-B"), "other.example.com")).Secret?.Name);
        request.Refused(RefusalReason.CredentialMisplaced, a, SecretB(ApiKey("X-C")));
        request.Refused(RefusalReason.CredentialRevoked, a, b with { Credential = CredentialState.Revoked.Instance });
        request.Refused(RefusalReason.CredentialUnavailable, a with { Credential = new CredentialState.Unavailable("it is missing") }, b);
        request.Refused(RefusalReason.RequestDenied, a, b.WithRules(new RequestRuleSpec { Methods = ["POST"] }));
    }

    // ---- ports, wildcards, providers -----------------------------------------------------------------------------------

    [Fact]
    public void A_host_with_a_port_is_swapped_on_that_port()
    {
        BoundSecret secret = SecretA(BearerAuth, "api.example.com:8443", "*.example.org");
        Request request = new Request().With("Authorization", "Bearer " + A);
        Assert.NotNull((request with { Port = 8443 }).Decide(secret).Plan);
        Assert.NotNull((request with { Host = "a.b.example.org" }).Decide(secret).Plan);
        (request with { Host = "example.org" }).Refused(RefusalReason.CredentialHostMismatch, secret);
    }

    [Fact]
    public void Each_host_of_a_per_host_secret_takes_its_own_scheme()
    {
        BoundSecret secret = SecretA(BearerAuth) with
        {
            Definition = Definition(new SecretSpec
            {
                Auth = new AuthSpec
                {
                    PerHost =
                    [
                        new PerHostAuthSpec { Hosts = ["api.github.com"], Type = "bearer" },
                        new PerHostAuthSpec { Hosts = ["github.com"], Type = "basic", Username = "x-access-token" },
                    ],
                },
            }),
        };
        Request bearer = new Request().With("Authorization", "Bearer " + A);
        Request basic = new Request().With("Authorization", Basic("git", A));
        Assert.Equal(["Bearer " + RealA], (bearer with { Host = "api.github.com" }).Swapped(secret).Values("Authorization"));
        Assert.Equal([Basic("x-access-token", RealA)], (basic with { Host = "github.com" }).Swapped(secret).Values("Authorization"));
        (basic with { Host = "api.github.com" }).Refused(RefusalReason.CredentialMisplaced, secret);
        (bearer with { Host = "github.com" }).Refused(RefusalReason.CredentialMisplaced, secret);
    }

    // ---- nothing shows -------------------------------------------------------------------------------------------------

    [Fact]
    public void Nothing_that_holds_a_credential_prints_it()
    {
        BoundSecret secret = Accepting(BearerAuth, QueryAuth);
        SwapDecision swap = new Request("/?key=" + A).With("Authorization", "Bearer " + A).Decide(secret);
        SwapDecision refused = new Request().With("Cookie", A).Decide(secret);
        string all = string.Join('\n', swap, swap.Plan, string.Join(' ', swap.Plan!.Headers), swap.Plan.Secrets[0], refused, refused.Refusal, secret, secret.Credential);
        Assert.DoesNotContain(RealA, all, StringComparison.Ordinal);
        Assert.DoesNotContain(A, all, StringComparison.Ordinal);
        Assert.Equal("Authorization: [edited]", swap.Plan.Headers[0].ToString());
        Assert.Equal("swap of 1", swap.Plan.ToString());
    }
}
