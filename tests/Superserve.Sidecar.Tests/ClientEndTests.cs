using System.Net.Security;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>Clients that leave, stop sending, stay silent or read slowly: their service is left too, and no answer is lost.</summary>
public sealed class ClientEndTests
{
    private const string Host = "api.service.test";
    private const string Get = $"GET / HTTP/1.1\r\nHost: {Host}\r\n\r\n";
    private const string Ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    public static TheoryData<string> SilentRequests => new()
    {
        Get,
        $"GET / HTTP/1.1\r\nHost: {Host}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        $"GET / HTTP/1.1\r\nHost: {Host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        $"POST / HTTP/1.1\r\nHost: {Host}\r\nContent-Length: 4\r\n\r\nbody",
        $"POST / HTTP/1.1\r\nHost: {Host}\r\nContent-Length: 4\r\n\r\nbody\r\n",
        $"POST / HTTP/1.1\r\nHost: {Host}\r\nContent-Length: 40\r\n\r\nhalf",
        $"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    };

    [Theory, MemberData(nameof(SilentRequests))]
    public async Task A_client_that_leaves_ends_the_request_at_a_silent_service(string request)
    {
        TaskCompletionSource heard = NewSignal(), ended = NewSignal();
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            heard.SetResult();
            await connection.ReadToEndAsync();
            ended.SetResult();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using (RawClient client = await sidecar.OpenTlsAsync(Host))
        {
            await client.SendAsync(request);
            await heard.Task.WaitAsync(Patience, TimeProvider.System);
        }

        await ended.Task.WaitAsync(Patience, TimeProvider.System);
    }

    [Fact]
    public async Task A_client_that_leaves_ends_its_second_request_too_where_that_had_come_before_the_first_was_answered()
    {
        TaskCompletionSource first = NewSignal(), second = NewSignal(), ended = NewSignal();
        TaskCompletionSource answer = NewSignal();
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            first.SetResult();
            await answer.Task;
            await connection.SendAsync(Ok);
            await connection.ReadHeadAsync();
            second.SetResult();
            await connection.ReadToEndAsync();
            ended.SetResult();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using (RawClient client = await sidecar.OpenTlsAsync(Host))
        {
            await client.SendAsync(Get);
            await first.Task.WaitAsync(Patience, TimeProvider.System);
            await client.SendAsync(Get);
            // The sidecar has read it by the time that it has answered another client.
            (await sidecar.ExchangeAsync(Host, Get.Replace(Host, "other.test", StringComparison.Ordinal))).AssertRefused(421, "authority_mismatch");
            answer.SetResult();
            (await client.ReadResponseAsync()).AssertOk();
            await second.Task.WaitAsync(Patience, TimeProvider.System);
        }

        await ended.Task.WaitAsync(Patience, TimeProvider.System);
    }

    [Fact]
    public async Task A_client_that_leaves_in_the_middle_of_an_answer_ends_it_at_the_service()
    {
        TaskCompletionSource ended = NewSignal();
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
            await connection.ReadToEndAsync();
            ended.SetResult();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using (RawClient client = await sidecar.OpenTlsAsync(Host))
        {
            await client.SendAsync(Get);
            await client.ReadHeadAsync();
        }

        await ended.Task.WaitAsync(Patience, TimeProvider.System);
    }

    [Fact]
    public async Task A_client_that_ends_its_direction_over_plain_HTTP_gets_its_answer_and_then_the_end()
    {
        TaskCompletionSource answer = NewSignal();
        await using WireService service = WireService.StartPlain(async connection =>
        {
            await connection.ReadHeadAsync();
            await answer.Task;
            await connection.SendAsync(Ok);
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host));
        await using RawClient client = await sidecar.OpenAsync();
        await client.SendAsync($"GET http://{Host}/ HTTP/1.1\r\nHost: {Host}\r\n\r\n");
        client.EndSending();
        await TestSidecar.WaitAsync(() => service.Connections.Count == 1, () => "The request did not arrive.");
        answer.SetResult();
        (await client.ReadResponseAsync()).AssertOk();
        Assert.Equal("", await client.ReadToEndAsync());
    }

    [Fact]
    public async Task A_client_that_ends_TLS_and_keeps_the_connection_gets_its_answer_and_then_the_end()
    {
        TaskCompletionSource heard = NewSignal(), answer = NewSignal();
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            heard.SetResult();
            await answer.Task;
            await connection.SendAsync(Ok);
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(Get);
        await heard.Task.WaitAsync(Patience, TimeProvider.System);
        await ((SslStream)client.Stream).ShutdownAsync();
        answer.SetResult();
        (await client.ReadResponseAsync()).AssertOk();
        Assert.Equal("", await client.ReadToEndAsync());
    }

    [Fact]
    public async Task A_client_that_ends_TLS_after_its_answer_is_answered_likewise()
    {
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync(Ok);
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(Get);
        (await client.ReadResponseAsync()).AssertOk();
        await ((SslStream)client.Stream).ShutdownAsync();
        Assert.Equal("", await client.ReadToEndAsync());
    }

    [Fact]
    public async Task After_an_answer_that_did_not_come_in_time_the_connection_ends_so_that_no_later_request_waits_without_end()
    {
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service, idleSeconds: 1);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(Get);
        RawResponse response = await client.ReadResponseAsync();
        response.AssertRefused(504, "upstream_timeout");
        Assert.Equal("close", response["Connection"]);
        Assert.Equal("", await client.ReadToEndAsync());
    }

    [Fact]
    public async Task An_answer_that_stops_in_its_middle_is_cut_off_and_not_ended()
    {
        TaskCompletionSource ended = NewSignal();
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
            await connection.ReadToEndAsync();
            ended.SetResult();
        });
        await using TestSidecar sidecar = await StartAsync(service, idleSeconds: 1);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(Get);
        await client.ReadHeadAsync();
        Assert.Equal("3\r\nabc\r\n", await client.ReadAsync(8));
        Assert.Equal("", await client.ReadToEndAsync());
        await ended.Task.WaitAsync(Patience, TimeProvider.System);
    }

    [Fact]
    public async Task An_idle_connection_ends_in_time()
    {
        await using WireService service = WireService.Start(Host, connection => connection.ReadToEndAsync());
        await using TestSidecar sidecar = await StartAsync(service, idleSeconds: 1);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync("GET / HTTP/1.1\r\nHost: ");
        Assert.Equal("", await client.ReadToEndAsync());
        Assert.Empty(service.Connections);
    }

    [Fact]
    public async Task A_shutdown_lets_the_request_under_way_finish_and_closes_connections_without_one()
    {
        TaskCompletionSource heard = NewSignal(), answer = NewSignal();
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            heard.SetResult();
            await answer.Task;
            await connection.SendAsync(Ok);
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using RawClient idle = await sidecar.OpenTlsAsync(Host);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(Get);
        await heard.Task.WaitAsync(Patience, TimeProvider.System);
        using CancellationTokenSource patience = new(Patience, TimeProvider.System);
        Task stopping = sidecar.App.StopAsync(patience.Token);
        Assert.Equal("", await idle.ReadToEndAsync());
        answer.SetResult();
        RawResponse response = await client.ReadResponseAsync();
        response.AssertOk();
        Assert.Equal("close", response["Connection"]);
        Assert.Equal("", await client.ReadToEndAsync());
        await stopping;
        Assert.False(patience.IsCancellationRequested);
    }

    [Fact]
    public async Task A_shutdown_takes_nothing_of_an_answer_from_a_client_that_reads_slowly()
    {
        string body = new('x', 1024 * 1024);
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync($"HTTP/1.1 200 OK\r\nContent-Length: {body.Length}\r\n\r\n{body}");
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", "real-credential-0123456789", Host));
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync($"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
        // All of it is written, and most of it is still on its way.
        await sidecar.RequestEventAsync();
        using CancellationTokenSource patience = new(Patience, TimeProvider.System);
        Task stopping = sidecar.App.StopAsync(patience.Token);
        RawResponse response = await client.ReadResponseAsync();
        Assert.Equal(body.Length, response.Body.Length);
        await client.DisposeAsync();
        await stopping;
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static Task<TestSidecar> StartAsync(WireService service, int? idleSeconds = null)
    {
        Setup setup = new Setup().Pin(service.Address, Host).Bearer("KEY", "real-credential-0123456789", Host);
        if (idleSeconds is { } seconds) setup.Json["upstream"]!["idleTimeoutSeconds"] = seconds;
        return TestSidecar.StartAsync(setup);
    }
}
