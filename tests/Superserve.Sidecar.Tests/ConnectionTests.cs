using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>How a connection begins: CONNECT heads, TLS hellos, and what comes late.</summary>
public sealed class ConnectionTests
{
    private const string Host = "api.service.test";
    private const string Credential = "real-credential-0123456789";

    private static Task<TestSidecar> StartAsync(IPEndPoint service, Action<Setup>? change = null)
    {
        Setup setup = new Setup().Pin(service, Host).Bearer("KEY", Credential, Host);
        change?.Invoke(setup);
        return TestSidecar.StartAsync(setup);
    }

    /// <summary>The bytes of a hello as the platform writes it, in records of a given size.</summary>
    private static async Task<byte[]> HelloAsync(string name, int recordLength = int.MaxValue)
    {
        using TcpListener listener = new(IPAddress.Loopback, FreePort.Next());
        listener.Start();
        using TcpClient client = new();
        await client.ConnectAsync((IPEndPoint)listener.LocalEndpoint);
        using Socket server = await listener.AcceptSocketAsync();
        using SslStream tls = new(client.GetStream());
        Task handshake = tls.AuthenticateAsClientAsync(name);
        byte[] buffer = new byte[16 * 1024];
        int length = await server.ReceiveAsync(buffer);
        server.Close();
        await Assert.ThrowsAnyAsync<Exception>(() => handshake);
        ReadOnlySpan<byte> message = buffer.AsSpan(5, length - 5);
        using MemoryStream records = new();
        while (!message.IsEmpty)
        {
            ReadOnlySpan<byte> piece = message[..Math.Min(recordLength, message.Length)];
            records.Write([0x16, 3, 1, (byte)(piece.Length >> 8), (byte)piece.Length]);
            records.Write(piece);
            message = message[piece.Length..];
        }

        return records.ToArray();
    }

