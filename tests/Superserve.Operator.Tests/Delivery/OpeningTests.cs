using Grpc.Core;
using Superserve.Operator.Tests.Delivery.Fixture;
using Superserve.Protocol;

namespace Superserve.Operator.Tests.Delivery;

/// <summary>Who gets a stream, and what those are told who get none.</summary>
public sealed class OpeningTests : DeliveryTest
{
    [Fact]
    public async Task A_sandbox_with_its_own_token_gets_trust_and_its_snapshot()
    {
        await SecretAsync("github");
        await BindingAsync("agents", "GITHUB_TOKEN", "github");
        string uid = await PodAsync("agent", recorded: ("GITHUB_TOKEN", "github", "agents"));
        TestSidecar sidecar = await ConnectAsync("agent");

        Assert.Equal("authorities, 1", (await sidecar.ReadAsync()).Trust.Authorities);
        Snapshot snapshot = await sidecar.SnapshotAsync();
        Assert.Equal((1, Ns, "agent", uid), (snapshot.Revision, snapshot.Sandbox.Namespace, snapshot.Sandbox.Pod, snapshot.Sandbox.Uid));
        BoundSecret secret = Assert.Single(snapshot.Secrets);
        Assert.Equal(("GITHUB_TOKEN", "github", Credential), (secret.Env, secret.Secret, secret.Available.ToStringUtf8()));
        Assert.Equal("api.service.test", Assert.Single(secret.Definition.Hosts).Pattern);
        Assert.Equal("agents", Assert.Single(snapshot.Bindings).Name);
        Assert.True(SnapshotMapping.TryToSnapshot(snapshot, out _, out IReadOnlyList<Core.Secrets.SpecError> errors), string.Join("; ", errors));
    }

