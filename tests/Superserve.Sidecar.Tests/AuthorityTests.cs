using System.Net;
using System.Net.Security;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>One connection, one name: whoever names two gets neither.</summary>
public sealed class AuthorityTests
{
    private const string Host = "api.service.test";
    private const string Other = "other.service.test";
    private const string Credential = "real-credential-0123456789";

    private static async Task<(RawService Service, TestSidecar Sidecar)> StartAsync(Action<Setup>? change = null)
    {
        RawService service = RawService.Start(TestAuthority.Issue(Host, Other));
        Setup setup = new Setup().Pin(service.Address, Host, Other).Bearer("KEY", Credential, Host).Bearer("OTHER", "other-credential-012345", Other);
        change?.Invoke(setup);
        return (service, await TestSidecar.StartAsync(setup));
    }

    [Theory]
    [InlineData($"GET / HTTP/1.1\r\nHost: {Other}\r\n")]
    [InlineData($"GET / HTTP/1.1\r\nHost: {Host}:8443\r\n")]
    [InlineData($"GET / HTTP/1.1\r\nHost: {Host}:80\r\n")]
    [InlineData($"GET / HTTP/1.1\r\nHost: {Host}.evil.test\r\n")]
    [InlineData($"GET https://{Other}/ HTTP/1.1\r\nHost: {Other}\r\n")]
    [InlineData($"GET https://{Host}:444/ HTTP/1.1\r\nHost: {Host}:444\r\n")]
    [InlineData($"GET http://{Host}/ HTTP/1.1\r\nHost: {Host}\r\n")]
    public async Task A_request_for_another_authority_than_the_connection_s_is_refused(string request)
    {
        (RawService service, TestSidecar sidecar) = await StartAsync();
        await using (service)
        await using (sidecar)
        {
            RawResponse response = await sidecar.ExchangeAsync(Host, $"{request}Authorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
            response.AssertRefused(421, "authority_mismatch");
            Assert.Equal(0, service.Connections);
            Assert.Equal("authority_mismatch", (await sidecar.ConnectionEventAsync("blocked")).Text("error"));
        }
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\nHost: API.Service.TEST\r\n")]
    [InlineData($"GET / HTTP/1.1\r\nHost: {Host}:443\r\n")]
    [InlineData($"GET / HTTP/1.1\r\nHost: {Host}.\r\n")]
    [InlineData($"GET https://{Host}/ HTTP/1.1\r\nHost: {Host}\r\n")]
    public async Task Another_spelling_of_the_same_authority_is_the_same(string request)
    {
        (RawService service, TestSidecar sidecar) = await StartAsync();
        await using (service)
        await using (sidecar)
        {
            (await sidecar.ExchangeAsync(Host, $"{request}Authorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n")).AssertOk();
            Assert.StartsWith("GET / HTTP/1.1\r\n", Assert.Single(service.Requests), StringComparison.Ordinal);
            Assert.Equal(Host, RawService.Field(service.Requests[0], "Host"));
        }
    }

    [Theory]
    [InlineData($"GET https://{Other}/ HTTP/1.1\r\nHost: {Host}\r\n")]
    [InlineData("GET / HTTP/1.1\r\n")]
    [InlineData("GET / HTTP/1.1\r\nHost:\r\n")]
    [InlineData($"GET / HTTP/1.1\r\nHost: {Host}\r\nHost: {Other}\r\n")]
    [InlineData($"GET / HTTP/1.1\r\nHost: {Host}, {Other}\r\n")]
    [InlineData($"GET / HTTP/1.1\r\nHost: user@{Host}\r\n")]
    [InlineData($"GET https://user@{Host}/ HTTP/1.1\r\nHost: {Host}\r\n")]
    [InlineData($"GET https://{Host}@{Other}/ HTTP/1.1\r\nHost: {Host}\r\n")]
    [InlineData($"GET //{Other}/ HTTP/1.0\r\n")]
    [InlineData("GET @evil.test/ HTTP/1.1\r\nHost: api.service.test\r\n")]
    public async Task A_request_whose_authority_is_in_doubt_reaches_no_service(string request)
    {
        (RawService service, TestSidecar sidecar) = await StartAsync();
        await using (service)
        await using (sidecar)
        {
            RawResponse response = await sidecar.ExchangeAsync(Host, $"{request}Authorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
            Assert.True(response.Status is 400 or 403 or 421, response.Head);
            Assert.Equal(0, service.Connections);
        }
    }

    [Fact]
    public async Task An_HTTP_2_request_for_another_authority_is_refused_and_the_connection_goes_on()
    {
        await using TestService service = await TestService.StartAsync(Host, Other);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host, Other).Bearer("KEY", Credential, Host));
        (RawHttp2 http2, RawClient client) = await RawHttp2.OpenAsync(sidecar, Host);
        await using (client)
        {
            string token = "Bearer " + sidecar.StandIn("KEY");
            await http2.SendHeadersAsync(1, true, (":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", Other), ("authorization", token));
            (await http2.ReadResponseAsync(1)).AssertRefused(421, "authority_mismatch");
            Assert.Empty(service.Requests);
            await http2.SendHeadersAsync(3, true, (":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", Host), ("host", Other), ("authorization", token));
            Assert.Equal("ok", (await http2.ReadResponseAsync(3)).Body);
            // The authority counts (RFC 9113 section 8.3.1), and the service hears of no other.
            Assert.Equal(Host, service.Single()["Host"]);
            await http2.SendHeadersAsync(5, true, (":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", Host), ("authorization", token));
            Assert.Equal("ok", (await http2.ReadResponseAsync(5)).Body);
            Assert.Equal("Bearer " + Credential, service.Requests[^1]["Authorization"]);
        }
    }

    [Theory]
    [InlineData(":path", "https://other.service.test/")]
    [InlineData(":path", "//other.service.test/../")]
    [InlineData(":path", "*")]
    [InlineData(":scheme", "http")]
    public async Task An_odd_HTTP_2_pseudo_header_leads_nowhere_else(string name, string value)
    {
        await using TestService service = await TestService.StartAsync(Host, Other);
        await using TestService other = await TestService.StartAsync(Other);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Pin(other.Address, Other).Bearer("KEY", Credential, Host));
        (RawHttp2 http2, RawClient client) = await RawHttp2.OpenAsync(sidecar, Host);
        await using (client)
        {
            (string, string)[] fields = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", Host), ("authorization", "Bearer " + sidecar.StandIn("KEY"))];
            await http2.SendHeadersAsync(1, true, [.. fields.Select(field => field.Item1 == name ? (name, value) : field)]);
            Http2Response response = await http2.ReadResponseAsync(1);
            Assert.Empty(other.Requests);
            if (service.Requests.Count > 0) Assert.Equal((Host, value), (service.Single()["Host"], name == ":path" ? service.Single().Target : value));
            else Assert.True(response.IsReset || response.Status is 400 or 403 or 421, response.ToString());
        }
    }

