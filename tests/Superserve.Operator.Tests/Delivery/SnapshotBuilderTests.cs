using Superserve.Core.StandIns;
using Superserve.Operator.Bindings;
using Superserve.Operator.Cluster;
using Superserve.Operator.Delivery;
using Superserve.Operator.Resources;
using Superserve.Operator.Tests.Delivery.Fixture;
using Superserve.Protocol;
using Kind = Superserve.Protocol.BoundSecret.CredentialOneofCase;

namespace Superserve.Operator.Tests.Delivery;

/// <summary>What one sandbox gets, case by case.</summary>
public sealed class SnapshotBuilderTests
{
    [Fact]
    public void A_recorded_variable_keeps_the_stand_in_that_it_was_given()
    {
        World world = new World().Secret("github", "s1", provider: "github").Binding("a", "TOKEN", "github").Record("TOKEN", "github", "s1", "a", "old_{base62:30}");
        BoundSecret secret = Assert.Single(world.Message().Secrets);
        Assert.StartsWith("old_", secret.StandIn, StringComparison.Ordinal);
        Assert.Equal(World.StandInOf(world.Recorded[0]), secret.StandIn);
        Assert.Equal(World.CredentialOf("s1"), secret.Available.ToStringUtf8());
    }

    [Fact]
    public void A_variable_that_came_later_has_the_stand_in_of_today()
    {
        World world = new World().Secret("anthropic", "s1", provider: "anthropic").Binding("a", "KEY", "anthropic");
        BoundSecret secret = Assert.Single(world.Message().Secrets);
        Assert.StartsWith("sk-ant-api03-", secret.StandIn, StringComparison.Ordinal);
        Assert.True(TokenShape.TryParse(secret.Definition.TokenShape, out TokenShape? shape, out _));
        Assert.Equal(World.StandInOf(new RecordedStandIn("KEY", "anthropic", "s1", "a", "binding-a", shape, null)), secret.StandIn);
    }

    [Fact]
    public void The_hosts_of_a_provider_are_resolved()
    {
        Definition definition = new World().Secret("anthropic", "s1", provider: "anthropic").Binding("a", "KEY", "anthropic").Message().Secrets[0].Definition;
        HostAuth host = Assert.Single(definition.Hosts);
        Assert.Equal("api.anthropic.com", host.Pattern);
        Assert.Equal(["api-key", "bearer"], host.Schemes.Select(scheme => scheme.Type));
        Assert.NotEmpty(definition.Minting);
    }

    [Fact]
    public void A_recorded_variable_whose_binding_is_gone_is_detached_and_known()
    {
        World world = new World().Secret("github", "s1").Record("TOKEN", "github", "s1", "a");
        BoundSecret secret = Assert.Single(world.Message().Secrets);
        Assert.Equal((true, Kind.Revoked, World.StandInOf(world.Recorded[0])), (secret.Detached, secret.CredentialCase, secret.StandIn));
        Assert.Contains("no SandboxBinding gives this pod", secret.Revoked, StringComparison.Ordinal);
        Assert.Equal("github.service.test", Assert.Single(secret.Definition.Hosts).Pattern);
    }

    [Fact]
    public void So_is_one_whose_binding_has_expired_or_selects_others()
    {
        World expired = new World().Secret("github", "s1").Binding("a", "TOKEN", "github", spec => spec with { ExpiresAt = World.Now }).Record("TOKEN", "github", "s1", "a");
        Assert.Equal(Kind.Revoked, Assert.Single(expired.Message().Secrets).CredentialCase);
        Assert.Equal(Kind.Available, Assert.Single(expired.Message(World.Now.AddTicks(-1)).Secrets).CredentialCase);
        World others = new World().Secret("github", "s1").Binding("a", "TOKEN", "github", app: "builder").Record("TOKEN", "github", "s1", "a");
        Assert.True(Assert.Single(others.Message().Secrets).Detached);
        Assert.Empty(others.Message().Bindings);
    }

    [Fact]
    public void A_binding_that_gives_the_variable_another_secret_detaches_the_first()
    {
        World world = new World().Secret("github", "s1").Secret("gitlab", "s2").Binding("a", "TOKEN", "gitlab").Record("TOKEN", "github", "s1", "a");
        Snapshot message = world.Message();
        Assert.Equal(("gitlab", false, Kind.Available), (message.Secrets[0].Secret, message.Secrets[0].Detached, message.Secrets[0].CredentialCase));
        Assert.Equal(("github", true, Kind.Revoked), (message.Secrets[1].Secret, message.Secrets[1].Detached, message.Secrets[1].CredentialCase));
        World.AssertTaken(message);
    }

