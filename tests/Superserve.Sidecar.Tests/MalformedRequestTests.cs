using System.Text.Json;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>What is no request of HTTP/1.1: the client is told what is wrong, and no service sees any of it.</summary>
public sealed class MalformedRequestTests
{
    private const string Host = "api.service.test";
    private const string Credential = "real-credential-0123456789";

    public static TheoryData<string, int, string> Requests => new()
    {
        { "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "more than one Host" },
        { "GET / HTTP/1.1\r\n\r\n", 400, "no Host" },
        { "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "space" },
        { "GET / / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "space" },
        { "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request line" },
        { " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request line" },
        { "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "method" },
        { "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, "LF alone" },
        { "GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n", 400, "CR or a NUL" },
        { "GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n", 400, "CR or a NUL" },
        { "GET / HTTP/1.1\r\nHost: a\r\n folded: y\r\n\r\n", 400, "continued" },
        { "GET / HTTP/1.1\r\nHost: a\r\nX y\r\n\r\n", 400, "name: value" },
        { "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400, "name: value" },
        { "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400, "more than one Content-Length" },
        { "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\nx", 400, "Content-Length is no number" },
        { "GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nx", 400, "Content-Length is no number" },
        { "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\nx", 400, "Content-Length is no number" },
        { "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx", 400, "both" },
        { "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\nx", 400, "chunked alone" },
        { "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\nx", 400, "more than one Transfer-Encoding" },
        { "GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx", 400, "HTTP/1.0 has no" },
        { "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "version" },
        { "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version" },
        { "GET / http/1.1\r\nHost: a\r\n\r\n", 505, "version" },
        { $"GET /{new string('x', 33_000)} HTTP/1.1\r\nHost: a\r\n\r\n", 414, "too long" },
        { $"GET / HTTP/1.1\r\nHost: a\r\nX: {new string('x', 132_000)}\r\n\r\n", 431, "longer than 128 KiB" },
        { $"GET / HTTP/1.1\r\nHost: a\r\nX: {new string('x', 132_000)}", 431, "longer than 128 KiB" },
        { $"GET / HTTP/1.1\r\nHost: a\r\n{string.Concat(Enumerable.Range(0, 200).Select(i => $"X-{i}: y\r\n"))}\r\n", 431, "more than 200" },
        { $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, "chunk" },
        { $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", 400, "chunk" },
        { $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n1;{new string('x', 5_000)}\r\na\r\n0\r\n\r\n", 400, "too long" },
        { $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: {new string('x', 33_000)}\r\n\r\n", 400, "trailers" },
    };

    [Theory, MemberData(nameof(Requests))]
    public async Task It_is_refused_and_said_what_is_wrong(string request, int status, string what)
    {
        await using WireService service = WireService.Start(Host, connection => connection.ReadToEndAsync());
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(request);
        RawResponse response = await client.ReadResponseAsync();
        Assert.Equal((status, "close", "application/problem+json", "true"), (response.Status, response["Connection"], response["Content-Type"], response["X-Superserve-Proxy-Error"]));
        JsonElement problem = JsonDocument.Parse(response.Body).RootElement;
        Assert.Equal(status, problem.GetProperty("status").GetInt32());
        Assert.Contains(what, problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Equal("", await client.ReadToEndAsync());
    }

    [Fact]
    public async Task As_many_fields_and_as_long_ones_as_are_taken_reach_the_service()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        string many = string.Concat(Enumerable.Range(0, 199).Select(i => $"X-{i}: {i}\r\n")), path = "/" + new string('x', 32_000);
        (await sidecar.ExchangeAsync(Host, $"GET {path} HTTP/1.1\r\nHost: {Host}\r\n{many}\r\n")).AssertOk();
        (await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nX: {new string('x', 130_000)}\r\n\r\n")).AssertOk();
        Assert.Contains(many, service.Requests[0], StringComparison.Ordinal);
        Assert.Equal(130_000, RawService.Field(service.Requests[1], "X")!.Length);
    }

    [Fact]
    public async Task Empty_lines_ahead_of_a_request_are_passed_over()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync("\r");
        await client.SendAsync($"\n\r\nGET / HTTP/1.1\r\nHost: {Host}\r\n\r\n\r\n");
        (await client.ReadResponseAsync()).AssertOk();
        await client.SendAsync($"GET / HTTP/1.1\r\nHost: {Host}\r\n\r\n");
        (await client.ReadResponseAsync()).AssertOk();
    }
}
