using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Core.Swapping;
using static Superserve.Core.Tests.TestSecrets;

namespace Superserve.Core.Tests.Swaps;

public sealed class SwapRefusalTests
{
    private static readonly BoundSecret Bearer = SecretA(BearerAuth);
    private static readonly Request Sent = new Request().With("Authorization", "Bearer " + A);

    [Fact]
    public void A_stand_in_over_plain_HTTP_is_refused()
    {
        Refusal refusal = (Sent with { IsSecure = false }).Refused(RefusalReason.CleartextRefused, Bearer);
        Assert.Contains("KEY_A", refusal.Detail);
        Assert.Contains("https://api.example.com", refusal.Detail);
        Assert.Same(Bearer, refusal.Secret);
        (Sent with { IsSecure = false, Host = "evil.test" }).Refused(RefusalReason.CleartextRefused, Bearer);
        (new Request("/?x=" + Escaped(A)) with { IsSecure = false }).Refused(RefusalReason.CleartextRefused, Bearer);
        (new Request().With("Cookie", "a=" + A) with { IsSecure = false }).Refused(RefusalReason.CleartextRefused, Bearer);
    }

    [Theory]
    [InlineData("evil.test")]
    [InlineData("api.example.com.evil.test")]
    [InlineData("example.com")]
    [InlineData("x.api.example.com")]
    [InlineData("xapi.example.com")]
    [InlineData("93.184.216.34")]
    public void A_stand_in_sent_to_another_host_is_refused(string host)
    {
        Refusal refusal = (Sent with { Host = host }).Refused(RefusalReason.CredentialHostMismatch, Bearer);
        Assert.Contains($"sent to {host}, but its secret 'secret-a' is only for api.example.com.", refusal.Detail);
        Assert.Same(Bearer, refusal.Secret);
    }

    [Fact]
    public void The_hosts_of_the_secret_are_told_up_to_four()
    {
        Request other = Sent with { Host = "evil.test" };
        Assert.Contains("only for a.test, b.test, c.test, d.test. Send", other.Refused(
            RefusalReason.CredentialHostMismatch, SecretA(BearerAuth, "a.test", "b.test", "c.test", "d.test")).Detail);
        Assert.Contains("only for a.test, b.test, c.test, d.test and 2 more. Send", other.Refused(
            RefusalReason.CredentialHostMismatch, SecretA(BearerAuth, "a.test", "b.test", "c.test", "d.test", "e.test", "f.test")).Detail);
    }

    [Fact]
    public void A_stand_in_sent_to_another_port_is_refused()
    {
        Refusal refusal = (Sent with { Port = 8443 }).Refused(RefusalReason.PortBlocked, Bearer);
        Assert.Contains("to api.example.com on port 8443, but its secret 'secret-a' is for port 443 of that host", refusal.Detail);
        Assert.Contains("write api.example.com:8443 into", refusal.Detail);
        Assert.Same(Bearer, refusal.Secret);
        refusal = Sent.Refused(RefusalReason.PortBlocked, SecretA(BearerAuth, "*.other.test", "*.example.com:9443"));
        Assert.Contains("is for port 9443 of that host", refusal.Detail);
    }

    [Fact]
    public void A_stand_in_in_any_other_header_is_misplaced()
    {
        foreach (string name in (string[])["X-Api-Key", "User-Agent", "Referer", "X-Request-Id", "Proxy-Auth", "Origin", "Sec-WebSocket-Protocol"])
        {
            Refusal refusal = new Request().With(name, A).Refused(RefusalReason.CredentialMisplaced, Bearer);
            Assert.Contains($"The stand-in of KEY_A is in the header {name}, where api.example.com does not take it.", refusal.Detail);
            Assert.Same(Bearer, refusal.Secret);
        }
    }

    [Theory]
    [InlineData("{0}")]
    [InlineData("Bearer{0}")]
    [InlineData("Bearer\t{0}")]
    [InlineData("Bearer x{0}")]
    [InlineData("Bearer {0}x")]
    [InlineData("Bearer {0}, Bearer {0}")]
    [InlineData("Bearer {0},")]
    [InlineData("Bearer other, Bearer {0}")]
    [InlineData("Bearer {0} {0}")]
    [InlineData("Bearer Bearer {0}")]
    [InlineData("Bearer \"{0}\"")]
    [InlineData("Token {0}")]
    [InlineData(" Bearer {0}")]
    [InlineData("Basic {0}")]
    public void A_stand_in_that_is_not_alone_and_unchanged_in_its_header_is_misplaced(string value) =>
        new Request().With("Authorization", string.Format(value, A)).Refused(RefusalReason.CredentialMisplaced, Bearer);