    [Fact]
    public void A_stand_in_goes_on_working_while_any_binding_gives_the_same_secret_in_the_same_variable()
    {
        World world = new World().Secret("github", "s1").Binding("b", "TOKEN", "github").Record("TOKEN", "github", "s1", "a");
        BoundSecret secret = Assert.Single(world.Message().Secrets);
        Assert.Equal((World.StandInOf(world.Recorded[0]), Kind.Available), (secret.StandIn, secret.CredentialCase));
    }

    [Fact]
    public void A_deleted_secret_is_revoked_and_keeps_its_variable_while_it_is_bound()
    {
        World world = new World().Secret("github", "s1").Binding("a", "TOKEN", "github").Record("TOKEN", "github", "s1", "a");
        world.Deleted["s1"] = world.Secrets["github"].State.Definition!;
        world.Secrets.Clear();
        BoundSecret secret = Assert.Single(world.Message().Secrets);
        Assert.Equal((false, Kind.Revoked, "the Superserve Secret github was deleted"), (secret.Detached, secret.CredentialCase, secret.Revoked));
        Assert.Equal("github.service.test", secret.Definition.Hosts[0].Pattern);
        world.Bindings.Clear();
        Assert.True(Assert.Single(world.Message().Secrets).Detached);
    }

    [Fact]
    public void A_secret_made_again_is_another_one()
    {
        World world = new World().Secret("github", "s2").Binding("a", "TOKEN", "github").Record("TOKEN", "github", "s1", "a");
        world.Deleted["s1"] = world.Secrets["github"].State.Definition!;
        Snapshot message = world.Message();
        Assert.Equal((false, World.CredentialOf("s2")), (message.Secrets[0].Detached, message.Secrets[0].Available.ToStringUtf8()));
        Assert.Equal((true, Kind.Revoked, World.StandInOf(world.Recorded[0])), (message.Secrets[1].Detached, message.Secrets[1].CredentialCase, message.Secrets[1].StandIn));
        Assert.Contains("deleted and made again", message.Secrets[1].Revoked, StringComparison.Ordinal);
        World.AssertTaken(message);
    }

    [Fact]
    public void A_deleted_secret_that_nobody_remembers_leaves_a_snapshot_that_a_sidecar_takes()
    {
        World world = new World().Binding("a", "TOKEN", "github").Record("TOKEN", "github", "s1", "a");
        Assert.Empty(world.Message().Secrets);
        World.AssertTaken(world.Message());
    }

    [Fact]
    public void A_contested_variable_is_given_to_nobody()
    {
        World world = new World().Secret("github", "s1").Secret("gitlab", "s2").Binding("a", "TOKEN", "github").Binding("b", "TOKEN", "gitlab").Record("TOKEN", "gitlab", "s2", "b");
        Snapshot message = world.Message();
        Assert.Equal(2, message.Secrets.Count);
        // The stand-in in the pod's environment leads.
        Assert.Equal(("gitlab", World.StandInOf(world.Recorded[0]), false), (message.Secrets[0].Secret, message.Secrets[0].StandIn, message.Secrets[0].Detached));
        Assert.Contains("rename one of the variables", message.Secrets[0].Unavailable, StringComparison.Ordinal);
        Assert.Equal(("github", true, Kind.Revoked), (message.Secrets[1].Secret, message.Secrets[1].Detached, message.Secrets[1].CredentialCase));
        World.AssertTaken(message);
    }

    [Fact]
    public void A_secret_that_is_not_ready_is_unavailable_with_its_message()
    {
        BoundSecret secret = Assert.Single(new World().Secret("github", "s1", credential: null).Binding("a", "TOKEN", "github").Message().Secrets);
        Assert.Contains("kubectl create secret generic core", secret.Unavailable, StringComparison.Ordinal);
        Assert.False(secret.Detached);
    }

