using System.IO.Compression;
using System.Text;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>How the client knows where an answer ends; and that it never takes a part for the whole.</summary>
public sealed class AnswerFramingTests
{
    private const string Host = "api.service.test";
    private const string Credential = "real-credential-0123456789";

    public static TheoryData<string, string> Bodies => new()
    {
        { "Content-Length: 11", "hello world" },
        { "Transfer-Encoding: chunked", "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n" },
        { "Transfer-Encoding: Chunked", "00b\r\nhello world\r\n000\r\nX-Trailer: 1\r\n\r\n" },
        { "Transfer-Encoding: chunked\r\nContent-Length: 3", "b\r\nhello world\r\n0\r\n\r\n" },
        { "X-Length: none", "hello world" },
    };

    [Theory, MemberData(nameof(Bodies))]
    public async Task An_answer_that_comes_byte_by_byte_arrives_whole(string framing, string body)
    {
        foreach (bool swaps in (bool[])[true, false])
        {
            await using RawService service = RawService.Start(TestAuthority.Issue(Host), async (_, stream) =>
            {
                foreach (char c in $"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}") await stream.WriteAsync(Encoding.Latin1.GetBytes([c]));
                if (framing.StartsWith('X')) await stream.DisposeAsync();
            });
            await using TestSidecar sidecar = await StartAsync(service.Address);
            RawResponse response = await sidecar.ExchangeAsync(Host, Get(sidecar, swaps));
            Assert.Equal((200, "hello world"), (response.Status, response.Body));
            Assert.False(response["Content-Length"] is not null && response["Transfer-Encoding"] is not null);
        }
    }