    [Fact]
    public void A_stand_in_in_a_cookie_is_misplaced() =>
        new Request().With("Cookie", "session=" + A + "; theme=dark").Refused(RefusalReason.CredentialMisplaced, Bearer);

    [Fact]
    public void A_stand_in_in_place_and_in_another_header_is_misplaced()
    {
        Sent.With("X-Log", A).Refused(RefusalReason.CredentialMisplaced, Bearer);
        Sent.With("Authorization", "Bearer x" + A).Refused(RefusalReason.CredentialMisplaced, Bearer);
        Sent.With("authorization", Basic("u", A)).Refused(RefusalReason.CredentialMisplaced, Bearer);
        (Sent with { Target = "/?key=" + A }).Refused(RefusalReason.CredentialMisplaced, Bearer);
    }

    [Fact]
    public void A_stand_in_in_Basic_of_another_scheme_is_misplaced()
    {
        new Request().With("Authorization", Basic("u", A)).Refused(RefusalReason.CredentialMisplaced, Bearer);
        new Request().With("Authorization", Basic(A, "")).Refused(RefusalReason.CredentialMisplaced, Bearer);
        Sent.Refused(RefusalReason.CredentialMisplaced, SecretA(BasicAuth));
    }

    [Fact]
    public void A_stand_in_that_is_not_the_whole_password_is_misplaced()
    {
        BoundSecret basic = SecretA(BasicAuth);
        foreach (string value in (string[])[Basic("u", A + "x"), Basic("u", "x" + A), Basic("u:", A), Basic(A, "p"), Basic(A, A), Basic("x" + A, A)])
            new Request().With("Authorization", value).Refused(RefusalReason.CredentialMisplaced, basic);
        string bare = "Basic " + Convert.ToBase64String(System.Text.Encoding.ASCII.GetBytes(A));
        new Request().With("Authorization", bare).Refused(RefusalReason.CredentialMisplaced, basic);
        new Request().With("X-Authorization", Basic("u", A)).Passes(basic);
    }

    [Fact]
    public void Another_secrets_stand_in_as_the_user_name_is_misplaced_or_for_another_host()
    {
        Request request = new Request().With("Authorization", Basic(B, A));
        BoundSecret keepsUser = Accepting(new AuthSchemeSpec { Type = "basic" });
        request.Refused(RefusalReason.CredentialMisplaced, keepsUser, SecretB(BasicAuth));
        request.Refused(RefusalReason.CredentialHostMismatch, keepsUser, SecretB(BasicAuth, "other.test"));
    }

    [Fact]
    public void Two_secrets_for_one_header_or_parameter_are_misplaced()
    {
        Sent.With("authorization", "Bearer " + B).Refused(RefusalReason.CredentialMisplaced, Bearer, SecretB(BearerAuth));
        Sent.With("authorization", Basic("u", B)).Refused(RefusalReason.CredentialMisplaced, Bearer, SecretB(BasicAuth));
        new Request().With("Authorization", Basic(A, B)).Refused(
            RefusalReason.CredentialMisplaced, SecretA(new AuthSpec { Type = "basic", Username = "{{ value }}" }), SecretB(BasicAuth));
        AuthSpec custom = new() { Type = "custom", Headers = new Dictionary<string, string> { ["X-A"] = "{{ value }}", ["X-Key"] = "{{ value }}" } };
        new Request().With("X-A", A).With("x-key", B).Refused(RefusalReason.CredentialMisplaced, SecretA(custom), SecretB(ApiKey("x-KEY")));
        new Request($"/?key={A}&key={B}").Refused(RefusalReason.CredentialMisplaced, SecretA(QueryAuth), SecretB(QueryAuth));
        Assert.NotNull(new Request($"/?key={A}&Key={B}").Decide(SecretA(QueryAuth), SecretB(new AuthSpec { Type = "query", Parameter = "Key" })).Plan);
        Assert.NotNull(Sent.With("X-Key", B).Decide(Bearer, SecretB(ApiKey("X-Key"))).Plan);
        Assert.NotNull(Sent.With("X-Key", A).Decide(Accepting(BearerAuth, ApiKey("X-Key"))).Plan);
    }

