using System.Collections.Immutable;
using Microsoft.Extensions.DependencyInjection;
using Superserve.Sidecar.Commands;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Tests.Fixture;

namespace Superserve.Sidecar.Tests.Delivery;

/// <summary>A running sandbox never gains reach by losing a binding.</summary>
public sealed class LostBindingTests
{
    [Fact]
    public async Task A_lost_binding_goes_on_restricting_until_one_of_its_name_is_there_again()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Bindings = [Pod.Binding("strict", Pod.Host), Pod.Binding("open")] }));
        (await pod.ConnectAsync(Pod.Other)).AssertRefused(403, "host_not_allowed");

        await call.DeliverAsync(pod.Snapshot(usual => usual with { Bindings = [Pod.Binding("open")] }));
        (await pod.ConnectAsync(Pod.Other)).AssertRefused(403, "host_not_allowed");
        await pod.AssertSwapsAsync();

        await call.DeliverAsync(pod.Snapshot(usual => usual with { Bindings = [Pod.Binding("open"), Pod.Binding("strict")] }));
        (await pod.AskAsync(Pod.Other, standIn: null)).AssertOk();
    }

    [Fact]
    public async Task A_restarted_sidecar_goes_on_obeying_a_binding_that_was_lost_before_or_meanwhile()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Bindings = [Pod.Binding("strict", Pod.Host), Pod.Binding("open")] }));
        await pod.StopSidecarAsync();

        await pod.StartSidecarAsync();
        call = await pod.Operator!.NextCallAsync();
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Bindings = [Pod.Binding("open")] }));
        (await pod.ConnectAsync(Pod.Other)).AssertRefused(403, "host_not_allowed");
        await pod.StopSidecarAsync();

        await pod.StartSidecarAsync();
        call = await pod.Operator!.NextCallAsync();
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Bindings = [Pod.Binding("open")] }));
        (await pod.ConnectAsync(Pod.Other)).AssertRefused(403, "host_not_allowed");
        await pod.AssertSwapsAsync();
    }

    [Fact]
    public async Task With_the_last_binding_gone_nothing_gets_out_and_no_secret_is_usable()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        await using RawClient client = await pod.Sidecar.OpenTlsAsync(Pod.Host);
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Bindings = [] }));
        await client.SendAsync($"GET / HTTP/1.1\r\nHost: {Pod.Host}\r\nAuthorization: Bearer {Pod.StandIn}\r\n\r\n");
        (await client.ReadResponseAsync()).AssertRefused(403, "host_not_allowed");
        (await pod.ConnectAsync(Pod.Other)).AssertRefused(403, "host_not_allowed");
        Assert.Empty(pod.Sidecar.StandIns());
        Assert.Empty(pod.Service.Requests);
    }

    [Fact]
    public async Task A_pod_of_a_warm_pool_is_ready_and_closed_until_a_binding_selects_it()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Bindings = [], Secrets = [] }));
        Assert.Equal(200, (await pod.Sidecar.ReadyAsync()).Status);
        (await pod.ConnectAsync(Pod.Host)).AssertRefused(403, "host_not_allowed");
        await call.DeliverAsync(pod.Snapshot());
        await pod.AssertSwapsAsync();
    }

    [Fact]
    public async Task The_ports_that_others_may_connect_to_are_in_force_with_the_rest_and_outlive_their_binding_and_a_restart()
    {
        await using Pod pod = new();
        OperatorCall call = await pod.StartAsync();
        // Until it knows better.
        Assert.Equal([], AllowIn());
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Bindings = [Pod.Binding("open")] }));
        Assert.Null(AllowIn());
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Bindings = [Pod.Binding("open"), Pod.Binding("inbound") with { AllowIn = [8888] }] }));
        Assert.Equal([8888], AllowIn());
        await pod.StopSidecarAsync();

        await pod.StartSidecarAsync();
        call = await pod.Operator!.NextCallAsync();
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Bindings = [Pod.Binding("open")] }));
        Assert.Equal([8888], AllowIn());
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Bindings = [] }));
        Assert.Equal([], AllowIn());

        ImmutableArray<int>? AllowIn() => pod.Sidecar.App.Services.GetRequiredService<ISnapshotSource>().Current.AllowIn;
    }

    [Fact]
    public async Task Kept_bindings_that_cannot_be_read_end_the_start()
    {
        await using Pod pod = new();
        await pod.StartAsync();
        await pod.StopSidecarAsync();
        await File.WriteAllTextAsync(Path.Combine(pod.StateDirectory, "bindings"), "no message at all");
        UsageException exception = await Assert.ThrowsAsync<UsageException>(pod.StartSidecarAsync);
        Assert.Contains("make the pod anew", exception.Message, StringComparison.Ordinal);
    }
}