    [Theory, MemberData(nameof(Bodies))]
    public async Task A_client_of_HTTP_1_0_gets_no_chunks_and_the_end_of_the_connection(string framing, string body)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), async (_, stream) =>
        {
            await stream.WriteAsync(Encoding.Latin1.GetBytes($"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}"));
            if (framing.StartsWith('X')) await stream.DisposeAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service.Address);
        foreach (bool swaps in (bool[])[true, false])
        {
            await using RawClient client = await sidecar.OpenTlsAsync(Host);
            await client.SendAsync(Get(sidecar, swaps).Replace("HTTP/1.1", "HTTP/1.0", StringComparison.Ordinal));
            string all = await client.ReadToEndAsync();
            Assert.EndsWith("\r\n\r\nhello world", all, StringComparison.Ordinal);
            Assert.DoesNotContain("Transfer-Encoding", all, StringComparison.OrdinalIgnoreCase);
            Assert.Contains("\r\nConnection: close\r\n", all, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_length_is_kept_where_nothing_is_looked_for()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nContent-Encoding: gzip\r\n\r\nhello world");
        await using TestSidecar sidecar = await StartAsync(service.Address);
        RawResponse response = await sidecar.ExchangeAsync(Host, Get(sidecar, swaps: false));
        Assert.Equal(("11", null, "gzip", "hello world"), (response["Content-Length"], response["Transfer-Encoding"], response["Content-Encoding"], response.Body));
    }

    [Theory]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "2", 1)]
    [InlineData("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", null, 0)]
    [InlineData("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", "99", 1)]
    [InlineData("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", null, 0)]
    public async Task A_length_is_said_once_and_only_where_it_may_be(string answer, string? length, int times)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), answer);
        await using TestSidecar sidecar = await StartAsync(service.Address);
        RawResponse response = await sidecar.ExchangeAsync(Host, Get(sidecar, swaps: false));
        Assert.Equal(length, response["Content-Length"]);
        Assert.Equal(times, response.Head.Split("Content-Length").Length - 1);
        Assert.Null(response["Transfer-Encoding"]);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Trailers_reach_the_client_scrubbed_and_without_those_that_belong_into_a_head(bool swaps)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host),
            $"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-Own\r\n\r\n2\r\nok\r\n0\r\nX-Sum: {Credential}\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b\r\nHost: x\r\nX-Own: 1\r\nX-Superserve-Proxy-Error: true\r\nX-{Credential}: 1\r\n\r\n");
        await using TestSidecar sidecar = await StartAsync(service.Address);
        RawResponse response = await sidecar.ExchangeAsync(Host, Get(sidecar, swaps));
        Assert.Equal("ok", response.Body);
        Assert.Equal(swaps ? $"X-Sum: {sidecar.StandIn("KEY")}\r\n\r\n" : $"X-Sum: {Credential}\r\nX-{Credential}: 1\r\n\r\n", response.Trailers);
    }

    [Fact]
    public async Task Fields_that_Connection_names_beside_close_stay_on_their_hop_both_ways()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), "HTTP/1.1 200 OK\r\nConnection: close, X-Name\r\nX-Name: 1\r\nX-Kept: 2\r\nContent-Length: 2\r\n\r\nok");
        await using TestSidecar sidecar = await StartAsync(service.Address);
        RawResponse response = await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nConnection: close, X-Name\r\nX-Name: 1\r\nX-Kept: 2\r\n\r\n");
        response.AssertOk();
        foreach (string head in (string[])[response.Head, Assert.Single(service.Requests)])
        {
            Assert.Null(RawService.Field(head, "X-Name"));
            Assert.Equal("2", RawService.Field(head, "X-Kept"));
        }
    }

    public static TheoryData<string> Malformed => new()
    {
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\nX: y\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX-A: b\rc\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX-A: b\r\n folded\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
        "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
        "ICY 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "\r\n\r\nok",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 200 OK\r\n" + string.Concat(Enumerable.Range(0, 201).Select(i => $"X-{i}: y\r\n")) + "Content-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX-A: " + new string('x', 140_000) + "\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
    };

    [Theory, MemberData(nameof(Malformed))]
    public async Task A_malformed_answer_is_answered_with_502_and_the_connection_is_good_for_the_next_request(string answer)
    {
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync(connection.Number == 1 ? answer : "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal");
        });
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(Get(sidecar, swaps: false));
        (await client.ReadResponseAsync()).AssertRefused(502, "upstream_unreachable");
        await client.SendAsync(Get(sidecar, swaps: true));
        Assert.Equal("real", (await client.ReadResponseAsync()).Body);
    }

    public static TheoryData<string> Cut => new()
    {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX-A: b\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfX\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\nhalf\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nhalf\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX-A: " + new string('x', 40_000) + "\r\n\r\n",
    };

    [Theory, MemberData(nameof(Cut))]
    public async Task A_part_of_an_answer_is_never_ended_as_if_it_were_the_whole(string answer)
    {
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync(answer);
        });
        await using TestSidecar sidecar = await StartAsync(service.Address);
        foreach (bool swaps in (bool[])[true, false])
        {
            await using RawClient client = await sidecar.OpenTlsAsync(Host);
            await client.SendAsync(Get(sidecar, swaps));
            string head = await client.ReadHeadOrEndAsync(), body = await client.ReadToEndAsync();
            // Cut off with a reset, or ended early: either way it is not the end that the head promised.
            Assert.DoesNotContain("0\r\n\r\n", body, StringComparison.Ordinal);
            if (RawService.Field(head, "Content-Length") is { } length) Assert.True(body.Length < int.Parse(length));
            else Assert.True(head.Length == 0 || RawService.Field(head, "Transfer-Encoding") == "chunked");
        }

        Assert.Equal("aborted", (await sidecar.EventAsync("request", line => line.Text("error") == "aborted")).Text("error"));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    [InlineData(30)]
    public async Task A_compressed_answer_that_is_broken_is_cut_off(int good)
    {
        using MemoryStream bytes = new();
        using (GZipStream zip = new(bytes, CompressionLevel.NoCompression, leaveOpen: true)) zip.Write(new byte[100]);
        byte[] body = bytes.ToArray();
        body.AsSpan(good).Fill(0xee);
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync($"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {body.Length}\r\n\r\n{Encoding.Latin1.GetString(body)}");
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(Get(sidecar, swaps: true));
        await client.ReadHeadOrEndAsync();
        Assert.DoesNotContain("0\r\n\r\n", await client.ReadToEndAsync(), StringComparison.Ordinal);
        await sidecar.RequestEventAsync("aborted");
    }

    [Fact]
    public async Task A_compressed_answer_that_ends_early_is_cut_off()
    {
        using MemoryStream bytes = new();
        using (GZipStream zip = new(bytes, CompressionLevel.NoCompression, leaveOpen: true)) zip.Write(new byte[100]);
        byte[] body = bytes.ToArray()[..60];
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync($"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {body.Length}\r\n\r\n{Encoding.Latin1.GetString(body)}");
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service.Address);
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync(Get(sidecar, swaps: true));
        await client.ReadHeadOrEndAsync();
        Assert.DoesNotContain("0\r\n\r\n", await client.ReadToEndAsync(), StringComparison.Ordinal);
        await sidecar.RequestEventAsync("aborted");
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("deflate")]
    [InlineData("br")]
    public async Task An_empty_answer_that_is_said_to_be_compressed_is_empty(string encoding)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), $"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: 0\r\n\r\n");
        await using TestSidecar sidecar = await StartAsync(service.Address);
        RawResponse response = await sidecar.ExchangeAsync(Host, Get(sidecar, swaps: true));
        Assert.Equal((200, ""), (response.Status, response.Body));
    }

    [Fact]
    public async Task A_compressed_answer_of_one_byte_at_a_time_is_decoded()
    {
        using MemoryStream bytes = new();
        using (GZipStream zip = new(bytes, CompressionLevel.Optimal, leaveOpen: true)) zip.Write(Encoding.ASCII.GetBytes($"you sent {Credential}"));
        byte[] body = bytes.ToArray();
        await using WireService service = WireService.Start(Host, async connection =>
        {
            await connection.ReadHeadAsync();
            await connection.SendAsync("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\nETag: \"1\"\r\n\r\n");
            foreach (byte b in body) await connection.SendAsync($"1\r\n{(char)b}\r\n");
            await connection.SendAsync("0\r\nX-Sum: 1\r\n\r\n");
            await connection.ReadToEndAsync();
        });
        await using TestSidecar sidecar = await StartAsync(service.Address);
        RawResponse response = await sidecar.ExchangeAsync(Host, Get(sidecar, swaps: true));
        Assert.Equal($"you sent {sidecar.StandIn("KEY")}", response.Body);
        Assert.Null(response["Content-Encoding"]);
        Assert.Equal("X-Sum: 1\r\n\r\n", response.Trailers);
    }

    private static string Get(TestSidecar sidecar, bool swaps) => $"GET / HTTP/1.1\r\nHost: {Host}\r\n{(swaps ? $"Authorization: Bearer {sidecar.StandIn("KEY")}\r\n" : "")}\r\n";

    private static Task<TestSidecar> StartAsync(System.Net.IPEndPoint service) => TestSidecar.StartAsync(new Setup().Pin(service, Host).Bearer("KEY", Credential, Host));
}
