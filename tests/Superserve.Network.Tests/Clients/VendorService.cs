using System.Formats.Tar;
using System.IO.Compression;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;
using Superserve.Testing;

namespace Superserve.Network.Tests.Clients;

/// <summary>
/// What services answer to those who send the credential: of the vendors' as much as their packages need, by their public documentation. A
/// stream stops in its midst until another request comes, so that it does not end where anything holds back what came.
/// </summary>
internal sealed class VendorService
{
    private TaskCompletionSource _goesOn = new();

    /// <summary>Answers a request to any of the hosts.</summary>
    public Task AnswerAsync(HttpContext context, ReceivedRequest request)
    {
        Vendor vendor = Vendor.All.Single(vendor => vendor.Host == context.Request.Host.Host);
        if (!vendor.Knows(request)) return JsonAsync(context, """{"error": {"message": "no such key"}}""", StatusCodes.Status401Unauthorized);
        return vendor.Env switch
        {
            "API_TOKEN" => ApiAsync(context),
            "ANTHROPIC_API_KEY" => AnthropicAsync(context),
            "OPENAI_API_KEY" => OpenAIAsync(context),
            "GITHUB_TOKEN" => GitHubAsync(context),
            "STRIPE_SECRET_KEY" => StripeAsync(context),
            "NPM_TOKEN" => NpmAsync(context),
            "INDEX_TOKEN" => IndexAsync(context),
            _ => StorageAsync(context),
        };
    }

    private async Task ApiAsync(HttpContext context)
    {
        HttpResponse response = context.Response;
        switch (context.Request.Path.Value)
        {
            case "/hello":
                await response.WriteAsync("hello");
                break;
            case "/echo":
                byte[] body = await BodyAsync(context);
                response.ContentLength = body.Length;
                await response.Body.WriteAsync(body);
                break;
            case "/events":
                await StreamAsync(context, ["data: one\n\n"], ["data: two\n\n"]);
                break;
            case "/release":
                _goesOn.TrySetResult();
                await response.WriteAsync("released");
                break;
            case "/range":
                string range = context.Request.Headers.Range.ToString();
                response.StatusCode = range == "bytes=2-4" ? StatusCodes.Status206PartialContent : StatusCodes.Status416RangeNotSatisfiable;
                response.Headers.ContentRange = "bytes 2-4/10";
                await response.WriteAsync("cde");
                break;
            case "/too-large":
                // Ahead of the body, which Expect: 100-continue spares.
                response.StatusCode = StatusCodes.Status413PayloadTooLarge;
                break;
            case "/repository/info/refs":
                // Git's older protocol, of files alone.
                await response.WriteAsync(new string('1', 40) + "\trefs/heads/main\n");
                break;
            case "/live":
                await RepeatAsync(await context.WebSockets.AcceptWebSocketAsync());
                break;
            default:
                await GrpcEcho.AnswerAsync(context);
                break;
        }
    }

    private static async Task RepeatAsync(WebSocket socket)
    {
        byte[] buffer = new byte[4096];
        while (await socket.ReceiveAsync(buffer.AsMemory(), CancellationToken.None) is { MessageType: not WebSocketMessageType.Close } piece)
            await socket.SendAsync(buffer.AsMemory(0, piece.Count), piece.MessageType, piece.EndOfMessage, CancellationToken.None);
        await socket.CloseAsync(socket.CloseStatus!.Value, "as you wish", CancellationToken.None);
    }

