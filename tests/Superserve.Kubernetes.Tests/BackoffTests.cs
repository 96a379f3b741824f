namespace Superserve.Kubernetes.Tests;

public sealed class BackoffTests
{
    private static readonly Backoff Backoff = new(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(30));

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 2)]
    [InlineData(5, 16)]
    [InlineData(6, 30)]
    [InlineData(int.MaxValue, 30)]
    public void Waits_double_up_to_the_bound_and_jitter_takes_away_at_most_half(int failures, int ceiling)
    {
        TimeSpan[] waits = [.. Enumerable.Range(0, 200).Select(_ => Backoff.After(failures))];
        Assert.All(waits, wait => Assert.InRange(wait.TotalSeconds, ceiling / 2.0, ceiling));
        Assert.True(waits.Distinct().Count() > 1);
    }
}
