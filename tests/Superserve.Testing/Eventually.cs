using Microsoft.Extensions.Time.Testing;

namespace Superserve.Testing;

/// <summary>Bounded polls: nothing asserts how long something takes, only that it comes to be.</summary>
public static class Eventually
{
    private const int Attempts = 3000;

    public static async Task True(Func<bool> condition, string what)
    {
        for (int attempt = 0; attempt < Attempts; attempt++)
        {
            if (condition()) return;
            await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System);
        }

        Assert.Fail($"This never came to be: {what}");
    }

    /// <summary>Moves a clock on until something is true.</summary>
    public static Task True(Func<bool> condition, string what, FakeTimeProvider time, TimeSpan step) =>
        True(
            () =>
            {
                if (condition()) return true;
                time.Advance(step);
                return condition();
            },
            what);

    /// <summary>Gives what could happen wrongly some time to happen.</summary>
    public static Task Settle() => Task.Delay(TimeSpan.FromMilliseconds(150), TimeProvider.System);

    /// <summary>Runs an endless task that has been cancelled to its end.</summary>
    public static async Task Cancelled(Task task)
    {
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => task.WaitAsync(TimeSpan.FromSeconds(30), TimeProvider.System));
    }
}
