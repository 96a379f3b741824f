using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>Each scheme end to end: the sandbox sends its stand-in, the service gets the credential.</summary>
public sealed class SwappingTests
{
    private const string Host = "api.service.test";
    private const string Credential = "real+credential/0123456789";

    public static TheoryData<string> Versions => new() { "1.1", "2.0" };

    private static string Secret(string auth) => $$"""{"hosts": ["{{Host}}"], "auth": {{auth}}}""";

    private static string Base64(string text) => Convert.ToBase64String(Encoding.Latin1.GetBytes(text));

    private static async Task<ReceivedRequest> SendAsync(string version, string secret, Func<string, HttpRequestMessage> request, string host = Host)
    {
        await using TestService service = await TestService.StartAsync(host);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, host).Secret("KEY", Credential, secret));
        using HttpRequestMessage message = request(sidecar.StandIn("KEY"));
        using HttpResponseMessage response = await sidecar.Client(Version.Parse(version)).SendAsync(message);
        Assert.Equal("ok", await response.Content.ReadAsStringAsync());
        Assert.Equal(Version.Parse(version), response.Version);
        ReceivedRequest received = service.Single();
        Assert.Equal(version == "2.0" ? "HTTP/2" : "HTTP/1.1", received.Protocol);
        Assert.DoesNotContain(sidecar.StandIn("KEY"), received.Target + string.Join('\n', received.Headers), StringComparison.Ordinal);
        return received;
    }

    private static HttpRequestMessage Get(string url, params (string Name, string Value)[] headers)
    {
        HttpRequestMessage request = new(HttpMethod.Get, new Uri(url, new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true }));
        foreach ((string name, string value) in headers) Assert.True(request.Headers.TryAddWithoutValidation(name, value));
        return request;
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task Bearer(string version)
    {
        ReceivedRequest received = await SendAsync(version, Secret("""{"type": "bearer"}"""), standIn => Get($"https://{Host}/v1/me?a=b", ("Authorization", "Bearer " + standIn)));
        Assert.Equal($"Bearer {Credential}", received["Authorization"]);
        Assert.Equal("/v1/me?a=b", received.Target);
        Assert.Equal(Host, received["Host"]);
        Assert.Equal("identity", received["Accept-Encoding"]);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task Api_key_with_a_prefix(string version)
    {
        ReceivedRequest received = await SendAsync(version, Secret("""{"type": "api-key", "header": "X-Auth", "prefix": "Token="}"""), standIn => Get($"https://{Host}/", ("x-auth", "Token=" + standIn)));
        Assert.Equal($"Token={Credential}", received["X-Auth"]);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task Basic_with_a_fixed_user_name_whatever_the_client_calls_itself(string version)
    {
        ReceivedRequest received = await SendAsync(version, Secret("""{"type": "basic", "username": "x-access-token"}"""), standIn => Get($"https://{Host}/", ("Authorization", "Basic " + Base64("me:" + standIn))));
        Assert.Equal("Basic " + Base64("x-access-token:" + Credential), received["Authorization"]);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task Basic_with_the_credential_as_user_name(string version)
    {
        ReceivedRequest received = await SendAsync(version, Secret("""{"type": "basic", "username": "{{ value }}"}"""), standIn => Get($"https://{Host}/", ("Authorization", "Basic " + Base64(standIn + ":"))));
        Assert.Equal("Basic " + Base64(Credential + ":"), received["Authorization"]);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task Custom_sets_every_header_of_the_scheme_when_one_holds_the_stand_in(string version)
    {
        ReceivedRequest received = await SendAsync(version, Secret("""{"type": "custom", "headers": {"X-A": "v {{ value }}", "X-B": "$(value)", "X-Version": "7"}}"""),
            standIn => Get($"https://{Host}/", ("X-A", "v " + standIn), ("X-Version", "6")));
        Assert.Equal("v " + Credential, received["X-A"]);
        Assert.Equal(Credential, received["X-B"]);
        Assert.Equal("7", received["X-Version"]);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task Query_keeps_every_other_parameter_as_it_was(string version)
    {
        ReceivedRequest received = await SendAsync(version, Secret("""{"type": "query", "parameter": "key"}"""), standIn => Get($"https://{Host}/a%2Fb?x=%7e&key={standIn}&&y=1+2"));
        Assert.Equal("/a%2Fb?x=%7e&key=real%2Bcredential%2F0123456789&&y=1+2", received.Target);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task Path_keeps_the_rest_of_the_path_as_it_was(string version)
    {
        ReceivedRequest received = await SendAsync(version, Secret("""{"type": "path", "prefix": "/bot{{ value }}/"}"""), standIn => Get($"https://{Host}/bot{standIn}/send//Message%7e?text=a"));
        Assert.Equal("/botreal%2Bcredential%2F0123456789/send//Message%7e?text=a", received.Target);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task Each_accepted_shape_of_a_provider_and_the_others_are_stripped(string version)
    {
        const string Anthropic = "api.anthropic.com";
        ReceivedRequest received = await SendAsync(version, """{"provider": "anthropic"}""",
            standIn =>
            {
                Assert.StartsWith("sk-ant-api03-", standIn, StringComparison.Ordinal);
                return Get($"https://{Anthropic}/v1/messages", ("x-api-key", standIn), ("Authorization", "Bearer the-sandbox's-own"));
            }, Anthropic);
        Assert.Equal(Credential, received["x-api-key"]);
        Assert.Null(received["Authorization"]);

        received = await SendAsync(version, """{"provider": "anthropic"}""", standIn => Get($"https://{Anthropic}/v1/messages", ("Authorization", "Bearer " + standIn)), Anthropic);
        Assert.Equal("Bearer " + Credential, received["Authorization"]);
        Assert.Null(received["x-api-key"]);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task A_body_with_a_stand_in_passes_untouched(string version)
    {
        string sent = "";
        ReceivedRequest received = await SendWithBodyAsync(version, standIn => sent = $$"""{"transcript": "{{standIn}}"}""");
        Assert.Equal(sent, received.BodyText);
        Assert.Equal("Bearer " + Credential, received["Authorization"]);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task Two_secrets_in_one_request_are_swapped_each_by_itself(string version)
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host)
            .Bearer("ONE", "credential-one", Host)
            .Secret("TWO", "credential-two", Secret("""{"type": "api-key", "header": "X-Two"}""")));
        using HttpRequestMessage request = Get($"https://{Host}/", ("Authorization", "Bearer " + sidecar.StandIn("ONE")), ("X-Two", sidecar.StandIn("TWO")));
        using HttpResponseMessage response = await sidecar.Client(Version.Parse(version)).SendAsync(request);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("Bearer credential-one", service.Single()["Authorization"]);
        Assert.Equal("credential-two", service.Single()["X-Two"]);
        Assert.Equal("one,two", (await sidecar.RequestEventAsync()).Text("secret"));
    }

    [Fact]
    public async Task A_swap_is_in_the_event_log_and_the_metrics_with_the_path_but_not_the_query()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        using HttpRequestMessage request = Get($"https://{Host}/v1/me?email=a", ("Authorization", "Bearer " + sidecar.StandIn("KEY")));
        request.Method = HttpMethod.Post;
        request.Content = new ByteArrayContent(new byte[10]);
        using HttpResponseMessage response = await sidecar.Client().SendAsync(request);

        System.Text.Json.JsonElement line = await sidecar.RequestEventAsync();
        Assert.Equal(("demo", "key", "KEY", "POST"), (line.Text("sandbox"), line.Text("secret"), line.Text("env"), line.Text("method")));
        Assert.Equal((Host, "443", "/v1/me", "200", "200"), (line.Text("host"), line.Text("port"), line.Text("path"), line.Text("status"), line.Text("upstreamStatus")));
        Assert.Equal(("10", "2", "HTTP/1.1", null), (line.Text("bytesSent"), line.Text("bytesReceived"), line.Text("protocol"), line.Text("error")));
        await sidecar.MetricAsync("superserve_sidecar_swaps", "1", "secret=\"key\"", $"host=\"{Host}\"", "outcome=\"swapped\"");
        await sidecar.MetricAsync("superserve_sidecar_requests", "1", "outcome=\"forwarded\"");
    }

    [Theory]
    [InlineData("/%7euser")]
    [InlineData("/a//b///c")]
    [InlineData("/a/../b/./c")]
    [InlineData("/a/%2e%2E/b")]
    [InlineData("/a%2fb%5C")]
    [InlineData("/search?q=%zz&r=%")]
    [InlineData("/x;v=1?a=1?b=2&c[]='\"<>")]
    public async Task The_target_reaches_the_service_in_the_spelling_it_was_sent(string target)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        foreach (string authorization in (string[])["none", "Bearer " + sidecar.StandIn("KEY")])
        {
            RawResponse response = await sidecar.ExchangeAsync(Host, $"GET {target} HTTP/1.1\r\nHost: {Host}\r\nAuthorization: {authorization}\r\n\r\n");
            response.AssertOk();
            Assert.StartsWith($"GET {target} HTTP/1.1\r\n", service.Requests[^1], StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_request_without_a_stand_in_reaches_the_service_field_by_field_as_it_was_sent()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        string[] fields =
        [
            $"Host: {Host}", "Accept-Encoding: gzip, br", "Authorization: Bearer some-other-token", "Cookie: a=b; c=d", "User-Agent: curl/8.0 (x; y)",
            "X-mixed-CASE: one,two ; three", "X-Latin: caf\u00e9", "X-Empty: ", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "If-None-Match: \"x\", W/\"y\"", "Range: bytes=0-5,10-", "Date: no date at all", "Content-Type: text/plain; charset=\"utf-8\"", "Content-Length: 5",
        ];
        RawResponse response = await sidecar.ExchangeAsync(Host, $"POST /p?q HTTP/1.1\r\n{string.Join("\r\n", fields)}\r\n\r\nhello");
        response.AssertOk();
        string received = Assert.Single(service.Requests);
        Assert.StartsWith("POST /p?q HTTP/1.1\r\n", received, StringComparison.Ordinal);
        Assert.EndsWith("\r\n\r\nhello", received, StringComparison.Ordinal);
        // The order of fields with different names has no meaning (RFC 9110 section 5.3), nor has the case of names.
        string[] lines = received.Split("\r\n\r\n")[0].Split("\r\n")[1..];
        Assert.Equal(fields.Select(Normal).Order(StringComparer.Ordinal), lines.Select(Normal).Order(StringComparer.Ordinal));

        static string Normal(string field) => field.Split(':', 2)[0].ToLowerInvariant() + ":" + field.Split(':', 2)[1].Trim();
    }

    [Fact]
    public async Task An_answer_reaches_the_client_field_by_field_as_it_was_sent()
    {
        string[] fields = ["Content-Type: text/weird", "X-Multi: one", "X-Multi: two", "X-Latin: caf\u00e9", "Location: http://elsewhere.test/%7e?a b", "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2", "Server: it"];
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), $"HTTP/1.1 299 Whatever\r\n{string.Join("\r\n", fields)}\r\nContent-Length: 2\r\n\r\n\u00ff\u0000");
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        RawResponse response = await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\n\r\n");
        Assert.Equal(299, response.Status);
        Assert.Equal("\u00ff\u0000", response.Body);
        foreach (string field in fields) Assert.Contains($"\r\n{field}\r\n", response.Head, StringComparison.Ordinal);
    }

    private static async Task<ReceivedRequest> SendWithBodyAsync(string version, Func<string, string> body) =>
        await SendAsync(version, Secret("""{"type": "bearer"}"""), standIn =>
        {
            HttpRequestMessage request = Get($"https://{Host}/", ("Authorization", "Bearer " + standIn));
            request.Method = HttpMethod.Post;
            request.Content = new StringContent(body(standIn), Encoding.UTF8, new MediaTypeHeaderValue("application/json"));
            return request;
        });
}
