using Microsoft.Extensions.Time.Testing;

namespace Superserve.Kubernetes.Tests.Leadership;

/// <summary>
/// One machine's view of the world's time: a wall clock of its own that may be wrong, and timers that fire only when the process
/// gets to run.
/// </summary>
internal sealed class PausableTime(FakeTimeProvider world) : TimeProvider
{
    private readonly FakeTimeProvider _timers = new(world.GetUtcNow());

    public TimeSpan Offset { get; set; }

    public override long TimestampFrequency => world.TimestampFrequency;

    public void CatchUp()
    {
        TimeSpan behind = world.GetUtcNow() - _timers.GetUtcNow();
        if (behind > TimeSpan.Zero) _timers.Advance(behind);
    }

    public override long GetTimestamp() => world.GetTimestamp();

    public override DateTimeOffset GetUtcNow() => world.GetUtcNow() + Offset;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        _timers.CreateTimer(callback, state, dueTime, period);
}
