using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Time.Testing;
using Superserve.Operator.Admission;

namespace Superserve.Operator.Tests.Admission;

/// <summary>The webhook server on the wire, whatever the handler.</summary>
public sealed class AdmissionEndpointsTests
{
    private const string Marker = "marker-that-only-the-object-holds";

    [Fact]
    public async Task An_allowed_request_is_answered_with_its_uid_and_warnings()
    {
        await using AdmissionServer server = await AdmissionServer.StartAsync(new Handler((_, _) => Task.FromResult(AdmissionDecision.Allow("first", "second"))));
        JsonNode response = await server.AskAsync(Review.Of(Review.Secret("{}")));
        Assert.Equal($$"""{"uid":"{{Review.Uid}}","allowed":true,"warnings":["first","second"]}""", response.ToJsonString());
        Assert.Equal(1, server.Counts.All["validate/test allowed"]);
        Assert.Equal("", server.Log.ToString());
    }

    [Fact]
    public async Task A_denied_request_is_answered_with_code_reason_and_message()
    {
        await using AdmissionServer server = await AdmissionServer.StartAsync(new Handler((_, _) => Task.FromResult(AdmissionDecision.Forbid("you may not: \"ä\"\nask"))));
        JsonNode response = await server.AskAsync(Review.Of(Review.Secret("{}")));
        Assert.False((bool)response["allowed"]!);
        Assert.Equal((403, "Forbidden", "Failure"), ((int)response["status"]!["code"]!, (string?)response["status"]!["reason"], (string?)response["status"]!["status"]));
        Assert.Equal("you may not: \"ä\"\nask", (string?)response["status"]!["message"]);
        Assert.Equal(1, server.Counts.All["validate/test denied"]);
    }

    [Fact]
    public async Task Changes_go_out_as_a_JSON_patch()
    {
        byte[] patch = """[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]"""u8.ToArray();
        await using AdmissionServer server = await AdmissionServer.StartAsync(new Handler((_, _) => Task.FromResult(AdmissionDecision.Change(patch))));
        JsonNode response = await server.AskAsync(Review.Of(Review.Secret("{}")));
        Assert.True((bool)response["allowed"]!);
        Assert.Equal("JSONPatch", (string?)response["patchType"]);
        Assert.Equal(patch, Convert.FromBase64String((string)response["patch"]!));
    }

    [Fact]
    public async Task The_handler_gets_what_the_API_server_says()
    {
        AdmissionRequest? got = null;
        string name = "";
        await using AdmissionServer server = await AdmissionServer.StartAsync(new Handler((request, _) =>
        {
            got = request;
            name = request.Object!.Value.GetProperty("metadata").GetProperty("name").GetString()!;
            return Task.FromResult(AdmissionDecision.Allow());
        }));
        JsonObject review = Review.Of(Review.Secret("{}"), Review.Secret("{}"), "UPDATE", user: "system:serviceaccount:a:b");
        review["request"]!["subResource"] = "scale";
        review["request"]!["dryRun"] = true;
        review["request"]!["userInfo"]!["uid"] = "7";
        review["request"]!["userInfo"]!["extra"] = new JsonObject { ["authentication.kubernetes.io/node-name"] = new JsonArray("n1", "n2") };
        review["request"]!["aFieldOfTomorrow"] = 1;
        await server.AskAsync(review);
        Assert.Equal(("UPDATE", "superserve.ai", "secrets", "scale", "Secret", "agents", "it", true),
            (got!.Operation, got.Group, got.Resource, got.SubResource, got.Kind, got.Namespace, got.Name, got.DryRun));
        Assert.Equal(("system:serviceaccount:a:b", "7", "system:authenticated"), (got.User.Name, got.User.Uid, Assert.Single(got.User.Groups)));
        Assert.Equal(["n1", "n2"], got.User.Extra["authentication.kubernetes.io/node-name"]);
        Assert.Equal("it", name);
        Assert.NotNull(got.OldObject);
        Assert.Equal("UPDATE secrets.superserve.ai/scale agents/it", got.ToString());
    }

