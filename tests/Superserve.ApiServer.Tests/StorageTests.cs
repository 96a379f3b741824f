using Superserve.Testing;
using System.Text.Json.Nodes;

namespace Superserve.ApiServer.Tests;

/// <summary>Versions, finalizers, owners, namespaces and lists in pages.</summary>
public class StorageTests : ServerTest
{
    private const string One = Gadgets + "/one";

    [Fact]
    public async Task A_stale_update_is_a_conflict_and_a_second_create_too()
    {
        await Server.ApplyAsync(Samples.Gadget());
        JsonNode stale = await GetAsync(One);
        await MergeAsync(One, """{"spec":{"count":3}}""");
        (int code, JsonNode status) = await PutAsync(One, stale);
        Assert.Equal(409, code);
        Assert.Equal("Operation cannot be fulfilled on gadgets.example.com \"one\": the object has been modified; please apply your changes to the latest version and try again", (string?)status["message"]);
        (code, status) = await PostAsync(Gadgets, Samples.Gadget());
        Assert.Equal((409, "AlreadyExists"), (code, (string?)status["reason"]));
    }

    [Fact]
    public async Task Generation_counts_changes_of_the_spec_alone()
    {
        await Server.ApplyAsync(Samples.Gadget());
        await MergeAsync(One, """{"metadata":{"labels":{"a":"b"}}}""");
        await MergeAsync($"{One}/status", """{"status":{"seen":1}}""");
        Assert.Equal(1, (int?)(await GetAsync(One))["metadata"]!["generation"]);
        await MergeAsync(One, """{"spec":{"count":3},"status":{"seen":7}}""");
        JsonNode value = await GetAsync(One);
        Assert.Equal((2, 1), ((int?)value["metadata"]!["generation"], (int?)value["status"]!["seen"]));
    }

    [Fact]
    public async Task A_finalizer_holds_an_object_until_it_is_removed()
    {
        await Server.ApplyAsync(Samples.Gadget(metadata: ", finalizers: [example.com/hold]"));
        await DeleteAsync(One);
        JsonNode value = await GetAsync(One);
        Assert.NotNull(value["metadata"]!["deletionTimestamp"]);
        Assert.Equal(422, (await MergeAsync(One, """{"metadata":{"finalizers":["example.com/hold","example.com/more"]}}""")).Code);
        await MergeAsync(One, """{"metadata":{"finalizers":null}}""");
        Assert.Equal(404, (await AskAsync(Http, HttpMethod.Get, One)).Code);
    }

    [Fact]
    public async Task Dependents_go_with_their_last_owner()
    {
        await Server.ApplyAsync(Samples.Gadget());
        string uid = (string)(await GetAsync(One))["metadata"]!["uid"]!;
        string owner = $", ownerReferences: [{{apiVersion: example.com/v1, kind: Gadget, name: one, uid: {uid}}}]";
        await Server.ApplyAsync(Samples.Pod("owned", metadata: owner));
        await Server.ApplyAsync(Samples.Pod("free"));
        await DeleteAsync(One);
        await EventuallyAsync(async () => (await GetAsync(Pods))["items"]!.AsArray().Count == 1, "the dependent goes");
        Assert.Equal("free", (string?)(await GetAsync(Pods))["items"]![0]!["metadata"]!["name"]);

        await Server.ApplyAsync(Samples.Pod("orphan", metadata: owner));
        await EventuallyAsync(async () => (await GetAsync(Pods))["items"]!.AsArray().Count == 1, "who comes after its owner goes");
    }

    [Theory]
    [InlineData("Orphan", 1)]
    [InlineData("Foreground", 0)]
    public async Task Deletion_propagates_as_asked(string policy, int left)
    {
        await Server.ApplyAsync(Samples.Gadget());
        string uid = (string)(await GetAsync(One))["metadata"]!["uid"]!;
        await Server.ApplyAsync(Samples.Pod("owned", metadata: $", ownerReferences: [{{apiVersion: example.com/v1, kind: Gadget, name: one, uid: {uid}, blockOwnerDeletion: true}}]"));
        await DeleteAsync(One, $$"""{"propagationPolicy":"{{policy}}"}""");
        await EventuallyAsync(async () => (await AskAsync(Http, HttpMethod.Get, One)).Code == 404, "the owner goes");
        Assert.Equal(left, (await GetAsync(Pods))["items"]!.AsArray().Count);
    }

    [Fact]
    public async Task A_deleted_namespace_takes_its_content_along()
    {
        await Server.ApplyAsync("{apiVersion: v1, kind: Namespace, metadata: {name: team}}");
        await Server.ApplyAsync("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: team, finalizers: [example.com/hold]}}");
        Assert.NotNull(Server.Get("v1", "ServiceAccount", "team", "default"));
        (_, JsonNode deleted) = await DeleteAsync("api/v1/namespaces/team");
        Assert.Equal("Terminating", (string?)deleted["status"]!["phase"]);
        (int code, JsonNode refused) = await PostAsync("api/v1/namespaces/team/configmaps", "{metadata: {name: b}}");
        Assert.Equal(403, code);
        Assert.Contains("because it is being terminated", (string?)refused["message"], StringComparison.Ordinal);
        await EventuallyAsync(() => Task.FromResult(Server.Get("v1", "ServiceAccount", "team", "default") is null), "the content goes");
        await MergeAsync("api/v1/namespaces/team/configmaps/a", """{"metadata":{"finalizers":[]}}""");
        await EventuallyAsync(async () => (await AskAsync(Http, HttpMethod.Get, "api/v1/namespaces/team")).Code == 404, "the namespace goes");
    }

