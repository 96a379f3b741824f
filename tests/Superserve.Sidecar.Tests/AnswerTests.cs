using System.IO.Compression;
using System.Net;
using System.Text;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>Places of an answer besides headers and bodies where a service could echo the credential.</summary>
public sealed class AnswerTests
{
    private const string Host = "api.example.com";
    private const string Credential = "the-real-credential-0123456789";

    [Fact]
    public async Task A_credential_in_the_status_line_does_not_reach_the_sandbox()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), $"HTTP/1.1 401 bad key {Credential}\r\nContent-Length: 0\r\n\r\n");
        await using TestSidecar sidecar = await StartAsync(service);
        RawResponse response = await sidecar.ExchangeAsync(Host, Request(sidecar));
        Assert.Equal(401, response.Status);
        Assert.StartsWith("HTTP/1.1 401 Unauthorized\r\n", response.Head);
    }

    [Fact]
    public async Task The_answer_to_a_websocket_over_http2_that_was_not_opened_is_scrubbed()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), $"HTTP/1.1 401 Unauthorized\r\nContent-Length: {Credential.Length + 9}\r\n\r\nyou sent {Credential}");
        await using TestSidecar sidecar = await StartAsync(service);
        (RawHttp2 http2, RawClient client) = await RawHttp2.OpenAsync(sidecar, Host);
        await using RawClient _ = client;
        await http2.SendHeadersAsync(1, false, (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", Host), (":path", "/"),
            ("authorization", $"Bearer {sidecar.StandIn("KEY")}"), ("sec-websocket-version", "13"));
        Http2Response response = await http2.ReadResponseAsync(1);
        Assert.Contains($"Authorization: Bearer {Credential}\r\n", Assert.Single(service.Requests), StringComparison.OrdinalIgnoreCase);
        Assert.Equal($"you sent {sidecar.StandIn("KEY")}", response.Body);
    }

    [Fact]
    public async Task An_answer_in_a_transfer_coding_that_hides_the_credential_is_refused()
    {
        byte[] zipped = Zip($"you sent {Credential}");
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), async (_, stream) =>
        {
            await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n{zipped.Length:x}\r\n"));
            await stream.WriteAsync(zipped);
            await stream.WriteAsync("\r\n0\r\n\r\n"u8.ToArray());
        });
        await using TestSidecar sidecar = await StartAsync(service);
        (await sidecar.ExchangeAsync(Host, Request(sidecar))).AssertRefused(502, "upstream_unreachable");
    }

    [Fact]
    public async Task A_switch_to_another_protocol_that_nobody_asked_for_is_refused()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), $"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n{Credential}");
        await using TestSidecar sidecar = await StartAsync(service);
        RawResponse response = await sidecar.ExchangeAsync(Host, Request(sidecar));
        response.AssertRefused(502, "upstream_unreachable");
    }

    [Fact]
    public async Task A_status_that_is_none_is_refused_over_HTTP_2_too()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), "HTTP/1.1 042 OK\r\nContent-Length: 2\r\n\r\nok");
        await using TestSidecar sidecar = await StartAsync(service);
        using HttpRequestMessage request = new(HttpMethod.Get, $"https://{Host}/");
        request.Headers.Authorization = new("Bearer", sidecar.StandIn("KEY"));
        using HttpResponseMessage response = await sidecar.Client(HttpVersion.Version20).SendAsync(request);
        await response.AssertRefusedAsync(502, "upstream_unreachable");
    }

    private static string Request(TestSidecar sidecar) => $"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n";

    private static Task<TestSidecar> StartAsync(RawService service) => TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));

    private static byte[] Zip(string text)
    {
        using MemoryStream bytes = new();
        using (GZipStream zip = new(bytes, CompressionMode.Compress)) zip.Write(Encoding.ASCII.GetBytes(text));
        return bytes.ToArray();
    }
}
