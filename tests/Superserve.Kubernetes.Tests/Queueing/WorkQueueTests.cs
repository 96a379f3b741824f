using Microsoft.Extensions.Time.Testing;
using Superserve.Kubernetes.Queueing;
using Superserve.Kubernetes.Tests.Support;
using Superserve.Testing;

namespace Superserve.Kubernetes.Tests.Queueing;

public sealed class WorkQueueTests : IDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly Metrics _metrics = new();
    private readonly WorkQueue<string> _queue;

    public WorkQueueTests() =>
        _queue = new WorkQueue<string>("q", _metrics.Kubernetes, _time, new Backoff(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(60)));

    public void Dispose() => _queue.Dispose();

    [Fact]
    public async Task A_key_is_there_once_however_often_it_is_added()
    {
        for (int times = 0; times < 5; times++) _queue.Add("a");
        _queue.Add("b");
        Assert.Equal("a", await TakeAsync());
        Assert.Equal("b", await TakeAsync());
        Assert.Equal(0, Depth);
        Assert.Equal(2, _metrics["workqueue.adds name=q"]);
    }

    [Fact]
    public async Task A_key_that_is_added_while_it_is_worked_on_comes_again_afterwards_and_not_before()
    {
        _queue.Add("a");
        await TakeAsync();
        _queue.Add("a");
        _queue.Add("a");
        Assert.Equal(0, Depth);
        _queue.Done("a");
        Assert.Equal("a", await TakeAsync());
        _queue.Done("a");
        Assert.Equal(0, Depth);
    }

    [Fact]
    public async Task Of_several_delays_the_earliest_counts()
    {
        _queue.AddAfter("a", TimeSpan.FromSeconds(30));
        _queue.AddAfter("a", TimeSpan.FromSeconds(10));
        _queue.AddAfter("a", TimeSpan.FromSeconds(20));
        _time.Advance(TimeSpan.FromSeconds(9));
        Assert.Equal(0, Depth);
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal("a", await TakeAsync());
        _queue.Done("a");
        _time.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal(0, Depth);
    }

    [Fact]
    public void Back_off_grows_with_each_failure_up_to_its_bound_and_starts_over_when_forgotten()
    {
        foreach (int ceiling in (int[])[1, 2, 4, 8, 16, 32, 60, 60]) Fails("a", ceiling);
        Fails("b", 1);
        _queue.Forget("a");
        Fails("a", 1);
        Assert.Equal(10, _metrics["workqueue.retries name=q"]);

        void Fails(string key, int ceiling)
        {
            _queue.AddAfterFailure(key);
            // Jitter takes away up to half: not before that, and not after the whole.
            _time.Advance(TimeSpan.FromSeconds(ceiling / 2.0) - TimeSpan.FromMilliseconds(1));
            Assert.Equal(0, Depth);
            _time.Advance(TimeSpan.FromSeconds(ceiling / 2.0) + TimeSpan.FromMilliseconds(1));
            Assert.Equal(1, Depth);
            (bool taken, string again) = _queue.TakeAsync(CancellationToken.None).GetAwaiter().GetResult();
            Assert.Equal((true, key), (taken, again));
            _queue.Done(key);
        }
    }

    [Fact]
    public async Task A_closed_queue_hands_out_what_waits_and_takes_nothing_more()
    {
        _queue.Add("a");
        await TakeAsync();
        _queue.Add("b");
        _queue.Add("a");
        _queue.AddAfter("c", TimeSpan.FromSeconds(1));
        _queue.Close();
        _queue.Add("d");
        _time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal("b", await TakeAsync());
        _queue.Done("a");
        _queue.Done("b");
        Assert.False((await _queue.TakeAsync(CancellationToken.None)).Taken);
        Assert.Equal(0, Depth);
    }

    [Fact]
    public async Task A_wait_for_a_key_can_be_cancelled_and_costs_none()
    {
        using CancellationTokenSource stop = new();
        Task<(bool, string)> waiting = _queue.TakeAsync(stop.Token);
        await stop.CancelAsync();
        await Eventually.Cancelled(waiting);
        _queue.Add("a");
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _queue.TakeAsync(stop.Token));
        Assert.Equal("a", await TakeAsync());
    }

    private double Depth => _metrics["workqueue.depth name=q"];

    private async Task<string> TakeAsync()
    {
        (bool taken, string key) = await _queue.TakeAsync(CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(30), TimeProvider.System);
        Assert.True(taken);
        return key;
    }
}
