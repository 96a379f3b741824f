using Grpc.Core;
using Superserve.Operator.Delivery;
using Superserve.Operator.Tests.Delivery.Fixture;
using Superserve.Protocol;

namespace Superserve.Operator.Tests.Delivery;

/// <summary>Every number of callers, and every wait, has a bound. Here the bounds are small.</summary>
public sealed class BoundsTests : DeliveryTest
{
    private protected override DeliveryLimits Limits => new()
    {
        Streams = 2,
        Handshakes = 1,
        Hello = TimeSpan.FromSeconds(3),
        Silence = TimeSpan.FromSeconds(4),
        CacheLag = TimeSpan.FromMilliseconds(300),
    };

    [Fact]
    public async Task More_streams_than_a_replica_takes_are_sent_to_another()
    {
        foreach (string pod in new[] { "a", "b", "c" }) await PodAsync(pod);
        foreach (string pod in new[] { "a", "b" }) await (await ConnectAsync(pod)).SnapshotAsync();
        RpcException refused = await RefusedAsync(Token("c"));
        Assert.Equal(StatusCode.ResourceExhausted, refused.StatusCode);
        Assert.Contains("run more replicas", refused.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Who_keeps_the_door_is_shown_out_and_the_next_may_knock()
    {
        await PodAsync("agent");
        TestSidecar mute = Call(Token("agent"));
        await Eventually(() => Server.Requests.All.Any(request => request.Resource == "tokenreviews"), "it is at the door");
        Assert.Equal(StatusCode.ResourceExhausted, (await RefusedAsync(Token("agent"))).StatusCode);
        RpcException ended = await mute.EndedAsync();
        Assert.Equal(StatusCode.DeadlineExceeded, ended.StatusCode);
        await (await ConnectAsync("agent")).SnapshotAsync();
    }

    [Fact]
    public async Task A_silent_sidecar_is_given_up()
    {
        await PodAsync("agent");
        TestSidecar sidecar = await ConnectAsync("agent");
        await sidecar.SnapshotAsync();
        RpcException ended = await sidecar.EndedAsync();
        Assert.Equal(StatusCode.DeadlineExceeded, ended.StatusCode);
        Assert.Contains("nothing came for too long", ended.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_pod_that_the_cache_never_shows_keeps_no_stream()
    {
        // Shown by the API server, and gone before the stream was there to be told.
        SandboxFacts ghost = new(new Kubernetes.ObjectKey(Ns, "ghost"), "uid", SandboxIdOf(1), new Dictionary<string, string>(), []);
        using SidecarStream stream = new(
            ghost, new ProvenPod(ghost.Pod, ghost.Uid, DateTimeOffset.MaxValue), new Hello { Capture = "Explicit", Version = "1" }, Limits, null!, null!, null!, Time,
            Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
        Registry.Add(stream, Registry.Namings);
        await Eventually(() => stream.Ended == Ending.PodGone, "it is given up");
    }
}
