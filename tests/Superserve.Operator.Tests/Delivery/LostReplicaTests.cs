using System.Text.Json.Nodes;
using k8s.Models;
using Superserve.Kubernetes;
using Superserve.Operator.Bindings;
using Superserve.Operator.Cluster;
using Superserve.Operator.Delivery;
using Superserve.Operator.Tests.Delivery.Fixture;

namespace Superserve.Operator.Tests.Delivery;

/// <summary>What becomes of what a replica said that is gone.</summary>
public sealed class LostReplicaTests : DeliveryTest
{
    private readonly CancellationTokenSource _leading = new();

    private protected override DeliveryLimits Limits => new() { Disconnected = TimeSpan.FromMilliseconds(200), ReplicaBeat = TimeSpan.FromMilliseconds(100), ReplicaLooks = 10 };

    [Fact]
    public async Task A_sandbox_of_a_replica_that_has_crashed_is_not_called_connected_any_more_and_is_told_why()
    {
        await PodAsync("agent");
        await SayAsync("agent", "replica-2");
        Task leading = LostReplicas.RunAsync(_leading.Token);
        JsonNode condition = await ConditionAsync("agent", "False");
        Assert.Equal("ReplicaLost", (string?)condition["reason"]);
        Assert.Equal(
            "the replica of the operator that had the sidecar has ended, or cannot reach the API server, and the sidecar has connected to no other: it keeps the credentials that it had, and hears of no revocation; "
            + "kubectl logs agent -c superserve-sidecar says why (replica replica-2)",
            (string?)condition["message"]);
        await EndAsync(leading);

        // It comes back, to whichever replica.
        await (await ConnectAsync("agent")).SnapshotAsync();
        Assert.Contains("(replica replica-1)", (string?)(await ConditionAsync("agent", "True"))["message"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_replica_that_renews_its_Lease_is_believed_until_it_stops_and_then_its_Lease_goes_as_well()
    {
        using CancellationTokenSource living = new();
        Task beats = LeaseOf("Replica_2").RunAsync(living.Token);
        await PodAsync("agent");
        await PodAsync("other");
        await SayAsync("agent", "Replica_2");
        Task leading = LostReplicas.RunAsync(_leading.Token);
        // Twice as long as it takes to find a replica gone.
        for (int i = 0; i < 2; i++)
        {
            await SayAsync("other", $"replica-{i + 3}");
            await ConditionAsync("other", "False");
        }

        Assert.Equal("True", (string?)(await ConditionAsync("agent"))!["status"]);
        Assert.Equal("Replica_2", (string?)(await GetAsync(LeasePath("Replica_2")))["spec"]!["holderIdentity"]);

        await living.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => beats);
        await ConditionAsync("agent", "False");
        await Eventually(async () => (string?)(await GetAsync(LeasePath("Replica_2")))["reason"] == "NotFound", "the Lease is deleted");
        // Its own it renews; it was there all the time.
        Assert.Equal("replica-1", (string?)(await GetAsync(LeasePath("replica-1")))["spec"]!["holderIdentity"]);
        await EndAsync(leading);
    }

    [Fact]
    public async Task A_condition_that_names_no_replica_is_left_alone()
    {
        await PodAsync("agent");
        await PodAsync("other");
        await MergeAsync(PodPath("agent") + "/status", $$$"""{"status":{"conditions":[{"type":"{{{Marks.ConnectedCondition}}}","status":"True"}]}}""");
        await SayAsync("other", "replica-2");
        Task leading = LostReplicas.RunAsync(_leading.Token);
        await ConditionAsync("other", "False");
        Assert.Equal("True", (string?)(await ConditionAsync("agent"))!["status"]);
        await EndAsync(leading);
    }

    [Fact]
    public async Task A_sidecar_that_another_replica_took_up_since_is_not_contradicted()
    {
        await PodAsync("agent");
        await SayAsync("agent", "replica-2");
        await KnownAsync(PodPath("agent"));
        V1Pod judged = Cluster.Pods.Store.Get(new ObjectKey(Ns, "agent"))!;
        Assert.Equal("replica-2", judged.ConnectedTo());
        await SayAsync("agent", "replica-3");
        await LostReplicas.TakeBackAsync(judged, "replica-2", CancellationToken.None);
        JsonNode condition = (await ConditionAsync("agent"))!;
        Assert.Equal(("True", "capture Transparent, sidecar 0.1.0 (replica replica-3)"), ((string?)condition["status"], (string?)condition["message"]));
    }

    [Fact]
    public async Task A_replica_that_was_taken_for_gone_says_again_that_it_has_the_sidecar()
    {
        await PodAsync("agent");
        await (await ConnectAsync("agent")).SnapshotAsync();
        await ConditionAsync("agent", "True");
        await KnownAsync(PodPath("agent"));
        await LostReplicas.TakeBackAsync(Cluster.Pods.Store.Get(new ObjectKey(Ns, "agent"))!, "replica-1", CancellationToken.None);
        await ConditionAsync("agent", "True");
        Assert.Equal(3, Server.Requests.All.Count(request => request is { Resource: "pods", Subresource: "status", Verb: "patch", Name: "agent" }));
    }

    [Fact]
    public async Task A_replica_that_restarted_under_its_name_takes_back_what_it_said_before()
    {
        await PodAsync("agent");
        await SayAsync("agent", "replica-1");
        Assert.Equal("Disconnected", (string?)(await ConditionAsync("agent", "False"))["reason"]);
    }

    [Fact]
    public async Task Without_the_right_to_see_Leases_nothing_is_taken_back_and_the_log_says_what_is_missing()
    {
        await ApplyAsync(RightsWithoutLeases);
        await PodAsync("agent");
        await SayAsync("agent", "replica-2");
        Task leading = LostReplicas.RunAsync(_leading.Token);
        await Eventually(() => Logs.Split('\n').Count(line => line.Contains("list and delete on leases", StringComparison.Ordinal)) > 2 * Limits.ReplicaLooks, "it looked often enough");
        Assert.Equal("True", (string?)(await ConditionAsync("agent"))!["status"]);
        Assert.Contains("create and patch on leases", Logs, StringComparison.Ordinal);
        await EndAsync(leading);
    }

    private const string RightsWithoutLeases = """
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: delivery}
        rules:
        - {apiGroups: [""], resources: [pods], verbs: [get, list, watch]}
        - {apiGroups: [""], resources: [pods/status], verbs: [patch]}
        """;

    private Task SayAsync(string pod, string replica) => MergeAsync(
        PodPath(pod) + "/status",
        $$$"""{"status":{"conditions":[{"type":"{{{Marks.ConnectedCondition}}}","status":"True","reason":"Connected","message":"capture Transparent, sidecar 0.1.0 (replica {{{replica}}})","lastTransitionTime":"{{{DateTimeOffset.UnixEpoch:yyyy-MM-dd'T'HH:mm:ss'Z'}}}"}]}}""");

    private static string LeasePath(string replica) => $"apis/coordination.k8s.io/v1/namespaces/{OperatorNs}/leases/{ReplicaLease.KeyOf(OperatorNs, replica).Name}";

    private async Task EndAsync(Task leading)
    {
        await _leading.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => leading);
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
