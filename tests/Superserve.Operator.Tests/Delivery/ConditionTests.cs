using System.Text.Json.Nodes;
using Superserve.Operator.Bindings;
using Superserve.Operator.Delivery;
using Superserve.Operator.Tests.Delivery.Fixture;

namespace Superserve.Operator.Tests.Delivery;

/// <summary>What a pod says about its sidecar's connection.</summary>
public sealed class ConditionTests : DeliveryTest
{
    private protected override DeliveryLimits Limits => new() { Disconnected = TimeSpan.FromMilliseconds(400) };

    [Fact]
    public async Task A_pod_is_connected_once_its_sidecar_took_the_first_snapshot()
    {
        await PodAsync("agent");
        TestSidecar sidecar = await ConnectAsync("agent");
        await sidecar.ReadAsync(Protocol.OperatorMessage.MessageOneofCase.Snapshot);
        Assert.Null(await ConditionAsync("agent"));

        await sidecar.SendAsync(new Protocol.SidecarMessage { Acknowledgement = new Protocol.Acknowledgement { Revision = 1 } });
        JsonNode condition = await ConditionAsync("agent", "True");
        Assert.Equal("Connected", (string?)condition["reason"]);
        Assert.Equal("capture Transparent, sidecar 0.1.0 (replica replica-1)", (string?)condition["message"]);
        Assert.NotNull((string?)condition["lastTransitionTime"]);
        JsonNode owner = (await GetAsync(PodPath("agent")))["metadata"]!["managedFields"]!.AsArray().Single(entry => (string?)entry!["manager"] == "superserve-delivery")!;
        Assert.Equal(("Apply", "status"), ((string?)owner["operation"], (string?)owner["subresource"]));
    }

    [Fact]
    public async Task The_condition_leaves_what_others_say_of_the_pod()
    {
        await PodAsync("agent");
        await MergeAsync(PodPath("agent") + "/status", """{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}""");
        await ConnectedAsync();
        JsonNode status = (await GetAsync(PodPath("agent")))["status"]!;
        Assert.Equal("Running", (string?)status["phase"]);
        Assert.Contains(status["conditions"]!.AsArray(), condition => (string?)condition!["type"] == "Ready");
    }

    [Fact]
    public async Task A_sidecar_that_stays_away_makes_it_False()
    {
        await PodAsync("agent");
        TestSidecar sidecar = await ConnectedAsync();
        await sidecar.LeaveAsync();
        JsonNode condition = await ConditionAsync("agent", "False");
        Assert.Equal("Disconnected", (string?)condition["reason"]);
        Assert.Contains("did not come back", (string?)condition["message"], StringComparison.Ordinal);
        await (await ConnectAsync("agent")).SnapshotAsync();
        await ConditionAsync("agent", "True");
    }

    [Fact]
    public async Task A_sidecar_that_another_replica_has_is_not_contradicted()
    {
        await PodAsync("agent");
        TestSidecar sidecar = await ConnectedAsync();
        await MergeAsync(PodPath("agent") + "/status", $$$"""{"status":{"conditions":[{"type":"{{{Marks.ConnectedCondition}}}","status":"True","reason":"Connected","message":"capture Transparent, sidecar 0.1.0 (replica replica-2)"}]}}""");
        await KnownAsync(PodPath("agent"));
        await sidecar.LeaveAsync();
        await Eventually(() => Registry.Count == 0, "it has left");

        // A second sidecar that leaves later is written after the first would have been.
        await PodAsync("second");
        TestSidecar second = await ConnectAsync("second");
        await second.SnapshotAsync();
        await ConditionAsync("second", "True");
        await second.LeaveAsync();
        await ConditionAsync("second", "False");
        Assert.Equal("True", (string?)(await ConditionAsync("agent"))!["status"]);
    }

    [Fact]
    public async Task A_sidecar_that_cannot_take_its_snapshot_says_so_and_its_text_is_shown_nowhere()
    {
        await PodAsync("agent");
        TestSidecar sidecar = await ConnectAsync("agent");
        await sidecar.ReadAsync(Protocol.OperatorMessage.MessageOneofCase.Snapshot);
        await sidecar.SendAsync(new Protocol.SidecarMessage { Acknowledgement = new Protocol.Acknowledgement { Revision = 1, Error = "text of the sidecar's" } });
        JsonNode condition = await ConditionAsync("agent", "False");
        Assert.Equal("SnapshotRejected", (string?)condition["reason"]);
        Assert.DoesNotContain("text of the sidecar's", (await GetAsync(PodPath("agent"))).ToJsonString() + Logs, StringComparison.Ordinal);
        Assert.Contains("could not take snapshot 1", Logs, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_pod_is_written_only_when_something_changed()
    {
        await SecretAsync("github");
        await BindingAsync("agents", "GITHUB_TOKEN", "github");
        await PodAsync("agent");
        TestSidecar sidecar = await ConnectedAsync();
        await KnownAsync(PodPath("agent"));
        for (int i = 0; i < 5; i++)
        {
            await CredentialAsync("github", $"rotated-credential-{i}-0123456789");
            await sidecar.SnapshotAsync(snapshot => snapshot.Secrets.Count == 1 && snapshot.Secrets[0].Available.ToStringUtf8().Contains($"-{i}-", StringComparison.Ordinal));
        }

        TestSidecar again = await ConnectAsync("agent");
        await again.SnapshotAsync();
        // Of another pod: when that is written, all before it is.
        await PodAsync("second");
        await (await ConnectAsync("second")).SnapshotAsync();
        await ConditionAsync("second", "True");
        Assert.Equal(1, Server.Requests.All.Count(request => request is { Resource: "pods", Subresource: "status", Verb: "patch", Name: "agent" }));
    }

    [Fact]
    public async Task A_replica_that_ends_does_not_call_its_sidecars_disconnected()
    {
        await PodAsync("agent");
        await ConnectedAsync();
        await Registry.DrainAsync(CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(30), TimeProvider.System);
        await Eventually(() => Registry.Count == 0, "all are gone");
        await Task.Delay(2 * Limits.Disconnected, TimeProvider.System);
        Assert.Equal("True", (string?)(await ConditionAsync("agent"))!["status"]);
    }

    private async Task<TestSidecar> ConnectedAsync()
    {
        TestSidecar sidecar = await ConnectAsync("agent");
        await sidecar.SnapshotAsync();
        await ConditionAsync("agent", "True");
        return sidecar;
    }

    private async Task<JsonNode?> ConditionAsync(string pod) =>
        (await GetAsync(PodPath(pod)))["status"]?["conditions"]?.AsArray().FirstOrDefault(condition => (string?)condition!["type"] == Marks.ConnectedCondition);

    private async Task<JsonNode> ConditionAsync(string pod, string status)
    {
        JsonNode? condition = null;
        await Eventually(async () => (string?)(condition = await ConditionAsync(pod))?["status"] == status, $"{pod} is connected: {status}");
        return condition!;
    }
}
