using System.Text.Json.Nodes;
using k8s;
using k8s.Models;

namespace Superserve.ApiServer.Tests;

/// <summary>Watches, and what a test can do to them.</summary>
public class WatchTests : ServerTest
{
    protected override EmbeddedApiServerOptions Options => new() { BookmarkInterval = TimeSpan.FromMilliseconds(200) };

    [Fact]
    public async Task KubernetesClient_lists_and_watches()
    {
        using Kubernetes client = new(KubernetesClientConfiguration.BuildConfigFromConfigFile(Server.KubeconfigPath));
        await client.CoreV1.CreateNamespacedPodAsync(new V1Pod
        {
            Metadata = new V1ObjectMeta { Name = "web", Labels = new Dictionary<string, string> { ["a"] = "b" } },
            Spec = new V1PodSpec { Containers = [new V1Container { Name = "app", Image = "nginx:1" }] },
        }, "default");
        V1PodList list = await client.CoreV1.ListNamespacedPodAsync("default", labelSelector: "a=b");
        Assert.Equal("Pending", Assert.Single(list.Items).Status.Phase);

        using CancellationTokenSource timeout = new(TimeSpan.FromSeconds(20), TimeProvider.System);
        List<string> seen = [];
        Task watching = Task.Run(async () =>
        {
            await foreach ((WatchEventType type, V1Pod pod) in client.CoreV1.WatchListNamespacedPodAsync("default", resourceVersion: list.ResourceVersion(), allowWatchBookmarks: true, cancellationToken: timeout.Token))
            {
                if (type == WatchEventType.Bookmark) continue;
                seen.Add($"{type} {pod.Name()}");
                if (type == WatchEventType.Deleted) return;
            }
        });
        await client.CoreV1.PatchNamespacedPodAsync(new V1Patch("""{"metadata":{"labels":{"c":"d"}}}""", V1Patch.PatchType.MergePatch), "web", "default");
        await client.CoreV1.DeleteNamespacedPodAsync("web", "default");
        await watching;
        Assert.Equal(["Modified web", "Deleted web"], seen);
    }

    [Fact]
    public async Task KubernetesClient_works_with_custom_objects_secrets_and_leases()
    {
        using Kubernetes client = new(KubernetesClientConfiguration.BuildConfigFromConfigFile(Server.KubeconfigPath));
        await client.CoreV1.CreateNamespacedSecretAsync(new V1Secret { Metadata = new V1ObjectMeta { Name = "s" }, StringData = new Dictionary<string, string> { ["a"] = "b" } }, "default");
        Assert.Equal("b"u8.ToArray(), (await client.CoreV1.ReadNamespacedSecretAsync("s", "default")).Data["a"]);
        V1Lease lease = await client.CoordinationV1.CreateNamespacedLeaseAsync(new V1Lease
        {
            Metadata = new V1ObjectMeta { Name = "leader" },
            Spec = new V1LeaseSpec { HolderIdentity = "a", RenewTime = TimeProvider.System.GetUtcNow().UtcDateTime, LeaseDurationSeconds = 15 },
        }, "default");
        lease.Spec.HolderIdentity = "b";
        V1Lease renewed = await client.CoordinationV1.ReplaceNamespacedLeaseAsync(lease, "leader", "default");
        Assert.NotEqual(lease.ResourceVersion(), renewed.ResourceVersion());
        k8s.Autorest.HttpOperationException refused = await Assert.ThrowsAsync<k8s.Autorest.HttpOperationException>(() => client.CoordinationV1.ReplaceNamespacedLeaseAsync(lease, "leader", "default"));
        Assert.Equal(System.Net.HttpStatusCode.Conflict, refused.Response.StatusCode);
        Assert.Equal("Success", (await client.CoreV1.DeleteNamespacedSecretAsync("s", "default")).Status);
    }

    [Fact]
    public async Task KubernetesClient_applies_and_creates_pods_as_it_serializes_them()
    {
        using Kubernetes client = new(KubernetesClientConfiguration.BuildConfigFromConfigFile(Server.KubeconfigPath));
        V1ConfigMap config = new() { ApiVersion = "v1", Kind = "ConfigMap", Metadata = new V1ObjectMeta { Name = "c" }, Data = new Dictionary<string, string> { ["a"] = "b" } };
        await client.CoreV1.PatchNamespacedConfigMapAsync(new V1Patch(config, V1Patch.PatchType.ApplyPatch), "c", "default", fieldManager: "operator", force: true);
        config.Data = new Dictionary<string, string> { ["c"] = "d" };
        V1ConfigMap applied = await client.CoreV1.PatchNamespacedConfigMapAsync(new V1Patch(config, V1Patch.PatchType.ApplyPatch), "c", "default", fieldManager: "operator", force: true);
        Assert.Equal("c", Assert.Single(applied.Data).Key);

        JsonNode gadget = JsonNode.Parse("""{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"one"},"spec":{"size":"small"}}""")!;
        await client.CustomObjects.CreateNamespacedCustomObjectAsync(gadget, "example.com", "v1", "default", "gadgets");
        V1TokenReview review = await client.AuthenticationV1.CreateTokenReviewAsync(new V1TokenReview
        {
            Spec = new V1TokenReviewSpec { Token = Server.ServiceAccountClient("default", "default", "x").Token, Audiences = ["x"] },
        });
        Assert.True(review.Status.Authenticated);
    }

