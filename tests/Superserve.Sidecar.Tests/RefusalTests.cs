using System.Net;
using System.Text.Json;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>
/// Each refusal in each form it takes: status, both headers, a body that says what to do, the line in the event log, the metric.
/// </summary>
public sealed class RefusalTests
{
    private const string Host = "api.service.test";
    private const string Other = "other.service.test";
    private const string Credential = "real-credential-0123456789";

    public static TheoryData<string> Versions => new() { "1.1", "2.0" };

    private static async Task<TestSidecar> StartAsync(TestService service, Action<Setup>? change = null)
    {
        Setup setup = new Setup().Pin(service.Address, Host, Other).Bearer("KEY", Credential, Host).With("interception", "\"All\"");
        change?.Invoke(setup);
        return await TestSidecar.StartAsync(setup);
    }

    private static HttpRequestMessage Get(string url, string? token = null)
    {
        HttpRequestMessage request = new(HttpMethod.Get, url);
        if (token is not null) request.Headers.Authorization = new("Bearer", token);
        return request;
    }

    /// <summary>Sends, asserts the refusal in all its places, and that the service got nothing.</summary>
    private static async Task<JsonElement> AssertRefusedAsync(TestSidecar sidecar, TestService service, string version, HttpRequestMessage request, int status, string reason, string? secret = "key")
    {
        using HttpResponseMessage response = await sidecar.Client(Version.Parse(version)).SendAsync(request);
        JsonElement problem = await response.AssertRefusedAsync(status, reason);
        Assert.DoesNotContain(sidecar.StandIns().Values, standIn => problem.ToString().Contains(standIn, StringComparison.Ordinal));
        Assert.Equal(secret, problem.Text("secret"));
        Assert.Empty(service.Requests);
        JsonElement line = await sidecar.RequestEventAsync(reason);
        Assert.Equal((secret, status.ToString(), null), (line.Text("secret"), line.Text("status"), line.Text("upstreamStatus")));
        await sidecar.MetricAsync("superserve_sidecar_requests", "1", $"outcome=\"{reason}\"");
        if (secret is not null) await sidecar.MetricAsync("superserve_sidecar_swaps", "1", $"secret=\"{secret}\"", $"outcome=\"{reason}\"");
        request.Dispose();
        return problem;
    }

    /// <summary>A refused CONNECT, with its connection event.</summary>
    private static async Task<JsonElement> AssertConnectRefusedAsync(TestSidecar sidecar, string authority, int status, string reason, string verdict = "blocked")
    {
        await using RawClient client = await sidecar.OpenAsync();
        JsonElement problem = (await client.ConnectRefusedAsync(authority)).AssertRefused(status, reason);
        Assert.Equal("", await client.ReadToEndAsync());
        JsonElement line = await sidecar.EventAsync("connection", candidate => candidate.Text("error") == reason);
        Assert.Equal(verdict, line.Text("verdict"));
        await sidecar.MetricAsync("superserve_sidecar_connections", "1", $"verdict=\"{verdict}\"");
        return problem;
    }

