using System.Text.Json.Nodes;
using k8s.Models;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Tests.Support;
using Superserve.Kubernetes.Writing;

namespace Superserve.Kubernetes.Tests.Writing;

public sealed class ApplierTests : IAsyncLifetime
{
    private static readonly ObjectKey Key = new("agents", "web");

    private FakeApiServer _server = null!;
    private KubernetesConnection _connection = null!;
    private Applier _applier = null!;

    public async ValueTask InitializeAsync()
    {
        _server = await FakeApiServer.StartAsync();
        _server.On("PATCH", """{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web"}}""");
        _connection = _server.Connect();
        _applier = new Applier(_connection, "superserve");
    }

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _connection.Dispose();
    }

    [Fact]
    public async Task No_status_is_written_when_nothing_changed()
    {
        V1Pod live = Live();
        Assert.Same(live, await _applier.ApplyAsync(Key, Status("Bound", 2), live, "status"));
        Assert.Empty(_server.Requests);
    }

    [Theory]
    [InlineData("another value", "Bound", 3, "superserve", "status")]
    [InlineData("another element", "Other", 2, "superserve", "status")]
    [InlineData("fields of another manager", "Bound", 2, "kubectl", "status")]
    [InlineData("fields of the main resource", "Bound", 2, "superserve", null)]
    public async Task A_difference_is_applied(string what, string condition, int restarts, string manager, string? subresource)
    {
        Assert.NotEmpty(what);
        V1Pod live = Live();
        foreach (V1ManagedFieldsEntry entry in live.Metadata.ManagedFields)
        {
            entry.Manager = manager;
            entry.Subresource = subresource;
        }

        await _applier.ApplyAsync(Key, Status(condition, restarts), live, "status");
        Received request = Assert.Single(_server.Requests);
        Assert.Equal(("PATCH", "/api/v1/namespaces/agents/pods/web/status", "application/apply-patch+yaml"), (request.Method, request.Path, request.ContentType));
        Assert.Equal(("superserve", "true"), (request.Query["fieldManager"].ToString(), request.Query["force"].ToString()));
        JsonNode body = JsonNode.Parse(request.Body)!;
        Assert.Equal("""{"name":"web","namespace":"agents","uid":"u-1"}""", body["metadata"]!.ToJsonString());
        Assert.Equal(("v1", "Pod"), ((string?)body["apiVersion"], (string?)body["kind"]));
    }

    [Fact]
    public async Task A_field_that_is_no_longer_wanted_is_a_difference()
    {
        await _applier.ApplyAsync(Key, new { status = new { reason = "r" } }, Live(), "status");
        Assert.Single(_server.Requests);
    }

    [Fact]
    public async Task A_field_that_someone_else_changed_is_a_difference()
    {
        V1Pod live = Live();
        live.Status.Reason = "not r";
        await _applier.ApplyAsync(Key, Status("Bound", 2), live, "status");
        Assert.Single(_server.Requests);
    }

    [Fact]
    public async Task Labels_and_sets_are_compared_by_what_is_owned_of_them()
    {
        V1Pod live = Objects.Parse<V1Pod>("""
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"agents","uid":"u-1","labels":{"mine":"1","theirs":"2"},"finalizers":["a/a","b/b"],
             "managedFields":[{"manager":"superserve","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":
              {"f:metadata":{"f:labels":{"f:mine":{}},"f:finalizers":{".":{},"v:\"a/a\"":{}}}}}]}}
            """);
        await _applier.ApplyAsync(Key, new { metadata = new { labels = new { mine = "1" }, finalizers = (string[])["a/a"] } }, live);
        Assert.Empty(_server.Requests);
        await _applier.ApplyAsync(Key, new { metadata = new { labels = new { mine = "1" }, finalizers = (string[])["b/b"] } }, live);
        Assert.Single(_server.Requests);
    }

    [Fact]
    public async Task Without_a_live_object_it_is_made()
    {
        await _applier.ApplyAsync<V1Pod>(Key, new { metadata = new { labels = new { mine = "1" } } }, null);
        Assert.Equal("""{"labels":{"mine":"1"},"name":"web","namespace":"agents"}""", JsonNode.Parse(_server.Requests.Single().Body)!["metadata"]!.ToJsonString());
    }

    [Fact]
    public async Task A_merge_patch_is_sent_as_one()
    {
        await _applier.MergeAsync<V1Pod>(Key, new { metadata = new { labels = new Dictionary<string, string?> { ["theirs"] = null } } });
        Received request = Assert.Single(_server.Requests);
        Assert.Equal(("application/merge-patch+json", """{"metadata":{"labels":{"theirs":null}}}"""), (request.ContentType, request.Body));
    }

    private static object Status(string condition, int restarts) => new
    {
        status = new
        {
            reason = "r",
            conditions = (object[])[new { type = condition, status = "True" }],
            containerStatuses = (object[])[new { name = "c", restartCount = restarts }],
            hostIP = (string?)null,
        },
    };

    private static V1Pod Live() => Objects.Parse<V1Pod>("""
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"agents","uid":"u-1","managedFields":[
          {"manager":"superserve","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","subresource":"status","fieldsV1":{"f:status":{
            "f:reason":{},
            "f:conditions":{"k:{\"type\":\"Bound\"}":{".":{},"f:type":{},"f:status":{}}},
            "f:containerStatuses":{"k:{\"name\":\"c\"}":{".":{},"f:name":{},"f:restartCount":{}}}}}}]},
         "status":{"reason":"r","phase":"Running","conditions":[{"type":"Ready","status":"False"},{"type":"Bound","status":"True"}],
          "containerStatuses":[{"name":"c","restartCount":2,"image":"i","imageID":"","ready":true}]}}
        """);
}