    // https://platform.claude.com/docs/en/api/messages and …/build-with-claude/streaming
    private async Task AnthropicAsync(HttpContext context)
    {
        if (context.Request.Path == "/v1/models")
        {
            _goesOn.TrySetResult();
            await JsonAsync(context, """{"data": [{"type": "model", "id": "claude-test", "display_name": "Test", "created_at": "2026-01-01T00:00:00Z"}], "has_more": false, "first_id": "claude-test", "last_id": "claude-test"}""");
        }
        else if (IsStreamed(await BodyAsync(context)))
            await StreamAsync(context,
                [
                    Event("message_start", """{"type": "message_start", "message": {"id": "msg_2", "type": "message", "role": "assistant", "model": "claude-test", "content": [], "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 3, "output_tokens": 1}}}"""),
                    Event("content_block_start", """{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}"""),
                    Event("ping", """{"type": "ping"}"""),
                    Event("content_block_delta", """{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}"""),
                ],
                [
                    Event("content_block_delta", """{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " there."}}"""),
                    Event("content_block_stop", """{"type": "content_block_stop", "index": 0}"""),
                    Event("message_delta", """{"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 7}}"""),
                    Event("message_stop", """{"type": "message_stop"}"""),
                ]);
        else await JsonAsync(context, """{"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test", "content": [{"type": "text", "text": "Hello at once."}], "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 3, "output_tokens": 7}}""");

        static string Event(string name, string data) => $"event: {name}\ndata: {data}\n\n";
    }

    // https://platform.openai.com/docs/api-reference/chat
    private async Task OpenAIAsync(HttpContext context)
    {
        if (context.Request.Path == "/v1/models")
        {
            _goesOn.TrySetResult();
            await JsonAsync(context, """{"object": "list", "data": [{"id": "gpt-test", "object": "model", "created": 1, "owned_by": "test"}]}""");
        }
        else if (context.Request.Path == "/v1/files")
            await JsonAsync(context, $$"""{"id": "file-1", "object": "file", "bytes": {{(await BodyAsync(context)).Length}}, "created_at": 1, "filename": "lines.jsonl", "purpose": "batch"}""");
        else if (IsStreamed(await BodyAsync(context)))
            await StreamAsync(context, [Chunk("""{"role": "assistant", "content": "Hello"}""", "null")], [Chunk("""{"content": " there."}""", "null"), Chunk("{}", "\"stop\""), "data: [DONE]\n\n"]);
        else await JsonAsync(context, """{"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-test", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello at once."}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}""");

        static string Chunk(string delta, string end) => $$"""data: {"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 1, "model": "gpt-test", "choices": [{"index": 0, "delta": {{delta}}, "finish_reason": {{end}}}]}""" + "\n\n";
    }

    // https://docs.github.com/en/rest
    private static Task GitHubAsync(HttpContext context)
    {
        HttpRequest request = context.Request;
        if (request.Path == "/user") return JsonAsync(context, """{"login": "octocat", "id": 1}""");
        if (request.Path != "/repos/acme/demo/issues") return JsonAsync(context, """{"message": "Not Found"}""", StatusCodes.Status404NotFound);
        if (request.Method == "POST") return JsonAsync(context, """{"number": 4, "title": "from the sandbox"}""", StatusCodes.Status201Created);
        if (request.Query["page"] == "2") return JsonAsync(context, """[{"number": 3, "title": "three"}]""");
        context.Response.Headers.Link = "<https://api.github.com/repos/acme/demo/issues?per_page=2&page=2>; rel=\"next\"";
        return JsonAsync(context, """[{"number": 1, "title": "one"}, {"number": 2, "title": "two"}]""");
    }

    // https://docs.stripe.com/api/customers
    private static async Task StripeAsync(HttpContext context)
    {
        if (context.Request.Method == "POST")
        {
            string email = Encoding.ASCII.GetString(await BodyAsync(context)) == "email=new%40example.com" && context.Request.Headers["Idempotency-Key"] == "once" ? "new@example.com" : "nobody";
            await JsonAsync(context, $$"""{"id": "cus_3", "object": "customer", "email": "{{email}}"}""");
        }
        else await JsonAsync(context, context.Request.Query["starting_after"] == "cus_1"
            ? """{"object": "list", "url": "/v1/customers", "has_more": false, "data": [{"id": "cus_2", "object": "customer", "email": "two@example.com"}]}"""
            : """{"object": "list", "url": "/v1/customers", "has_more": true, "data": [{"id": "cus_1", "object": "customer", "email": "one@example.com"}]}""");
    }

