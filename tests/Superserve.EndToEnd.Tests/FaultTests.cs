using Superserve.Benchmarks.Faults;

namespace Superserve.EndToEnd.Tests;

/// <summary>
/// What <c>make faults</c> runs, with seconds in place of minutes: parts of the audit log fail while a sandbox uses a secret, and in the end
/// every request that the service saw is in the log once.
/// </summary>
public sealed class FaultTests(Faults faults) : IClassFixture<Faults>
{
    [Fact]
    public Task The_audit_service_is_killed_and_started_again() => ExpectAsync(run => run.ServiceKilledAsync());

    [Fact]
    public Task The_volume_of_SQLite_is_full_and_has_room_again() => ExpectAsync(run => run.VolumeFullAsync());

    [Fact]
    public Task PostgreSQL_is_stopped_and_started_again() => ExpectAsync(run => run.DatabaseAwayAsync());

    [Fact]
    public Task The_sidecar_is_killed_with_events_that_nobody_has_acknowledged() => ExpectAsync(run => run.SidecarKilledAsync());

    [Fact]
    public Task Clocks_step_back_and_are_right_again() => ExpectAsync(run => run.ClockSteppedBackAsync());

    [Fact]
    public Task Blocked_connections_flood_the_network_log() => ExpectAsync(run => run.FloodAsync());

    [Fact]
    public Task Where_events_are_required_a_full_journal_refuses_secrets_alone_until_there_is_room() => ExpectAsync(run => run.JournalFullAsync());

    private async Task ExpectAsync(Func<FaultRun, Task<FaultFigures>> fault)
    {
        FaultFigures figures = await fault(faults.Run);
        Assert.True(figures.Problem is null, $"{figures.Problem}\n{FaultFigures.Head}\n{figures}\n{figures.Note}");
    }
}

/// <summary>One API server and operator for all of them.</summary>
public sealed class Faults : IAsyncLifetime
{
    private static readonly TimeSpan Away = TimeSpan.FromSeconds(2);

    public FaultRun Run { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Run = await FaultRun.StartAsync(Away);

    public ValueTask DisposeAsync() => Run.DisposeAsync();
}
