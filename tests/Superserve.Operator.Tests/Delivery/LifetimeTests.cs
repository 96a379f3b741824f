using Grpc.Core;
using Microsoft.Extensions.Time.Testing;
using Superserve.Operator.Delivery;
using Superserve.Operator.Tests.Delivery.Fixture;
using Superserve.Protocol;

namespace Superserve.Operator.Tests.Delivery;

/// <summary>What only time does: bindings and tokens end, heartbeats beat, silence is noticed. The clock is the test's.</summary>
public sealed class LifetimeTests : DeliveryTest
{
    private readonly FakeTimeProvider _time = new(TimeProvider.System.GetUtcNow());

    protected override TimeProvider Time => _time;

    // Silence is for its own test, and hours pass in the others.
    private protected override DeliveryLimits Limits => new() { Coalescing = TimeSpan.Zero, Silence = TimeSpan.FromHours(12), Write = TimeSpan.FromHours(12) };

    [Fact]
    public async Task A_binding_that_expires_detaches_its_secrets_at_that_moment()
    {
        DateTimeOffset end = _time.GetUtcNow().AddMinutes(40);
        await SecretAsync("github");
        await BindingAsync("agents", "GITHUB_TOKEN", "github", more: $", expiresAt: \"{end:yyyy-MM-ddTHH:mm:ssZ}\"");
        await PodAsync("agent", recorded: ("GITHUB_TOKEN", "github", "agents"));
        foreach (string path in new[] { SecretPath("github"), BindingPath("agents"), PodPath("agent") }) await KnownAsync(path);
        TestSidecar sidecar = await ConnectAsync("agent");
        Assert.Equal(Credential, Assert.Single((await sidecar.SnapshotAsync()).Secrets).Available.ToStringUtf8());

        _time.Advance(TimeSpan.FromMinutes(39) + TimeSpan.FromSeconds(30));
        await CredentialAsync("github", "rotated-credential-0123456789");
        Task<Snapshot> rotated = sidecar.SnapshotAsync();
        await AdvanceUntilAsync(rotated, TimeSpan.FromMilliseconds(20));
        Assert.False(Assert.Single((await rotated).Secrets).Detached);
        Task<Snapshot> next = sidecar.SnapshotAsync();
        await AdvanceUntilAsync(next, TimeSpan.FromSeconds(10));
        Snapshot expired = await next;
        Assert.True(_time.GetUtcNow() >= end.AddSeconds(-1));
        Assert.True(Assert.Single(expired.Secrets).Detached);
        Assert.Equal(BoundSecret.CredentialOneofCase.Revoked, expired.Secrets[0].CredentialCase);
        Assert.Empty(expired.Bindings);
    }

