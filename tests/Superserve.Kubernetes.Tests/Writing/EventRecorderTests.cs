using System.Text.Json.Nodes;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Tests.Support;
using Superserve.Kubernetes.Writing;
using Superserve.Testing;

namespace Superserve.Kubernetes.Tests.Writing;

public sealed class EventRecorderTests : IAsyncLifetime
{
    private static readonly V1ConfigMap About = Objects.ParseMap(Objects.Map("web", 3));

    private readonly FakeTimeProvider _time = new();
    private readonly Metrics _metrics = new();
    private readonly CancellationTokenSource _stop = new();
    private FakeApiServer _server = null!;
    private KubernetesConnection _connection = null!;
    private EventRecorder _recorder = null!;
    private Task _running = Task.CompletedTask;

    public async ValueTask InitializeAsync()
    {
        _server = await FakeApiServer.StartAsync();
        for (int answers = 0; answers < 40; answers++) _server.On("POST", "{}");
        _connection = _server.Connect(_time);
        _recorder = new EventRecorder(_connection, "superserve.ai/operator", "operator-0", _metrics.Kubernetes, _time, NullLogger<EventRecorder>.Instance);
        _running = _recorder.RunAsync(_stop.Token);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Eventually.Cancelled(_running);
        await _server.DisposeAsync();
        _connection.Dispose();
    }

    [Fact]
    public async Task Repeats_of_an_event_become_a_count_that_is_written_now_and_then()
    {
        _server.On("PATCH", "{}");
        _recorder.Warning(About, "NotInjected", "Inject", "no sidecar");
        await Sent(1);
        for (int times = 0; times < 100; times++) _recorder.Warning(About, "NotInjected", "Inject", "no sidecar");
        _time.Advance(TimeSpan.FromMinutes(1));
        _recorder.Warning(About, "NotInjected", "Inject", "no sidecar");
        await Sent(2);

        JsonNode first = JsonNode.Parse(_server.Requests[0].Body)!;
        Assert.Equal("/apis/events.k8s.io/v1/namespaces/agents/events", _server.Requests[0].Path);
        Assert.Equal(("Warning", "NotInjected", "Inject", "no sidecar"), ((string?)first["type"], (string?)first["reason"], (string?)first["action"], (string?)first["note"]));
        Assert.Equal(("ConfigMap", "web", "uid-web"), ((string?)first["regarding"]!["kind"], (string?)first["regarding"]!["name"], (string?)first["regarding"]!["uid"]));
        Assert.Equal(("superserve.ai/operator", "operator-0"), ((string?)first["reportingController"], (string?)first["reportingInstance"]));
        Assert.Contains(".", (string)first["eventTime"]!, StringComparison.Ordinal);
        Assert.Null(first["series"]);

        Assert.Equal(("PATCH", $"{_server.Requests[0].Path}/{first["metadata"]!["name"]}"), (_server.Requests[1].Method, _server.Requests[1].Path));
        JsonNode series = JsonNode.Parse(_server.Requests[1].Body)!["series"]!;
        Assert.Equal(102, (int)series["count"]!);
        Assert.Contains(".", (string)series["lastObservedTime"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task One_object_gets_few_different_notes_for_one_reason_and_does_not_silence_the_others()
    {
        for (int number = 0; number < 50; number++) _recorder.Normal(About, "Chatty", "Talk", $"note {number}");
        _recorder.Normal(About, "Other", "Talk", "another reason");
        await Sent(11);
        Assert.Equal(40, _metrics["events.recorded outcome=dropped"]);

        _time.Advance(TimeSpan.FromMinutes(5));
        _recorder.Normal(About, "Chatty", "Talk", "later");
        await Sent(12);
    }

    [Fact]
    public async Task An_event_that_has_expired_is_made_again_with_its_count()
    {
        _server.On("PATCH", Objects.Status(404, "NotFound"), 404);
        _recorder.Normal(About, "Bound", "Bind", "bound");
        await Sent(1);
        _time.Advance(TimeSpan.FromMinutes(2));
        _recorder.Normal(About, "Bound", "Bind", "bound");
        await Sent(2);
        Assert.Equal(["POST", "PATCH", "POST"], _server.Requests.Select(request => request.Method));
        Assert.Equal(2, (int)JsonNode.Parse(_server.Requests[2].Body)!["series"]!["count"]!);
    }

    [Fact]
    public async Task An_event_that_cannot_be_sent_costs_nothing_but_itself()
    {
        await using FakeApiServer server = await FakeApiServer.StartAsync();
        server.On("POST", Objects.Status(403, "Forbidden"), 403).On("POST", "{}");
        using KubernetesConnection connection = server.Connect();
        EventRecorder recorder = new(connection, "c", "i", _metrics.Kubernetes, _time, NullLogger<EventRecorder>.Instance);
        using CancellationTokenSource stop = new();
        Task running = recorder.RunAsync(stop.Token);
        recorder.Normal(About, "One", "Do", new string('x', 2000));
        recorder.Normal(About, "Two", "Do", "y");
        await Eventually.True(() => _metrics["events.recorded outcome=sent"] == 1, "the second is sent");
        Assert.Equal(1, _metrics["events.recorded outcome=failed"]);
        Assert.Equal(1024, ((string)JsonNode.Parse(server.Requests[0].Body)!["note"]!).Length);
        await stop.CancelAsync();
        await Eventually.Cancelled(running);
    }

    private Task Sent(int count) => Eventually.True(() => _metrics["events.recorded outcome=sent"] == count, $"{count} are sent");
}
