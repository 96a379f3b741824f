using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>What a service says ahead of its answer, and answers ahead of the request's end.</summary>
public sealed class EarlyAnswerTests
{
    private const string Host = "api.service.test";
    private const string Credential = "real-credential-0123456789";
    private const string Get = $"GET / HTTP/1.1\r\nHost: {Host}\r\n\r\n";
    private const string Ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    [Theory]
    [InlineData("102 Processing")]
    [InlineData("103 Early Hints")]
    [InlineData("199 Anything")]
    public async Task An_interim_answer_reaches_a_client_of_HTTP_1_1_scrubbed(string status)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host),
            $"HTTP/1.1 {status} {Credential}\r\nLink: <{Credential}>\r\nSet-Cookie: a=b\r\nX-Superserve-Proxy-Error: true\r\nConnection: X-Own\r\nX-Own: 1\r\nContent-Length: 5\r\n\r\n{Ok}");
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync($"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
        string head = await client.ReadHeadAsync();
        Assert.StartsWith($"HTTP/1.1 {status[..3]} ", head, StringComparison.Ordinal);
        Assert.Equal($"<{sidecar.StandIn("KEY")}>", RawService.Field(head, "Link"));
        // A length here could be taken for that of a body.
        foreach (string field in (string[])["Set-Cookie", "X-Superserve-Proxy-Error", "Connection", "X-Own", "Content-Length"]) Assert.Null(RawService.Field(head, field));
        (await client.ReadResponseAsync()).AssertOk();
    }

    [Theory]
    [InlineData("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")]
    [InlineData("HTTP/1.1 100 Continue\r\n\r\n")]
    public async Task An_interim_answer_does_not_reach_a_client_of_HTTP_1_0(string interim)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), interim + Ok);
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync($"GET / HTTP/1.0\r\nHost: {Host}\r\nExpect: 100-continue\r\n\r\n");
        (await client.ReadResponseAsync()).AssertOk();
    }

    [Fact]
    public async Task A_100_that_nobody_waits_for_is_left_out()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + Ok);
        await using TestSidecar sidecar = await StartAsync(service.Address);
        (await sidecar.ExchangeAsync(Host, Get)).AssertOk();
    }

    [Fact]
    public async Task Interim_answers_without_end_are_not_passed_on_without_end()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), async (_, stream) =>
        {
            while (true) await stream.WriteAsync("HTTP/1.1 102 Processing\r\n\r\n"u8.ToArray());
        });
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(Get);
        RawResponse response;
        int interim = 0;
        while ((response = await client.ReadResponseAsync()).Status == 102) Assert.True(++interim < 100);
        response.AssertRefused(502, "upstream_unreachable");
    }

    [Fact]
    public async Task The_service_itself_says_100_and_not_the_sidecar()
    {
        TaskCompletionSource go = new(TaskCreationOptions.RunContinuationsAsynchronously), heard = new(TaskCreationOptions.RunContinuationsAsynchronously);
        string body = "";
        await using WireService service = WireService.Start(Host, async connection =>
        {
            Assert.Equal("100-continue", RawService.Field(await connection.ReadHeadAsync(), "Expect"));
            heard.SetResult();
            await go.Task;
            await connection.SendAsync("HTTP/1.1 100 Continue\r\nX-Mine: yes\r\n\r\n");
            body = await connection.ReadAsync(4);
            await connection.SendAsync(Ok);
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync($"POST / HTTP/1.1\r\nHost: {Host}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        await heard.Task.WaitAsync(Patience, TimeProvider.System);
        go.SetResult();
        RawResponse interim = await client.ReadResponseAsync();
        Assert.Equal((100, "yes"), (interim.Status, interim["X-Mine"]));
        await client.SendAsync("body");
        (await client.ReadResponseAsync()).AssertOk();
        Assert.Equal("body", body);
    }

    [Theory]
    [InlineData("401 Unauthorized")]
    [InlineData("417 Expectation Failed")]
    public async Task A_service_that_does_not_want_the_body_is_heard_and_does_not_get_it(string status)
    {
        TaskCompletionSource<string> rest = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync($"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
            rest.SetResult(await connection.ReadSomeAsync());
        });
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync($"POST / HTTP/1.1\r\nHost: {Host}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        RawResponse response = await client.ReadResponseAsync();
        Assert.Equal((status[..3], "no", "close"), (response.Status.ToString(), response.Body, response["Connection"]));
        Assert.Equal("", await client.ReadToEndAsync());
        Assert.Equal("", await rest.Task.WaitAsync(Patience, TimeProvider.System));
    }

    [Theory]
    [InlineData(true, "Content-Length: 3000000")]
    [InlineData(false, "Content-Length: 3000000")]
    [InlineData(true, "Transfer-Encoding: chunked")]
    public async Task An_answer_ahead_of_a_large_body_s_end_is_heard_by_a_client_that_reads_only_when_it_has_sent_everything(bool closes, string framing)
    {
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge");
            // Whether it closes or only stops to read.
            if (!closes) await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, TestContext.Current.CancellationToken);
        });
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync($"POST / HTTP/1.1\r\nHost: {Host}\r\n{framing}\r\n\r\n");
        string part = new('x', 10_000);
        string piece = framing.StartsWith('T') ? $"{part.Length:x}\r\n{part}\r\n" : part;
        try
        {
            for (int i = 0; i < 290; i++) await client.SendAsync(piece).WaitAsync(Patience, TimeProvider.System);
        }
        catch (IOException)
        {
            // Nobody takes it any more, and the answer is there.
        }

        RawResponse response = await client.ReadResponseAsync();
        Assert.Equal((413, "large"), (response.Status, response.Body));
    }

    [Theory]
    [InlineData("Content-Length: 3000000\r\n\r\n", "")]
    [InlineData("Transfer-Encoding: chunked\r\n\r\n", "")]
    [InlineData("Content-Length: 20\r\nExpect: 100-continue\r\n\r\n", "")]
    public async Task A_request_that_is_refused_with_its_body_under_way_is_answered_and_its_connection_closed(string rest, string start)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync($"POST / HTTP/1.1\r\nHost: {Host}\r\nX-Key: {sidecar.StandIn("KEY")}\r\n{rest}{start}");
        // More of it, so that there is something left when the refusal is written.
        await client.SendAsync(new string('x', 100_000));
        RawResponse response = await client.ReadResponseAsync();
        response.AssertRefused(403, "credential_misplaced");
        Assert.Equal("close", response["Connection"]);
        Assert.Equal(0, service.Connections);
    }

    [Theory]
    [InlineData("X-Key: {stand-in}\r\nContent-Length: 8000000", 403)]
    [InlineData("Content-Length: 8000000\r\nContent-Length: 8000000", 400)]
    public async Task A_refusal_is_read_by_a_client_that_reads_only_when_it_has_sent_everything(string fields, int status)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync($"POST / HTTP/1.1\r\nHost: {Host}\r\n{fields.Replace("{stand-in}", sidecar.StandIn("KEY"), StringComparison.Ordinal)}\r\n\r\n");
        string piece = new('x', 100_000);
        for (int i = 0; i < 80; i++) await client.SendAsync(piece).WaitAsync(Patience, TimeProvider.System);
        Assert.Equal(status, (await client.ReadResponseAsync()).Status);
    }

    [Fact]
    public async Task A_request_that_is_refused_ahead_of_a_small_body_leaves_the_connection_good_for_the_next_one()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host));
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync($"POST / HTTP/1.1\r\nHost: {Host}\r\nX-Key: {sidecar.StandIn("KEY")}\r\nContent-Length: {Get.Length}\r\n\r\n");
        RawResponse response = await client.ReadResponseAsync();
        response.AssertRefused(403, "credential_misplaced");
        Assert.Null(response["Connection"]);
        await client.SendAsync(Get + Get.Replace("/ ", "/next ", StringComparison.Ordinal));
        (await client.ReadResponseAsync()).AssertOk();
        Assert.StartsWith("GET /next ", Assert.Single(service.Requests), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_body_that_breaks_its_framing_when_the_service_has_some_of_it_is_a_bad_request_and_no_whole_one()
    {
        TaskCompletionSource<string> received = new(TaskCreationOptions.RunContinuationsAsynchronously);
        TaskCompletionSource heard = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            string body = await connection.ReadAsync(7);
            heard.SetResult();
            try
            {
                while (await connection.ReadSomeAsync() is { Length: > 0 } more) body += more;
            }
            catch (IOException)
            {
                // A broken end is one.
            }

            received.SetResult(body);
        });
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync($"POST / HTTP/1.1\r\nHost: {Host}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
        await heard.Task.WaitAsync(Patience, TimeProvider.System);
        await client.SendAsync("2\r\nabX\r\n0\r\n\r\n");
        RawResponse response = await client.ReadResponseAsync();
        Assert.Equal((400, "application/problem+json"), (response.Status, response["Content-Type"]));
        Assert.DoesNotContain("0\r\n\r\n", await received.Task.WaitAsync(Patience, TimeProvider.System), StringComparison.Ordinal);
    }

    private static Task<TestSidecar> StartAsync(System.Net.IPEndPoint service) => TestSidecar.StartAsync(new Setup().Pin(service, Host).Bearer("KEY", Credential, Host));
}
