using System.Net;
using Superserve.Core.Events;
using Superserve.Core.Secrets;
using Superserve.Protocol;
using Superserve.Sidecar.Tests.Fixture;

namespace Superserve.Sidecar.Tests.Delivery;

/// <summary>What the operator says counts from the next request on; what cannot be used changes nothing.</summary>
public sealed class DeliveryTests
{
    [Fact]
    public async Task The_first_snapshot_makes_the_sidecar_ready_and_its_secrets_usable()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        Hello hello = (await call.NextAsync(SidecarMessage.MessageOneofCase.Hello)).Hello;
        Assert.Equal((1u, "Explicit"), (hello.Protocol, hello.Capture));
        Assert.Equal("Bearer " + Pod.FirstToken, call.Authorization);
        (int status, string body) = await pod.Sidecar.ReadyAsync();
        Assert.Equal(503, status);
        Assert.StartsWith("waiting for the operator", body, StringComparison.Ordinal);
        (await pod.ConnectAsync(Pod.Host)).AssertRefused(403, "host_not_allowed");

        Acknowledgement acknowledgement = await call.DeliverAsync(pod.Snapshot());
        Assert.Equal((1, ""), (acknowledgement.Revision, acknowledgement.Error));
        Assert.Equal(200, (await pod.Sidecar.ReadyAsync()).Status);
        await pod.AssertSwapsAsync();
        // On the other family's loopback too.
        await using RawClient client = await RawClient.OpenAsync(new IPEndPoint(IPAddress.IPv6Loopback, pod.Sidecar.Proxy.Port), pod.Sidecar.Authority);
        await client.ConnectAsync($"{Pod.Host}:443");
        Assert.Equal(Pod.StandIn, pod.Sidecar.StandIn("KEY"));
        Assert.Equal("agents/research-0", (await pod.Sidecar.RequestEventAsync()).GetProperty("sandbox").GetString());
        string metrics = await pod.Sidecar.MetricsAsync();
        Assert.Contains("superserve_sidecar_operator_connected{} 1", metrics, StringComparison.Ordinal);
        Assert.Contains("superserve_sidecar_snapshot_revision{} 1", metrics, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Rotation_and_revocation_count_for_the_next_request_on_an_open_connection()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        await using RawClient client = await pod.Sidecar.OpenTlsAsync(Pod.Host);
        await AssertSwapsAsync(Pod.Credential);

        await call.DeliverAsync(pod.Snapshot(usual => usual with { Secrets = [Pod.Bound("rotated-credential")] }));
        await AssertSwapsAsync("rotated-credential");
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Secrets = [Pod.Bound() with { Credential = CredentialState.Revoked.Instance }] }));
        (await AskAsync()).AssertRefused(503, "credential_revoked");
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Secrets = [Pod.Bound() with { Credential = new CredentialState.Unavailable("the key 'token' is missing") }] }));
        Assert.Contains("the key 'token' is missing", (await AskAsync()).AssertRefused(503, "credential_unavailable").GetProperty("detail").GetString(), StringComparison.Ordinal);
        await call.DeliverAsync(pod.Snapshot());
        await AssertSwapsAsync(Pod.Credential);

        async Task<RawResponse> AskAsync()
        {
            await client.SendAsync($"GET / HTTP/1.1\r\nHost: {Pod.Host}\r\nAuthorization: Bearer {Pod.StandIn}\r\n\r\n");
            return await client.ReadResponseAsync();
        }

        async Task AssertSwapsAsync(string credential)
        {
            (await AskAsync()).AssertOk();
            Assert.Equal("Bearer " + credential, RawService.Field(pod.Service.Requests[^1], "Authorization"));
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_detached_stand_in_is_refused_whether_the_operator_still_names_it_or_not(bool isNamed)
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Secrets = isNamed ? [Pod.Bound().Detach()] : [] }));
        Assert.Empty(pod.Sidecar.StandIns());
        (await pod.AskAsync()).AssertRefused(503, "credential_revoked");
        Assert.Empty(pod.Service.Requests);
    }

    [Fact]
    public async Task A_snapshot_that_cannot_be_used_is_acknowledged_with_its_mistakes_and_the_one_before_stays()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        Superserve.Protocol.Snapshot bad = pod.Snapshot(usual => usual with { Secrets = [Pod.Bound("rotated-credential")] });
        bad.Secrets[0].Definition.Hosts[0].Pattern = "*.com";
        Assert.StartsWith("secrets[0].definition.hosts[0].pattern: ", (await call.DeliverAsync(bad)).Error, StringComparison.Ordinal);
        await pod.AssertSwapsAsync();
        await pod.Sidecar.LogAsync("Snapshot 2 is not used");
        await pod.Sidecar.MetricAsync("superserve_sidecar_snapshots_rejected", "1");
        Assert.Equal("", (await call.DeliverAsync(pod.Snapshot())).Error);
    }

    [Fact]
    public async Task A_first_snapshot_that_cannot_be_used_leaves_the_sidecar_unready_and_closed()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        Superserve.Protocol.Snapshot bad = pod.Snapshot();
        bad.Cluster = null;
        Assert.NotEqual("", (await call.DeliverAsync(bad)).Error);
        (int status, string body) = await pod.Sidecar.ReadyAsync();
        Assert.Equal(503, status);
        Assert.Contains("cluster.domain", body, StringComparison.Ordinal);
        (await pod.ConnectAsync(Pod.Host)).AssertRefused(403, "host_not_allowed");
    }

    [Fact]
    public async Task A_snapshot_of_another_pod_is_refused()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        Assert.Contains("another pod", (await call.DeliverAsync(pod.Snapshot(usual => usual with { Sandbox = usual.Sandbox with { Uid = "other-uid" } }))).Error, StringComparison.Ordinal);
        Assert.Equal(503, (await pod.Sidecar.ReadyAsync()).Status);
    }

    [Fact]
    public async Task A_revision_that_does_not_grow_is_refused()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        Superserve.Protocol.Snapshot first = pod.Snapshot(usual => usual with { Secrets = [Pod.Bound("rotated-credential")] });
        await call.DeliverAsync(pod.Snapshot());
        Assert.Contains("revision", (await call.DeliverAsync(first)).Error, StringComparison.Ordinal);
        await pod.AssertSwapsAsync();
    }

    [Fact]
    public async Task A_flood_of_snapshots_ends_with_the_last_one()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        for (int i = 0; i < 300; i++) await call.SendAsync(new OperatorMessage { Snapshot = pod.Snapshot(usual => usual with { Secrets = [Pod.Bound($"credential-number-{i}")] }) });
        await call.DeliverAsync(pod.Snapshot());
        await pod.AssertSwapsAsync();
    }

    [Fact]
    public async Task A_message_that_only_newer_operators_send_changes_nothing()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        await call.SendAsync(new OperatorMessage());
        Assert.Equal("", (await call.DeliverAsync(pod.Snapshot())).Error);
        await pod.AssertSwapsAsync();
    }

    [Fact]
    public async Task Where_the_audit_is_required_and_nothing_keeps_events_no_credential_is_used()
    {
        await using Pod pod = new() { KeepsEvents = false };
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Audit = AuditMode.Required }));
        (await pod.AskAsync()).AssertRefused(503, "audit_unavailable");
        (await pod.AskAsync(standIn: null)).AssertOk();
        await call.DeliverAsync(pod.Snapshot());
        await pod.AssertSwapsAsync();
    }

    [Fact]
    public async Task The_sandbox_may_read_the_trust_directory_and_nobody_the_state_directory()
    {
        await using Pod pod = new();
        Directory.CreateDirectory(pod.StateDirectory, (UnixFileMode)0b111_111_111);
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        await call.SendAsync(new OperatorMessage { Trust = new Protocol.Trust { Authorities = Testing.TestAuthority.Pem } });
        Assert.Equal((UnixFileMode)0b111_101_101, File.GetUnixFileMode(pod.Sidecar.InTrust("")));
        Assert.All(Directory.GetFiles(pod.Sidecar.InTrust("")), file => Assert.Equal((UnixFileMode)0b110_100_100, File.GetUnixFileMode(file)));
        Assert.Equal((UnixFileMode)0b111_000_000, File.GetUnixFileMode(pod.StateDirectory));
        Assert.Contains(Path.Combine(pod.StateDirectory, "bindings"), Directory.GetFiles(pod.StateDirectory));
        Assert.All(Directory.GetFiles(pod.StateDirectory), file => Assert.Equal((UnixFileMode)0b110_000_000, File.GetUnixFileMode(file)));
    }
}