    [Fact]
    public async Task A_watch_resumes_where_it_was()
    {
        await Server.ApplyAsync(Samples.Gadget("one"));
        string version = (string)(await GetAsync(Gadgets))["metadata"]!["resourceVersion"]!;
        await Server.ApplyAsync(Samples.Gadget("two"));
        await DeleteAsync($"{Gadgets}/one");
        await using OpenWatch watch = await OpenWatch.StartAsync(Server, $"{Gadgets}?watch=true&resourceVersion={version}");
        Assert.Equal(["ADDED two", "DELETED one"], [await watch.NextAsync(), await watch.NextAsync()]);
    }

    [Fact]
    public async Task A_watch_without_a_version_begins_with_what_is_there()
    {
        await Server.ApplyAsync(Samples.Gadget("one"));
        await using OpenWatch watch = await OpenWatch.StartAsync(Server, $"{Gadgets}?watch=true");
        Assert.Equal("ADDED one", await watch.NextAsync());
        await using OpenWatch list = await OpenWatch.StartAsync(Server, $"{Gadgets}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
        Assert.Equal("ADDED one", await list.NextAsync());
        JsonNode mark = (await list.NextNodeAsync())!;
        Assert.Equal(("BOOKMARK", "true"), ((string?)mark["type"], (string?)mark["object"]!["metadata"]!["annotations"]!["k8s.io/initial-events-end"]));
    }

    [Fact]
    public async Task Who_comes_to_match_is_added_and_who_no_longer_does_is_deleted()
    {
        await Server.ApplyAsync(Samples.Gadget("one"));
        await using OpenWatch watch = await OpenWatch.StartAsync(Server, $"{Gadgets}?watch=true&labelSelector=a%3Db");
        await MergeAsync($"{Gadgets}/one", """{"metadata":{"labels":{"a":"b"}}}""");
        await MergeAsync($"{Gadgets}/one", """{"spec":{"count":3}}""");
        await MergeAsync($"{Gadgets}/one", """{"metadata":{"labels":{"a":"c"}}}""");
        Assert.Equal(["ADDED one", "MODIFIED one", "DELETED one"], [await watch.NextAsync(), await watch.NextAsync(), await watch.NextAsync()]);
    }

    [Fact]
    public async Task Bookmarks_tell_how_far_it_is_and_a_timeout_ends_the_watch()
    {
        await using OpenWatch watch = await OpenWatch.StartAsync(Server, $"{Gadgets}?watch=true&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion={Server.Revision}");
        JsonNode bookmark = (await watch.NextNodeAsync())!;
        Assert.Equal("BOOKMARK", (string?)bookmark["type"]);
        Assert.Equal($"{Server.Revision}", (string?)bookmark["object"]!["metadata"]!["resourceVersion"]);
        while (await watch.NextNodeAsync() is { } more) Assert.Equal("BOOKMARK", (string?)more["type"]);
    }

    [Fact]
    public async Task After_a_compaction_an_old_version_is_gone()
    {
        string version = (string)(await GetAsync(Gadgets))["metadata"]!["resourceVersion"]!;
        await Server.ApplyAsync(Samples.Gadget("one"));
        Server.Compact();
        await using OpenWatch watch = await OpenWatch.StartAsync(Server, $"{Gadgets}?watch=true&resourceVersion={version}");
        JsonNode error = (await watch.NextNodeAsync())!;
        Assert.Equal(("ERROR", 410, "Expired"), ((string?)error["type"], (int?)error["object"]!["code"], (string?)error["object"]!["reason"]));
        Assert.Null(await watch.NextNodeAsync());
    }

    [Fact]
    public async Task A_dropped_watch_breaks()
    {
        await using OpenWatch watch = await OpenWatch.StartAsync(Server, $"{Gadgets}?watch=true");
        Server.Watches.Drop();
        await Assert.ThrowsAnyAsync<Exception>(watch.NextNodeAsync);
        await EventuallyAsync(() => Task.FromResult(Server.Watches.Active == 0), "no watch is open");
    }

    [Fact]
    public async Task An_expired_watch_says_so_and_refused_ones_do_not_open()
    {
        await using OpenWatch watch = await OpenWatch.StartAsync(Server, $"{Gadgets}?watch=true");
        Server.Watches.Expire();
        Assert.Equal(410, (int?)(await watch.NextNodeAsync())!["object"]!["code"]);
        Server.Watches.RefuseNext(1);
        Assert.Equal(410, (await AskAsync(Http, HttpMethod.Get, $"{Gadgets}?watch=true")).Code);
        await using OpenWatch next = await OpenWatch.StartAsync(Server, $"{Gadgets}?watch=true");
    }

    [Fact]
    public async Task A_frozen_watch_is_silent_until_it_thaws()
    {
        await using OpenWatch watch = await OpenWatch.StartAsync(Server, $"{Gadgets}?watch=true&allowWatchBookmarks=true&resourceVersion={Server.Revision}");
        Server.Watches.Freeze();
        await Server.ApplyAsync(Samples.Gadget("one"));
        Task<string> next = watch.NextAsync(skipBookmarks: true);
        await Task.WhenAny(next, Task.Delay(TimeSpan.FromMilliseconds(600), TimeProvider.System));
        Assert.False(next.IsCompleted);
        Server.Watches.Thaw();
        Assert.Equal("ADDED one", await next);
    }

    [Fact]
    public async Task Requests_are_recorded_and_can_be_made_to_fail()
    {
        Server.Requests.Clear();
        Server.Requests.FailWith(request => request.Resource == "gadgets" && request.Verb == "list" ? 503 : null);
        Assert.Equal(503, (await AskAsync(Http, HttpMethod.Get, Gadgets)).Code);
        Server.Requests.FailWith(null);
        await GetAsync(Gadgets);
        Assert.Equal(2, Server.Requests.All.Count(request => request is { User: "admin", Verb: "list", Resource: "gadgets", Namespace: "default" }));
    }
}