    [Fact]
    public async Task A_call_without_a_token_is_told_to_bring_one()
    {
        RpcException refused = await RefusedAsync(null);
        Assert.Equal(StatusCode.Unauthenticated, refused.StatusCode);
        Assert.Contains("authorization: Bearer TOKEN", refused.Status.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("garbage-that-is-no-token")]
    [InlineData("a.b.c")]
    [InlineData("with a space")]
    public async Task Garbage_in_place_of_a_token_is_refused_without_asking(string token)
    {
        AssertTokenRefused(await RefusedAsync(token));
        Assert.DoesNotContain(Server.Requests.All, request => request.Resource == "tokenreviews");
    }

    [Fact]
    public async Task A_token_longer_than_any_is_refused_without_asking()
    {
        string token = new('x', 17 * 1024);
        AssertTokenRefused(await RefusedAsync(token));
        Assert.DoesNotContain(Server.Requests.All, request => request.Resource == "tokenreviews");
    }

    [Fact]
    public async Task A_token_with_a_broken_signature_is_refused()
    {
        await PodAsync("agent");
        AssertTokenRefused(await RefusedAsync(Token("agent")[..^4] + "AAAA"));
    }

    [Fact]
    public async Task A_token_for_another_audience_is_refused()
    {
        await PodAsync("agent");
        AssertTokenRefused(await RefusedAsync(Token("agent", audience: "https://kubernetes.default.svc.cluster.local")));
        AssertTokenRefused(await RefusedAsync(Token("agent", audience: "vault")));
    }

    [Fact]
    public async Task A_users_token_is_refused() => AssertTokenRefused(await RefusedAsync(Server.Client().Token));

    [Fact]
    public async Task A_token_that_is_bound_to_no_pod_is_refused_without_asking()
    {
        AssertTokenRefused(await RefusedAsync(Server.ServiceAccountClient(Ns, "default", "superserve.ai").Token));
        Assert.DoesNotContain(Server.Requests.All, request => request.Resource == "tokenreviews");
    }

    [Fact]
    public async Task The_token_of_a_deleted_pod_is_refused()
    {
        await PodAsync("agent");
        string token = Token("agent");
        await DeleteAsync(PodPath("agent"));
        AssertTokenRefused(await RefusedAsync(token));
    }

    [Fact]
    public async Task The_token_of_an_earlier_pod_of_the_name_is_refused()
    {
        await PodAsync("agent");
        string token = Token("agent");
        await DeleteAsync(PodPath("agent"));
        await PodAsync("agent");
        AssertTokenRefused(await RefusedAsync(token));
    }

    [Fact]
    public async Task A_pod_that_projects_the_token_for_itself_gets_nothing()
    {
        await SecretAsync("github");
        await BindingAsync("agents", "GITHUB_TOKEN", "github");
        await PodAsync("agent", isInjected: false);
        AssertDenied(await RefusedAsync(Token("agent")), "not made a sandbox by admission");
    }

    [Fact]
    public async Task A_finished_pod_gets_nothing()
    {
        await PodAsync("agent");
        await MergeAsync(PodPath("agent") + "/status", """{"status":{"phase":"Failed"}}""");
        AssertDenied(await RefusedAsync(Token("agent")), "has finished");
    }

    [Theory]
    [InlineData("short")]
    [InlineData("0123456789ABCDEF0123456789ABCDEF")]
    [InlineData("zz23456789abcdef0123456789abcdef")]
    [InlineData("0123456789abcdef0123456789abcdef0")]
    public async Task A_malformed_sandbox_id_is_refused(string id)
    {
        await PodAsync("agent", sandboxId: id);
        AssertDenied(await RefusedAsync(Token("agent")), "superserve.ai/sandbox-id");
    }

    [Fact]
    public async Task A_malformed_record_of_stand_ins_is_refused()
    {
        await PodAsync("agent");
        await MergeAsync(PodPath("agent"), """{"metadata":{"annotations":{"superserve.ai/stand-ins":"[{\"env\":\"A\"}]"}}}""");
        AssertDenied(await RefusedAsync(Token("agent")), "superserve.ai/stand-ins");
    }

    [Fact]
    public async Task Of_two_pods_with_one_sandbox_id_the_later_is_refused_with_an_Event()
    {
        await PodAsync("original", sandboxId: SandboxIdOf(7));
        // Creation times have whole seconds.
        string second = (string)(await GetAsync(PodPath("original")))["metadata"]!["creationTimestamp"]!;
        await Eventually(() => TimeProvider.System.GetUtcNow() > DateTimeOffset.Parse(second).AddSeconds(1), "a second later");
        await PodAsync("copy", sandboxId: SandboxIdOf(7));
        await KnownAsync(PodPath("original"));
        await KnownAsync(PodPath("copy"));

        AssertDenied(await RefusedAsync(Token("copy")), "the pod agents/copy has the sandbox id of the pod original");
        await Eventually(async () => (await GetAsync($"apis/events.k8s.io/v1/namespaces/{Ns}/events"))["items"]!.AsArray()
            .Any(item => (string?)item!["reason"] == "SidecarRefused" && (string?)item["regarding"]!["name"] == "copy" && ((string)item["note"]!).Contains("Delete the copy", StringComparison.Ordinal)), "an Event");
        TestSidecar original = await ConnectAsync("original");
        await original.SnapshotAsync();
    }

    [Fact]
    public async Task The_same_id_in_another_namespace_shuts_nobody_out()
    {
        await PodAsync("elsewhere", sandboxId: SandboxIdOf(7), ns: "others");
        await PodAsync("agent", sandboxId: SandboxIdOf(7));
        await KnownAsync(PodPath("elsewhere", "others"));
        await (await ConnectAsync("agent")).SnapshotAsync();
    }

    [Fact]
    public async Task A_pod_in_which_the_guard_finds_a_problem_gets_an_Event_and_nothing_else()
    {
        await PodAsync("agent");
        Parts.Problems = pod => [$"the container {pod["spec"]!["containers"]![0]!["name"]} is privileged"];
        AssertDenied(await RefusedAsync(Token("agent")), "may not have credentials: the container agent is privileged");
        await Eventually(async () => (await GetAsync($"apis/events.k8s.io/v1/namespaces/{Ns}/events"))["items"]!.AsArray()
            .Any(item => (string?)item!["reason"] == "SidecarRefused"), "an Event");
    }

    [Fact]
    public async Task A_sidecar_gets_its_own_pods_snapshot_and_no_others()
    {
        await SecretAsync("github");
        await SecretAsync("other", "another-credential-0123456789");
        await BindingAsync("agents", "GITHUB_TOKEN", "github");
        await BindingAsync("builders", "KEY", "other", app: "builder");
        await PodAsync("agent");
        await PodAsync("builder", app: "builder");
        Snapshot agent = await (await ConnectAsync("agent")).SnapshotAsync();
        Snapshot builder = await (await ConnectAsync("builder")).SnapshotAsync();
        Assert.Equal("github", Assert.Single(agent.Secrets).Secret);
        Assert.Equal("other", Assert.Single(builder.Secrets).Secret);
    }

    [Theory]
    [InlineData(0u, "Transparent", "1.0", StatusCode.FailedPrecondition, "names no protocol")]
    [InlineData(4u, "Transparent", "1.0", StatusCode.FailedPrecondition, "Upgrade the operator")]
    [InlineData(1u, "Sideways", "1.0", StatusCode.InvalidArgument, "neither Transparent nor Explicit")]
    [InlineData(1u, "Explicit", "", StatusCode.InvalidArgument, "no version")]
    [InlineData(1u, "Explicit", "1.0\nforged log line", StatusCode.InvalidArgument, "no version")]
    public async Task A_Hello_that_makes_no_sense_is_answered_with_what_to_change(uint protocol, string capture, string version, StatusCode status, string detail)
    {
        await PodAsync("agent");
        TestSidecar sidecar = Call(Token("agent"));
        RpcException refused = await sidecar.EndedAsync(() => sidecar.HelloAsync(protocol, capture, version));
        Assert.Equal(status, refused.StatusCode);
        Assert.Contains(detail, refused.Status.Detail, StringComparison.Ordinal);
        Assert.Equal(0, Registry.Count);
    }

    [Theory]
    [InlineData(1u)]
    [InlineData(3u)]
    public async Task A_sidecar_may_be_two_versions_newer(uint protocol)
    {
        await PodAsync("agent");
        TestSidecar sidecar = Call(Token("agent"));
        await sidecar.HelloAsync(protocol, "Explicit");
        await sidecar.SnapshotAsync();
    }

    [Fact]
    public async Task Whoever_does_not_begin_with_Hello_is_refused()
    {
        await PodAsync("agent");
        TestSidecar sidecar = Call(Token("agent"));
        RpcException refused = await sidecar.EndedAsync(() => sidecar.SendAsync(new SidecarMessage { Heartbeat = new Heartbeat() }));
        Assert.Contains("has to be Hello", refused.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task While_the_API_server_does_not_answer_a_sidecar_is_told_to_try_again()
    {
        await PodAsync("agent");
        string token = Token("agent");
        Server.Requests.FailWith(request => request.Resource == "tokenreviews" ? 500 : null);
        Assert.Equal(StatusCode.Unavailable, (await RefusedAsync(token)).StatusCode);
        Server.Requests.FailWith(request => request is { Resource: "pods", Verb: "get" } ? 503 : null);
        Assert.Equal(StatusCode.Unavailable, (await RefusedAsync(token)).StatusCode);
        Server.Requests.FailWith(null);
        await (await ConnectAsync("agent")).SnapshotAsync();
    }

    [Fact]
    public async Task Without_the_key_of_stand_ins_nobody_is_let_in()
    {
        await PodAsync("agent");
        Parts.IsReady = false;
        RpcException refused = await RefusedAsync(Token("agent"));
        Assert.Equal(StatusCode.Unavailable, refused.StatusCode);
        Assert.Contains("still starting", refused.Status.Detail, StringComparison.Ordinal);
    }

    private static void AssertTokenRefused(RpcException refused)
    {
        Assert.Equal(StatusCode.Unauthenticated, refused.StatusCode);
        Assert.Contains("does not accept the token for the audience superserve.ai", refused.Status.Detail, StringComparison.Ordinal);
    }

    private static void AssertDenied(RpcException refused, string detail)
    {
        Assert.Equal(StatusCode.PermissionDenied, refused.StatusCode);
        Assert.Contains(detail, refused.Status.Detail, StringComparison.Ordinal);
    }
}
