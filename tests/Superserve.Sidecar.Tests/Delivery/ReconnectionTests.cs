using FsCheck;
using FsCheck.Xunit;
using Superserve.Sidecar.Delivery;

namespace Superserve.Sidecar.Tests.Delivery;

public sealed class ReconnectionTests
{
    private static StreamEnd End(EndReason reason, double delaySeconds = 0) => new(reason, "") { Delay = TimeSpan.FromSeconds(delaySeconds) };

    [Property]
    public bool No_wait_is_longer_than_the_bound(int failures, PositiveInt delay, byte random) =>
        Reconnection.Delay(End(EndReason.Goodbye, delay.Get), failures, random / 255.0) is var wait && wait >= TimeSpan.Zero && wait <= Reconnection.MaxDelay;

    [Fact]
    public void The_first_attempt_follows_at_once_and_each_later_one_after_twice_as_long()
    {
        Assert.Equal([0.5, 1, 2, 4, 8, 16, 30, 30], Enumerable.Range(0, 8).Select(failures => Reconnection.Delay(End(EndReason.Unreachable), failures, 1).TotalSeconds));
        Assert.Equal(TimeSpan.Zero, Reconnection.Delay(End(EndReason.Unreachable), 5, 0));
    }

    [Theory]
    [InlineData(0, 15)]
    [InlineData(1, 30)]
    public void A_refused_sidecar_asks_slowly_from_the_start(double random, double seconds) =>
        Assert.Equal(seconds, Reconnection.Delay(End(EndReason.Refused), 0, random).TotalSeconds);

    [Fact]
    public void After_a_goodbye_a_random_part_of_the_delay_is_waited()
    {
        Assert.Equal(5, Reconnection.Delay(End(EndReason.Goodbye, 10), 0, 0.5).TotalSeconds);
        // A replica that says goodbye at once, again and again, is not asked without end.
        Assert.Equal(16, Reconnection.Delay(End(EndReason.Goodbye), 5, 1).TotalSeconds);
    }
}