    [Fact]
    public async Task A_stream_ends_with_its_token()
    {
        TestSidecar sidecar = await AgentAsync();
        Task<RpcException> ended = sidecar.EndedAsync();
        _time.Advance(TimeSpan.FromMinutes(59));
        Assert.Equal(1, Registry.Count);
        await AdvanceUntilAsync(ended, TimeSpan.FromSeconds(30));
        Assert.Equal(StatusCode.Unauthenticated, (await ended).StatusCode);
        Assert.Contains("send a Renewal in time", (await ended).Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_renewed_token_keeps_the_stream_for_its_own_lifetime()
    {
        TestSidecar sidecar = await AgentAsync();
        _time.Advance(TimeSpan.FromMinutes(50));
        await RenewAsync(sidecar, Token("agent"));
        Task<RpcException> ended = sidecar.EndedAsync();
        _time.Advance(TimeSpan.FromMinutes(20));
        await CredentialAsync("github", "rotated-credential-0123456789");
        await Eventually(() =>
        {
            _time.Advance(TimeSpan.FromMilliseconds(100));
            return sidecar.Last?.Secrets.FirstOrDefault()?.Available.ToStringUtf8() == "rotated-credential-0123456789";
        }, "the stream lives past its first token");
        await AdvanceUntilAsync(ended, TimeSpan.FromMinutes(1));
        Assert.Equal(StatusCode.Unauthenticated, (await ended).StatusCode);
    }

    [Fact]
    public async Task The_token_of_another_pod_renews_nothing()
    {
        TestSidecar sidecar = await AgentAsync();
        await PodAsync("another");
        RpcException ended = await sidecar.EndedAsync(() => SendRenewalAsync(sidecar, Token("another")));
        Assert.Equal(StatusCode.PermissionDenied, ended.StatusCode);
        Assert.Contains("of another pod", ended.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_pod_that_is_no_vetted_sandbox_any_more_loses_its_stream_at_the_renewal()
    {
        TestSidecar sidecar = await AgentAsync();
        Parts.Problems = _ => ["a debug container looks into the sidecar"];
        RpcException ended = await sidecar.EndedAsync(() => SendRenewalAsync(sidecar, Token("agent")));
        Assert.Equal(StatusCode.PermissionDenied, ended.StatusCode);
        Assert.Contains("a debug container looks into the sidecar", ended.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_renewal_that_the_API_server_does_not_accept_ends_the_stream()
    {
        TestSidecar sidecar = await AgentAsync();
        RpcException ended = await sidecar.EndedAsync(() => SendRenewalAsync(sidecar, "no-token"));
        Assert.Equal(StatusCode.Unauthenticated, ended.StatusCode);
    }

    [Fact]
    public async Task A_renewal_waits_for_an_API_server_that_is_away()
    {
        TestSidecar sidecar = await AgentAsync();
        _time.Advance(TimeSpan.FromMinutes(50));
        int before = Reviews;
        Server.Requests.FailWith(request => request.Resource == "tokenreviews" ? 503 : null);
        await SendRenewalAsync(sidecar, Token("agent"));
        await Eventually(() => Reviews > before, "the operator asks");
        Server.Requests.FailWith(null);
        int failed = Reviews;
        await Eventually(() =>
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            return Reviews > failed;
        }, "the operator asks again");
        await CredentialAsync("github", "rotated-credential-0123456789");
        await AdvanceUntilAsync(sidecar.SnapshotAsync(snapshot => snapshot.Secrets[0].Available.ToStringUtf8() == "rotated-credential-0123456789"), TimeSpan.FromMilliseconds(100));
    }

    [Fact]
    public async Task Heartbeats_come_every_ten_seconds()
    {
        TestSidecar sidecar = await AgentAsync();
        for (int i = 0; i < 3; i++)
        {
            Task<OperatorMessage> heartbeat = sidecar.ReadAsync(OperatorMessage.MessageOneofCase.Heartbeat);
            DateTimeOffset before = _time.GetUtcNow();
            await AdvanceUntilAsync(heartbeat, TimeSpan.FromSeconds(1));
            Assert.True(_time.GetUtcNow() - before >= TimeSpan.FromSeconds(1));
        }
    }

    private int Reviews => Server.Requests.All.Count(request => request.Resource == "tokenreviews");

    private async Task RenewAsync(TestSidecar sidecar, string token)
    {
        int before = Reviews;
        await SendRenewalAsync(sidecar, token);
        await Eventually(() => Reviews > before, "the operator asks about the new token");
        await CredentialAsync("github", $"credential-after-renewal-{before:d10}");
        Task<Snapshot> next = sidecar.SnapshotAsync();
        await AdvanceUntilAsync(next, TimeSpan.FromMilliseconds(100));
    }

    private static Task SendRenewalAsync(TestSidecar sidecar, string token) => sidecar.SendAsync(new SidecarMessage { Renewal = new Renewal { Token = token } });

    private async Task<TestSidecar> AgentAsync()
    {
        await SecretAsync("github");
        await BindingAsync("agents", "GITHUB_TOKEN", "github");
        await PodAsync("agent", recorded: ("GITHUB_TOKEN", "github", "agents"));
        foreach (string path in new[] { SecretPath("github"), BindingPath("agents"), PodPath("agent") }) await KnownAsync(path);
        TestSidecar sidecar = await ConnectAsync("agent");
        await sidecar.SnapshotAsync(snapshot => snapshot.Secrets is [{ CredentialCase: BoundSecret.CredentialOneofCase.Available }]);
        return sidecar;
    }

    private async Task AdvanceUntilAsync(Task done, TimeSpan step) => await Eventually(() =>
    {
        if (done.IsCompleted) return true;
        _time.Advance(step);
        return false;
    }, "what the clock brings");
}