    // https://github.com/npm/registry/blob/main/docs/REGISTRY-API.md
    private static async Task NpmAsync(HttpContext context)
    {
        using MemoryStream package = new();
        await using (GZipStream zipped = new(package, CompressionLevel.Optimal, leaveOpen: true))
        await using (TarWriter tar = new(zipped))
        {
            foreach ((string name, string text) in ((string, string)[])[("package.json", """{"name": "superserve-demo", "version": "1.0.0"}"""), ("index.js", "module.exports = 'installed'")])
                await tar.WriteEntryAsync(new PaxTarEntry(TarEntryType.RegularFile, "package/" + name) { DataStream = new MemoryStream(Encoding.ASCII.GetBytes(text)), ModificationTime = DateTimeOffset.UnixEpoch });
        }

        byte[] bytes = package.ToArray();
        if (context.Request.Path == "/superserve-demo/-/superserve-demo-1.0.0.tgz") await context.Response.Body.WriteAsync(bytes);
        else if (context.Request.Path == "/superserve-demo")
            await JsonAsync(context, $$$"""{"name": "superserve-demo", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {"name": "superserve-demo", "version": "1.0.0", "dist": {"tarball": "https://{{{context.Request.Host}}}/superserve-demo/-/superserve-demo-1.0.0.tgz", "integrity": "sha512-{{{Convert.ToBase64String(SHA512.HashData(bytes))}}}"} } } }""");
        else await JsonAsync(context, "{}", StatusCodes.Status404NotFound);
    }

    // https://packaging.python.org/en/latest/specifications/simple-repository-api/
    private static async Task IndexAsync(HttpContext context)
    {
        const string Wheel = "superserve_demo-1.0-py3-none-any.whl", Info = "superserve_demo-1.0.dist-info/";
        if (context.Request.Path != $"/files/{Wheel}")
        {
            context.Response.ContentType = "text/html";
            await context.Response.WriteAsync($"<a href=\"/files/{Wheel}\">{Wheel}</a>");
            return;
        }

        using MemoryStream file = new();
        using (ZipArchive zip = new(file, ZipArchiveMode.Create, leaveOpen: true))
        {
            foreach ((string name, string text) in ((string, string)[])
                [("superserve_demo.py", "print('installed')\n"), (Info + "METADATA", "Metadata-Version: 2.1\nName: superserve-demo\nVersion: 1.0\n"), (Info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"), (Info + "RECORD", $"superserve_demo.py,,\n{Info}METADATA,,\n{Info}WHEEL,,\n{Info}RECORD,,\n")])
            {
                await using StreamWriter entry = new(zip.CreateEntry(name).Open());
                await entry.WriteAsync(text);
            }
        }

        await context.Response.Body.WriteAsync(file.ToArray());
    }

    // https://docs.aws.amazon.com/AmazonS3/latest/API/
    private static async Task StorageAsync(HttpContext context)
    {
        if (context.Request.Method == "PUT")
            context.Response.Headers.ETag = $"\"{(await BodyAsync(context)).Length}\"";
        else
        {
            context.Response.ContentType = "application/xml";
            await context.Response.WriteAsync("""<?xml version="1.0"?><ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Buckets><Bucket><Name>demo</Name></Bucket></Buckets></ListAllMyBucketsResult>""");
        }
    }

    private async Task StreamAsync(HttpContext context, string[] first, string[] rest)
    {
        TaskCompletionSource goesOn = _goesOn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        context.Response.ContentType = "text/event-stream";
        foreach (string part in first) await WriteAsync(part);
        await goesOn.Task.WaitAsync(context.RequestAborted);
        foreach (string part in rest) await WriteAsync(part);

        async Task WriteAsync(string part)
        {
            await context.Response.WriteAsync(part);
            await context.Response.Body.FlushAsync();
        }
    }

    private static Task JsonAsync(HttpContext context, string json, int status = StatusCodes.Status200OK)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json; charset=utf-8";
        return context.Response.WriteAsync(json);
    }

    private static bool IsStreamed(byte[] body) => System.Text.Json.Nodes.JsonNode.Parse(body)!["stream"]?.GetValue<bool>() == true;

    private static async Task<byte[]> BodyAsync(HttpContext context)
    {
        using MemoryStream body = new();
        await context.Request.Body.CopyToAsync(body);
        return body.ToArray();
    }
}
