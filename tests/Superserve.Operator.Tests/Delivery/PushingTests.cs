using System.Diagnostics.Metrics;
using Superserve.Operator.Delivery;
using Superserve.Operator.Tests.Delivery.Fixture;
using Superserve.Protocol;
using Available = Superserve.Protocol.BoundSecret.CredentialOneofCase;

namespace Superserve.Operator.Tests.Delivery;

/// <summary>What changes in the cluster reaches the sandboxes that it touches, and no others.</summary>
public sealed class PushingTests : DeliveryTest
{
    // What is not to wait for a credential would not come at all.
    private protected override DeliveryLimits Limits => new() { Pending = TimeSpan.FromHours(1) };

    [Fact]
    public async Task A_rotated_credential_reaches_the_sidecar()
    {
        TestSidecar sidecar = await AgentAsync();
        BoundSecret before = Assert.Single((await sidecar.SnapshotAsync()).Secrets);
        await CredentialAsync("github", "rotated-credential-0123456789");
        Snapshot after = await sidecar.SnapshotAsync();
        Assert.Equal(2, after.Revision);
        Assert.Equal("rotated-credential-0123456789", Assert.Single(after.Secrets).Available.ToStringUtf8());
        Assert.Equal(before.StandIn, after.Secrets[0].StandIn);
    }

    [Fact]
    public async Task A_deleted_core_Secret_is_unavailable_with_what_to_do_until_it_is_back()
    {
        TestSidecar sidecar = await AgentAsync();
        await sidecar.SnapshotAsync();
        await DeleteAsync($"api/v1/namespaces/{Ns}/secrets/github");
        BoundSecret gone = Assert.Single((await sidecar.SnapshotAsync()).Secrets);
        Assert.Contains("there is no core Secret github", gone.Unavailable, StringComparison.Ordinal);
        await CredentialAsync("github", Credential);
        Assert.Equal(Credential, Assert.Single((await sidecar.SnapshotAsync(IsAvailable)).Secrets).Available.ToStringUtf8());
    }

    [Fact]
    public async Task A_deleted_Superserve_Secret_revokes_and_keeps_its_hosts_so_that_requests_are_told()
    {
        TestSidecar sidecar = await AgentAsync();
        BoundSecret before = Assert.Single((await sidecar.SnapshotAsync()).Secrets);
        await DeleteAsync(SecretPath("github"));
        BoundSecret revoked = Assert.Single((await sidecar.SnapshotAsync()).Secrets);
        Assert.Equal(Available.Revoked, revoked.CredentialCase);
        Assert.Equal("the Superserve Secret github was deleted", revoked.Revoked);
        Assert.Equal((before.StandIn, before.Definition), (revoked.StandIn, revoked.Definition));

        // Made again it is another one: what the pod's variable holds stays revoked, and processes that start anew get the new stand-in.
        await SecretAsync("github");
        Snapshot again = await sidecar.SnapshotAsync(snapshot => snapshot.Secrets.Any(secret => secret.CredentialCase == Available.Available));
        Assert.Equal(2, again.Secrets.Count);
        Assert.NotEqual(before.StandIn, again.Secrets[0].StandIn);
        Assert.False(again.Secrets[0].Detached);
        Assert.Equal((before.StandIn, Available.Revoked, true), (again.Secrets[1].StandIn, again.Secrets[1].CredentialCase, again.Secrets[1].Detached));
        Assert.True(SnapshotMapping.TryToSnapshot(again, out _, out _));
    }

    [Fact]
    public async Task A_label_that_goes_detaches_and_one_that_comes_back_attaches()
    {
        TestSidecar sidecar = await AgentAsync();
        BoundSecret before = Assert.Single((await sidecar.SnapshotAsync()).Secrets);
        await MergeAsync(PodPath("agent"), """{"metadata":{"labels":{"app":"retired"}}}""");
        Snapshot detached = await sidecar.SnapshotAsync();
        Assert.Empty(detached.Bindings);
        Assert.Equal((true, Available.Revoked, before.StandIn), (detached.Secrets[0].Detached, detached.Secrets[0].CredentialCase, detached.Secrets[0].StandIn));
        await MergeAsync(PodPath("agent"), """{"metadata":{"labels":{"app":"agent"}}}""");
        Assert.Equal(Credential, Assert.Single((await sidecar.SnapshotAsync()).Secrets).Available.ToStringUtf8());
    }

