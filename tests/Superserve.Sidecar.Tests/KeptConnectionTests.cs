using System.Text;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>Connections to services that carry one request after another: nothing of one exchange gets into the next, and none is sent twice.</summary>
public sealed class KeptConnectionTests
{
    private const string Host = "api.service.test";
    private const string Get = $"GET /first HTTP/1.1\r\nHost: {Host}\r\n\r\n";
    private const string Second = $"GET /second HTTP/1.1\r\nHost: {Host}\r\n\r\n";
    private const string Forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";

    public static TheoryData<string, string> Tails => new()
    {
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Forged },
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "\r\n" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "H" },
        { "HTTP/1.1 204 No Content\r\n\r\n", Forged },
        { "HTTP/1.1 204 No Content\r\nContent-Length: 70\r\n\r\n", Forged },
        { "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", "ok" },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Forged },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2\r\nok\r\n0\r\n\r\n", "" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", Forged },
        { "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "" },
    };

    [Theory, MemberData(nameof(Tails))]
    public async Task What_follows_an_answer_is_never_the_next_request_s(string answer, string tail)
    {
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync(connection.Number == 1 ? answer + tail : "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal");
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(Get);
        await client.ReadResponseAsync();
        await client.SendAsync(Second);
        Assert.Equal("real", (await client.ReadResponseAsync()).Body);
    }

    [Fact]
    public async Task What_follows_an_answer_that_fills_a_buffer_to_its_end_is_never_the_next_request_s()
    {
        const int Buffer = 16 * 1024;
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            if (connection.Number == 1)
            {
                string head = $"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Filler: ";
                head += new string('x', Buffer - head.Length - 4) + "\r\n\r\n";
                // Two TLS records; the second one has the end of the answer and what is behind it.
                await connection.SendAsync(head[..10_000]);
                await connection.SendAsync(head[10_000..] + Forged);
            }
            else await connection.SendAsync("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal");

            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(Get);
        await client.ReadResponseAsync();
        await client.SendAsync(Second);
        Assert.Equal("real", (await client.ReadResponseAsync()).Body);
    }

    [Fact]
    public async Task A_connection_whose_answer_fills_a_buffer_to_its_end_is_kept_where_nothing_follows()
    {
        const int Buffer = 16 * 1024;
        await using WireService service = WireService.Start(Host, async connection =>
        {
            for (int i = 0; i < 3; i++)
            {
                string head = await connection.ReadHeadAsync();
                await connection.SendAsync($"HTTP/1.1 200 OK\r\nContent-Length: {Buffer}\r\n\r\n");
                await connection.SendAsync(head.Split(' ')[1].PadRight(Buffer));
            }

            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        foreach (string path in (string[])["/a", "/b", "/c"])
        {
            await client.SendAsync($"GET {path} HTTP/1.1\r\nHost: {Host}\r\n\r\n");
            Assert.Equal(path, (await client.ReadResponseAsync()).Body.TrimEnd());
        }

        Assert.Single(service.Connections);
    }

    [Theory]
    [InlineData(Second)]
    [InlineData($"POST /second HTTP/1.1\r\nHost: {Host}\r\nContent-Length: 4\r\n\r\nbody")]
    [InlineData($"POST /second HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")]
    public async Task A_connection_that_the_service_has_closed_meanwhile_is_replaced(string request)
    {
        TaskCompletionSource closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), async (head, stream) =>
        {
            await stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"u8.ToArray());
            if (!head.StartsWith("GET /first", StringComparison.Ordinal)) return;
            await stream.DisposeAsync();
            closed.SetResult();
        });
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(Get);
        (await client.ReadResponseAsync()).AssertOk();
        await closed.Task;
        await client.SendAsync(request);
        (await client.ReadResponseAsync()).AssertOk();
        Assert.Equal(2, service.Requests.Count);
        Assert.Equal(2, service.Connections);
    }

    public static TheoryData<string, bool> Repeats => new()
    {
        { $"GET /second HTTP/1.1\r\nHost: {Host}\r\n\r\n", true },
        { $"HEAD /second HTTP/1.1\r\nHost: {Host}\r\n\r\n", true },
        { $"OPTIONS /second HTTP/1.1\r\nHost: {Host}\r\n\r\n", true },
        { $"DELETE /second HTTP/1.1\r\nHost: {Host}\r\n\r\n", true },
        { $"PUT /second HTTP/1.1\r\nHost: {Host}\r\nContent-Length: 0\r\n\r\n", true },
        { $"POST /second HTTP/1.1\r\nHost: {Host}\r\nContent-Length: 0\r\n\r\n", false },
        { $"POST /second HTTP/1.1\r\nHost: {Host}\r\n\r\n", false },
        { $"PATCH /second HTTP/1.1\r\nHost: {Host}\r\nContent-Length: 0\r\n\r\n", false },
        { $"CHARGE /second HTTP/1.1\r\nHost: {Host}\r\n\r\n", false },
        { $"PUT /second HTTP/1.1\r\nHost: {Host}\r\nContent-Length: 4\r\n\r\nbody", false },
        { $"POST /second HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false },
    };

    [Theory, MemberData(nameof(Repeats))]
    public async Task A_request_that_the_service_may_have_acted_on_is_sent_again_only_where_that_changes_nothing(string request, bool repeats)
    {
        List<string> heads = [];
        await using WireService service = WireService.Start(Host, async connection =>
        {
            if (connection.Number == 1)
            {
                await connection.ReadHeadAsync();
                await connection.SendAsync("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                heads.Add(await connection.ReadHeadAsync());
                return;
            }

            heads.Add(await connection.ReadHeadAsync());
            await connection.SendAsync("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(Get);
        (await client.ReadResponseAsync()).AssertOk();
        await client.SendAsync(request);
        RawResponse response = await client.ReadResponseAsync();
        if (repeats) response.AssertOk();
        else response.AssertRefused(502, "upstream_unreachable");
        Assert.Equal(repeats ? 2 : 1, heads.Count);
    }

    [Fact]
    public async Task A_request_is_not_sent_a_third_time()
    {
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            if (connection.Number > 1) return;
            await connection.SendAsync("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            await connection.ReadHeadAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(Get);
        (await client.ReadResponseAsync()).AssertOk();
        await client.SendAsync(Second);
        (await client.ReadResponseAsync()).AssertRefused(502, "upstream_unreachable");
        Assert.Equal(2, service.Connections.Count);
    }

    [Fact]
    public async Task An_answer_ahead_of_the_request_s_end_leaves_no_connection_for_another_request()
    {
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal");
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service);
        await using (RawClient client = await sidecar.OpenTlsAsync(Host))
        {
            await client.SendAsync($"POST / HTTP/1.1\r\nHost: {Host}\r\nContent-Length: {Second.Length}\r\n\r\n");
            Assert.Equal("real", (await client.ReadResponseAsync()).Body);
            await client.SendAsync(Second[..^1]);
            Assert.Equal("", await client.ReadToEndAsync());
        }

        Assert.Equal("real", (await sidecar.ExchangeAsync(Host, Second)).Body);
        Assert.Equal(2, service.Connections.Count);
    }

    [Fact]
    public async Task Requests_that_come_at_once_are_judged_one_by_one_and_answered_in_order()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), (request, stream) =>
        {
            string body = request.Split(' ')[1];
            return stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\nContent-Length: {body.Length}\r\n\r\n{body}")).AsTask();
        });
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        string standIn = sidecar.StandIn("KEY");
        await client.SendAsync(Get
            + $"GET /other HTTP/1.1\r\nHost: other.test\r\nAuthorization: Bearer {standIn}\r\n\r\n"
            + $"POST /body HTTP/1.1\r\nHost: {Host}\r\nContent-Length: {Second.Length}\r\n\r\n{Second}"
            + $"GET /misplaced HTTP/1.1\r\nHost: {Host}\r\nX-Key: {standIn}\r\n\r\n"
            + $"GET /swapped HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {standIn}\r\n\r\n");
        Assert.Equal("/first", (await client.ReadResponseAsync()).Body);
        (await client.ReadResponseAsync()).AssertRefused(421, "authority_mismatch");
        Assert.Equal("/body", (await client.ReadResponseAsync()).Body);
        (await client.ReadResponseAsync()).AssertRefused(403, "credential_misplaced");
        Assert.Equal("/swapped", (await client.ReadResponseAsync()).Body);
        Assert.Equal(["/first", "/body", "/swapped"], service.Requests.Select(request => request.Split(' ')[1]));
        Assert.Equal([null, null, "Bearer real-credential-0123456789"], service.Requests.Select(request => RawService.Field(request, "Authorization")));
        Assert.Equal(1, service.Connections);
    }

    private static Task<TestSidecar> StartAsync(WireService service) => StartAsync(service.Address);

    private static Task<TestSidecar> StartAsync(System.Net.IPEndPoint service) =>
        TestSidecar.StartAsync(new Setup().Pin(service, Host).Bearer("KEY", "real-credential-0123456789", Host));
}