    [Fact]
    public void A_credential_that_is_being_read_is_pending()
    {
        Assert.NotEmpty(new World().Secret("github", "s1", lookup: new CoreSecretLookup.Pending()).Binding("a", "TOKEN", "github").Build().Pending);
        Assert.Empty(new World().Secret("github", "s1", lookup: new CoreSecretLookup.Missing()).Binding("a", "TOKEN", "github").Build().Pending);
    }

    [Fact]
    public void A_credential_that_holds_its_own_stand_in_is_not_sent()
    {
        World world = new World().Secret("github", "s1").Binding("a", "TOKEN", "github");
        string standIn = world.Message().Secrets[0].StandIn;
        world.Secret("github", "s1", credential: "prefix-" + standIn);
        Snapshot message = world.Message();
        Assert.Contains("store the credential itself", message.Secrets[0].Unavailable, StringComparison.Ordinal);
        World.AssertTaken(message);
    }

    [Fact]
    public void A_secret_that_is_not_there_gives_nothing_yet_and_is_looked_for()
    {
        BuiltSnapshot built = new World().Binding("a", "TOKEN", "github").Record("OLD", "gitlab", "s9", "b").Build();
        Assert.Empty(built.Message.Secrets);
        Assert.Equal(["github", "gitlab"], built.SecretNames.Order());
    }

    [Theory]
    [InlineData(null, false, "BoundHosts")]
    [InlineData(null, true, "All")]
    [InlineData("BoundHosts", true, "BoundHosts")]
    [InlineData("All", false, "All")]
    [InlineData("Something", false, "All")]
    public void Interception_is_resolved(string? written, bool hasAllowOut, string resolved)
    {
        World world = new World().Binding("a", "TOKEN", "x", spec => spec with { Interception = written, Network = new NetworkSpec { AllowOut = hasAllowOut ? ["api.service.test"] : null } });
        Assert.Equal(resolved, world.Message().Bindings[0].Interception);
    }

    [Fact]
    public void Network_rules_travel_as_they_are_written()
    {
        World world = new World()
            .Binding("a", "TOKEN", "x", spec => spec with { Network = new NetworkSpec { AllowOut = ["*.service.test", "140.82.112.0/20"], DenyOut = ["0.0.0.0/0"], Mode = "LogOnly", AllowIn = [8888] }, Passthrough = ["pinned.service.test"] })
            .Binding("b", "OTHER", "x");
        Snapshot message = world.Message();
        Network network = message.Bindings[0].Network;
        Assert.Equal(["*.service.test", "140.82.112.0/20"], network.AllowOut);
        Assert.Equal(["0.0.0.0/0"], network.DenyOut);
        Assert.Equal("LogOnly", network.Mode);
        Assert.Equal([8888u], network.AllowIn.Ports);
        Assert.Equal(["pinned.service.test"], message.Bindings[0].Passthrough);
        Assert.Null(message.Bindings[1].Network);
        World.AssertTaken(message);
    }

    [Theory]
    [InlineData("Enforce", "*.com")]
    [InlineData("LogOnly", "not a host")]
    [InlineData("Sometimes", "api.service.test")]
    [InlineData("1", "api.service.test")]
    public void Network_rules_that_cannot_be_read_close_the_sandbox(string mode, string allow)
    {
        World world = new World().Secret("github", "s1").Binding("a", "TOKEN", "github", spec => spec with { Network = new NetworkSpec { AllowOut = [allow], Mode = mode, AllowIn = [8888] } });
        Network network = world.Message().Bindings[0].Network;
        Assert.Equal("Enforce", network.Mode);
        Assert.Equal(["0.0.0.0/0", "::/0"], network.DenyOut);
        Assert.Empty(network.AllowOut);
        Assert.Empty(network.AllowIn.Ports);
        World.AssertTaken(world.Message());
    }

    [Fact]
    public void A_passthrough_name_that_cannot_be_read_exempts_nothing()
    {
        World world = new World().Binding("a", "TOKEN", "x", spec => spec with { Passthrough = ["*.com", "ok.service.test"] });
        Assert.Equal(["ok.service.test"], world.Message().Bindings[0].Passthrough);
    }