    [Theory]
    [InlineData("/?key={0}")]
    [InlineData("/{0}")]
    [InlineData("/a/{0}/b")]
    [InlineData("/?a=1&b=x{0}")]
    [InlineData("/?{0}")]
    [InlineData("/#{0}")]
    public void A_stand_in_in_the_URL_is_misplaced_for_a_header_scheme(string target)
    {
        foreach (string text in (string[])[A, Escaped(A), "%73" + A[1..]])
        {
            Refusal refusal = new Request(string.Format(target, text)).Refused(RefusalReason.CredentialMisplaced, Bearer, SecretB(BasicAuth));
            Assert.Contains("The stand-in of KEY_A is in the URL, where", refusal.Detail);
        }
    }

    [Theory]
    [InlineData("/?other={0}")]
    [InlineData("/?Key={0}")]
    [InlineData("/?key[]={0}")]
    [InlineData("/?key={0}x")]
    [InlineData("/?key=x{0}")]
    [InlineData("/?key={0}+")]
    [InlineData("/?key={0}#top")]
    [InlineData("/?key={0}&log={0}")]
    [InlineData("/?log=a{0}&key={0}")]
    [InlineData("/?{0}=1&key={0}")]
    [InlineData("/{0}?key={0}")]
    [InlineData("/{0}")]
    [InlineData("/key={0}")]
    [InlineData("/?{0}")]
    public void A_stand_in_that_is_not_its_parameters_whole_value_and_nowhere_else_is_misplaced(string target)
    {
        foreach (string text in (string[])[A, Escaped(A)])
            new Request(string.Format(target, text)).Refused(RefusalReason.CredentialMisplaced, SecretA(QueryAuth));
        new Request(string.Format(target, A)).With("Authorization", "Bearer " + A).Refused(RefusalReason.CredentialMisplaced, SecretA(QueryAuth));
    }

    [Fact]
    public void A_stand_in_after_a_percent_sign_is_misplaced_even_where_that_spoils_it_for_decoders()
    {
        const string Hex = "abcdef0123456789abcdef0123456789";
        foreach (AuthSpec auth in (AuthSpec[])[QueryAuth, PathAuth, BearerAuth])
            new Request("/%" + Hex).Refused(RefusalReason.CredentialMisplaced, SecretA(auth) with { StandIn = StandIn(Hex) });
        new Request("/?a=%" + Hex).Refused(RefusalReason.CredentialMisplaced, SecretA(QueryAuth) with { StandIn = StandIn(Hex) });
    }

    [Theory]
    [InlineData("/bot{0}")]
    [InlineData("/bot{0}?x=/")]
    [InlineData("/bot{0}x/getMe")]
    [InlineData("/botx{0}/getMe")]
    [InlineData("/Bot{0}/getMe")]
    [InlineData("/v1/bot{0}/getMe")]
    [InlineData("//bot{0}/getMe")]
    [InlineData("/bot{0}/{0}")]
    [InlineData("/bot{0}/getMe?key={0}")]
    [InlineData("/bot{0}%2fgetMe")]
    [InlineData("/{0}/")]
    [InlineData("/?bot={0}/")]
    public void A_stand_in_that_is_not_right_at_the_paths_start_and_nowhere_else_is_misplaced(string target)
    {
        foreach (string text in (string[])[A, Escaped(A)])
            new Request(string.Format(target, text)).Refused(RefusalReason.CredentialMisplaced, SecretA(PathAuth));
    }

    [Fact]
    public void One_stand_in_in_place_does_not_hide_another_one_that_is_escaped()
    {
        Request request = new Request($"/?key={A}&log={Escaped(B)}");
        request.Refused(RefusalReason.CredentialMisplaced, SecretA(QueryAuth), SecretB(BearerAuth));
        request.Refused(RefusalReason.CredentialHostMismatch, SecretA(QueryAuth), SecretB(BearerAuth, "other.test"));
    }