    [Theory]
    [InlineData("", "the body is not one JSON object")]
    [InlineData("{", "the body is not one JSON object")]
    [InlineData("null", "the body is no AdmissionReview")]
    [InlineData("[]", "the body is no AdmissionReview")]
    [InlineData("{}", "the body is no AdmissionReview")]
    [InlineData("{} {}", "goes on after its end")]
    [InlineData("""{"kind": "AdmissionReview", "kind": "AdmissionReview"}""", "names a property twice")]
    [InlineData("""{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "\ud800": 1}""", "the body is not one JSON object")]
    [InlineData("""{"kind": "Pod", "apiVersion": "v1"}""", "the body is no AdmissionReview")]
    [InlineData("""{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1", "request": {"uid": "a"}}""", "not of the version admission.k8s.io/v1; write admissionReviewVersions: [v1]")]
    [InlineData("""{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}""", "the AdmissionReview has no request")]
    [InlineData("""{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {"uid": "a", "allowed": true}}""", "the AdmissionReview has no request")]
    [InlineData("""{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {}}""", "request.uid is missing")]
    [InlineData("""{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": 7}}""", "request.uid is missing")]
    [InlineData("""{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": "\ud800"}}""", "is not Unicode text")]
    [InlineData("""{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": "a", "operation": "CREATE"}}""", "request.resource is missing")]
    [InlineData("""{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": "a", "operation": "CREATE", "resource": {"resource": "pods"}}}""", "request.userInfo.username is missing")]
    [InlineData("""{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": "a", "operation": "CREATE", "name": "a\nb", "resource": {"resource": "pods"}, "userInfo": {"username": "a"}}}""", "a name in the request is none that Kubernetes gives")]
    [InlineData("""{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": "a", "operation": "CREATE", "resource": {"resource": "pods"}, "userInfo": {"username": "a"}}}""", "request.namespace is no namespace")]
    [InlineData("""{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": "a", "operation": "CREATE", "namespace": "..", "resource": {"resource": "pods"}, "userInfo": {"username": "a"}}}""", "request.namespace is no namespace")]
    public async Task What_is_no_review_gets_a_text_that_says_so(string body, string message)
    {
        await using AdmissionServer server = await AdmissionServer.StartAsync(Handler.Allowing);
        (int code, string text) = await server.PostAsync(body);
        Assert.Equal(400, code);
        Assert.Contains(message, text, StringComparison.Ordinal);
        Assert.Equal(1, server.Counts.All["validate/test error"]);
    }

    [Fact]
    public async Task A_long_uid_deep_nesting_and_bytes_that_are_no_text_are_refused()
    {
        await using AdmissionServer server = await AdmissionServer.StartAsync(Handler.Allowing);
        JsonObject review = Review.Of(Review.Secret("{}"));
        review["request"]!["uid"] = new string('a', 129);
        Assert.Contains("request.uid is missing or longer than 128", (await server.PostAsync(review.ToJsonString())).Text, StringComparison.Ordinal);

        string valid = Review.Of(Review.Secret("{}")).ToJsonString();
        string deep = valid.Replace("\"dryRun\":false", $"\"dryRun\":{new string('[', 100_000)}{new string(']', 100_000)}", StringComparison.Ordinal);
        Assert.Contains("nested deeper than 64 levels", (await server.PostAsync(deep)).Text, StringComparison.Ordinal);

        byte[] bytes = Encoding.UTF8.GetBytes(valid);
        bytes[valid.IndexOf("agents", StringComparison.Ordinal)] = 0xff;
        (int code, string text) = await server.PostAsync(bytes);
        Assert.Equal((400, "the body is not UTF-8; send an AdmissionReview as JSON\n"), (code, text));
    }