    [Theory]
    [InlineData("BestEffort", null, null, "BestEffort")]
    [InlineData("Required", null, null, "Required")]
    [InlineData("Required", "BestEffort", null, "Required")]
    [InlineData("Required", "BestEffort", "BestEffort", "BestEffort")]
    [InlineData("BestEffort", "Required", "BestEffort", "Required")]
    public void The_strictest_binding_says_how_audit_is(string installation, string? first, string? second, string expected)
    {
        World world = new World { Audit = installation }.Binding("a", "A", "x", spec => spec with { Audit = first }).Binding("b", "B", "x", spec => spec with { Audit = second });
        Assert.Equal(expected, world.Message().Audit);
    }

    [Fact]
    public void More_bindings_than_a_sidecar_takes_close_the_sandbox_instead_of_leaving_one_out()
    {
        World world = new World().Secret("github", "s1");
        for (int i = 0; i < SnapshotBuilder.MaxBindings; i++) world.Binding($"b{i}", $"KEY_{i}", "github");
        Assert.Equal(SnapshotBuilder.MaxBindings, world.Message().Bindings.Count);
        World.AssertTaken(world.Message());
        world.Binding("one-more", "KEY", "github");
        AssertClosed(world.Message(), "too-many-bindings");
    }

    [Fact]
    public void A_snapshot_that_is_too_long_closes_the_sandbox()
    {
        World world = new();
        string[] names = [.. Enumerable.Range(0, 256).Select(i => $"{new string('x', 60)}.{new string('y', 60)}.{new string('z', 60)}.n{i}.service.test")];
        for (int i = 0; i < 60; i++) world.Binding($"b{i}", $"KEY_{i}", "x", spec => spec with { Network = new NetworkSpec { AllowOut = names, DenyOut = names } });
        AssertClosed(world.Message(), "too-large");
    }

    [Fact]
    public void Variables_beyond_what_a_sidecar_takes_are_left_out_the_gone_ones_first()
    {
        World world = new World().Secret("github", "s1").Secret("old", "s2");
        for (int i = 0; i < 100; i++) world.Record($"OLD_{i}", "old", "s2", "gone");
        world.Binding("a", "KEY", "github", spec => spec with { Secrets = [.. Enumerable.Range(0, 100).Select(i => new SecretBinding { Env = $"KEY_{i}", SecretName = "github" })] });
        Snapshot message = world.Message();
        Assert.Equal((100, 28), (message.Secrets.Count(secret => !secret.Detached), message.Secrets.Count(secret => secret.Detached)));
        World.AssertTaken(message);
    }

    [Fact]
    public void It_says_when_the_next_binding_ends()
    {
        World world = new World().Binding("a", "A", "x", spec => spec with { ExpiresAt = World.Now.AddHours(2) })
            .Binding("b", "B", "x", spec => spec with { ExpiresAt = World.Now.AddHours(1) }).Binding("c", "C", "x")
            .Binding("d", "D", "x", spec => spec with { ExpiresAt = World.Now.AddMinutes(1) }, app: "builder");
        Assert.Equal(World.Now.AddHours(1), world.Build().ChangesAt);
        Assert.Equal(World.Now.AddHours(2), world.Build(World.Now.AddHours(1)).ChangesAt);
        Assert.Null(world.Build(World.Now.AddHours(2)).ChangesAt);
    }

    [Fact]
    public void The_order_of_what_it_is_made_from_makes_no_difference()
    {
        World world = new World().Secret("github", "s1").Secret("gitlab", "s2").Secret("old", "s3")
            .Binding("b", "B_TOKEN", "github").Binding("a", "A_TOKEN", "gitlab").Record("Z", "old", "s3", "x").Record("Y", "old", "s3", "x");
        Snapshot first = world.Message();
        world.Bindings.Reverse();
        world.Recorded.Reverse();
        Assert.Equal(first, world.Message());
        Assert.Equal(["A_TOKEN", "B_TOKEN", "Y", "Z"], first.Secrets.Select(secret => secret.Env));
        Assert.Equal(["a", "b"], first.Bindings.Select(binding => binding.Name));
        Assert.Equal(["100.100.0.0/16"], first.Cluster.Ranges);
    }

    private static void AssertClosed(Snapshot message, string why)
    {
        Assert.Empty(message.Secrets);
        Binding closed = Assert.Single(message.Bindings);
        Assert.Equal((why, "All", "Enforce"), (closed.Name, closed.Interception, closed.Network.Mode));
        Assert.Equal(["0.0.0.0/0", "::/0"], closed.Network.DenyOut);
        World.AssertTaken(message);
    }
}