    [Fact]
    public void What_the_host_takes_is_told()
    {
        AuthSchemeSpec custom = new() { Type = "custom", Headers = new Dictionary<string, string> { ["X-A"] = "v {{ value }} e", ["X-V"] = "2", ["X-B"] = "{{ value }}" } };
        string detail = new Request().With("Cookie", A).Refused(RefusalReason.CredentialMisplaced, Accepting(
            BearerAuth, custom, new AuthSchemeSpec { Type = "basic" }, new AuthSchemeSpec { Type = "basic", Username = "{{ value }}" }, QueryAuth, PathAuth)).Detail;
        Assert.EndsWith(
            "Send it as 'Authorization: Bearer <the variable's value>', or as 'X-A: v <the variable's value> e' and 'X-B: <the variable's value>', "
            + "or as the password of HTTP Basic authentication, or as the user name of HTTP Basic authentication, with an empty password, "
            + "or as the query parameter 'key', or as the path's start, '/bot<the variable's value>/', alone and unchanged.", detail);
    }

    [Theory]
    [InlineData("TRACE")]
    [InlineData("Trace")]
    [InlineData("CONNECT")]
    [InlineData("connect")]
    public void A_method_whose_answer_shows_the_request_is_refused(string method)
    {
        Refusal refusal = (Sent with { Method = method }).Refused(RefusalReason.RequestDenied, Bearer);
        Assert.StartsWith($"A {method} request never carries a credential", refusal.Detail);
        Assert.Same(Bearer, refusal.Secret);
    }

    [Fact]
    public void A_revoked_credential_is_refused()
    {
        BoundSecret revoked = Bearer with { Credential = CredentialState.Revoked.Instance };
        Refusal refusal = Sent.Refused(RefusalReason.CredentialRevoked, revoked);
        Assert.Contains("The credential of KEY_A (secret 'secret-a') was revoked", refusal.Detail);
        Assert.Same(revoked, refusal.Secret);
    }

    [Fact]
    public void A_detached_secret_is_refused_even_where_its_credential_is_still_there() =>
        Sent.Refused(RefusalReason.CredentialRevoked, Bearer with { IsDetached = true });

    [Fact]
    public void A_credential_that_is_missing_is_refused_with_what_is_wrong()
    {
        BoundSecret unavailable = Bearer with { Credential = new CredentialState.Unavailable("the core Secret has no key api-key") };
        Refusal refusal = Sent.Refused(RefusalReason.CredentialUnavailable, unavailable);
        Assert.Contains("The credential of KEY_A (secret 'secret-a') cannot be used: the core Secret has no key api-key. Ask", refusal.Detail);
        Assert.Same(unavailable, refusal.Secret);
    }

    [Fact]
    public void A_request_that_no_rule_covers_is_refused()
    {
        BoundSecret ruled = Bearer.WithRules(new RequestRuleSpec { Methods = ["GET"], Paths = ["/v1/**"] });
        Assert.NotNull(Sent.Decide(ruled).Plan);
        Assert.NotNull((Sent with { Target = "/v1/a?b=/../c" }).Decide(ruled).Plan);
        foreach (Request request in (Request[])[Sent with { Method = "POST" }, Sent with { Method = "get" }, Sent with { Target = "/v2/items" },
            Sent with { Target = "/v1/../v2" }, Sent with { Target = "/v1/%25%32%65%25%32%65/v2" }])
        {
            Refusal refusal = request.Refused(RefusalReason.RequestDenied, ruled);
            Assert.StartsWith("This request may not carry the credential of KEY_A: ", refusal.Detail);
            Assert.EndsWith("Ask the owner of the secret 'secret-a' for a rule that covers it.", refusal.Detail);
            Assert.Same(ruled, refusal.Secret);
        }
    }

    [Fact]
    public void Rules_see_a_path_credential_as_a_word()
    {
        BoundSecret ruled = SecretA(PathAuth).WithRules(new RequestRuleSpec { Paths = ["/bot*/sendMessage"] });
        Assert.NotNull(new Request($"/bot{A}/sendMessage?x").Decide(ruled).Plan);
        Assert.NotNull(new Request($"/bot{Escaped(A)}/sendMessage").Decide(ruled).Plan);
        new Request($"/bot{A}/getUpdates").Refused(RefusalReason.RequestDenied, ruled);
        new Request($"/bot{A}/a/../sendMessage").Refused(RefusalReason.RequestDenied, ruled);
        new Request($"/bot{A}/sendMessage").Refused(
            RefusalReason.RequestDenied, SecretA(PathAuth).WithRules(new RequestRuleSpec { Paths = ["/bot/sendMessage", $"/bot{A}/sendMessage"] }));
        BoundSecret bare = SecretA(new AuthSpec { Type = "path", Prefix = "/{{ value }}/" }).WithRules(new RequestRuleSpec { Paths = ["/*/items"] });
        Assert.NotNull(new Request($"/{A}/items").Decide(bare).Plan);
    }

