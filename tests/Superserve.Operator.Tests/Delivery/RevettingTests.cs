using System.Text.Json.Nodes;
using Grpc.Core;
using Superserve.Operator.Tests.Delivery.Fixture;

namespace Superserve.Operator.Tests.Delivery;

/// <summary>
/// A pod may mount any core Secret but those that a Superserve Secret names. Which those are can change after the pod was let in.
/// </summary>
public sealed class RevettingTests : DeliveryTest
{
    [Fact]
    public async Task A_Superserve_Secret_that_comes_later_closes_the_streams_of_pods_that_may_not_be_sandboxes_by_it()
    {
        (TestSidecar agent, TestSidecar elsewhere) = await ConnectedAsync();
        Parts.Problems = Mounts;
        await SecretAsync("mounted");
        RpcException ended = await agent.EndedAsync();
        Assert.Equal(StatusCode.PermissionDenied, ended.StatusCode);
        Assert.Contains("the pod agents/agent may not have credentials: it mounts the core Secret mounted", ended.Status.Detail, StringComparison.Ordinal);
        await Eventually(async () => (await GetAsync($"apis/events.k8s.io/v1/namespaces/{Ns}/events"))["items"]!.AsArray()
            .Any(item => (string?)item!["reason"] == "SidecarRefused" && ((string?)item["note"])!.Contains("it mounts the core Secret mounted", StringComparison.Ordinal)), "the pod is told");
        await StillServedAsync(elsewhere, "others");
    }

    [Fact]
    public async Task One_that_names_another_core_Secret_from_now_on_does_too()
    {
        await SecretAsync("github");
        (TestSidecar agent, _) = await ConnectedAsync();
        Parts.Problems = Mounts;
        await MergeAsync(SecretPath("github"), """{"spec":{"hosts":["api.other.test"]}}""");
        await KnownAsync(SecretPath("github"));
        await StillServedAsync(agent, Ns);
        await MergeAsync(SecretPath("github"), """{"spec":{"valueFrom":{"secretKeyRef":{"name":"mounted"}}}}""");
        Assert.Contains("it mounts the core Secret mounted", (await agent.EndedAsync()).Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_pod_that_breaks_no_rule_by_it_keeps_its_stream_and_while_the_API_server_is_away_it_is_asked_again()
    {
        (TestSidecar agent, _) = await ConnectedAsync();
        int before = Looks();
        Server.Requests.FailWith(request => request is { Resource: "pods", Verb: "get", User: "operator" } ? 503 : null);
        await SecretAsync("another");
        await Eventually(() => Looks() > before, "the pod is looked at");
        int failed = Looks();
        Parts.Problems = _ => ["it has something that it may not have"];
        Server.Requests.FailWith(null);
        Assert.Contains("it has something that it may not have", (await agent.EndedAsync()).Status.Detail, StringComparison.Ordinal);
        Assert.True(Looks() > failed);

        int Looks() => Server.Requests.All.Count(request => request is { Resource: "pods", Verb: "get", User: "operator" });
    }

    [Fact]
    public async Task A_pod_that_is_being_let_in_at_that_moment_is_looked_at_again()
    {
        await PodAsync("agent");
        TestSidecar agent = Call(Token("agent"));
        Task<RpcException> ended = agent.EndedAsync();
        // Vetted, and silent: it is in no registry yet.
        await Eventually(() => Server.Requests.All.Any(request => request is { Resource: "pods", Verb: "get", Name: "agent", User: "operator" }), "it is looked at");
        await Eventually(() => Parts.Asked > 0, "and vetted");
        Parts.Problems = Mounts;
        await SecretAsync("mounted");
        await KnownAsync(SecretPath("mounted"));
        await agent.HelloAsync();
        Assert.Contains("it mounts the core Secret mounted", (await ended).Status.Detail, StringComparison.Ordinal);
    }

    private static IReadOnlyList<string> Mounts(JsonObject pod) => ["it mounts the core Secret mounted"];

    private async Task<(TestSidecar Agent, TestSidecar Elsewhere)> ConnectedAsync()
    {
        await PodAsync("agent");
        await PodAsync("agent", ns: "others");
        TestSidecar agent = await ConnectAsync("agent"), elsewhere = await ConnectAsync("agent", "others");
        await agent.SnapshotAsync();
        await elsewhere.SnapshotAsync();
        return (agent, elsewhere);
    }

    private async Task StillServedAsync(TestSidecar sidecar, string ns)
    {
        await BindingAsync("more", "MORE", "missing", ns: ns);
        await sidecar.SnapshotAsync(snapshot => snapshot.Bindings.Count == 1);
    }
}
