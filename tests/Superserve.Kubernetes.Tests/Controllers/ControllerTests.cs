using System.Collections.Concurrent;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Superserve.Kubernetes.Controllers;
using Superserve.Kubernetes.Queueing;
using Superserve.Kubernetes.Tests.Support;
using Superserve.Testing;

namespace Superserve.Kubernetes.Tests.Controllers;

public sealed class ControllerTests : IAsyncDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly Metrics _metrics = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly WorkQueue<string> _queue;
    private Task _running = Task.CompletedTask;

    public ControllerTests() => _queue = new WorkQueue<string>("c", _metrics.Kubernetes, _time);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _queue.Dispose();
    }

    [Fact]
    public async Task An_object_changed_during_its_reconcile_is_reconciled_again_and_never_concurrently()
    {
        ConcurrentDictionary<string, int> wanted = new();
        ConcurrentDictionary<string, int> seen = new();
        ConcurrentDictionary<string, int> inside = new();
        int overlaps = 0;
        Start(workers: 4, reconcile: async (key, _) =>
        {
            if (inside.AddOrUpdate(key, 1, (_, count) => count + 1) > 1) Interlocked.Increment(ref overlaps);
            int now = wanted[key];
            await Task.Yield();
            seen[key] = now;
            inside.AddOrUpdate(key, 0, (_, count) => count - 1);
            return Result.Done;
        });
        await Parallel.ForEachAsync(Enumerable.Range(0, 4), async (_, _) =>
        {
            for (int change = 0; change < 2000; change++)
            {
                string key = $"k{change % 3}";
                wanted.AddOrUpdate(key, 1, (_, version) => version + 1);
                _queue.Add(key);
                if (change % 50 == 0) await Task.Yield();
            }
        });
        await Eventually.True(() => wanted.All(key => seen.GetValueOrDefault(key.Key) == key.Value), "the last change of every key is seen");
        Assert.Equal(0, overlaps);
    }

    [Fact]
    public async Task It_starts_only_when_its_caches_are_filled()
    {
        TaskCompletionSource first = new(), second = new();
        int reconciled = 0;
        Start((_, _) => Count(ref reconciled), caches: [first.Task, second.Task]);
        _queue.Add("a");
        first.SetResult();
        await Eventually.Settle();
        Assert.Equal(0, Volatile.Read(ref reconciled));
        second.SetResult();
        await Eventually.True(() => Volatile.Read(ref reconciled) == 1, "it works once both are");
    }

    [Fact]
    public async Task A_failure_is_tried_again_later_and_counted()
    {
        int attempts = 0;
        Start((_, _) => Interlocked.Increment(ref attempts) < 4 ? throw new InvalidOperationException() : Task.FromResult(Result.Done));
        _queue.Add("a");
        await Eventually.True(() => _metrics["controller_runtime.reconcile controller=c result=success"] == 1, "success", _time, TimeSpan.FromMilliseconds(50));
        Assert.Equal(3, _metrics["controller_runtime.reconcile controller=c result=error"]);
        Assert.Equal(3, _metrics["workqueue.retries name=c"]);
    }

    [Fact]
    public async Task A_reconcile_may_ask_to_be_called_again()
    {
        int attempts = 0;
        Start((_, _) => Task.FromResult(Interlocked.Increment(ref attempts) == 1 ? Result.Again(TimeSpan.FromHours(1)) : Result.Done));
        _queue.Add("a");
        await Eventually.True(() => _metrics["controller_runtime.reconcile controller=c result=requeue_after"] == 1, "the first call");
        _time.Advance(TimeSpan.FromMinutes(59));
        await Eventually.Settle();
        Assert.Equal(1, Volatile.Read(ref attempts));
        _time.Advance(TimeSpan.FromMinutes(1));
        await Eventually.True(() => Volatile.Read(ref attempts) == 2, "the second call");
        Assert.Equal(0, _metrics["workqueue.retries name=c"]);
    }

    [Fact]
    public async Task A_reconcile_that_hangs_fails_at_its_timeout()
    {
        int attempts = 0;
        Start(async (_, cancellationToken) =>
        {
            if (Interlocked.Increment(ref attempts) == 1) await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);
            return Result.Done;
        });
        _queue.Add("a");
        await Eventually.True(() => _metrics["controller_runtime.reconcile controller=c result=success"] == 1, "success", _time, TimeSpan.FromSeconds(10));
        Assert.Equal(1, _metrics["controller_runtime.reconcile controller=c result=error"]);
    }

    [Fact]
    public async Task Cancellation_waits_for_what_is_under_way_and_starts_nothing_more()
    {
        TaskCompletionSource hold = new(), entered = new();
        int reconciled = 0;
        Start(workers: 1, reconcile: async (_, cancellationToken) =>
        {
            entered.TrySetResult();
            await hold.Task;
            Interlocked.Increment(ref reconciled);
            Assert.True(cancellationToken.IsCancellationRequested);
            return Result.Done;
        });
        _queue.Add("a");
        _queue.Add("b");
        await entered.Task;
        await _stop.CancelAsync();
        await Eventually.Settle();
        Assert.False(_running.IsCompleted);
        hold.SetResult();
        await Eventually.Cancelled(_running);
        Assert.Equal(1, reconciled);
    }

    [Fact]
    public async Task A_closed_queue_is_drained_before_the_controller_ends()
    {
        int reconciled = 0;
        foreach (string key in (string[])["a", "b", "c"]) _queue.Add(key);
        _queue.Close();
        Start((_, _) => Count(ref reconciled));
        await _running.WaitAsync(TimeSpan.FromSeconds(30), TimeProvider.System);
        Assert.Equal(3, reconciled);
    }

    private static Task<Result> Count(ref int counter)
    {
        Interlocked.Increment(ref counter);
        return Task.FromResult(Result.Done);
    }

    private void Start(Func<string, CancellationToken, Task<Result>> reconcile, int workers = 2, Task[]? caches = null)
    {
        Controller<string> controller = new("c", _queue, reconcile, _metrics.Kubernetes, _time, NullLogger<Controller<string>>.Instance) { Workers = workers };
        _running = controller.RunAsync(caches ?? [], _stop.Token);
    }
}
