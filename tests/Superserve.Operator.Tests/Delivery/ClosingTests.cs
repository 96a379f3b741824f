using Grpc.Core;
using Superserve.Operator.Tests.Delivery.Fixture;
using Superserve.Protocol;

namespace Superserve.Operator.Tests.Delivery;

/// <summary>How streams end.</summary>
public sealed class ClosingTests : DeliveryTest
{
    [Fact]
    public async Task A_second_stream_takes_the_place_of_the_first()
    {
        await PodAsync("agent");
        TestSidecar first = await ConnectAsync("agent");
        await first.SnapshotAsync();
        TestSidecar second = await ConnectAsync("agent");
        await second.SnapshotAsync();
        RpcException ended = await first.EndedAsync();
        Assert.Equal(StatusCode.Aborted, ended.StatusCode);
        Assert.Contains("another stream", ended.Status.Detail, StringComparison.Ordinal);
        Assert.Equal(1, Registry.Count);
    }

    [Fact]
    public async Task A_deleted_pod_ends_its_stream()
    {
        await PodAsync("agent");
        TestSidecar sidecar = await ConnectAsync("agent");
        await sidecar.SnapshotAsync();
        RpcException ended = await sidecar.EndedAsync(() => DeleteAsync(PodPath("agent")));
        Assert.Equal(StatusCode.PermissionDenied, ended.StatusCode);
        await Eventually(() => Registry.Count == 0, "nothing is left of it");
    }

    [Fact]
    public async Task A_finished_pod_ends_its_stream()
    {
        await PodAsync("agent");
        TestSidecar sidecar = await ConnectAsync("agent");
        await sidecar.SnapshotAsync();
        RpcException ended = await sidecar.EndedAsync(() => MergeAsync(PodPath("agent") + "/status", """{"status":{"phase":"Succeeded"}}"""));
        Assert.Contains("has finished", ended.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_sidecar_that_leaves_leaves_nothing()
    {
        await PodAsync("agent");
        TestSidecar sidecar = await ConnectAsync("agent");
        await sidecar.SnapshotAsync();
        await sidecar.LeaveAsync();
        await Eventually(() => Registry.Count == 0, "it has left");
        TestSidecar rude = await ConnectAsync("agent");
        await rude.SnapshotAsync();
        rude.Dispose();
        await Eventually(() => Registry.Count == 0, "the broken one too");
        Assert.DoesNotContain(Logs.Split('\n'), line => line.StartsWith("Error ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_sidecar_that_connects_again_and_again_has_one_stream()
    {
        await SecretAsync("github");
        await BindingAsync("agents", "GITHUB_TOKEN", "github");
        await PodAsync("agent");
        TestSidecar? last = null;
        for (int i = 0; i < 25; i++) last = await ConnectAsync("agent");
        Assert.Equal("github", Assert.Single((await last!.SnapshotAsync(snapshot => snapshot.Secrets.Count > 0)).Secrets).Secret);
        await Eventually(() => Registry.Count == 1, "one is left");
    }

    [Fact]
    public async Task A_second_Hello_ends_the_stream() =>
        await EndsAsync(sidecar => sidecar.HelloAsync(), StatusCode.InvalidArgument, "has no place");

    [Fact]
    public async Task An_acknowledgement_of_what_was_never_sent_ends_the_stream() =>
        await EndsAsync(sidecar => sidecar.SendAsync(new SidecarMessage { Acknowledgement = new Acknowledgement { Revision = 1_000_000 } }), StatusCode.InvalidArgument, "has no place");

    [Fact]
    public async Task A_message_that_is_too_long_ends_the_stream() =>
        await EndsAsync(sidecar => sidecar.SendAsync(new SidecarMessage { Renewal = new Renewal { Token = new string('x', 70_000) } }), StatusCode.InvalidArgument, "longer than 64 KiB");

    [Fact]
    public async Task A_flood_ends_the_stream() => await EndsAsync(
        async sidecar =>
        {
            for (int i = 0; i < 500; i++) await sidecar.SendAsync(new SidecarMessage { Heartbeat = new Heartbeat() });
        },
        StatusCode.ResourceExhausted, "more messages came");

    [Fact]
    public async Task A_flood_of_renewals_ends_the_stream_before_it_is_one_for_the_API_server()
    {
        await PodAsync("agent");
        string token = Token("agent");
        TestSidecar sidecar = await ConnectAsync("agent");
        await sidecar.SnapshotAsync();
        RpcException ended = await sidecar.EndedAsync(async () =>
        {
            for (int i = 0; i < 100; i++) await sidecar.SendAsync(new SidecarMessage { Renewal = new Renewal { Token = token } });
        });
        Assert.Equal(StatusCode.ResourceExhausted, ended.StatusCode);
        Assert.InRange(Server.Requests.All.Count(request => request.Resource == "tokenreviews"), 2, 30);
    }

    [Fact]
    public async Task A_message_of_a_later_protocol_means_nothing_yet()
    {
        await PodAsync("agent");
        TestSidecar sidecar = await ConnectAsync("agent");
        await sidecar.SnapshotAsync();
        await sidecar.SendAsync(new SidecarMessage());
        await SecretAsync("github");
        await BindingAsync("agents", "GITHUB_TOKEN", "github");
        await sidecar.SnapshotAsync(snapshot => snapshot.Secrets.Count == 1);
    }

    [Fact]
    public async Task A_replica_that_ends_sends_its_sidecars_away_and_takes_no_new_ones()
    {
        await PodAsync("agent");
        await PodAsync("stubborn");
        TestSidecar agent = await ConnectAsync("agent");
        await agent.SnapshotAsync();
        TestSidecar stubborn = await ConnectAsync("stubborn");
        await stubborn.SnapshotAsync();
        string token = Token("agent");

        Task drained = Registry.DrainAsync(CancellationToken.None);
        Assert.InRange((await agent.ReadAsync(OperatorMessage.MessageOneofCase.Goodbye)).Goodbye.DelayMilliseconds, 1u, 2000u);
        await agent.LeaveAsync();
        RpcException refused = await RefusedAsync(token);
        Assert.Equal(StatusCode.Unavailable, refused.StatusCode);
        Assert.Contains("connect to another one", refused.Status.Detail, StringComparison.Ordinal);
        await drained.WaitAsync(TimeSpan.FromSeconds(30), TimeProvider.System);
        Assert.Equal(StatusCode.Unavailable, (await stubborn.EndedAsync()).StatusCode);
        await Eventually(() => Registry.Count == 0, "all are gone");
    }

    private async Task EndsAsync(Func<TestSidecar, Task> misbehave, StatusCode status, string detail)
    {
        await PodAsync("agent");
        TestSidecar sidecar = await ConnectAsync("agent");
        await sidecar.SnapshotAsync();
        RpcException ended = await sidecar.EndedAsync(() => misbehave(sidecar));
        Assert.Equal(status, ended.StatusCode);
        Assert.Contains(detail, ended.Status.Detail, StringComparison.Ordinal);
        await Eventually(() => Registry.Count == 0, "it is gone");
    }
}
