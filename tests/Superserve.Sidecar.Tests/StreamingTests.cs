using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Microsoft.AspNetCore.Http;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>What a plain request does not show: long bodies, trailers, upgrades, half-closed connections.</summary>
public sealed class StreamingTests
{
    private const string Host = "api.service.test";
    private const string Credential = "real-credential-0123456789";
    private const int Megabyte = 1024 * 1024;

    public static TheoryData<string> Versions => new() { "1.1", "2.0" };

    private static Setup Bearer(TestService service) => new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host);

    [Theory, MemberData(nameof(Versions))]
    public async Task A_body_of_50_MB_streams_both_ways_without_being_kept(string version)
    {
        const int Length = 50 * Megabyte;
        await using TestService service = await TestService.StartAsync(Host);
        service.ReadsBody = false;
        service.Answer = async (context, _) =>
        {
            byte[] received = new byte[256 * 1024];
            long at = 0;
            for (int read; (read = await context.Request.Body.ReadAsync(received)) > 0; at += read)
                for (int i = 0; i < read; i++)
                    if (received[i] != PatternContent.At(at + i)) context.Abort();
            await new PatternContent((int)at).CopyToAsync(context.Response.Body);
        };
        await using TestSidecar sidecar = await TestSidecar.StartAsync(Bearer(service));
        using HttpClient client = sidecar.Client(Version.Parse(version));
        using HttpRequestMessage request = new(HttpMethod.Post, $"https://{Host}/") { Content = new PatternContent(Length) };
        request.Headers.Authorization = new("Bearer", sidecar.StandIn("KEY"));
        using HttpResponseMessage response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);

        await using Stream body = await response.Content.ReadAsStreamAsync();
        byte[] buffer = new byte[256 * 1024];
        long total = 0;
        long before = GC.GetTotalMemory(forceFullCollection: true);
        for (int read; (read = await body.ReadAsync(buffer)) > 0; total += read)
        {
            for (int i = 0; i < read; i++)
                if (buffer[i] != PatternContent.At(total + i)) Assert.Fail($"byte {total + i} differs");
            if (total / (10 * Megabyte) == (total + read) / (10 * Megabyte)) continue;
            // What is alive, here and in the tests beside this one.
            long kept = GC.GetTotalMemory(forceFullCollection: true) - before;
            Assert.True(kept < 25 * Megabyte, $"{kept} bytes are kept");
        }

        Assert.Equal(Length, total);
        System.Text.Json.JsonElement line = await sidecar.RequestEventAsync();
        Assert.Equal(Length.ToString(), line.Text("bytesSent"));
        Assert.Equal(Length.ToString(), line.Text("bytesReceived"));
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task The_service_gets_the_first_byte_before_the_client_sends_the_last_and_answers_likewise(string version)
    {
        await using TestService service = await TestService.StartAsync(Host);
        service.ReadsBody = false;
        TaskCompletionSource<string> first = new(TaskCreationOptions.RunContinuationsAsynchronously);
        TaskCompletionSource answered = new(TaskCreationOptions.RunContinuationsAsynchronously);
        service.Answer = async (context, _) =>
        {
            byte[] buffer = new byte[5];
            await context.Request.Body.ReadExactlyAsync(buffer);
            first.SetResult(Encoding.ASCII.GetString(buffer));
            while (await context.Request.Body.ReadAsync(buffer) > 0)
            {
            }

            await context.Response.WriteAsync("begin");
            await context.Response.Body.FlushAsync();
            await answered.Task;
            await context.Response.WriteAsync(" end");
        };
        await using TestSidecar sidecar = await TestSidecar.StartAsync(Bearer(service));
        TaskCompletionSource more = new(TaskCreationOptions.RunContinuationsAsynchronously);
        using HttpRequestMessage request = new(HttpMethod.Post, $"https://{Host}/")
        {
            Content = new WritingContent(async stream =>
            {
                // Of HTTP/1.1 chunks, the last few kilobytes wait for those that follow.
                await stream.WriteAsync(Encoding.ASCII.GetBytes("first".PadRight(16 * 1024)));
                await stream.FlushAsync();
                await more.Task;
                await stream.WriteAsync("last"u8.ToArray());
            }),
        };
        request.Headers.Authorization = new("Bearer", sidecar.StandIn("KEY"));
        Task<HttpResponseMessage> sending = sidecar.Client(Version.Parse(version)).SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal("first", await first.Task.WaitAsync(TimeSpan.FromSeconds(20), TimeProvider.System));
        more.SetResult();
        using HttpResponseMessage response = await sending;
        await using Stream body = await response.Content.ReadAsStreamAsync();
        byte[] begin = new byte[5];
        await body.ReadExactlyAsync(begin);
        Assert.Equal("begin", Encoding.ASCII.GetString(begin));
        answered.SetResult();
        using StreamReader rest = new(body);
        Assert.Equal(" end", await rest.ReadToEndAsync());
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task Server_sent_events_arrive_one_by_one(string version)
    {
        await using TestService service = await TestService.StartAsync(Host);
        using SemaphoreSlim next = new(0);
        service.Answer = async (context, _) =>
        {
            context.Response.ContentType = "text/event-stream";
            for (int i = 0; i < 3; i++)
            {
                await context.Response.WriteAsync($"data: {i}\n\n");
                await context.Response.Body.FlushAsync();
                await next.WaitAsync();
            }
        };
        await using TestSidecar sidecar = await TestSidecar.StartAsync(Bearer(service));
        using HttpRequestMessage request = new(HttpMethod.Get, $"https://{Host}/");
        request.Headers.Authorization = new("Bearer", sidecar.StandIn("KEY"));
        using HttpResponseMessage response = await sidecar.Client(Version.Parse(version)).SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        using StreamReader reader = new(await response.Content.ReadAsStreamAsync());
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal($"data: {i}", await reader.ReadLineAsync());
            Assert.Equal("", await reader.ReadLineAsync());
            next.Release();
        }

        Assert.Null(await reader.ReadLineAsync());
    }

    [Fact]
    public async Task Trailers_of_the_service_reach_the_client_as_gRPC_needs_them()
    {
        await using TestService service = await TestService.StartAsync(Host);
        service.Answer = async (context, _) =>
        {
            await context.Response.WriteAsync("body");
            context.Response.AppendTrailer("grpc-status", "0");
        };
        await using TestSidecar sidecar = await TestSidecar.StartAsync(Bearer(service));
        using HttpRequestMessage request = new(HttpMethod.Post, $"https://{Host}/") { Content = new ByteArrayContent([1]) };
        request.Headers.Authorization = new("Bearer", sidecar.StandIn("KEY"));
        request.Headers.TE.ParseAdd("trailers");
        using HttpResponseMessage response = await sidecar.Client(HttpVersion.Version20).SendAsync(request);
        Assert.Equal("body", await response.Content.ReadAsStringAsync());
        Assert.Equal("0", Assert.Single(response.TrailingHeaders.GetValues("grpc-status")));
        Assert.Equal("trailers", service.Single()["TE"]);
    }

    [Fact]
    public async Task An_HTTP_1_1_answer_in_chunks_keeps_its_body_where_trailers_follow()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n");
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        RawResponse response = await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
        Assert.Equal((200, "abc"), (response.Status, response.Body));
    }

    [Theory]
    [InlineData("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n", 200)]
    [InlineData("GET", "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", 204)]
    [InlineData("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", 304)]
    public async Task An_answer_without_a_body_leaves_the_connection_good_for_the_next_request(string method, string answer, int status)
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), answer);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        foreach (string token in (string[])[sidecar.StandIn("KEY"), "none"])
        {
            await client.SendAsync($"{method} / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {token}\r\n\r\n");
            RawResponse response = await client.ReadResponseAsync(hasBody: false);
            Assert.Equal(status, response.Status);
            if (method == "HEAD") Assert.Equal("1234", response["Content-Length"]);
        }

        Assert.Equal(2, service.Requests.Count);
    }

    [Fact]
    public async Task A_range_passes_as_the_service_answers_it()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\n\r\ncde");
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        RawResponse response = await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nRange: bytes=2-4\r\n\r\n");
        Assert.Equal(206, response.Status);
        Assert.Equal("bytes 2-4/10", response["Content-Range"]);
        Assert.Equal("cde", response.Body);
        Assert.Equal("bytes=2-4", RawService.Field(service.Requests[0], "Range"));
    }

    [Fact]
    public async Task Expect_100_continue_is_answered_before_the_body_is_sent()
    {
        await using TestService service = await TestService.StartAsync(Host);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(Bearer(service));
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync($"POST / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        Assert.Equal(100, (await client.ReadResponseAsync()).Status);
        await client.SendAsync("body");
        (await client.ReadResponseAsync()).AssertOk();
        Assert.Equal("body", service.Single().BodyText);
        Assert.Equal("Bearer " + Credential, service.Single()["Authorization"]);
    }

    [Fact]
    public async Task A_WebSocket_carries_the_credential_in_its_handshake_and_bytes_both_ways()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), async (request, stream) =>
        {
            string accept = Convert.ToBase64String(SHA1.HashData(Encoding.ASCII.GetBytes(RawService.Field(request, "Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
            await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"));
            using WebSocket socket = WebSocket.CreateFromStream(stream, new WebSocketCreationOptions { IsServer = true });
            byte[] buffer = new byte[1024];
            while (await socket.ReceiveAsync(buffer, CancellationToken.None) is { MessageType: not WebSocketMessageType.Close } message)
                await socket.SendAsync(buffer.AsMemory(0, message.Count), message.MessageType, true, CancellationToken.None);
            await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, "bye", CancellationToken.None);
        });
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        using ClientWebSocket client = new();
        client.Options.Proxy = new WebProxy($"http://{sidecar.Proxy}");
        client.Options.SetRequestHeader("Authorization", "Bearer " + sidecar.StandIn("KEY"));
        client.Options.RemoteCertificateValidationCallback = (_, certificate, _, _) =>
            certificate is X509Certificate2 leaf && leaf.IssuerName.RawData.AsSpan().SequenceEqual(sidecar.Authority.SubjectName.RawData);
        await client.ConnectAsync(new Uri($"wss://{Host}/socket"), CancellationToken.None);
        await client.SendAsync("hello"u8.ToArray(), WebSocketMessageType.Text, true, CancellationToken.None);
        byte[] buffer = new byte[1024];
        WebSocketReceiveResult result = await client.ReceiveAsync(buffer, CancellationToken.None);
        Assert.Equal("hello", Encoding.ASCII.GetString(buffer, 0, result.Count));
        await client.CloseAsync(WebSocketCloseStatus.NormalClosure, "done", CancellationToken.None);
        Assert.Equal("Bearer " + Credential, RawService.Field(Assert.Single(service.Requests), "Authorization"));
        Assert.Equal("101", (await sidecar.RequestEventAsync()).Text("status"));
    }

    [Theory]
    [InlineData("after the tunnel is there")]
    [InlineData("at once")]
    public async Task A_tunnel_whose_client_has_ended_still_brings_the_answer(string ends)
    {
        const string Other = "other.service.test";
        await using RawService service = RawService.StartPlain();
        using TcpListener listener = new(IPAddress.Loopback, FreePort.Next());
        listener.Start();
        Task<string> serving = Task.Run(async () =>
        {
            using Socket socket = await listener.AcceptSocketAsync();
            await using NetworkStream stream = new(socket);
            string all = await new ByteReader(stream).ReadToEndAsync();
            await stream.WriteAsync(Encoding.ASCII.GetBytes("the answer to " + all));
            return all;
        });
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin((IPEndPoint)listener.LocalEndpoint, Other));
        await using RawClient client = await sidecar.OpenAsync();
        if (ends == "at once")
        {
            await client.SendAsync($"CONNECT {Other}:7000 HTTP/1.1\r\n\r\n\u0001\u0002opaque");
            client.EndSending();
            Assert.StartsWith("HTTP/1.1 200", await client.ReadHeadAsync(), StringComparison.Ordinal);
        }
        else
        {
            await client.ConnectAsync($"{Other}:7000");
            await client.SendAsync("\u0001\u0002opaque");
            client.EndSending();
        }

        Assert.Equal("the answer to \u0001\u0002opaque", await client.ReadToEndAsync());
        Assert.Equal("\u0001\u0002opaque", await serving);
        System.Text.Json.JsonElement line = await sidecar.ConnectionEventAsync("allowed");
        Assert.Equal(("tunnelled", "8", "22"), (line.Text("handling"), line.Text("bytesSent"), line.Text("bytesReceived")));
    }

    [Fact]
    public async Task A_service_that_speaks_first_is_heard_through_the_tunnel()
    {
        const string Other = "mail.service.test";
        using TcpListener listener = new(IPAddress.Loopback, FreePort.Next());
        listener.Start();
        _ = Task.Run(async () =>
        {
            using Socket socket = await listener.AcceptSocketAsync();
            await socket.SendAsync("220 hello\r\n"u8.ToArray());
            byte[] buffer = new byte[64];
            int length = await socket.ReceiveAsync(buffer);
            await socket.SendAsync(buffer.AsMemory(0, length));
        });
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin((IPEndPoint)listener.LocalEndpoint, Other).With("interception", "\"All\""));
        await using RawClient client = await sidecar.OpenAsync();
        await client.ConnectAsync($"{Other}:25");
        Assert.Equal("220 hello\r\n", await client.ReadAsync(11));
        await client.SendAsync("EHLO me\r\n");
        Assert.Equal("EHLO me\r\n", await client.ReadAsync(9));
    }

    [Fact]
    public async Task TLS_to_a_host_without_a_secret_is_tunnelled_with_the_service_s_own_certificate()
    {
        const string Other = "other.service.test";
        await using TestService service = await TestService.StartAsync(Other);
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Other, Host).Bearer("KEY", Credential, Host));
        await using RawClient client = await sidecar.OpenAsync();
        await client.ConnectAsync($"{Other}:443");
        using SslStream tls = new(client.Stream, leaveInnerStreamOpen: true);
        string issuer = "";
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = Other,
            RemoteCertificateValidationCallback = (_, certificate, _, _) => (issuer = certificate!.Issuer) == "CN=Test root",
        });
        Assert.Equal("CN=Test root", issuer);
    }

    private sealed class WritingContent(Func<Stream, Task> write) : HttpContent
    {
        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => write(stream);

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }

    /// <summary>Bytes that tell their place.</summary>
    private sealed class PatternContent(int length) : HttpContent
    {
        public static byte At(long index) => (byte)((index * 31) ^ (index >> 10));

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            byte[] buffer = new byte[Megabyte];
            for (int sent = 0; sent < length; sent += buffer.Length)
            {
                for (int i = 0; i < buffer.Length; i++) buffer[i] = At(sent + i);
                await stream.WriteAsync(buffer);
            }
        }

        protected override bool TryComputeLength(out long computed)
        {
            computed = length;
            return true;
        }
    }
}
