using System.Security.Cryptography;

namespace Superserve.Sidecar.Delivery;

/// <summary>Keeps a stream to the operator: when one ends, the next one follows after a wait.</summary>
internal sealed partial class OperatorClient(OperatorStream stream, OperatorSnapshots snapshots, DeliveryMetrics metrics, TimeProvider time, ILogger<OperatorClient> logger) : BackgroundService
{
    /// <summary>A stream that lasted so long makes up for those before that did not.</summary>
    private static readonly TimeSpan Steady = TimeSpan.FromSeconds(60);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        int failures = 0;
        while (true)
        {
            long startedAt = time.GetTimestamp();
            StreamEnd end = await RunAsync(stoppingToken);
            if (time.GetElapsedTime(startedAt) >= Steady) failures = 0;
            TimeSpan delay = Reconnection.Delay(end, failures++, RandomNumberGenerator.GetInt32(int.MaxValue) / (double)int.MaxValue);
            metrics.Ended(end);
            snapshots.Wait(end.Text);
            LogEnded(end.Text, delay.TotalSeconds);
            await Task.Delay(delay, time, stoppingToken);
        }
    }

    private async Task<StreamEnd> RunAsync(CancellationToken stoppingToken)
    {
        try
        {
            return await stream.RunAsync(stoppingToken);
        }
        catch (Exception exception) when (!stoppingToken.IsCancellationRequested)
        {
            // Whatever one stream met, the next one may not; without any the sidecar would be deaf until it is restarted.
            return new StreamEnd(EndReason.Malformed, $"The stream failed with {exception.GetType().Name}. This is a mistake in the sidecar; please report it.");
        }
    }

    [LoggerMessage(82, LogLevel.Warning, "No stream to the operator: {Text} The next attempt is in {Seconds:0.0} s; what was delivered stays in force.")]
    private partial void LogEnded(string text, double seconds);
}