    [Theory]
    [InlineData(int.MaxValue, 1)]
    [InlineData(7, int.MaxValue)]
    [InlineData(1, 6)]
    public async Task A_hello_in_pieces_and_in_several_records_is_intercepted(int recordLength, int writeLength)
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenAsync();
        await client.ConnectAsync($"{Host}:443");
        byte[] hello = await HelloAsync(Host, recordLength);
        for (int at = 0; at < hello.Length; at += Math.Min(writeLength, hello.Length - at))
            await client.SendAsync(hello.AsMemory(at, Math.Min(writeLength, hello.Length - at)));
        // A ServerHello: handshake (22), TLS 1.x.
        Assert.StartsWith("\u0016\u0003\u0003", await client.ReadAsync(3), StringComparison.Ordinal);
        await sidecar.MetricAsync("superserve_sidecar_certificates_minted", "1");
        Assert.Empty(service.Requests);
    }

    public static TheoryData<string, byte[]> BadHellos => new()
    {
        { "no handshake inside", [0x16, 3, 1, 0, 4, 2, 0, 0, 0] },
        { "version 2", [0x16, 2, 1, 0, 4, 1, 0, 0, 0] },
        { "empty record", [0x16, 3, 1, 0, 0] },
        { "record too long", [0x16, 3, 1, 0xff, 0xff, 1, 0, 0, 0] },
        { "cut in the middle of its body", [0x16, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 0, 0] },
        { "extensions longer than said", [0x16, 3, 1, 0, 49, 1, 0, 0, 45, 3, 3, .. new byte[32], 0, 0, 2, 0x13, 1, 1, 0, 0xff, 0xff, 0, 0] },
        { "name with a NUL", Named("api\0.service.test") },
        { "name that is empty", Named("") },
        { "another record between", [0x16, 3, 1, 0, 4, 1, 0, 0, 45, 0x17, 3, 1, 0, 1, 0] },
        { "64 KiB", [.. Enumerable.Range(0, 5).SelectMany(i => (byte[])[0x16, 3, 1, 0x40, 0, .. i == 0 ? [1, 1, 0, 0] : (byte[])[], .. new byte[i == 0 ? 0x4000 - 4 : 0x4000]])] },
    };

    private static byte[] Named(string name)
    {
        byte[] text = Encoding.Latin1.GetBytes(name);
        byte[] extension = [0, 0, .. Length16(text.Length + 5), .. Length16(text.Length + 3), 0, .. Length16(text.Length), .. text];
        byte[] body = [3, 3, .. new byte[32], 0, 0, 2, 0x13, 1, 1, 0, .. Length16(extension.Length), .. extension];
        return [0x16, 3, 1, .. Length16(body.Length + 4), 1, 0, .. Length16(body.Length), .. body];

        static byte[] Length16(int length) => [(byte)(length >> 8), (byte)length];
    }

    [Theory, MemberData(nameof(BadHellos))]
    public async Task A_malformed_hello_is_cut_off(string name, byte[] hello)
    {
        await using RawService service = RawService.StartPlain();
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenAsync();
        await client.ConnectAsync($"{Host}:443");
        await client.SendAsync(hello);
        client.EndSending();
        Assert.Equal("", await client.ReadToEndAsync());
        Assert.True((await sidecar.ConnectionEventAsync("blocked")).Text("error") == "request_denied", name);
        Assert.Empty(service.Requests);
        Assert.Empty(service.Malformed);
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\nHost: api.service.test:443\r\n\r\n")]
    [InlineData("M-SEARCH / HTTP/1.1\r\nHost: api.service.test:443\r\n\r\n")]
    public async Task HTTP_that_begins_late_on_a_quiet_connection_is_still_judged(string request)
    {
        await using RawService service = RawService.StartPlain();
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenAsync();
        await client.ConnectAsync($"{Host}:443");
        // It was dialled, for services that speak first; only then the client begins.
        await TestSidecar.WaitAsync(() => service.Connections == 1, () => "not dialled");
        await client.SendAsync(request.Replace("\r\n\r\n", $"\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n", StringComparison.Ordinal));
        (await client.ReadResponseAsync()).AssertRefused(403, "cleartext_refused");
        Assert.Empty(service.Requests);
        Assert.Empty(service.Malformed);
    }

    [Fact]
    public async Task TLS_that_begins_late_on_a_quiet_connection_is_still_intercepted()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using RawService quiet = RawService.StartPlain();
        await using TestSidecar sidecar = await StartAsync(quiet.Address);
        await using RawClient client = await sidecar.OpenAsync();
        await client.ConnectAsync($"{Host}:443");
        await TestSidecar.WaitAsync(() => quiet.Connections == 1, () => "not dialled");
        // The handshake trusts the sidecar's authority alone, so it was intercepted.
        await client.StartTlsAsync(Host);
        await client.SendAsync($"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n");
        (await client.ReadResponseAsync()).AssertRefused(421, "authority_mismatch");
        Assert.Empty(quiet.Malformed);
    }

    [Fact]
    public async Task HTTP_after_the_service_has_spoken_is_cut_off()
    {
        using TcpListener listener = new(IPAddress.Loopback, FreePort.Next());
        listener.Start();
        Task<string> got = Task.Run(async () =>
        {
            using Socket socket = await listener.AcceptSocketAsync();
            await socket.SendAsync("220 hello\r\n"u8.ToArray());
            await using NetworkStream stream = new(socket);
            return await new ByteReader(stream).ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync((IPEndPoint)listener.LocalEndpoint);
        await using RawClient client = await sidecar.OpenAsync();
        await client.ConnectAsync($"{Host}:443");
        Assert.Equal("220 hello\r\n", await client.ReadAsync(11));
        await client.SendAsync($"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
        Assert.Equal("", await client.ReadToEndAsync());
        Assert.Equal("", await got);
        await sidecar.ConnectionEventAsync("blocked");
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")]
    [InlineData("GET /healthz HTTP/1.1\r\nHost: api.service.test\r\n\r\n")]
    [InlineData("OPTIONS * HTTP/1.1\r\nHost: api.service.test\r\n\r\n")]
    [InlineData("GET https://api.service.test/ HTTP/1.1\r\nHost: api.service.test\r\n\r\n")]
    public async Task The_proxy_without_CONNECT_says_how_it_is_to_be_used(string request)
    {
        await using RawService service = RawService.StartPlain();
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenAsync();
        await client.SendAsync(request);
        (await client.ReadResponseAsync()).AssertRefused(403, "request_denied");
        Assert.Equal(0, service.Connections);
    }

    [Fact]
    public async Task Absolute_form_with_another_Host_is_refused()
    {
        await using RawService service = RawService.StartPlain();
        await using TestSidecar sidecar = await StartAsync(service.Address, setup => setup.Pin(service.Address, "other.test"));
        await using RawClient client = await sidecar.OpenAsync();
        await client.SendAsync($"GET http://{Host}/ HTTP/1.1\r\nHost: other.test\r\n\r\n");
        RawResponse response = await client.ReadResponseAsync();
        Assert.True(response.Status is 400 or 421, response.Head);
        Assert.Equal(0, service.Connections);
    }

    [Theory]
    [InlineData("proxyAddress", "127.0.0.1")]
    [InlineData("healthAddress", "127.0.0.1")]
    [InlineData("metricsAddress", "127.0.0.1")]
    [InlineData("metricsAddress", "127.0.0.2")]
    [InlineData("metricsAddress", "localhost")]
    public async Task The_sidecar_s_own_ports_stay_closed_when_loopback_is_opened(string field, string host)
    {
        await using RawService service = RawService.StartPlain();
        await using TestSidecar sidecar = await StartAsync(service.Address, setup => setup.With("network", """{"allowOut": ["127.0.0.0/8", "::1/128", "localhost.test"], "mode": "LogOnly"}"""));
        int port = IPEndPoint.Parse((string)sidecar.Setup.Json[field]!).Port;
        await using RawClient client = await sidecar.OpenAsync();
        if (host == "localhost")
        {
            await client.SendAsync($"GET http://{host}:{port}/metrics HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
            (await client.ReadResponseAsync()).AssertRefused(403, "private_address");
            return;
        }

        await client.SendAsync($"CONNECT {host}:{port} HTTP/1.1\r\n\r\n");
        string head = await client.ReadHeadAsync();
        if (head.StartsWith("HTTP/1.1 403", StringComparison.Ordinal))
        {
            Assert.Contains("private_address", head, StringComparison.Ordinal);
            return;
        }

        // An intercepted address is dialled when a request is there.
        await client.SendAsync($"GET /metrics HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        (await client.ReadResponseAsync()).AssertRefused(403, "private_address");
    }

    [Theory]
    [InlineData("CONNECT api.service.test HTTP/1.1\r\n\r\n")]
    [InlineData("CONNECT api.service.test:0 HTTP/1.1\r\n\r\n")]
    [InlineData("CONNECT api.service.test:65536 HTTP/1.1\r\n\r\n")]
    [InlineData("CONNECT api.service.test:-1 HTTP/1.1\r\n\r\n")]
    [InlineData("CONNECT user@api.service.test:443 HTTP/1.1\r\n\r\n")]
    [InlineData("CONNECT [fe80::1%25eth0]:443 HTTP/1.1\r\n\r\n")]
    [InlineData("CONNECT http://api.service.test:443 HTTP/1.1\r\n\r\n")]
    [InlineData("CONNECT api.service.test:443 HTTP/2.0\r\n\r\n")]
    [InlineData("CONNECT api.service.test:443  HTTP/1.1\r\n\r\n")]
    [InlineData("CONNECT api.service.test:443 HTTP/1.1\nX: y\r\n\r\n")]
    [InlineData("CONNECT api.service.test:443\r\n\r\n")]
    [InlineData("CONNECT  HTTP/1.1\r\n\r\n")]
    [InlineData("CONNECT api.service.test\0:443 HTTP/1.1\r\n\r\n")]
    public async Task A_malformed_CONNECT_is_a_bad_request(string head)
    {
        await using RawService service = RawService.StartPlain();
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenAsync();
        await client.SendAsync(head);
        Assert.StartsWith("HTTP/1.1 400 ", await client.ReadHeadAsync(), StringComparison.Ordinal);
        Assert.Equal(0, service.Connections);
    }

    [Fact]
    public async Task An_over_long_CONNECT_head_is_a_bad_request()
    {
        await using RawService service = RawService.StartPlain();
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenAsync();
        await client.SendAsync($"CONNECT {Host}:443 HTTP/1.1\r\nX: {new string('a', 17 * 1024)}");
        Assert.StartsWith("HTTP/1.1 400 ", await client.ReadHeadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_slow_CONNECT_head_in_single_bytes_is_read_and_one_that_never_ends_is_given_up()
    {
        Microsoft.Extensions.Time.Testing.FakeTimeProvider time = new(TimeProvider.System.GetUtcNow());
        await using RawService service = RawService.StartPlain();
        Setup setup = new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(setup, time);
        await using RawClient slow = await sidecar.OpenAsync();
        foreach (char c in $"CONNECT {Host}:443 HTTP/1.1\r\n\r\n") await slow.SendAsync(c.ToString());
        Assert.StartsWith("HTTP/1.1 200", await slow.ReadHeadAsync(), StringComparison.Ordinal);

        await using RawClient never = await sidecar.OpenAsync();
        await never.SendAsync("CONNECT api");
        Task<string> end = never.ReadToEndAsync();
        await TestSidecar.WaitAsync(() =>
        {
            time.Advance(TimeSpan.FromSeconds(31));
            return end.IsCompleted;
        }, () => "the connection is still open");
        Assert.Equal("", await end);
    }

    [Fact]
    public async Task TLS_to_an_address_with_a_bound_name_in_its_hello_is_intercepted_under_the_name()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await StartAsync(service.Address, setup => setup.With("network", """{"allowOut": ["127.0.0.3/32"]}"""));
        await using RawClient client = await sidecar.OpenAsync();
        // Nothing listens at the address: the name is dialled where it is pinned to, never what the client dialled.
        await client.ConnectAsync("127.0.0.3:443");
        await client.StartTlsAsync(Host);
        await client.SendAsync($"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
        (await client.ReadResponseAsync()).AssertOk();
        Assert.Equal("Bearer " + Credential, service.Single()["Authorization"]);
    }
}
