using System.IO.Compression;
using System.Net;
using System.Text;
using Microsoft.AspNetCore.Http;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>A service that echoes the credential: the sandbox gets its stand-in back.</summary>
public sealed class ScrubbingTests
{
    private const string Host = "api.service.test";
    private const string Credential = "real+credential/0123456789";

    public static TheoryData<string> Versions => new() { "1.1", "2.0" };

    private static async Task<(HttpResponseMessage Response, string Body, string StandIn)> SendAsync(string version, TestService.AnswerDelegate answer, bool withStandIn = true, string secret = "")
    {
        await using TestService service = await TestService.StartAsync(Host);
        service.Answer = answer;
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Secret("KEY", Credential, $$$"""{"hosts": ["{{{Host}}}"], {{{secret}}} "auth": {"type": "bearer"}}"""));
        using HttpRequestMessage request = new(HttpMethod.Get, $"https://{Host}/");
        request.Headers.Authorization = new("Bearer", withStandIn ? sidecar.StandIn("KEY") : "none");
        HttpResponseMessage response = await sidecar.Client(Version.Parse(version)).SendAsync(request);
        return (response, await response.Content.ReadAsStringAsync(), sidecar.StandIn("KEY"));
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task In_headers(string version)
    {
        (HttpResponseMessage response, _, string standIn) = await SendAsync(version, (context, request) =>
        {
            context.Response.Headers["X-Request-Id"] = request["Authorization"];
            context.Response.Headers["X-Encoded"] = Uri.EscapeDataString(Credential);
            context.Response.Headers["X-Base64"] = Convert.ToBase64String(Encoding.ASCII.GetBytes("user:" + Credential));
            context.Response.Headers.Location = $"https://elsewhere.test/?key={Uri.EscapeDataString(Credential)}";
            context.Response.StatusCode = 302;
            return Task.CompletedTask;
        });
        Assert.Equal("Bearer " + standIn, response.Headers.GetValues("X-Request-Id").Single());
        Assert.Equal(standIn, Uri.UnescapeDataString(response.Headers.GetValues("X-Encoded").Single()));
        Assert.Contains(standIn, Encoding.ASCII.GetString(Convert.FromBase64String(response.Headers.GetValues("X-Base64").Single())), StringComparison.Ordinal);
        Assert.Equal($"https://elsewhere.test/?key={standIn}", response.Headers.GetValues("Location").Single());
        Assert.Equal(HttpStatusCode.Found, response.StatusCode);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task In_a_JSON_body_with_a_length_that_is_right(string version)
    {
        (HttpResponseMessage response, string body, string standIn) = await SendAsync(version, (context, request) =>
        {
            byte[] bytes = Encoding.UTF8.GetBytes($$"""{"raw": "{{Credential}}", "escaped": "{{Credential.Replace("/", "\\/", StringComparison.Ordinal)}}", "base64": "{{Convert.ToBase64String(Encoding.ASCII.GetBytes(Credential))}}"}""");
            context.Response.ContentLength = bytes.Length;
            return context.Response.Body.WriteAsync(bytes).AsTask();
        });
        Assert.Equal($$"""{"raw": "{{standIn}}", "escaped": "{{standIn}}", "base64": "{{Convert.ToBase64String(Encoding.ASCII.GetBytes(standIn))}}"}""", body);
        if (response.Content.Headers.NonValidated.TryGetValues("Content-Length", out var length)) Assert.Equal(body.Length.ToString(), length.ToString());
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task Across_the_borders_of_chunks_byte_by_byte(string version)
    {
        (_, string body, string standIn) = await SendAsync(version, async (context, _) =>
        {
            foreach (char c in $"before {Credential} after {Credential[..^1]}")
            {
                await context.Response.WriteAsync(c.ToString());
                await context.Response.Body.FlushAsync();
            }
        });
        Assert.Equal($"before {standIn} after {Credential[..^1]}", body);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task In_server_sent_events_which_still_come_one_by_one(string version)
    {
        await using TestService service = await TestService.StartAsync(Host);
        using SemaphoreSlim next = new(0);
        service.Answer = async (context, _) =>
        {
            context.Response.ContentType = "text/event-stream";
            for (int i = 0; i < 3; i++)
            {
                await context.Response.WriteAsync($"data: {Credential}\n\n");
                await context.Response.Body.FlushAsync();
                await next.WaitAsync();
            }
        };
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        using HttpRequestMessage request = new(HttpMethod.Get, $"https://{Host}/");
        request.Headers.Authorization = new("Bearer", sidecar.StandIn("KEY"));
        using HttpResponseMessage response = await sidecar.Client(Version.Parse(version)).SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        using StreamReader reader = new(await response.Content.ReadAsStreamAsync());
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal($"data: {sidecar.StandIn("KEY")}", await reader.ReadLineAsync());
            Assert.Equal("", await reader.ReadLineAsync());
            next.Release();
        }

        Assert.Null(await reader.ReadLineAsync());
        await sidecar.MetricAsync("superserve_sidecar_responses_scrubbed", "1");
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("x-gzip")]
    [InlineData("br")]
    [InlineData("deflate")]
    [InlineData("GZIP")]
    public async Task In_a_body_that_is_compressed_although_nobody_asked(string encoding)
    {
        (HttpResponseMessage response, string body, string standIn) = await SendAsync("1.1", async (context, request) =>
        {
            Assert.Equal("identity", request["Accept-Encoding"]);
            context.Response.Headers.ContentEncoding = encoding;
            await using Stream compressed = encoding switch
            {
                "br" => new BrotliStream(context.Response.Body, CompressionLevel.Fastest),
                "deflate" => new ZLibStream(context.Response.Body, CompressionLevel.Fastest),
                _ => new GZipStream(context.Response.Body, CompressionLevel.Fastest),
            };
            await compressed.WriteAsync(Encoding.ASCII.GetBytes($"echo {Credential}"));
        });
        Assert.Equal($"echo {standIn}", body);
        Assert.Empty(response.Content.Headers.ContentEncoding);
    }

    [Theory]
    [InlineData("zstd")]
    [InlineData("gzip, br")]
    [InlineData("compress")]
    [InlineData("aes128gcm")]
    public async Task An_encoding_that_cannot_be_read_is_refused(string encoding)
    {
        (HttpResponseMessage response, _, _) = await SendAsync("1.1", (context, _) =>
        {
            context.Response.Headers.ContentEncoding = encoding;
            return context.Response.WriteAsync(Credential);
        });
        await response.AssertRefusedAsync(502, "upstream_unreachable");
    }

    [Fact]
    public async Task Two_Content_Encoding_fields_do_not_hide_one_another()
    {
        (_, string body, _) = await SendAsync("1.1", (context, _) =>
        {
            context.Response.Headers.ContentEncoding = new(["identity", "gzip"]);
            return context.Response.WriteAsync(Credential);
        });
        Assert.DoesNotContain(Credential, body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task In_trailers()
    {
        (HttpResponseMessage response, _, string standIn) = await SendAsync("2.0", async (context, request) =>
        {
            await context.Response.WriteAsync("body");
            context.Response.AppendTrailer("grpc-message", request["Authorization"]);
        });
        Assert.Equal("Bearer " + standIn, Assert.Single(response.TrailingHeaders.GetValues("grpc-message")));
    }

    [Fact]
    public async Task An_answer_to_a_request_without_a_stand_in_is_left_as_it_is()
    {
        (HttpResponseMessage response, string body, _) = await SendAsync("1.1", (context, _) =>
        {
            context.Response.Headers.ContentLength = Credential.Length;
            context.Response.Headers.SetCookie = "session=1";
            return context.Response.WriteAsync(Credential);
        }, withStandIn: false);
        Assert.Equal(Credential, body);
        Assert.Equal(Credential.Length, response.Content.Headers.ContentLength);
        Assert.Equal("session=1", response.Headers.GetValues("Set-Cookie").Single());
    }

    [Fact]
    public async Task Reason_phrases_do_not_carry_the_credential()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), $"HTTP/1.1 200 {Credential}\r\nContent-Length: 0\r\n\r\n");
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        RawResponse response = await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
        Assert.Equal(200, response.Status);
        Assert.DoesNotContain(Credential, response.Head, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Header_names_do_not_carry_the_credential()
    {
        const string Token = "realcredential0123456789";
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), $"HTTP/1.1 200 OK\r\nX-{Token}: 1\r\n{Token}: 2\r\nContent-Length: 0\r\n\r\n");
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Token, Host));
        RawResponse response = await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\n\r\n");
        Assert.Equal(200, response.Status);
        Assert.DoesNotContain(Token, response.Head, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_interim_answer_does_not_carry_the_credential()
    {
        await using RawService service = RawService.Start(TestAuthority.Issue(Host), $"HTTP/1.1 103 Early Hints\r\nLink: <{Credential}>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        await using TestSidecar sidecar = await TestSidecar.StartAsync(new Setup().Pin(service.Address, Host).Bearer("KEY", Credential, Host));
        await using RawClient client = await sidecar.OpenTlsAsync(Host);
        await client.SendAsync($"GET / HTTP/1.1\r\nHost: {Host}\r\nAuthorization: Bearer {sidecar.StandIn("KEY")}\r\nConnection: close\r\n\r\n");
        string all = await client.ReadToEndAsync();
        Assert.Contains("\r\n\r\n2\r\nok\r\n", all, StringComparison.Ordinal);
        Assert.DoesNotContain(Credential, all, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Versions))]
    public async Task Redirects_pass_untouched_and_are_not_followed(string version)
    {
        int requests = 0;
        (HttpResponseMessage response, string body, _) = await SendAsync(version, (context, _) =>
        {
            requests++;
            context.Response.StatusCode = 307;
            context.Response.Headers.Location = "https://evil.test/%7e?next=1";
            return context.Response.WriteAsync("moved");
        });
        Assert.Equal(HttpStatusCode.TemporaryRedirect, response.StatusCode);
        Assert.Equal("https://evil.test/%7e?next=1", response.Headers.NonValidated["Location"].ToString());
        Assert.Equal(("moved", 1), (body, requests));
    }

    [Theory]
    [InlineData("1.1", "")]
    [InlineData("2.0", "")]
    [InlineData("1.1", "\"allowSetCookie\": true,")]
    public async Task Alt_Svc_and_forged_refusals_never_pass_and_Set_Cookie_only_where_the_secret_says_so(string version, string secret)
    {
        (HttpResponseMessage response, _, _) = await SendAsync(version, (context, _) =>
        {
            context.Response.Headers.AltSvc = "h3=\":443\"";
            context.Response.Headers["X-Superserve-Proxy-Error"] = "true";
            context.Response.Headers["x-superserve-Anything"] = "1";
            context.Response.Headers.SetCookie = "session=1";
            return context.Response.WriteAsync("ok");
        }, secret: secret);
        Assert.False(response.Headers.Contains("Alt-Svc"));
        Assert.DoesNotContain(response.Headers, header => header.Key.StartsWith("X-Superserve", StringComparison.OrdinalIgnoreCase));
        Assert.Equal(secret.Length > 0, response.Headers.Contains("Set-Cookie"));
    }
}