    [Fact]
    public async Task A_binding_that_comes_later_gives_a_running_pod_a_stand_in_at_once()
    {
        await PodAsync("agent");
        TestSidecar sidecar = await ConnectAsync("agent");
        Assert.Empty((await sidecar.SnapshotAsync()).Secrets);
        await SecretAsync("github");
        await BindingAsync("agents", "GITHUB_TOKEN", "github");
        BoundSecret secret = Assert.Single((await sidecar.SnapshotAsync(snapshot => snapshot.Secrets.Count > 0 && IsAvailable(snapshot))).Secrets);
        Assert.Equal(("GITHUB_TOKEN", Credential), (secret.Env, secret.Available.ToStringUtf8()));
        Assert.StartsWith("superserve_", secret.StandIn, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_secret_that_comes_after_its_binding_is_pushed()
    {
        await BindingAsync("agents", "GITHUB_TOKEN", "github");
        await PodAsync("agent");
        TestSidecar sidecar = await ConnectAsync("agent");
        Assert.Empty((await sidecar.SnapshotAsync()).Secrets);
        await SecretAsync("github");
        await sidecar.SnapshotAsync(snapshot => snapshot.Secrets.Count == 1 && IsAvailable(snapshot));
    }

    [Fact]
    public async Task A_deleted_binding_detaches_and_the_same_made_again_gives_the_stand_in_its_use_back()
    {
        TestSidecar sidecar = await AgentAsync();
        BoundSecret before = Assert.Single((await sidecar.SnapshotAsync()).Secrets);
        await DeleteAsync(BindingPath("agents"));
        Assert.True(Assert.Single((await sidecar.SnapshotAsync()).Secrets).Detached);
        await BindingAsync("agents", "GITHUB_TOKEN", "github");
        BoundSecret after = Assert.Single((await sidecar.SnapshotAsync()).Secrets);
        Assert.Equal((before.StandIn, Credential), (after.StandIn, after.Available.ToStringUtf8()));
    }

    [Fact]
    public async Task Another_place_of_the_credential_is_read_before_the_sidecar_hears_of_it()
    {
        TestSidecar sidecar = await AgentAsync();
        await sidecar.SnapshotAsync();
        await CredentialAsync("second", "second-credential-0123456789");
        await MergeAsync(SecretPath("github"), """{"spec":{"valueFrom":{"secretKeyRef":{"name":"second"}}}}""");
        Assert.Equal("second-credential-0123456789", Assert.Single((await sidecar.SnapshotAsync()).Secrets).Available.ToStringUtf8());
    }

    [Fact]
    public async Task New_authorities_reach_open_streams()
    {
        TestSidecar sidecar = await AgentAsync();
        await sidecar.SnapshotAsync();
        Parts.Trust("authorities, 1 and 2");
        Assert.Equal("authorities, 1 and 2", (await sidecar.ReadAsync(OperatorMessage.MessageOneofCase.Trust)).Trust.Authorities);
    }

    [Fact]
    public async Task What_touches_others_pushes_nothing_here()
    {
        TestSidecar sidecar = await AgentAsync();
        await sidecar.SnapshotAsync();
        // Another namespace, with the same names.
        await SecretAsync("github", "credential-of-others-0123456789", ns: "others");
        await BindingAsync("agents", "GITHUB_TOKEN", "github", ns: "others");
        await PodAsync("agent", ns: "others");
        // Other pods of the namespace, and what changes nothing for this one.
        await SecretAsync("another");
        await BindingAsync("builders", "KEY", "another", app: "builder");
        await CredentialAsync("unnamed", "unnamed-credential-0123456789");
        await MergeAsync(SecretPath("github"), """{"metadata":{"annotations":{"note":"x"}}}""");
        await MergeAsync(BindingPath("agents"), """{"metadata":{"annotations":{"note":"x"}}}""");
        await MergeAsync(PodPath("agent"), """{"metadata":{"labels":{"tier":"x"}}}""");
        foreach (string path in new[] { SecretPath("github", "others"), BindingPath("agents", "others"), BindingPath("builders"), BindingPath("agents"), SecretPath("github"), PodPath("agent") })
            await KnownAsync(path);

        await CredentialAsync("github", "rotated-credential-0123456789");
        Snapshot next = await sidecar.SnapshotAsync();
        Assert.Equal(2, next.Revision);
        Assert.Equal("rotated-credential-0123456789", Assert.Single(next.Secrets).Available.ToStringUtf8());
    }

    [Fact]
    public async Task A_change_makes_only_the_snapshots_anew_that_depend_on_it()
    {
        TestSidecar agent = await AgentAsync();
        await SecretAsync("other", "other-credential-0123456789");
        await BindingAsync("builders", "KEY", "other", app: "builder");
        await PodAsync("builder", app: "builder");
        foreach (string path in new[] { SecretPath("other"), BindingPath("builders"), PodPath("builder") }) await KnownAsync(path);
        TestSidecar builder = await ConnectAsync("builder");
        await agent.SnapshotAsync();
        await builder.SnapshotAsync(IsAvailable);

        int made = 0;
        using MeterListener listener = new();
        listener.InstrumentPublished = (instrument, subscriber) =>
        {
            // Other tests have meters of the same name; this scope is this operator's.
            if (instrument.Name == "workqueue.adds" && instrument.Meter.Scope == Meters) subscriber.EnableMeasurementEvents(instrument);
        };
        listener.SetMeasurementEventCallback<long>((_, _, labels, _) =>
        {
            if (labels.Contains(new KeyValuePair<string, object?>("name", "delivery"))) Interlocked.Increment(ref made);
        });
        listener.Start();
        await CredentialAsync("other", "rotated-credential-0123456789");
        await builder.SnapshotAsync();
        Assert.Equal(1, made);
        await CredentialAsync("github", "rotated-credential-0123456789");
        await agent.SnapshotAsync();
        Assert.Equal(2, made);

        // The operator's own status of all of them comes back as changes, and is none.
        await Server.ApplyAsync($"{{apiVersion: superserve.ai/v1alpha1, kind: SandboxBinding, metadata: {{name: builders, namespace: {Ns}}}, status: {{sandboxCount: 1}}}}", "status");
        await Server.ApplyAsync($"{{apiVersion: superserve.ai/v1alpha1, kind: Secret, metadata: {{name: other, namespace: {Ns}}}, status: {{boundSandboxes: 1}}}}", "status");
        foreach (string path in new[] { SecretPath("other"), BindingPath("builders") }) await KnownAsync(path);
        Assert.Equal(2, made);
    }

    [Fact]
    public async Task Many_changes_end_in_the_newest()
    {
        TestSidecar sidecar = await AgentAsync();
        await sidecar.SnapshotAsync();
        for (int i = 0; i <= 40; i++) await CredentialAsync("github", $"rotated-credential-{i:d3}-0123456789");
        Snapshot last = await sidecar.SnapshotAsync(snapshot => snapshot.Secrets[0].Available.ToStringUtf8().Contains("-040-", StringComparison.Ordinal));
        Assert.InRange(last.Revision, 2, 42);
    }

    [Fact]
    public async Task Of_two_bindings_that_meet_neither_gives_the_variable()
    {
        TestSidecar sidecar = await AgentAsync();
        await sidecar.SnapshotAsync();
        await SecretAsync("other", "other-credential-0123456789");
        await BindingAsync("more", "GITHUB_TOKEN", "other");
        Snapshot met = await sidecar.SnapshotAsync(snapshot => snapshot.Secrets.Count == 2);
        Assert.DoesNotContain(met.Secrets, secret => secret.CredentialCase == Available.Available);
        Assert.Contains("rename one of the variables", met.Secrets[0].Unavailable, StringComparison.Ordinal);
        Assert.True(SnapshotMapping.TryToSnapshot(met, out _, out _));
    }

    // ---- while a credential is about to be read ------------------------------------------------------------------------------

    [Theory]
    [InlineData("revoked")]
    [InlineData("rotated")]
    [InlineData("detached")]
    [InlineData("restricted")]
    public async Task What_is_taken_away_does_not_wait_for_another_credential_that_is_about_to_be_read(string what)
    {
        await SecretAsync("other", "other-credential-0123456789");
        await BindingAsync("others", "OTHER_TOKEN", "other");
        TestSidecar sidecar = await AgentAsync();
        await sidecar.SnapshotAsync(snapshot => snapshot.Secrets.Count == 2 && IsAvailable(snapshot));
        await MakePendingAsync("github");
        await (what switch
        {
            "revoked" => DeleteAsync(SecretPath("other")),
            "rotated" => CredentialAsync("other", "rotated-credential-0123456789"),
            "detached" => DeleteAsync(BindingPath("others")),
            _ => MergeAsync(BindingPath("others"), """{"spec":{"network":{"denyOut":["0.0.0.0/0"]}}}"""),
        });
        Snapshot next = await sidecar.SnapshotAsync();
        Assert.Contains("the core Secret second", next.Secrets.Single(secret => secret.Env == "GITHUB_TOKEN").Unavailable, StringComparison.Ordinal);
        Assert.True(what switch
        {
            "rotated" => next.Secrets.Single(secret => secret.Env == "OTHER_TOKEN").Available.ToStringUtf8() == "rotated-credential-0123456789",
            "restricted" => next.Bindings.Any(binding => binding.Network?.DenyOut.Count == 1),
            "detached" => next.Bindings.Count == 1,
            _ => next.Secrets.All(secret => secret.Env != "OTHER_TOKEN"),
        });

        Server.Requests.FailWith(null);
        await sidecar.SnapshotAsync(snapshot => snapshot.Secrets.Any(secret => secret.Available.ToStringUtf8() == "second-credential-0123456789"));
    }

    [Fact]
    public async Task A_credential_that_moves_waits_for_its_new_place_and_is_not_unavailable_in_between()
    {
        TestSidecar sidecar = await AgentAsync();
        await sidecar.SnapshotAsync();
        await MakePendingAsync("github");
        // Of this pod, and changes nothing for it.
        await MergeAsync(PodPath("agent"), """{"metadata":{"labels":{"tier":"x"}}}""");
        await KnownAsync(PodPath("agent"));
        Server.Requests.FailWith(null);
        Assert.Equal("second-credential-0123456789", Assert.Single((await sidecar.SnapshotAsync()).Secrets).Available.ToStringUtf8());
    }

    /// <summary>Names another core Secret, which the API server does not show until it is told to.</summary>
    private async Task MakePendingAsync(string secret)
    {
        await CredentialAsync("second", "second-credential-0123456789");
        Server.Requests.FailWith(request => request is { Group: "", Resource: "secrets", Verb: "list", User: "operator" } ? 503 : null);
        int before = Asked();
        await MergeAsync(SecretPath(secret), """{"spec":{"valueFrom":{"secretKeyRef":{"name":"second"}}}}""");
        await KnownAsync(SecretPath(secret));
        await Eventually(() => Asked() > before, "the operator asks for it");

        int Asked() => Server.Requests.All.Count(request => request is { Group: "", Resource: "secrets", Verb: "list", User: "operator" });
    }

    private async Task<TestSidecar> AgentAsync()
    {
        await SecretAsync("github");
        await BindingAsync("agents", "GITHUB_TOKEN", "github");
        await PodAsync("agent", recorded: ("GITHUB_TOKEN", "github", "agents"));
        foreach (string path in new[] { SecretPath("github"), BindingPath("agents"), PodPath("agent") }) await KnownAsync(path);
        return await ConnectAsync("agent");
    }

    private static bool IsAvailable(Snapshot snapshot) => snapshot.Secrets.All(secret => secret.CredentialCase == Available.Available);
}