    [Fact]
    public async Task A_deleted_CRD_takes_its_objects_along()
    {
        await Server.ApplyAsync(Samples.Gadget(metadata: ", finalizers: [example.com/hold]"));
        await DeleteAsync("apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.example.com");
        await EventuallyAsync(async () => (await GetAsync(One))["metadata"]!["deletionTimestamp"] is not null, "the object is marked");
        await MergeAsync(One, """{"metadata":{"finalizers":[]}}""");
        await EventuallyAsync(async () => (await AskAsync(Http, HttpMethod.Get, Gadgets)).Code == 404, "the resource goes");
    }

    [Fact]
    public async Task A_changed_CRD_is_served_as_it_is_now()
    {
        await Server.ApplyAsync(Samples.Crd.Replace("enum: [small, large]", "enum: [small, large, huge]", StringComparison.Ordinal));
        await Server.ApplyAsync(Samples.Gadget(spec: "{size: huge}"));
        (int code, JsonNode status) = await PostAsync("apis/apiextensions.k8s.io/v1/customresourcedefinitions", Samples.Crd.Replace("gadgets.example.com", "other.example.com", StringComparison.Ordinal));
        Assert.Equal(422, code);
        Assert.Contains("must be spec.names.plural", (string?)status["message"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Many_writers_lose_nothing()
    {
        await Server.ApplyAsync(Samples.Gadget());
        await Task.WhenAll(Enumerable.Range(0, 20).Select(number => MergeAsync(One, "{\"metadata\":{\"labels\":{\"n" + number + "\":\"x\"}}}")));
        Assert.Equal(20, (await GetAsync(One))["metadata"]!["labels"]!.AsObject().Count);
    }

    [Fact]
    public async Task A_list_in_pages_is_one_list()
    {
        foreach (string name in new[] { "a", "b", "c", "d", "e" }) await Server.ApplyAsync(Samples.Gadget(name));
        JsonNode first = await GetAsync($"{Gadgets}?limit=2");
        Assert.Equal(3, (int?)first["metadata"]!["remainingItemCount"]);
        await DeleteAsync($"{Gadgets}/d");
        await Server.ApplyAsync(Samples.Gadget("bb"));
        string token = Uri.EscapeDataString((string)first["metadata"]!["continue"]!);
        JsonNode rest = await GetAsync($"{Gadgets}?limit=10&continue={token}");
        Assert.Equal(["c", "d", "e"], rest["items"]!.AsArray().Select(item => (string?)item!["metadata"]!["name"]));
        Assert.Null(rest["metadata"]!["continue"]);
        Assert.Equal((string?)first["metadata"]!["resourceVersion"], (string?)rest["metadata"]!["resourceVersion"]);

        Server.Compact();
        (int code, JsonNode status) = await AskAsync(Http, HttpMethod.Get, $"{Gadgets}?limit=2&continue={token}");
        Assert.Equal((410, "Expired"), (code, (string?)status["reason"]));
    }

    [Fact]
    public async Task A_list_at_an_exact_version_is_what_was_there_then()
    {
        await Server.ApplyAsync(Samples.Gadget());
        string version = (string)(await GetAsync(Gadgets))["metadata"]!["resourceVersion"]!;
        await MergeAsync(One, """{"spec":{"count":7}}""");
        await Server.ApplyAsync(Samples.Gadget("two"));
        JsonNode then = await GetAsync($"{Gadgets}?resourceVersion={version}&resourceVersionMatch=Exact");
        Assert.Equal(2, (int?)Assert.Single(then["items"]!.AsArray())!["spec"]!["count"]);
        Server.Compact();
        Assert.Equal(410, (await AskAsync(Http, HttpMethod.Get, $"{Gadgets}?resourceVersion={version}&resourceVersionMatch=Exact")).Code);
        Assert.Equal(2, (await GetAsync($"{Gadgets}?resourceVersion={version}"))["items"]!.AsArray().Count);
        Assert.Equal(504, (await AskAsync(Http, HttpMethod.Get, $"{Gadgets}?resourceVersion=99999")).Code);
    }

    [Fact]
    public async Task Events_are_one_thing_under_two_groups()
    {
        (int code, _) = await PostAsync("apis/events.k8s.io/v1/namespaces/default/events", """
            metadata: {name: e}
            regarding: {kind: Pod, name: web, namespace: default}
            note: it happened
            reason: Test
            type: Normal
            reportingController: tests
            eventTime: "2026-01-01T00:00:00.000000Z"
            """);
        Assert.Equal(201, code);
        JsonNode core = (await GetAsync("api/v1/namespaces/default/events?fieldSelector=involvedObject.name=web"))["items"]![0]!;
        Assert.Equal(("it happened", "tests"), ((string?)core["message"], (string?)core["reportingComponent"]));
        Assert.Equal("it happened", (string?)(await GetAsync("apis/events.k8s.io/v1/namespaces/default/events/e"))["note"]);
        Assert.Contains("it happened", await Kubectl.RunAsync("get", "events"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Everything_that_a_selector_selects_is_deleted()
    {
        await Server.ApplyAsync(Samples.Gadget("a", metadata: ", labels: {x: y}"));
        await Server.ApplyAsync(Samples.Gadget("b"));
        await DeleteAsync($"{Gadgets}?labelSelector=x%3Dy");
        Assert.Equal("b", (string?)Assert.Single((await GetAsync(Gadgets))["items"]!.AsArray())!["metadata"]!["name"]);
    }
}