    [Theory]
    [InlineData("X-HTTP-Method-Override")]
    [InlineData("x-http-method")]
    [InlineData("X-Method-Override")]
    [InlineData("X-Original-URL")]
    [InlineData("X-REWRITE-URL")]
    [InlineData("X_HTTP_Method_Override")]
    public void A_header_that_makes_another_request_of_it_is_refused_under_rules(string header)
    {
        Request request = Sent.With(header, "DELETE");
        BoundSecret ruled = Bearer.WithRules(new RequestRuleSpec { Methods = ["GET"] });
        Refusal refusal = request.Refused(RefusalReason.RequestDenied, ruled);
        Assert.StartsWith($"The header {header} would let the service take this request for another one", refusal.Detail);
        Assert.Same(ruled, refusal.Secret);
        Assert.NotNull(request.Decide(Bearer).Plan);
    }

    [Theory]
    [InlineData("/?_method=DELETE")]
    [InlineData("/?a=1&_METHOD=PUT")]
    [InlineData("/?%5fmethod=x&b")]
    [InlineData("/?_method")]
    [InlineData("/?.method=DELETE")]
    [InlineData("/?+_method=DELETE")]
    public void The_parameter_that_makes_another_method_of_it_is_refused_under_rules(string target)
    {
        Request request = Sent with { Target = target };
        Assert.StartsWith("The query parameter _method would", request.Refused(RefusalReason.RequestDenied, Bearer.WithRules(new RequestRuleSpec { Methods = ["GET"] })).Detail);
        Assert.NotNull(request.Decide(Bearer).Plan);
        Assert.NotNull((Sent with { Target = "/_method?x_method=1" }).Decide(Bearer.WithRules(new RequestRuleSpec { Methods = ["GET"] })).Plan);
    }

    [Fact]
    public void A_refusal_does_not_repeat_a_stand_in_from_a_host_or_a_header_name()
    {
        string host = A.ToLowerInvariant() + ".evil.test";
        Assert.Contains("{{ value }}.evil.test", (Sent with { Host = host }).Refused(RefusalReason.CredentialHostMismatch, Bearer).Detail);
        (Sent with { Host = host, IsSecure = false }).Refused(RefusalReason.CleartextRefused, Bearer);
        (Sent with { Host = A.ToLowerInvariant() + ".example.com", Port = 1 }).Refused(RefusalReason.PortBlocked, SecretA(BearerAuth, "*.example.com"));
        (new Request().With("X-" + A, A) with { Host = A.ToLowerInvariant() + ".example.com" }).Refused(RefusalReason.CredentialMisplaced, SecretA(BearerAuth, "*.example.com"));
    }

    [Fact]
    public void Every_reason_has_a_status_and_a_name()
    {
        Dictionary<RefusalReason, (int, string)> expected = new()
        {
            [RefusalReason.HostDenied] = (403, "host_denied"),
            [RefusalReason.HostNotAllowed] = (403, "host_not_allowed"),
            [RefusalReason.RequestDenied] = (403, "request_denied"),
            [RefusalReason.PrivateAddress] = (403, "private_address"),
            [RefusalReason.PortBlocked] = (403, "port_blocked"),
            [RefusalReason.CredentialHostMismatch] = (403, "credential_host_mismatch"),
            [RefusalReason.CredentialMisplaced] = (403, "credential_misplaced"),
            [RefusalReason.CleartextRefused] = (403, "cleartext_refused"),
            [RefusalReason.AuthorityMismatch] = (421, "authority_mismatch"),
            [RefusalReason.UpstreamUnreachable] = (502, "upstream_unreachable"),
            [RefusalReason.UpstreamTlsInvalid] = (502, "upstream_tls_invalid"),
            [RefusalReason.UpstreamTimeout] = (504, "upstream_timeout"),
            [RefusalReason.CredentialRevoked] = (503, "credential_revoked"),
            [RefusalReason.CredentialUnavailable] = (503, "credential_unavailable"),
            [RefusalReason.AuditUnavailable] = (503, "audit_unavailable"),
        };
        Assert.Equal(expected, Enum.GetValues<RefusalReason>().ToDictionary(reason => reason, reason => (reason.StatusCode(), reason.WireName())));
        Assert.Throws<ArgumentOutOfRangeException>(() => ((RefusalReason)99).WireName());
    }
}
