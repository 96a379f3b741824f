using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>
/// Requests that two parsers could read differently. The service gets nothing, or one well-formed request: never a second one
/// that the sidecar did not judge.
/// </summary>
public sealed class SmugglingTests
{
    private const string Host = "api.service.test";
    private const string Credential = "real-credential-0123456789";
    private const string Second = $"GET /second HTTP/1.1\r\nHost: {Host}\r\nX-Smuggled: yes\r\n\r\n";

    public static TheoryData<string, string> Attacks => new()
    {
        { "CL and TE", $"POST / HTTP/1.1\r\nHost: {Host}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
        { "TE and CL", $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n" },
        { "duplicate CL", $"POST / HTTP/1.1\r\nHost: {Host}\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n" },
        { "CL list", $"POST / HTTP/1.1\r\nHost: {Host}\r\nContent-Length: 0, 40\r\n\r\n" },
        { "CL with a sign", $"POST / HTTP/1.1\r\nHost: {Host}\r\nContent-Length: +0\r\n\r\n" },
        { "negative CL", $"POST / HTTP/1.1\r\nHost: {Host}\r\nContent-Length: -1\r\n\r\n" },
        { "hexadecimal CL", $"POST / HTTP/1.1\r\nHost: {Host}\r\nContent-Length: 0x0\r\n\r\n" },
        { "TE not chunked", $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" },
        { "TE identity", $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: identity\r\n\r\n" },
        { "TE chunked first", $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" },
        { "TE behind a vertical tab", $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" },
        { "TE in HTTP/1.0", $"POST / HTTP/1.0\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n" },
        { "bare LF after the request line", $"GET / HTTP/1.1\nHost: {Host}\r\n\r\n" },
        { "bare LF between fields", $"GET / HTTP/1.1\r\nHost: {Host}\nX-A: b\r\n\r\n" },
        { "bare LF in a value", $"GET / HTTP/1.1\r\nHost: {Host}\r\nX-A: b\nX-B: c\r\n\r\n" },
        { "bare LF as the empty line", $"GET / HTTP/1.1\r\nHost: {Host}\r\n\n" },
        { "bare CR in a value", $"GET / HTTP/1.1\r\nHost: {Host}\r\nX-A: b\rX-B: c\r\n\r\n" },
        { "obs-fold", $"GET / HTTP/1.1\r\nHost: {Host}\r\nX-A: b\r\n c\r\n\r\n" },
        { "obs-fold of the first field", $"GET / HTTP/1.1\r\n X-A: b\r\nHost: {Host}\r\n\r\n" },
        { "obs-fold of TE", $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" },
        { "duplicate Host", $"GET / HTTP/1.1\r\nHost: {Host}\r\nHost: {Host}\r\n\r\n" },
        { "space before the colon", $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" },
        { "space before the colon of CL", $"POST / HTTP/1.1\r\nHost: {Host}\r\nContent-Length : 40\r\n\r\n" },
        { "no colon", $"GET / HTTP/1.1\r\nHost: {Host}\r\nno colon here\r\n\r\n" },
        { "empty name", $"GET / HTTP/1.1\r\nHost: {Host}\r\n: empty\r\n\r\n" },
        { "NUL in a value", $"GET / HTTP/1.1\r\nHost: {Host}\r\nX-A: b\0c\r\n\r\n" },
        { "NUL in a name", $"GET / HTTP/1.1\r\nHost: {Host}\r\nX-\0A: b\r\n\r\n" },
        { "NUL in the target", $"GET /\0 HTTP/1.1\r\nHost: {Host}\r\n\r\n" },
        { "space in the target", $"GET / /second HTTP/1.1\r\nHost: {Host}\r\n\r\n" },
        { "tab in the request line", $"GET\t/ HTTP/1.1\r\nHost: {Host}\r\n\r\n" },
        { "no version", "GET /\r\n\r\n" },
        { "unknown version", $"GET / HTTP/1.2\r\nHost: {Host}\r\n\r\n" },
        { "bare LF in a chunk extension", $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\nab\r\n0\r\n\r\n" },
        { "bare LF ends a chunk extension", $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n2;a\nab\r\n0\r\n\r\n" },
        { "bare LF after a chunk's length", $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n" },
        { "bare CR in a chunk extension", $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n2;\rxx\r\nab\r\n0\r\n\r\n" },
        { "chunk longer than said", $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n" },
        { "chunk length overflows", $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000000002\r\nab\r\n0\r\n\r\n" },
        { "chunk length is negative", $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n" },
        { "h2c upgrade", $"GET / HTTP/1.1\r\nHost: {Host}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" },
        { "two upgrades", $"GET / HTTP/1.1\r\nHost: {Host}\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n" },
        { "GET with a body", $"GET / HTTP/1.1\r\nHost: {Host}\r\nContent-Length: {Second.Length}\r\n\r\n" },
    };

    [Theory, MemberData(nameof(Attacks))]
    public async Task An_ambiguous_request_is_never_two_requests_for_the_service(string name, string attack)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        // A stand-in rides on the second one: as a request of its own the sidecar would swap it, as a body never.
        await client.SendAsync(attack + Second.Replace("X-Smuggled", $"Authorization: Bearer {sidecar.StandIn("KEY")}\r\nX-Smuggled", StringComparison.Ordinal));
        client.EndSending();
        await client.ReadToEndAsync();
        Assert.True(service.Malformed.Count == 0, $"{name}: {string.Join("\n--\n", service.Malformed)}");
        foreach (string request in service.Requests)
        {
            // Whatever the service takes for a request was one for the sidecar: it swapped in its head what is in there.
            string head = request.Split("\r\n\r\n")[0];
            Assert.True(head.StartsWith("GET /second ", StringComparison.Ordinal) == head.Contains(Credential, StringComparison.Ordinal), $"{name}: {request}");
            Assert.DoesNotContain(sidecar.StandIn("KEY"), head, StringComparison.Ordinal);
            Assert.DoesNotContain("upgrade", head, StringComparison.OrdinalIgnoreCase);
        }

        Assert.True(service.Requests.Count(request => !request.StartsWith("GET /second ", StringComparison.Ordinal)) <= 1, name);
    }

    [Fact]
    public async Task A_chunked_body_reaches_the_service_without_the_client_s_chunk_extensions()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        RawResponse response = await sidecar.ExchangeAsync(Host, $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n2;ext=1\r\nab\r\n3\r\ncde\r\n0\r\nX-Trailer: t\r\n\r\n");
        response.AssertOk();
        string received = Assert.Single(service.Requests);
        Assert.DoesNotContain("ext=1", received, StringComparison.Ordinal);
        Assert.DoesNotContain("X-Trailer", received, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("x-nominated")]
    [InlineData("foo, X-Nominated")]
    [InlineData("foo,X-Nominated,bar")]
    [InlineData("foo\r\nConnection: X-Nominated")]
    public async Task A_header_that_Connection_names_is_not_forwarded(string connection)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        (await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nConnection: {connection}\r\nX-Nominated: here\r\nX-Kept: there\r\n\r\n")).AssertOk();
        Assert.Null(RawService.Field(service.Requests[0], "X-Nominated"));
        Assert.Equal("there", RawService.Field(service.Requests[0], "X-Kept"));
    }

    [Fact]
    public async Task A_credential_header_that_Connection_names_is_neither_swapped_nor_forwarded()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        (await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nConnection: authorization\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n")).AssertOk();
        string received = Assert.Single(service.Requests);
        Assert.Null(RawService.Field(received, "Authorization"));
        Assert.DoesNotContain(Credential, received, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Headers_of_one_hop_are_not_forwarded()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        string[] hop = ["Proxy-Authorization: Basic eDp5", "Proxy-Connection: keep-alive", "Keep-Alive: timeout=5", "TE: trailers, deflate", "Trailer: X-Sum", "Upgrade: h2c", "Proxy-Authenticate: Basic", "HTTP2-Settings: AAMAAABk"];
        (await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\n{string.Join("\r\n", hop)}\r\n\r\n")).AssertOk();
        foreach (string field in hop) Assert.Null(RawService.Field(service.Requests[0], field.Split(':')[0]));
        foreach (string own in (string[])["Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "traceparent", "Request-Id"])
            Assert.Null(RawService.Field(service.Requests[0], own));
    }

    [Theory]
    [InlineData("TRACE")]
    [InlineData("trace")]
    [InlineData("Trace")]
    public async Task TRACE_with_a_stand_in_is_refused_in_any_case(string method)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        RawResponse response = await sidecar.ExchangeAsync(Host, $"{method} / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
        response.AssertRefused(403, "request_denied");
        Assert.Equal(0, service.Connections);
    }

    [Theory]
    [InlineData("POST")]
    [InlineData("post")]
    [InlineData("Post")]
    public async Task A_method_in_another_case_does_not_get_past_the_endpoints_that_mint_credentials(string method)
    {
        const string GitHub = "api.github.com";
        await using RawService service = RawService.Start(TestAuthority.Issue(GitHub));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, GitHub).Secret("GH", Credential, """{"provider": "github"}"""));
        RawResponse response = await sidecar.ExchangeAsync(GitHub, $"{method} /user/keys HTTP/1.1\r\nHost: {GitHub}\r\nAuthorization: Bearer {sidecar.StandIn("GH")}\r\nContent-Length: 0\r\n\r\n");
        Assert.True(response["X-Superserve-Proxy-Reason"] == "request_denied", $"{response.Status}: {string.Join('\n', service.Requests)}");
        Assert.Equal(0, service.Connections);
    }

    [Fact]
    public async Task A_stand_in_in_a_chunked_request_s_trailer_is_refused()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        RawResponse response = await sidecar.ExchangeAsync(Host, $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
        response.AssertRefused(403, "credential_misplaced");
        Assert.Empty(service.Requests);
        Assert.Equal("403", (await sidecar.RequestEventAsync("credential_misplaced")).Text("status"));
    }

    [Fact]
    public async Task A_stand_in_in_an_HTTP_2_request_s_trailer_is_refused()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        (RawHttp2 http2, RawClient client) = await RawHttp2.OpenAsync(sidecar, Host);
        await using (client)
        {
            await http2.SendHeadersAsync(1, false, (":method", "POST"), (":scheme", "https"), (":path", "/"), (":authority", Host));
            await http2.SendDataAsync(1, false, "body");
            await http2.SendHeadersAsync(1, true, ("authorization", "Bearer " + sidecar.StandIn("KEY")));
            (await http2.ReadResponseAsync(1)).AssertRefused(403, "credential_misplaced");
            Assert.DoesNotContain(service.Requests, request => request.ToString().Contains(Credential, StringComparison.Ordinal));
        }
    }

    [Theory]
    [InlineData("/repos/../user/keys")]
    [InlineData("/repos/./a")]
    [InlineData("/repos/%2e%2e/user")]
    [InlineData("/repos/.%2E/user")]
    [InlineData("/repos/..%2fuser")]
    [InlineData("/repos/a%2Fb")]
    [InlineData("/repos/a%5cb")]
    [InlineData("/repos\\..\\user")]
    [InlineData("/repos//user")]
    [InlineData("//repos/a")]
    [InlineData("/repos/..;/user")]
    [InlineData("/repos/%252e%252e/user")]
    [InlineData("/repos/%c0%ae%c0%ae/%")]
    [InlineData("/Repos/a")]
    [InlineData("/user?/repos/a")]
    [InlineData("/repos/a?_method=DELETE")]
    public async Task A_path_that_could_be_read_as_another_does_not_pass_a_path_rule(string target)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host)
            .Secret("KEY", Credential, $$$"""{"hosts": ["{{{Host}}}"], "auth": {"type": "bearer"}, "rules": [{"methods": ["GET"], "paths": ["/repos/**"]}]}"""));
        RawResponse response = await sidecar.ExchangeAsync(Host, $"GET {target} HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
        response.AssertRefused(403, "request_denied");
        Assert.Equal(0, service.Connections);
    }

    [Fact]
    public async Task A_stand_in_in_pieces_is_swapped_whole()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        // Each write is a TLS record and, without delay, a segment of its own.
        foreach (char c in $"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n") await client.SendAsync(c.ToString());
        (await client.ReadResponseAsync()).AssertOk();
        Assert.Equal("Bearer " + Credential, RawService.Field(Assert.Single(service.Requests), "Authorization"));
    }

    [Fact]
    public async Task Cookie_crumbs_arrive_as_one_cookie_and_a_stand_in_across_them_is_not_missed()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        (RawHttp2 http2, RawClient client) = await RawHttp2.OpenAsync(sidecar, Host);
        await using (client)
        {
            (string, string)[] head = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", Host)];
            await http2.SendHeadersAsync(1, true, [.. head, ("cookie", "a=1"), ("cookie", "b=2")]);
            Assert.Equal("ok", (await http2.ReadResponseAsync(1)).Body);
            Assert.Equal("a=1; b=2", service.Single()["Cookie"]);
            await http2.SendHeadersAsync(3, true, [.. head, ("cookie", "a=1"), ("cookie", "b=" + sidecar.StandIn("KEY"))]);
            (await http2.ReadResponseAsync(3)).AssertRefused(403, "credential_misplaced");
        }
    }
}