    [Theory]
    [InlineData("")]
    [InlineData("text/plain")]
    [InlineData("application/yaml")]
    [InlineData("application/vnd.kubernetes.protobuf")]
    [InlineData("application/json; charset=utf-16")]
    public async Task Another_content_type_is_refused(string contentType)
    {
        await using AdmissionServer server = await AdmissionServer.StartAsync(Handler.Allowing);
        (int code, string text) = await server.PostAsync(Encoding.UTF8.GetBytes(Review.Of(Review.Secret("{}")).ToJsonString()), contentType);
        Assert.Equal(415, code);
        Assert.StartsWith("the body is not application/json", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("application/json;charset=utf-8")]
    [InlineData("Application/JSON; charset=\"UTF-8\"")]
    public async Task A_content_type_with_the_charset_is_read(string contentType)
    {
        await using AdmissionServer server = await AdmissionServer.StartAsync(Handler.Allowing);
        Assert.Equal(200, (await server.PostAsync(Review.Of(Review.Secret("{}")).ToJsonString(), contentType)).Code);
    }

    [Fact]
    public async Task An_update_of_objects_as_large_as_they_can_be_is_read()
    {
        int length = 0;
        await using AdmissionServer server = await AdmissionServer.StartAsync(new Handler((request, _) =>
        {
            length = request.Object!.Value.GetProperty("filler").GetString()!.Length;
            return Task.FromResult(AdmissionDecision.Allow());
        }));
        JsonObject large = new() { ["filler"] = new string('x', 3 * 1024 * 1024) };
        Assert.True((bool)(await server.AskAsync(Review.Of(large, large, "UPDATE")))["allowed"]!);
        Assert.Equal(3 * 1024 * 1024, length);
    }

    [Theory]
    [InlineData(null)]
    [InlineData((long)AdmissionEndpoints.MaxBodyBytes)]
    public async Task A_body_that_no_object_needs_is_refused_whether_it_says_its_length_or_not(long? limitOfTheServer)
    {
        await using AdmissionServer server = await AdmissionServer.StartAsync(Handler.Allowing, maxBodySize: limitOfTheServer);
        byte[] body = Encoding.UTF8.GetBytes(Review.Of(Review.Secret("{}")).ToJsonString() + new string(' ', AdmissionEndpoints.MaxBodyBytes));
        foreach (bool isChunked in (bool[])[false, true])
        {
            using HttpRequestMessage request = new(HttpMethod.Post, AdmissionServer.Path) { Content = new ByteArrayContent(body) };
            request.Content.Headers.ContentType = new("application/json");
            request.Headers.TransferEncodingChunked = isChunked;
            using HttpResponseMessage answer = await server.Http.SendAsync(request);
            Assert.Equal(HttpStatusCode.RequestEntityTooLarge, answer.StatusCode);
            Assert.StartsWith("the review has more than 8388608 bytes", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_body_with_broken_framing_is_refused()
    {
        await using AdmissionServer server = await AdmissionServer.StartAsync(Handler.Allowing);
        using TcpClient client = new();
        await client.ConnectAsync(server.EndPoint);
        NetworkStream stream = client.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"POST {AdmissionServer.Path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{{\"kin\r\nno chunk"));
        using StreamReader reader = new(stream);
        Assert.Equal("HTTP/1.1 400 Bad Request", await reader.ReadLineAsync());
        Assert.Contains("was not framed as HTTP says", await reader.ReadToEndAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Only_POST_is_answered()
    {
        await using AdmissionServer server = await AdmissionServer.StartAsync(Handler.Allowing);
        Assert.Equal(HttpStatusCode.MethodNotAllowed, (await server.Http.GetAsync(new Uri(AdmissionServer.Path, UriKind.Relative))).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await server.Http.GetAsync(new Uri("/", UriKind.Relative))).StatusCode);
    }

    [Fact]
    public async Task A_fault_of_the_handler_is_a_denial_and_nothing_of_the_object_is_told_or_logged()
    {
        await using AdmissionServer server = await AdmissionServer.StartAsync(new Handler((request, _) =>
            throw new InvalidOperationException("quoting the object: " + request.Object)));
        JsonNode response = await server.AskAsync(Review.Of(Review.FromYaml($"{{metadata: {{name: it}}, spec: {{key: {Marker}}}}}")));
        Assert.False((bool)response["allowed"]!);
        Assert.Equal((500, "InternalError"), ((int)response["status"]!["code"]!, (string?)response["status"]!["reason"]));
        Assert.DoesNotContain("quoting", response.ToJsonString(), StringComparison.Ordinal);
        Assert.Equal(1, server.Counts.All["validate/test error"]);

        string log = server.Log.ToString();
        Assert.Contains("Error 202 validate/test: CREATE secrets.superserve.ai agents/it was denied after a fault of the operator: InvalidOperationException", log, StringComparison.Ordinal);
        Assert.Contains(nameof(A_fault_of_the_handler_is_a_denial_and_nothing_of_the_object_is_told_or_logged), log, StringComparison.Ordinal);
        Assert.DoesNotContain(Marker, log, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_cannot_be_decided_is_denied_with_the_handlers_words()
    {
        await using AdmissionServer server = await AdmissionServer.StartAsync(new Handler((_, _) =>
            throw new CannotDecideException("no answer; try again", new HttpRequestException("connection refused"))));
        JsonNode response = await server.AskAsync(Review.Of(Review.Secret("{}")));
        Assert.Equal((false, 503, "no answer; try again"), ((bool)response["allowed"]!, (int)response["status"]!["code"]!, (string?)response["status"]!["message"]));
        Assert.Contains("Warning 201 validate/test: CREATE secrets.superserve.ai agents/it was denied: no answer; try again (connection refused)", server.Log.ToString(), StringComparison.Ordinal);
        Assert.Equal(1, server.Counts.All["validate/test error"]);
    }

    [Fact]
    public async Task What_takes_too_long_is_denied_before_the_API_server_gives_up()
    {
        FakeTimeProvider time = new();
        TaskCompletionSource begun = new();
        await using AdmissionServer server = await AdmissionServer.StartAsync(
            new Handler(async (_, cancellationToken) =>
            {
                begun.SetResult();
                await Task.Delay(Timeout.InfiniteTimeSpan, time, cancellationToken);
                return AdmissionDecision.Allow();
            }),
            time);
        Task<JsonNode> asked = server.AskAsync(Review.Of(Review.Secret("{}")));
        await begun.Task;
        time.Advance(AdmissionEndpoints.Deadline);
        JsonNode response = await asked;
        Assert.Equal((false, 504, "Timeout"), ((bool)response["allowed"]!, (int)response["status"]!["code"]!, (string?)response["status"]!["reason"]));
        Assert.Contains("could not check the request within 8 s", (string?)response["status"]!["message"], StringComparison.Ordinal);
        Assert.Equal(1, server.Counts.All["validate/test error"]);
    }

    [Fact]
    public async Task A_body_that_never_ends_is_given_up()
    {
        FakeTimeProvider time = new();
        await using AdmissionServer server = await AdmissionServer.StartAsync(Handler.Allowing, time);
        using TcpClient client = new();
        await client.ConnectAsync(server.EndPoint);
        NetworkStream stream = client.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"POST {AdmissionServer.Path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"));
        using StreamReader reader = new(stream);
        // The server asks for the body once it reads.
        Assert.Equal("HTTP/1.1 100 Continue", await reader.ReadLineAsync());
        Assert.Equal("", await reader.ReadLineAsync());
        time.Advance(AdmissionEndpoints.BodyDeadline);
        Assert.Equal("HTTP/1.1 408 Request Timeout", await reader.ReadLineAsync());
    }

    [Fact]
    public async Task Slow_senders_of_one_address_keep_no_other_address_waiting_and_lose_their_places()
    {
        const int senders = 300;
        const int turnedAway = senders - 24 - 192;
        FakeTimeProvider time = new();
        await using AdmissionServer server = await AdmissionServer.StartAsync(Handler.Allowing, time);
        byte[] begun = Encoding.ASCII.GetBytes($"POST {AdmissionServer.Path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{");
        List<Socket> slow = [];
        for (int i = 0; i < senders; i++)
        {
            Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            slow.Add(socket);
            socket.Bind(new IPEndPoint(IPAddress.Parse("127.0.0.2"), 0));
            await socket.ConnectAsync(server.EndPoint);
            await socket.SendAsync(begun);
        }

        await UntilAsync(() => Refused() == turnedAway);
        Assert.True((bool)(await server.AskAsync(Review.Of(Review.Secret("{}"))))["allowed"]!);

        // Those at work are given up, and as many have a turn in their place.
        time.Advance(AdmissionEndpoints.BodyDeadline);
        await UntilAsync(() => Refused() == turnedAway + 24);
        foreach (Socket socket in slow) socket.Dispose();

        long Refused() => server.Counts.All.GetValueOrDefault("validate/test error");
    }

    [Fact]
    public async Task Reviews_of_an_address_beyond_its_bound_wait_and_then_are_turned_away()
    {
        const int bound = 24 + 192;
        TaskCompletionSource release = new();
        int running = 0;
        int most = 0;
        await using AdmissionServer server = await AdmissionServer.StartAsync(new Handler(async (_, _) =>
        {
            int now = Interlocked.Increment(ref running);
            InterlockedMax(ref most, now);
            await release.Task;
            Interlocked.Decrement(ref running);
            return AdmissionDecision.Allow();
        }));
        string body = Review.Of(Review.Secret("{}")).ToJsonString();
        List<Task<(int Code, string Text)>> asked = [.. Enumerable.Range(0, bound + 5).Select(_ => server.PostAsync(body))];
        for (int i = 0; i < 5; i++)
        {
            // The others wait for a turn that none gets, so these are the first to end.
            Task<(int Code, string Text)> turnedAway = await Task.WhenAny(asked);
            asked.Remove(turnedAway);
            Assert.Equal((429, "the operator has too many reviews of this address at once; try again\n"), await turnedAway);
        }

        // Who was turned away knows that all turns are given, not that each handler has begun.
        await UntilAsync(() => Volatile.Read(ref running) == 24);
        release.SetResult();
        Assert.All(await Task.WhenAll(asked), answer => Assert.Equal(200, answer.Code));
        Assert.Equal(24, most);
    }

    [Fact]
    public void The_answer_is_JSON_whatever_the_message_holds()
    {
        byte[] answer = AdmissionReview.Write("a\"b", AdmissionDecision.Invalid("\u0000 \ud800 </script>"));
        Assert.Equal("a\"b", JsonDocument.Parse(answer).RootElement.GetProperty("response").GetProperty("uid").GetString());
    }

    private static async Task UntilAsync(Func<bool> holds)
    {
        for (int attempt = 0; !holds(); attempt++)
        {
            Assert.True(attempt < 3000, "It never came to be.");
            await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System);
        }
    }

    private static void InterlockedMax(ref int target, int value)
    {
        int seen;
        while ((seen = Volatile.Read(ref target)) < value) Interlocked.CompareExchange(ref target, value, seen);
    }
}