    [Fact]
    public async Task CONNECT_to_a_denied_host_is_refused()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service, setup => setup.With("network", """{"denyOut": ["*.denied.test"]}"""));
        JsonElement problem = await AssertConnectRefusedAsync(sidecar, "a.denied.test:443", 403, "host_denied");
        Assert.Contains("*.denied.test", problem.Text("detail"), StringComparison.Ordinal);
        Assert.Equal("denyOut *.denied.test", (await sidecar.ConnectionEventAsync("blocked")).Text("rule"));
    }

    [Fact]
    public async Task CONNECT_to_a_host_off_the_list_is_refused()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service, setup => setup.With("network", """{"allowOut": ["allowed.test"]}"""));
        await AssertConnectRefusedAsync(sidecar, "unlisted.test:443", 403, "host_not_allowed");
    }

    [Fact]
    public async Task CONNECT_to_a_bound_host_on_another_port_is_refused_with_the_right_one_named()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service, setup => setup.With("network", """{"denyOut": ["0.0.0.0/0"]}"""));
        JsonElement problem = await AssertConnectRefusedAsync(sidecar, $"{Host}:8443", 403, "port_blocked");
        Assert.Contains("443", problem.Text("detail"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("127.0.0.2:80", "special range 127.0.0.0/8")]
    [InlineData("2130706434:80", "special range 127.0.0.0/8")]
    [InlineData("0x7f000002:80", "special range 127.0.0.0/8")]
    [InlineData("0177.0.0.2:80", "special range 127.0.0.0/8")]
    [InlineData("[::1]:80", "special range ::1/128")]
    [InlineData("[::ffff:127.0.0.1]:80", "special range 127.0.0.0/8")]
    [InlineData("[::ffff:7f00:2]:443", "special range 127.0.0.0/8")]
    [InlineData("[64:ff9b::7f00:1]:443", "special range 127.0.0.0/8")]
    [InlineData("[2002:7f00:1::]:443", "special range 127.0.0.0/8")]
    [InlineData("x.cluster.local:443", "cluster domain")]
    public async Task CONNECT_to_a_special_address_in_any_spelling_is_refused(string authority, string rule)
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service);
        await AssertConnectRefusedAsync(sidecar, authority, 403, "private_address");
        Assert.Equal(rule, (await sidecar.ConnectionEventAsync("blocked")).Text("rule"));
    }

    [Fact]
    public async Task A_name_that_resolves_to_loopback_is_refused_when_it_is_dialled()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service, setup => setup.With("interception", "\"BoundHosts\""));
        // Every machine's hosts file has this one.
        await AssertConnectRefusedAsync(sidecar, $"localhost:{service.Address.Port}", 403, "private_address");
        Assert.Empty(service.Requests);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task A_request_to_a_name_that_resolves_to_loopback_is_refused_before_it_is_dialled(string version)
    {
        await using TestService service = await TestService.StartAsync("localhost");
        await using TestSidecar sidecar = await StartAsync(service);
        await AssertRefusedAsync(sidecar, service, version, Get($"https://localhost:{service.Address.Port}/"), 403, "private_address", secret: null);
    }

    [Fact]
    public async Task CONNECT_to_a_service_that_is_not_there_is_answered_with_502()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service, setup => setup.Pin(new IPEndPoint(IPAddress.Loopback, FreePort.Next()), "gone.test").With("interception", "\"BoundHosts\""));
        await AssertConnectRefusedAsync(sidecar, "gone.test:443", 502, "upstream_unreachable", verdict: "failed");
    }

    [Fact]
    public async Task Plain_HTTP_in_absolute_form_to_a_forbidden_host_is_refused()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service, setup => setup.With("network", """{"denyOut": ["a.denied.test"]}"""));
        await AssertRefusedAsync(sidecar, service, "1.1", Get("http://a.denied.test/"), 403, "host_denied", secret: null);
        using HttpResponseMessage special = await sidecar.Client().SendAsync(Get("http://127.0.0.2/"));
        await special.AssertRefusedAsync(403, "private_address");
        Assert.Equal(2, (await AllAsync(sidecar, "blocked", 2)).Count);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task A_request_that_no_rule_of_the_secret_covers_is_refused(string version)
    {
        await using TestService service = await TestService.StartAsync(Host, Other);
        await using TestSidecar sidecar = await StartAsync(service, setup => setup.Secret("RULED", "another-credential-0123", $$$"""{"hosts": ["{{{Other}}}"], "auth": {"type": "bearer"}, "rules": [{"methods": ["GET"], "paths": ["/repos/**"]}]}"""));
        JsonElement problem = await AssertRefusedAsync(sidecar, service, version, Get($"https://{Other}/user/keys", sidecar.StandIn("RULED")), 403, "request_denied", "ruled");
        Assert.Equal("RULED", problem.Text("env"));
        using HttpResponseMessage covered = await sidecar.Client(Version.Parse(version)).SendAsync(Get($"https://{Other}/repos/a", sidecar.StandIn("RULED")));
        Assert.Equal(HttpStatusCode.OK, covered.StatusCode);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task A_provider_s_endpoint_that_mints_credentials_is_refused(string version)
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service, setup => setup.Pin(service.Address, "api.github.com").Secret("GH", "ghp_credential0123456789", """{"provider": "github"}"""));
        HttpRequestMessage request = Get("https://api.github.com/user/keys", sidecar.StandIn("GH"));
        request.Method = HttpMethod.Post;
        await AssertRefusedAsync(sidecar, service, version, request, 403, "request_denied", "gh");
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task A_stand_in_for_another_host_is_refused(string version)
    {
        await using TestService service = await TestService.StartAsync(Host, Other);
        await using TestSidecar sidecar = await StartAsync(service);
        JsonElement problem = await AssertRefusedAsync(sidecar, service, version, Get($"https://{Other}/", sidecar.StandIn("KEY")), 403, "credential_host_mismatch");
        Assert.Contains(Host, problem.Text("detail"), StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task A_stand_in_for_another_port_is_refused(string version)
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service);
        await AssertRefusedAsync(sidecar, service, version, Get($"https://{Host}:8443/", sidecar.StandIn("KEY")), 403, "port_blocked");
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task A_stand_in_in_a_header_that_is_not_its_scheme_s_is_refused(string version)
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service);
        HttpRequestMessage request = Get($"https://{Host}/");
        request.Headers.TryAddWithoutValidation("X-Api-Key", sidecar.StandIn("KEY"));
        JsonElement problem = await AssertRefusedAsync(sidecar, service, version, request, 403, "credential_misplaced");
        Assert.Contains("X-Api-Key", problem.Text("detail"), StringComparison.OrdinalIgnoreCase);
        Assert.Contains("Authorization: Bearer", problem.Text("detail"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_stand_in_over_plain_HTTP_is_refused()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service, setup => setup.Pin(service.PlainAddress, Host));
        await AssertRefusedAsync(sidecar, service, "1.1", Get($"http://{Host}/", sidecar.StandIn("KEY")), 403, "cleartext_refused");
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task A_request_that_names_another_host_than_its_connection_is_refused(string version)
    {
        await using TestService service = await TestService.StartAsync(Host, Other);
        await using TestSidecar sidecar = await StartAsync(service);
        HttpRequestMessage request = Get($"https://{Host}/");
        request.Headers.Host = Other;
        await AssertRefusedAsync(sidecar, service, version, request, 421, "authority_mismatch", secret: null);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task A_service_that_is_not_there_is_answered_with_502(string version)
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service, setup => setup.Pin(new IPEndPoint(IPAddress.Loopback, FreePort.Next()), Host));
        await AssertRefusedAsync(sidecar, service, version, Get($"https://{Host}/", sidecar.StandIn("KEY")), 502, "upstream_unreachable");
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task A_name_that_does_not_exist_is_answered_with_502(string version)
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service);
        await AssertRefusedAsync(sidecar, service, version, Get("https://no-such-name.invalid/"), 502, "upstream_unreachable", secret: null);
    }

    [Theory]
    [InlineData("1.1", "untrusted")]
    [InlineData("2.0", "untrusted")]
    [InlineData("1.1", "other name")]
    public async Task A_service_with_an_invalid_certificate_gets_nothing_and_is_answered_with_502(string version, string fault)
    {
        await using RawService bad = RawService.Start(fault == "untrusted" ? TestAuthority.IssueUntrusted(Host) : TestAuthority.Issue(Other));
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service, setup => setup.Pin(bad.Address, Host));
        await AssertRefusedAsync(sidecar, service, version, Get($"https://{Host}/", sidecar.StandIn("KEY")), 502, "upstream_tls_invalid");
        Assert.Empty(bad.Requests);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task A_service_that_does_not_answer_is_given_up_with_504(string version)
    {
        await using TestService service = await TestService.StartAsync(Host);
        service.Answer = (context, _) => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted);
        await using TestSidecar sidecar = await StartAsync(service, setup => setup.Json["upstream"]!["idleTimeoutSeconds"] = 1);
        using HttpResponseMessage response = await sidecar.Client(Version.Parse(version)).SendAsync(Get($"https://{Host}/", sidecar.StandIn("KEY")));
        await response.AssertRefusedAsync(504, "upstream_timeout");
        Assert.Equal("504", (await sidecar.RequestEventAsync("upstream_timeout")).Text("status"));
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task A_revoked_credential_is_refused(string version)
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service, setup => File.Delete(setup.CredentialFile("KEY")));
        await AssertRefusedAsync(sidecar, service, version, Get($"https://{Host}/", sidecar.StandIn("KEY")), 503, "credential_revoked");
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task An_unusable_credential_is_refused(string version)
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service, setup => File.WriteAllText(setup.CredentialFile("KEY"), "two\nlines"));
        await AssertRefusedAsync(sidecar, service, version, Get($"https://{Host}/", sidecar.StandIn("KEY")), 503, "credential_unavailable");
    }

    [Fact]
    public async Task HEAD_is_refused_without_a_body()
    {
        await using TestService service = await TestService.StartAsync(Host, Other);
        await using TestSidecar sidecar = await StartAsync(service);
        await using RawClient client = await sidecar.OpenTlsAsync(Other);
        await client.SendAsync($"HEAD / HTTP/1.1\r\nHost: {Other}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
        RawResponse refused = await client.ReadResponseAsync(hasBody: false);
        Assert.Equal("credential_host_mismatch", refused["X-Superserve-Proxy-Reason"]);
        await client.SendAsync($"GET / HTTP/1.1\r\nHost: {Other}\r\n\r\n");
        (await client.ReadResponseAsync()).AssertOk();
    }

    [Fact]
    public async Task In_the_mode_LogOnly_what_would_be_refused_passes_and_is_logged()
    {
        await using TestService service = await TestService.StartAsync(Host, Other);
        await using TestSidecar sidecar = await StartAsync(service, setup => setup.With("network", $$"""{"denyOut": ["{{Other}}"], "mode": "LogOnly"}"""));
        using HttpResponseMessage response = await sidecar.Client().SendAsync(Get($"https://{Other}/"));
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        sidecar.CloseClients();
        JsonElement line = await sidecar.ConnectionEventAsync("allowed");
        Assert.Equal(("allowed", "True", $"denyOut {Other}"), (line.Text("verdict"), line.Text("logOnly"), line.Text("rule")));
    }

    private static async Task<IReadOnlyList<JsonElement>> AllAsync(TestSidecar sidecar, string verdict, int count)
    {
        IReadOnlyList<JsonElement> Found() => [.. sidecar.Events().Where(line => line.Text("kind") == "connection" && line.Text("verdict") == verdict)];
        await TestSidecar.WaitAsync(() => Found().Count >= count, () => $"fewer than {count}: {string.Join('\n', sidecar.Events())}");
        return Found();
    }
}
