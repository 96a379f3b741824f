using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>Requests in a form that the sidecar and a service could read differently.</summary>
public sealed class FormTests
{
    private const string Host = "api.anthropic.com";
    private const string Credential = "sk-ant-the-real-credential-0123456789";

    [Theory]
    [InlineData("post", "/v1/organizations/x")]
    [InlineData("Post", "/v1/organizations/x")]
    [InlineData("trace", "/v1/models")]
    [InlineData("get", "/v1/models")]
    public async Task A_method_in_lower_case_is_refused(string method, string path)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await StartAsync(service);
        RawResponse response = await sidecar.ExchangeAsync(Host, $"{method} {path} HTTP/1.1\r\nHost: {Host}\r\nx-api-key: {sidecar.StandIn("KEY")}\r\nContent-Length: 0\r\n\r\n");
        response.AssertRefused(403, "request_denied");
        Assert.Empty(service.Requests);
    }

    [Fact]
    public async Task A_method_in_lower_case_over_http2_is_refused()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(Setup().Pin(service.Address, Host));
        (RawHttp2 http2, RawClient client) = await RawHttp2.OpenAsync(sidecar, Host);
        await using RawClient _ = client;
        await http2.SendHeadersAsync(1, true, (":method", "post"), (":scheme", "https"), (":authority", Host), (":path", "/v1/organizations/x"), ("x-api-key", sidecar.StandIn("KEY")));
        (await http2.ReadResponseAsync(1)).AssertRefused(403, "request_denied");
        Assert.Empty(service.Requests);
    }

    [Theory]
    [InlineData("/v1?a b")]
    [InlineData("/v1#a")]
    public async Task A_target_over_http2_that_is_no_target_over_http1_is_refused(string target)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await StartAsync(service);
        (RawHttp2 http2, RawClient client) = await RawHttp2.OpenAsync(sidecar, Host);
        await using RawClient _ = client;
        await http2.SendHeadersAsync(1, true, (":method", "GET"), (":scheme", "https"), (":authority", Host), (":path", target), ("x-api-key", sidecar.StandIn("KEY")));
        (await http2.ReadResponseAsync(1)).AssertRefused(403, "request_denied");
        Assert.Empty(service.Requests);
        Assert.Empty(service.Malformed);
    }

    [Fact]
    public async Task Extended_CONNECT_for_another_protocol_than_websocket_is_refused()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await StartAsync(service);
        (RawHttp2 http2, RawClient client) = await RawHttp2.OpenAsync(sidecar, Host);
        await using RawClient _ = client;
        await http2.SendHeadersAsync(1, false, (":method", "CONNECT"), (":protocol", "foo"), (":scheme", "https"), (":authority", Host), (":path", "/"), ("x-api-key", sidecar.StandIn("KEY")));
        (await http2.ReadResponseAsync(1)).AssertRefused(403, "request_denied");
        Assert.Empty(service.Requests);
    }

    [Fact]
    public async Task A_GET_that_describes_a_body_it_does_not_have_is_forwarded()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await StartAsync(service);
        RawResponse response = await sidecar.ExchangeAsync(Host, $"GET /v1/models HTTP/1.1\r\nHost: {Host}\r\nx-api-key: {sidecar.StandIn("KEY")}\r\nContent-Type: application/json\r\n\r\n");
        response.AssertOk();
        string request = Assert.Single(service.Requests);
        Assert.Contains("Content-Type: application/json\r\n", request);
        Assert.Contains($"x-api-key: {Credential}\r\n", request);
        Assert.DoesNotContain("Transfer-Encoding", request);
    }

    [Fact]
    public async Task A_GET_over_http2_that_describes_a_body_it_does_not_have_is_no_chunked_request_over_http1()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await StartAsync(service);
        (RawHttp2 http2, RawClient client) = await RawHttp2.OpenAsync(sidecar, Host);
        await using RawClient _ = client;
        await http2.SendHeadersAsync(1, true, (":method", "GET"), (":scheme", "https"), (":authority", Host), (":path", "/v1/models"), ("x-api-key", sidecar.StandIn("KEY")), ("content-type", "application/json"));
        Assert.Equal(200, (await http2.ReadResponseAsync(1)).Status);
        string request = Assert.Single(service.Requests);
        Assert.Contains("Content-Type: application/json\r\n", request, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("Transfer-Encoding", request);
    }

    [Fact]
    public async Task A_blank_line_ahead_of_plain_HTTP_does_not_make_it_another_protocol()
    {
        await using RawService service = RawService.StartPlain();
        await using TestSidecar sidecar = await TestSidecar.StartAsync(Setup().Pin(service.Address, "plain.example.com"));
        await using RawClient client = await sidecar.OpenAsync();
        await client.ConnectAsync("plain.example.com:80");
        await client.SendAsync($"\r\nGET / HTTP/1.1\r\nHost: plain.example.com\r\nx-api-key: {sidecar.StandIn("KEY")}\r\n\r\n");
        string answer = await client.ReadHeadAsync();
        Assert.DoesNotContain("200 OK", answer);
        Assert.Empty(service.Requests);
        Assert.Empty(service.Malformed);
    }

    [Theory]
    [InlineData("POST", "/v1/models")]
    [InlineData("HEAD", "/v1/models")]
    [InlineData("X", "/v1/organizations/x")]
    public async Task An_upgrade_asked_for_by_another_method_than_GET_is_refused(string method, string path)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await StartAsync(service);
        RawResponse response = await sidecar.ExchangeAsync(Host,
            $"{method} {path} HTTP/1.1\r\nHost: {Host}\r\nx-api-key: {sidecar.StandIn("KEY")}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            hasBody: method != "HEAD");
        Assert.Equal((403, "request_denied"), (response.Status, response["X-Superserve-Proxy-Reason"]));
        Assert.Empty(service.Requests);
    }

    [Theory]
    [InlineData(new byte[] { 0x80, 0x2e, 0x01, 0x03, 0x01 })]
    [InlineData(new byte[] { 0x15, 0x03, 0x01, 0x00, 0x02 })]
    [InlineData(new byte[] { 0x17, 0x03, 0x03, 0x00, 0x02 })]
    [InlineData(new byte[] { 0x00, 0x01, 0x02, 0x03 })]
    public async Task What_does_not_begin_as_TLS_does_not_reach_a_bound_host(byte[] start)
    {
        await using RawService service = RawService.StartPlain();
        await using TestSidecar sidecar = await TestSidecar.StartAsync(Setup().Pin(service.Address, Host));
        await using RawClient client = await sidecar.OpenAsync();
        await client.ConnectAsync($"{Host}:443");
        await client.SendAsync(start);
        Assert.Equal("", await client.ReadToEndAsync());
        Assert.Equal("request_denied", (await sidecar.ConnectionEventAsync("blocked")).GetProperty("error").GetString());
        Assert.Equal(0, service.Connections);
    }

    private static Setup Setup() => new Setup().Secret("KEY", Credential, """{"provider": "anthropic"}""");

    private static Task<TestSidecar> StartAsync(RawService service) => TestSidecar.StartAsync(Setup().Pin(service.Address, Host));
}
