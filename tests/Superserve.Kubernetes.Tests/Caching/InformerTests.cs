using System.Collections.Concurrent;
using k8s.Models;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Caching;
using Superserve.Kubernetes.Tests.Support;
using static Superserve.Kubernetes.Tests.Support.Objects;
using Superserve.Testing;

namespace Superserve.Kubernetes.Tests.Caching;

public sealed class InformerTests : IAsyncLifetime
{
    private static readonly InformerOptions Quick = new() { Backoff = new Backoff(TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(5)) };

    private readonly ConcurrentQueue<string> _changes = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Metrics _metrics = new();
    private FakeApiServer _server = null!;
    private KubernetesConnection _connection = null!;
    private Informer<V1ConfigMap> _informer = null!;
    private Task _running = Task.CompletedTask;

    public async ValueTask InitializeAsync() => _server = await FakeApiServer.StartAsync();

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _server.DisposeAsync();
        _connection?.Dispose();
    }

    [Fact]
    public async Task A_410_by_status_starts_again_from_a_list()
    {
        _server.On("list", List(10, Map("a", 1))).On("list", List(50, Map("a", 1), Map("b", 45)));
        _server.On("watch", Status(410, "Expired"), 410);
        Start();
        await Changes("+a 1", "+b 45");
        await Watching(from: 50);
        Assert.Equal(1, _metrics["informer.watch.restarts kind=configmaps reason=expired"]);
    }

    [Fact]
    public async Task A_410_by_event_starts_again_from_a_list()
    {
        _server.On("list", List(10, Map("a", 1))).On("list", List(50, Map("a", 1), Map("b", 45)));
        _server.OnWatch([Event("ERROR", Status(410, "Expired")), Event("ADDED", Map("never", 11))], open: true);
        Start();
        await Changes("+a 1", "+b 45");
        await Watching(from: 50);
        Assert.Equal(1, _metrics["informer.watch.restarts kind=configmaps reason=expired"]);
    }

    [Fact]
    public async Task Any_other_error_event_starts_again_from_a_list_too()
    {
        _server.On("list", List(10)).On("list", List(50, Map("b", 45)));
        _server.OnWatch([Event("ERROR", Status(500, "InternalError"))], open: true);
        Start();
        await Changes("+b 45");
        await Watching(from: 50);
    }

    [Fact]
    public async Task A_silent_watch_dies_by_its_deadline_and_resumes_where_it_was()
    {
        FakeTimeProvider time = new();
        _server.On("list", List(10, Map("a", 1)));
        _server.OnWatch([Event("MODIFIED", Map("a", 12))], open: true);
        Start(time: time);
        await Changes("+a 1", "a 1->12");
        await Eventually.True(() => _server.Watches.Count == 2, "a second watch", time, TimeSpan.FromSeconds(20));
        Assert.Equal("12", _server.Watches[1].Query["resourceVersion"]);
        Assert.Single(_server.Lists);
        Assert.Equal(1, _metrics["informer.watch.restarts kind=configmaps reason=deadline"]);
        await Eventually.True(() => _server.OpenWatches == 1, "the dead watch is closed");
    }

    [Fact]
    public async Task A_watch_asks_for_bookmarks_and_an_end_of_its_own_that_comes_before_the_deadline()
    {
        _server.On("list", List(10));
        Start(Quick with { WatchTimeout = TimeSpan.FromSeconds(100), LabelSelector = "a in (b, c)", FieldSelector = "metadata.name=x", Namespace = "agents" });
        await Watching(from: 10);
        Received watch = _server.Watches[0];
        Assert.Equal("true", watch.Query["allowWatchBookmarks"]);
        Assert.InRange(int.Parse(watch.Query["timeoutSeconds"].ToString()), 100, 150);
        Assert.Equal("/api/v1/namespaces/agents/configmaps", watch.Path);
        Assert.All([watch, _server.Lists[0]], request => Assert.Equal("a in (b, c)", request.Query["labelSelector"]));
        Assert.All([watch, _server.Lists[0]], request => Assert.Equal("metadata.name=x", request.Query["fieldSelector"]));
    }

    [Fact]
    public async Task A_watch_closed_in_the_middle_of_a_line_loses_no_event()
    {
        _server.On("list", List(10));
        string half = Event("ADDED", Map("b", 12));
        _server.On("watch", async context =>
        {
            await context.Response.WriteAsync(Event("ADDED", Map("a", 11)) + "\n" + half[..^10]);
        });
        _server.OnWatch([half], open: true);
        Start();
        await Changes("+a 11", "+b 12");
        Assert.Equal("11", _server.Watches[1].Query["resourceVersion"]);
        Assert.Equal(1, _metrics["informer.watch.restarts kind=configmaps reason=truncated"]);
    }

    [Fact]
    public async Task A_watch_reset_in_the_middle_of_a_line_loses_no_event()
    {
        _server.On("list", List(10));
        string half = Event("ADDED", Map("b", 12));
        _server.On("watch", async context =>
        {
            await context.Response.WriteAsync(Event("ADDED", Map("a", 11)) + "\n" + half[..40]);
            await context.Response.Body.FlushAsync();
            await Eventually.True(() => !_changes.IsEmpty, "the first event is through");
            context.Abort();
        });
        _server.OnWatch([half], open: true);
        Start();
        await Changes("+a 11", "+b 12");
        Assert.Equal("11", _server.Watches[1].Query["resourceVersion"]);
        Assert.Single(_server.Lists);
    }

    [Fact]
    public async Task A_deletion_in_a_gap_is_seen()
    {
        _server.On("list", List(10, Map("a", 1, "last"), Map("b", 2))).On("list", List(50, Map("b", 2)));
        _server.On("watch", Status(410, "Gone"), 410);
        Start();
        await Changes("+a 1", "+b 2", "-a 1");
        Assert.Null(_informer.Store.Get(new("agents", "a")));
    }

    [Fact]
    public async Task An_object_made_again_under_its_name_in_a_gap_is_another_object()
    {
        _server.On("list", List(10, Map("a", 1))).On("list", List(50, Map("a", 40, uid: "other")));
        _server.On("watch", Status(410, "Gone"), 410);
        Start();
        await Changes("+a 1", "-a 1", "+a 40");
    }

    [Fact]
    public async Task Bookmarks_move_the_resume_point()
    {
        _server.On("list", List(10));
        _server.OnWatch([Event("ADDED", Map("a", 11)), Bookmark(400)]);
        Start();
        await Watching(from: 400);
        await Changes("+a 11");
        Assert.Single(_server.Lists);
    }

    [Fact]
    public async Task A_list_comes_in_pages_and_counts_only_when_complete()
    {
        TaskCompletionSource hold = new();
        _server.On("list", Page(10, "more", Map("a", 1)));
        _server.On("list", async context =>
        {
            await hold.Task;
            await FakeApiServer.WriteAsync(context, 200, Page(10, null, Map("b", 2)));
        });
        Start(Quick with { PageSize = 1 });
        await Eventually.True(() => _server.Lists.Count == 2, "the second page is asked for");
        Assert.False(_informer.HasSynced);
        Assert.Equal(0, _informer.Store.Count);
        hold.SetResult();
        await _informer.Synced;
        await Changes("+a 1", "+b 2");
        Assert.Equal(["1", "1"], _server.Lists.Select(list => list.Query["limit"].ToString()));
        Assert.Equal("more", _server.Lists[1].Query["continue"]);
    }

    [Fact]
    public async Task A_continue_token_that_expires_starts_the_list_again_and_then_asks_for_all_at_once()
    {
        _server.On("list", Page(10, "t1", Map("gone", 1))).On("list", Status(410, "Expired"), 410);
        _server.On("list", Page(20, "t2", Map("a", 15))).On("list", Status(410, "Expired"), 410);
        _server.On("list", List(30, Map("a", 15), Map("b", 25)));
        Start();
        await Watching(from: 30);
        await Changes("+a 15", "+b 25");
        Assert.Equal(["500", "500", "500", "500", ""], _server.Lists.Select(list => list.Query["limit"].ToString()));
        Assert.Equal(["", "t1", "", "t2", ""], _server.Lists.Select(list => list.Query["continue"].ToString()));
    }

    [Fact]
    public async Task Cancellation_ends_a_silent_watch_and_its_connection()
    {
        _server.On("list", List(10));
        Start();
        await Watching(from: 10);
        await _stop.CancelAsync();
        await Eventually.Cancelled(_running);
        await Eventually.True(() => _server.OpenWatches == 0, "the watch is closed");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Cancellation_ends_a_request_without_an_answer(bool inTheList)
    {
        if (inTheList) _server.On("list", context => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted));
        else _server.On("list", List(10)).On("watch", context => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted));
        Start();
        await Eventually.True(() => _server.Requests.Count == (inTheList ? 1 : 2), "the request is under way");
        await _stop.CancelAsync();
        await Eventually.Cancelled(_running);
    }

    [Fact]
    public async Task Cancellation_ends_a_wait_between_attempts()
    {
        _server.On("list", Status(503, "ServiceUnavailable"), 503);
        Start(new InformerOptions { Backoff = new Backoff(TimeSpan.FromDays(1), TimeSpan.FromDays(1)) });
        await Eventually.True(() => _metrics["informer.watch.restarts kind=configmaps reason=error"] == 1, "an attempt has failed");
        await _stop.CancelAsync();
        await Eventually.Cancelled(_running);
    }

    [Fact]
    public async Task A_server_that_is_away_is_tried_until_it_is_back_without_a_new_list()
    {
        _server.On("list", List(10, Map("a", 1)));
        for (int times = 0; times < 5; times++) _server.On("watch", Status(503, "ServiceUnavailable"), 503);
        _server.OnWatch([Event("DELETED", Map("a", 20))], open: true);
        Start();
        await Changes("+a 1", "-a 20");
        Assert.Equal(6, _server.Watches.Count);
        Assert.Single(_server.Lists);
    }

    [Fact]
    public async Task A_line_that_is_no_event_starts_again_from_a_list()
    {
        _server.On("list", List(10)).On("list", List(50, Map("a", 45)));
        _server.OnWatch(["""{"type":"ADDED","obj""", Event("ADDED", Map("b", 12))], open: true);
        Start();
        await Changes("+a 45");
        await Watching(from: 50);
    }

    [Fact]
    public async Task An_object_that_cannot_be_read_blinds_the_informer_to_nothing_else()
    {
        string broken = Map("a", 30).Replace("\"data\":{\"value\":\"\"}", "\"data\":[1]", StringComparison.Ordinal);
        _server.On("list", List(10, Map("a", 1), Map("b", 2))).On("list", List(60, broken, Map("b", 2), Map("c", 50)));
        _server.OnWatch([Event("MODIFIED", broken), Event("MODIFIED", Map("b", 31)), Event("ERROR", Status(410, "Expired"))]);
        Start();
        await Changes("+a 1", "+b 2", "b 2->31", "b 31->2", "+c 50");
        Assert.Equal("1", _informer.Store.Get(new("agents", "a"))!.Metadata.ResourceVersion);
        Assert.Equal(2, _metrics["informer.objects.unreadable kind=configmaps"]);
    }

    [Fact]
    public async Task A_handler_that_throws_takes_no_event_from_the_others()
    {
        _server.On("list", List(10, Map("a", 1), Map("b", 2)));
        Start(first: _ => throw new InvalidOperationException());
        await Changes("+a 1", "+b 2");
    }

    [Fact]
    public async Task Only_the_named_managers_fields_are_kept_and_the_kind_is_filled_in()
    {
        _server.On("list", List(10, Map("a", 1).Replace("\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",", "", StringComparison.Ordinal)));
        Start(Quick with { FieldManager = "superserve" });
        await Changes("+a 1");
        V1ConfigMap map = _informer.Store.List().Single();
        Assert.Equal("superserve", map.Metadata.ManagedFields.Single().Manager);
        Assert.Equal(("v1", "ConfigMap"), (map.ApiVersion, map.Kind));
    }

    [Fact]
    public async Task A_handler_that_comes_too_late_is_told_so()
    {
        _server.On("list", List(10));
        Start();
        await _informer.Synced;
        Assert.Throws<InvalidOperationException>(() => _informer.Subscribe(_ => { }));
    }

    private void Start(InformerOptions? options = null, TimeProvider? time = null, Action<Change<V1ConfigMap>>? first = null)
    {
        time ??= TimeProvider.System;
        _connection = _server.Connect(time);
        _informer = new Informer<V1ConfigMap>(_connection, options ?? Quick, _metrics.Kubernetes, time, NullLogger<Informer<V1ConfigMap>>.Instance);
        if (first is not null) _informer.Subscribe(first);
        _informer.Subscribe(change => _changes.Enqueue(change.Kind switch
        {
            ChangeKind.Added => $"+{change.Object.Metadata.Name} {change.Object.Metadata.ResourceVersion}",
            ChangeKind.Deleted => $"-{change.Object.Metadata.Name} {change.Object.Metadata.ResourceVersion}",
            _ => $"{change.Object.Metadata.Name} {change.Old!.Metadata.ResourceVersion}->{change.Object.Metadata.ResourceVersion}",
        }));
        _running = Task.Run(() => _informer.RunAsync(_stop.Token));
    }

    private async Task Changes(params string[] expected)
    {
        await Eventually.True(() => _changes.Count >= expected.Length, $"[{string.Join(", ", expected)}], only [{string.Join(", ", _changes)}]");
        Assert.Equal(expected, _changes);
    }

    private Task Watching(int from) =>
        Eventually.True(() => _server.OpenWatches == 1 && _server.Watches[^1].Query["resourceVersion"] == $"{from}", $"a watch from {from}");
}