    [Theory]
    [InlineData("h1")]
    [InlineData("h2")]
    public async Task A_TLS_hello_for_another_name_than_CONNECT_gets_every_request_refused(string protocol)
    {
        (RawService service, TestSidecar sidecar) = await StartAsync();
        await using (service)
        await using (sidecar)
        await using (RawClient client = await sidecar.OpenAsync())
        {
            await client.ConnectAsync($"{Host}:443");
            await client.StartTlsAsync(Other, protocol == "h2" ? SslApplicationProtocol.Http2 : SslApplicationProtocol.Http11);
            foreach (string name in (string[])[Host, Other])
            {
                if (protocol == "h2") break;
                await client.SendAsync($"GET / HTTP/1.1\r\nHost: {name}\r\nAuthorization: Bearer {sidecar.StandIn("OTHER")}\r\n\r\n");
                (await client.ReadResponseAsync()).AssertRefused(421, "authority_mismatch");
            }

            if (protocol == "h2")
            {
                RawHttp2 http2 = new(client);
                await http2.StartAsync();
                await http2.SendHeadersAsync(1, true, (":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", Other));
                (await http2.ReadResponseAsync(1)).AssertRefused(421, "authority_mismatch");
            }

            Assert.Equal(0, service.Connections);
        }
    }

