namespace Superserve.Integration.Tests;

/// <summary>Waiting for a cluster that gets there in its own time.</summary>
internal static class Wait
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(200);

    public static Task UntilAsync(string what, Func<Task<bool>> condition) => UntilAsync(() => what, condition);

    public static async Task UntilAsync(Func<string> what, Func<Task<bool>> condition)
    {
        long started = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started) < Patience, $"It did not come about that {what()}");
            await Task.Delay(Pause, TimeProvider.System);
        }
    }
}
