using System.Net.Security;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>WebSockets as bytes: how they begin, and how each of their directions ends.</summary>
public sealed class UpgradeTests
{
    private const string Host = "api.service.test";
    private const string Credential = "real-credential-0123456789";
    private const string Switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    private const string Fields = $"Host: {Host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    [Theory]
    [InlineData("Content-Length: 10\r\n\r\nhalf")]
    [InlineData("Content-Length: 10\r\n\r\nhalf-whole")]
    [InlineData("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")]
    public async Task A_request_with_a_body_opens_no_WebSocket(string rest)
    {
        await using WireService service = WireService.Start(Host, async connection =>
        {
            string head = await connection.ReadHeadAsync();
            await connection.SendAsync(Switch + (head.Contains("Upgrade", StringComparison.OrdinalIgnoreCase) ? "asked" : "unasked"));
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync($"GET / HTTP/1.1\r\n{Fields}{rest}");
        (await client.ReadResponseAsync()).AssertRefused(502, "upstream_unreachable");
    }

    [Fact]
    public async Task Bytes_that_come_with_the_handshake_of_either_side_reach_the_other()
    {
        string fromClient = "";
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync(Switch + "early");
            fromClient = await connection.ReadAsync(5);
            await connection.SendAsync("late");
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync($"GET / HTTP/1.1\r\n{Fields}\r\nahead");
        Assert.Equal(101, (await client.ReadResponseAsync()).Status);
        Assert.Equal("earlylate", await client.ReadAsync(9));
        Assert.Equal("ahead", fromClient);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task When_the_client_ends_its_direction_the_service_s_goes_on(bool isSecure)
    {
        Func<WireConnection, Task> serve = async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync(Switch);
            Assert.Equal("ping", await connection.ReadAsync(4));
            Assert.Equal("", await connection.ReadSomeAsync());
            await connection.SendAsync("after the end");
        };
        await using WireService service = isSecure ? WireService.Start(Host, serve) : WireService.StartPlain(serve);
        await using TestSidecar sidecar = await StartAsync(service);
        await using RawClient client = await OpenAsync(sidecar, isSecure);
        Assert.Equal(101, (await client.ReadResponseAsync()).Status);
        await client.SendAsync("ping");
        if (client.Stream is SslStream tls) await tls.ShutdownAsync();
        else client.EndSending();
        Assert.Equal("after the end", await client.ReadToEndAsync());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task When_the_service_ends_its_direction_the_client_s_goes_on(bool isSecure)
    {
        TaskCompletionSource<string> received = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Func<WireConnection, Task> serve = async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync(Switch + "last word");
            if (connection.Stream is SslStream tls) await tls.ShutdownAsync();
            else connection.Socket.Shutdown(System.Net.Sockets.SocketShutdown.Send);
            received.SetResult(await connection.ReadAsync(5));
            await connection.ReadToEndAsync();
        };
        await using WireService service = isSecure ? WireService.Start(Host, serve) : WireService.StartPlain(serve);
        await using TestSidecar sidecar = await StartAsync(service);
        await using RawClient client = await OpenAsync(sidecar, isSecure);
        Assert.Equal(101, (await client.ReadResponseAsync()).Status);
        Assert.Equal("last word", await client.ReadToEndAsync());
        await client.SendAsync("reply");
        Assert.Equal("reply", await received.Task.WaitAsync(Patience, TimeProvider.System));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_side_that_breaks_off_ends_the_other(bool isTheClient)
    {
        TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using WireService service = WireService.StartPlain(async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync(Switch);
            Assert.Equal("ping", await connection.ReadAsync(4));
            if (isTheClient) await connection.ReadToEndAsync();
            else connection.Socket.Close(0);
            ended.SetResult();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using RawClient client = await OpenAsync(sidecar, isSecure: false);
        Assert.Equal(101, (await client.ReadResponseAsync()).Status);
        await client.SendAsync("ping");
        if (isTheClient) client.Abort();
        else Assert.Equal("", await client.ReadToEndAsync());
        await ended.Task.WaitAsync(Patience, TimeProvider.System);
    }

    [Fact]
    public async Task An_idle_WebSocket_ends_in_time_on_both_sides()
    {
        TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync(Switch);
            await connection.ReadToEndAsync();
            ended.SetResult();
        });
        await using TestSidecar sidecar = await StartAsync(service, setup => setup.Json["upstream"]!["idleTimeoutSeconds"] = 1);
        await using RawClient client = await OpenAsync(sidecar, isSecure: true);
        Assert.Equal(101, (await client.ReadResponseAsync()).Status);
        Assert.Equal("", await client.ReadToEndAsync());
        await ended.Task.WaitAsync(Patience, TimeProvider.System);
    }

    private static async Task<RawClient> OpenAsync(TestSidecar sidecar, bool isSecure)
    {
        RawClient client = isSecure ? await sidecar.OpenTlsAsync(Host) : await sidecar.OpenAsync();
        await client.SendAsync($"GET {(isSecure ? "" : $"http://{Host}")}/ HTTP/1.1\r\n{Fields}\r\n");
        return client;
    }

    private static Task<TestSidecar> StartAsync(WireService service, Action<Setup>? edit = null)
    {
        Setup setup = new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host);
        edit?.Invoke(setup);
        return TestSidecar.StartAsync(setup);
    }
}
