using System.Net;
using System.Text.Json.Nodes;
using Grpc.Core;
using Superserve.Operator.AuditApi;
using Superserve.Operator.Tests.Support;
using Superserve.Protocol.Audit;
using Superserve.Testing;

namespace Superserve.Operator.Tests.AuditApi;

/// <summary>The audit log's API, as the API server asks it.</summary>
public sealed class AuditApiTests : IAsyncLifetime
{
    private const string TableType = "application/json;as=Table;v=v1;g=meta.k8s.io";
    private const string Requests = $"{AuditApiServer.Root}/namespaces/{Some.Namespace}/secretrequests";
    private const string Events = $"{AuditApiServer.Root}/namespaces/{Some.Namespace}/networkevents";

    private readonly AuditApiServer _server = new();

    public async ValueTask InitializeAsync()
    {
        await _server.InitializeAsync();
        await _server.StartReadingAsync();
    }

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    [Fact]
    public async Task Discovery_and_OpenAPI_are_answered_while_the_audit_service_is_away()
    {
        await _server.Service.StopAsync();
        JsonObject list = await GetAsync(AuditApiServer.Root);
        Assert.Equal(("APIResourceList", "audit.superserve.ai/v1alpha1"), ((string?)list["kind"], (string?)list["groupVersion"]));
        Assert.Equal(["secretrequests ssr SecretRequest", "networkevents sne NetworkEvent"], list["resources"]!.AsArray().Select(entry => $"{entry!["name"]} {entry["shortNames"]![0]} {entry["kind"]}"));
        Assert.All(list["resources"]!.AsArray(), entry =>
        {
            Assert.True((bool)entry!["namespaced"]!);
            // Nothing that the deletion of a namespace would try.
            Assert.Equal(["get", "list"], entry["verbs"]!.AsArray().Select(verb => (string?)verb));
        });
        Assert.Equal("APIGroup", (string?)(await GetAsync("/apis/audit.superserve.ai"))["kind"]);
        string document = (string)(await GetAsync("/openapi/v3"))["paths"]!["apis/audit.superserve.ai/v1alpha1"]!["serverRelativeURL"]!;
        JsonObject schemas = (await GetAsync(document))["components"]!["schemas"]!.AsObject();
        foreach (AuditResource resource in AuditResource.All)
        {
            JsonObject properties = schemas[$"ai.superserve.audit.v1alpha1.{resource.Kind.Kind}"]!["properties"]!.AsObject();
            Assert.Equal(["apiVersion", "kind", "metadata", .. resource.Fields.Select(field => field.Name)], properties.Select(property => property.Key));
            Assert.All(properties, property => Assert.NotEmpty((string)property.Value!["description"]!));
        }

        foreach (string path in (string[])["/apis", "/openapi/v2", "/", $"{AuditApiServer.Root}/nothing", $"{Requests}/a/log", $"{AuditApiServer.Root}/namespaces/UPPER/secretrequests"])
            Assert.Equal(HttpStatusCode.NotFound, (await _server.SendAsync(path)).Code);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await _server.SendAsync(Requests)).Code);
    }

    [Fact]
    public async Task A_row_is_an_object_with_the_fields_that_OpenAPI_says()
    {
        RequestRecord record = Request(TimeSpan.Zero, "anthropic");
        record.Time += 123_456 - (record.Time % 1_000_000);
        record.UpstreamStatus = 200;
        record.Path = "/v1/models";
        record.Count = 0;
        _server.Service.Add(Some.Namespace, "agent-0", record);
        JsonObject row = Assert.Single((await _server.ListAsync("secretrequests"))["items"]!.AsArray())!.AsObject();
        Assert.Equal("SecretRequest", (string?)row["kind"]);
        JsonNode metadata = row["metadata"]!;
        Assert.Equal((Some.Namespace, "r000001"), ((string?)metadata["namespace"], (string?)metadata["name"]));
        Assert.True(Guid.TryParse((string?)metadata["uid"], out _));
        Assert.EndsWith(".123456Z", (string?)row["time"], StringComparison.Ordinal);
        Assert.Equal(((string)row["time"]!)[..19] + "Z", (string?)metadata["creationTimestamp"]);
        Assert.Equal("""{"pod":"agent-0","uid":"uid-of-agent-0"}""", row["sandbox"]!.ToJsonString());
        Assert.Equal("""[{"name":"anthropic","env":"ANTHROPIC"}]""", row["secrets"]!.ToJsonString());
        Assert.Equal((200, 200, "allowed", 1), ((int)row["status"]!, (int)row["upstreamStatus"]!, (string?)row["verdict"], (int)row["count"]!));
        Assert.False(row.ContainsKey("error"));
        string[] known = ["apiVersion", "kind", "metadata", .. SecretRequests.Resource.Fields.Select(field => field.Name)];
        Assert.Empty(row.Select(field => field.Key).Except(known));

        _server.Service.Add(Some.Namespace, "agent-0", new NetworkRecord { Time = record.Time, Kind = "dns", Host = "example.com", Verdict = Verdict.Blocked, Rule = "denyOut 0.0.0.0/0", LogOnly = true, Count = 7 });
        JsonObject network = Assert.Single((await _server.ListAsync("networkevents"))["items"]!.AsArray())!.AsObject();
        Assert.Equal(("NetworkEvent", "dns", "blocked", true, 7), ((string?)network["kind"], (string?)network["eventKind"], (string?)network["verdict"], (bool)network["logOnly"]!, (int)network["count"]!));
        Assert.Empty(network.Select(field => field.Key).Except(["apiVersion", "kind", "metadata", .. NetworkEvents.Resource.Fields.Select(field => field.Name)]));

        // The same row, for good.
        Assert.True(JsonNode.DeepEquals(row, await GetAsync($"{Requests}/r000001")));
        (HttpStatusCode code, JsonObject body, string[] _) = await _server.SendAsync($"{Requests}/r999999");
        Assert.Equal((HttpStatusCode.NotFound, "r999999"), (code, (string?)body["details"]!["name"]));
    }

    [Theory]
    [InlineData(null, false)]
    [InlineData("*/*", false)]
    [InlineData("application/json", false)]
    [InlineData(TableType, true)]
    [InlineData($"{TableType},application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", true)]
    [InlineData($"application/json, {TableType}", false)]
    [InlineData($"application/json;q=0.5, {TableType};q=0.9", true)]
    [InlineData("application/vnd.kubernetes.protobuf, application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io, application/*;q=0.1", false)]
    public async Task The_form_is_what_Accept_asks_for(string? accept, bool isTable)
    {
        (HttpStatusCode code, JsonObject body, string[] _) = await _server.SendAsync(Requests, accept: accept);
        Assert.Equal((HttpStatusCode.OK, isTable ? "Table" : "SecretRequestList"), (code, (string?)body["kind"]));
    }

    [Theory]
    [InlineData("application/yaml")]
    [InlineData("application/vnd.kubernetes.protobuf")]
    [InlineData("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")]
    [InlineData("application/json;q=0")]
    [InlineData(";;;")]
    public async Task A_form_that_there_is_not_is_refused(string accept) =>
        Assert.Equal(HttpStatusCode.NotAcceptable, (await _server.SendAsync(Requests, accept: accept)).Code);

    [Fact]
    public async Task A_table_has_a_cell_for_each_column_and_nothing_that_moves_a_cursor()
    {
        RequestRecord record = Request(TimeSpan.Zero, "anthropic");
        record.Path = "/\u001b[2J\u202e\n" + new string('x', 500);
        record.Status = 0;
        record.DurationMicroseconds = 1_500_000;
        record.Port = 8443;
        _server.Service.Add(Some.Namespace, "agent-0", record);
        foreach ((string include, string? kind) in new[] { ("None", null), ("Metadata", "PartialObjectMetadata"), ("", "PartialObjectMetadata"), ("Object", "SecretRequest") })
        {
            JsonObject table = (await _server.SendAsync($"{Requests}?includeObject={include}", accept: TableType)).Body;
            string[] columns = [.. table["columnDefinitions"]!.AsArray().Select(column => (string)column!["name"]!)];
            JsonNode row = Assert.Single(table["rows"]!.AsArray())!;
            JsonArray cells = row["cells"]!.AsArray();
            Assert.Equal(columns.Length, cells.Count);
            Dictionary<string, string> named = columns.Zip(cells).ToDictionary(pair => pair.First, pair => pair.Second!.ToString());
            Assert.Equal(("-", "1.5s", "api.example.com:8443", "anthropic"), (named["Status"], named["Duration"], named["Host"], named["Secret"]));
            Assert.StartsWith("/?[2J??xxx", named["Path"], StringComparison.Ordinal);
            Assert.Equal(120, named["Path"].Length);
            Assert.Equal(kind, (string?)row["object"]?["kind"]);
        }

        Assert.Equal(HttpStatusCode.BadRequest, (await _server.SendAsync($"{Requests}?includeObject=All", accept: TableType)).Code);
    }

    [Fact]
    public async Task Without_since_a_list_is_the_last_hour_and_a_thousand_rows_over_all_pages()
    {
        _server.Service.Add(Some.Namespace, "agent-0", [.. Enumerable.Range(0, 1300).Select(i => Request(TimeSpan.FromSeconds(i), "anthropic"))]);
        _server.Service.Add(Some.Namespace, "agent-0", Request(TimeSpan.FromMinutes(61), "old"));
        int rows = 0, pages = 0;
        string next = "";
        do
        {
            (HttpStatusCode _, JsonObject body, string[] warnings) = await _server.SendAsync($"{Requests}?limit=300&continue={next}");
            rows += body["items"]!.AsArray().Count;
            next = (string?)body["metadata"]!["continue"] ?? "";
            Assert.DoesNotContain("remainingItemCount", body.ToJsonString(), StringComparison.Ordinal);
            if (pages == 0) Assert.Contains("the last hour, and at most 1000 rows", Assert.Single(warnings), StringComparison.Ordinal);
            else if (next.Length > 0) Assert.Empty(warnings);
            else Assert.Contains("more rows in this window than the 1000", Assert.Single(warnings), StringComparison.Ordinal);
            pages++;
            // A page later the hour is still the first page's.
            _server.Time.Advance(TimeSpan.FromMinutes(20));
        }
        while (next.Length > 0);
        Assert.Equal((1000, 4), (rows, pages));
        ListRequest[] asked = [.. _server.Service.Asked];
        Assert.Equal([300u, 300u, 300u, 100u], asked.Select(request => request.Limit));
        Assert.Single(asked.Select(request => request.Since).Distinct());
    }

    [Fact]
    public async Task With_since_a_list_goes_on_to_the_end()
    {
        _server.Service.Add(Some.Namespace, "agent-0", [.. Enumerable.Range(0, 2500).Select(i => Request(TimeSpan.FromSeconds(i), "anthropic"))]);
        int rows = 0;
        string next = "";
        do
        {
            (HttpStatusCode _, JsonObject body, string[] warnings) = await _server.SendAsync($"{Requests}?fieldSelector=since%3D2h&continue={next}");
            rows += body["items"]!.AsArray().Count;
            next = (string?)body["metadata"]!["continue"] ?? "";
            // Who asks without a limit may not look for more.
            if (next.Length > 0) Assert.Contains("follow metadata.continue", Assert.Single(warnings), StringComparison.Ordinal);
            else Assert.Empty(warnings);
        }
        while (next.Length > 0);
        Assert.Equal(2500, rows);
    }

    [Fact]
    public async Task Before_alone_is_the_hour_up_to_then()
    {
        _server.Service.Add(Some.Namespace, "agent-0", Request(TimeSpan.FromMinutes(10), "new"), Request(TimeSpan.FromMinutes(150), "meant"), Request(TimeSpan.FromMinutes(200), "old"));
        (HttpStatusCode _, JsonObject body, string[] warnings) = await _server.SendAsync($"{Requests}?fieldSelector=before%3D2h");
        Assert.Equal("meant", (string?)Assert.Single(body["items"]!.AsArray())!["secrets"]![0]!["name"]);
        Assert.Contains("the hour up to before", Assert.Single(warnings), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Selectors_and_namespaces_reach_the_audit_service()
    {
        await _server.ListAsync("secretrequests", "fieldSelector=secret%3Da,statusClass!%3D2xx,since%3D1h&limit=7");
        Assert.True(_server.Service.Asked.TryDequeue(out ListRequest? request));
        Assert.Equal((Log.Requests, Some.Namespace, 7u, 2), (request.Log, request.Namespace, request.Limit, request.Filters.Count));
        await _server.SendAsync($"{AuditApiServer.Root}/networkevents?fieldSelector=kind%3Ddns");
        Assert.True(_server.Service.Asked.TryDequeue(out request));
        Assert.Equal((Log.Network, "", 1000u), (request.Log, request.Namespace, request.Limit));
        await _server.SendAsync($"{AuditApiServer.Root}/networkevents?fieldSelector=metadata.namespace%3Dagents,metadata.name%3Dn00001");
        Assert.True(_server.Service.Asked.TryDequeue(out request));
        Assert.Equal(("agents", "n00001"), (request.Namespace, request.Name));
        Assert.Empty((await _server.ListAsync("networkevents", "fieldSelector=metadata.namespace%3Delsewhere"))["items"]!.AsArray());
        Assert.Empty(_server.Service.Asked);
        Assert.All(_server.Service.Tokens, token => Assert.Equal(_server.Token, token));
    }

    [Theory]
    [InlineData("fieldSelector=colour%3Dred", "there is no field")]
    [InlineData("labelSelector=app%3Dagent", "carry no labels")]
    [InlineData("limit=many", "limit")]
    [InlineData("limit=-1", "limit")]
    [InlineData("continue=!!!", "continue key is not valid")]
    [InlineData("continue=AAAA", "continue key is not valid")]
    [InlineData("continue=eyJMb2ciOjF9", "continue key is not valid")]
    [InlineData("continue=bnVsbA", "continue key is not valid")]
    public async Task What_cannot_be_used_is_refused_with_words(string query, string words)
    {
        (HttpStatusCode code, JsonObject body, string[] _) = await _server.SendAsync($"{Requests}?{query}");
        Assert.Equal((HttpStatusCode.BadRequest, "BadRequest", 400, "Failure"), (code, (string?)body["reason"], (int)body["code"]!, (string?)body["status"]));
        Assert.Contains(words, (string)body["message"]!, StringComparison.Ordinal);
        Assert.Empty(_server.Service.Asked);
    }

    [Fact]
    public async Task A_token_goes_on_with_its_own_list_alone()
    {
        _server.Service.Add(Some.Namespace, "agent-0", [.. Enumerable.Range(0, 5).Select(i => Request(TimeSpan.FromSeconds(i), "anthropic"))]);
        string next = (string)(await _server.ListAsync("secretrequests", "limit=2"))["metadata"]!["continue"]!;
        foreach (string path in (string[])[Events, $"{AuditApiServer.Root}/namespaces/other/secretrequests", $"{AuditApiServer.Root}/secretrequests"])
            Assert.Equal(HttpStatusCode.BadRequest, (await _server.SendAsync($"{path}?continue={next}")).Code);
        // A cursor that the service does not know, or no longer.
        _server.Service.Failure = new RpcException(new Status(StatusCode.InvalidArgument, "no such cursor"));
        Assert.Equal((HttpStatusCode.BadRequest, "BadRequest"), await ReasonAsync($"{Requests}?continue={next}"));
        _server.Service.Failure = new RpcException(new Status(StatusCode.OutOfRange, "gone"));
        Assert.Equal((HttpStatusCode.Gone, "Expired"), await ReasonAsync($"{Requests}?continue={next}"));
    }

    [Theory]
    [InlineData("POST")]
    [InlineData("PUT")]
    [InlineData("PATCH")]
    [InlineData("DELETE")]
    public async Task Nothing_can_be_written(string method)
    {
        foreach (string path in (string[])[Requests, $"{Requests}/r1", AuditApiServer.Root])
            Assert.Equal(HttpStatusCode.MethodNotAllowed, (await _server.SendAsync(path, method: new HttpMethod(method))).Code);
        Assert.Equal((HttpStatusCode.MethodNotAllowed, "MethodNotAllowed"), await ReasonAsync($"{Requests}?watch=true"));
        Assert.Empty(_server.Service.Asked);
    }

    [Fact]
    public async Task Each_list_is_authorised_again()
    {
        // Everywhere; in one namespace; by a group whose name holds a comma; nowhere.
        Assert.Equal(HttpStatusCode.OK, (await _server.SendAsync($"{AuditApiServer.Root}/secretrequests")).Code);
        Assert.Equal(HttpStatusCode.OK, (await _server.SendAsync(Requests, "ben")).Code);
        Assert.Equal(HttpStatusCode.OK, (await _server.SendAsync(Requests, "cat", headers: [("X-Remote-Group", "team:a,b")])).Code);
        (string Path, string User)[] refused = [($"{AuditApiServer.Root}/secretrequests", "ben"), ($"{AuditApiServer.Root}/namespaces/other/secretrequests", "ben"), (Requests, "cat"), ($"{Requests}/r1", "cat")];
        foreach ((string path, string user) in refused)
        {
            (HttpStatusCode code, JsonObject body, string[] _) = await _server.SendAsync(path, user);
            Assert.Equal((HttpStatusCode.Forbidden, "Forbidden"), (code, (string?)body["reason"]));
            Assert.Contains($"User \"{user}\" cannot", (string)body["message"]!, StringComparison.Ordinal);
            Assert.Contains("superserve-audit-viewer", (string)body["message"]!, StringComparison.Ordinal);
        }

        Assert.Equal(3, _server.Service.Asked.Count);
    }

    [Theory]
    [InlineData(StatusCode.Unavailable, "sidecars keep what they have recorded")]
    [InlineData(StatusCode.DeadlineExceeded, "did not answer within")]
    [InlineData(StatusCode.Unauthenticated, "does not accept the operator")]
    [InlineData(StatusCode.Internal, "Deployment superserve-audit")]
    public async Task An_audit_service_that_does_not_answer_is_said_with_words(StatusCode status, string words)
    {
        _server.Service.Failure = new RpcException(new Status(status, "a-secret-detail"));
        (HttpStatusCode code, JsonObject body, string[] _) = await _server.SendAsync(Requests);
        Assert.Equal((HttpStatusCode.ServiceUnavailable, 1), (code, (int)body["details"]!["retryAfterSeconds"]!));
        Assert.Contains(words, (string)body["message"]!, StringComparison.Ordinal);
        Assert.DoesNotContain("a-secret-detail", body.ToJsonString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_list_that_takes_too_long_ends()
    {
        TaskCompletionSource never = new();
        _server.Service.Held = never.Task;
        Task<(HttpStatusCode Code, JsonObject Body, string[] _)> asked = _server.SendAsync(Requests);
        await Eventually.True(() => asked.IsCompleted, "it ends", _server.Time, AuditApiEndpoint.Deadline);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await asked).Code);
        never.SetResult();
    }

    [Fact]
    public async Task Lists_at_once_are_bounded_and_discovery_is_answered_beside_them()
    {
        TaskCompletionSource held = new();
        _server.Service.Held = held.Task;
        Task<(HttpStatusCode Code, JsonObject Body, string[] _)>[] asked = [.. Enumerable.Range(0, 20).Select(_ => _server.SendAsync(Requests))];
        await Eventually.True(() => _server.Service.Asked.Count == 6, "six are at work");
        Assert.Equal(HttpStatusCode.OK, (await _server.SendAsync(AuditApiServer.Root)).Code);
        Assert.Equal(6, _server.Service.Asked.Count);
        held.SetResult();
        Assert.All(await Task.WhenAll(asked), answer => Assert.Equal(HttpStatusCode.OK, answer.Code));
    }

    private async Task<JsonObject> GetAsync(string path)
    {
        (HttpStatusCode code, JsonObject body, string[] _) = await _server.SendAsync(path);
        Assert.True(code == HttpStatusCode.OK, body.ToJsonString());
        return body;
    }

    private async Task<(HttpStatusCode, string?)> ReasonAsync(string path)
    {
        (HttpStatusCode code, JsonObject body, string[] _) = await _server.SendAsync(path);
        return (code, (string?)body["reason"]);
    }

    private RequestRecord Request(TimeSpan ago, string secret) => new()
    {
        Time = (_server.Time.GetUtcNow() - ago - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond,
        Uses = { new SecretUse { Secret = secret, Env = secret.ToUpperInvariant() } },
        Method = "GET",
        Host = "api.example.com",
        Port = 443,
        Path = "/",
        Status = 200,
        Verdict = Verdict.Allowed,
        Protocol = "HTTP/2",
    };
}