    [Fact]
    public async Task A_bound_host_hidden_behind_CONNECT_to_an_unbound_one_gets_no_credential()
    {
        const string Front = "front.service.test";
        (RawService service, TestSidecar sidecar) = await StartAsync(setup => setup.Pin(IPEndPoint.Parse((string)setup.Json["upstream"]!["hosts"]![Host]!), Front));
        await using (service)
        await using (sidecar)
        await using (RawClient client = await sidecar.OpenAsync())
        {
            await client.ConnectAsync($"{Front}:443");
            await client.StartTlsAsync(Host);
            await client.SendAsync($"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
            (await client.ReadResponseAsync()).AssertRefused(421, "authority_mismatch");
            Assert.Empty(service.Requests);
        }
    }

    [Fact]
    public async Task A_second_pipelined_request_for_another_host_is_refused()
    {
        (RawService service, TestSidecar sidecar) = await StartAsync();
        await using (service)
        await using (sidecar)
        await using (RawClient client = await sidecar.OpenTlsAsync(Host))
        {
            string token = sidecar.StandIn("KEY");
            await client.SendAsync($"GET /one HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {token}\r\n\r\n"
                + $"GET /two HTTP/1.1\r\nHost: {Other}\r\nAuthorization: Bearer {token}\r\n\r\n"
                + $"GET /three HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {token}\r\n\r\n");
            (await client.ReadResponseAsync()).AssertOk();
            (await client.ReadResponseAsync()).AssertRefused(421, "authority_mismatch");
            (await client.ReadResponseAsync()).AssertOk();
            Assert.Equal(["/one", "/three"], service.Requests.Select(request => request.Split(' ')[1]));
            Assert.All(service.Requests, request => Assert.Equal("Bearer " + Credential, RawService.Field(request, "Authorization")));
        }
    }

    [Fact]
    public async Task A_second_pipelined_request_is_judged_by_itself()
    {
        (RawService service, TestSidecar sidecar) = await StartAsync();
        await using (service)
        await using (sidecar)
        await using (RawClient client = await sidecar.OpenTlsAsync(Host))
        {
            await client.SendAsync($"GET /one HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\nGET /two HTTP/1.1\r\nHost: {Host}\r\n\r\n");
            (await client.ReadResponseAsync()).AssertOk();
            (await client.ReadResponseAsync()).AssertOk();
            Assert.Null(RawService.Field(service.Requests[1], "Authorization"));
        }
    }

    [Fact]
    public async Task Plain_HTTP_to_a_bound_host_carries_no_credential()
    {
        await using RawService service = RawService.StartPlain();
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        foreach (string target in (string[])["/", $"http://{Host}/"])
        {
            await using RawClient client = await sidecar.OpenAsync();
            if (target == "/") await client.ConnectAsync($"{Host}:80");
            await client.SendAsync($"GET {target} HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
            (await client.ReadResponseAsync()).AssertRefused(403, "cleartext_refused");
        }

        await using RawClient onTlsPort = await sidecar.OpenAsync();
        await onTlsPort.ConnectAsync($"{Host}:443");
        await onTlsPort.SendAsync($"GET / HTTP/1.1\r\nHost: {Host}:443\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
        (await onTlsPort.ReadResponseAsync()).AssertRefused(403, "cleartext_refused");
        // On port 80 nothing is inspected, so it was dialled before the request showed; it got nothing.
        Assert.Empty(service.Requests);
        Assert.Empty(service.Malformed);
    }

    [Fact]
    public async Task CONNECT_inside_CONNECT_is_refused()
    {
        (RawService service, TestSidecar sidecar) = await StartAsync();
        await using (service)
        await using (sidecar)
        {
            RawResponse overTls = await sidecar.ExchangeAsync(Host, $"CONNECT {Other}:443 HTTP/1.1\r\nHost: {Other}:443\r\n\r\n");
            overTls.AssertRefused(403, "request_denied");
            await using RawClient plain = await sidecar.OpenAsync();
            await plain.ConnectAsync($"{Host}:80");
            await plain.SendAsync($"CONNECT {Other}:443 HTTP/1.1\r\nHost: {Other}:443\r\n\r\n");
            (await plain.ReadResponseAsync()).AssertRefused(403, "request_denied");

            (RawHttp2 http2, RawClient client) = await RawHttp2.OpenAsync(sidecar, Host);
            await using (client)
            {
                await http2.SendHeadersAsync(1, true, (":method", "CONNECT"), (":authority", $"{Other}:443"));
                Http2Response response = await http2.ReadResponseAsync(1);
                Assert.True(response.IsReset || response.Status == 403, response.ToString());
            }

            Assert.Empty(service.Requests);
        }
    }
}
