using System.Diagnostics;
using System.Net.Security;

namespace Superserve.Benchmarks.Http;

/// <summary>
/// Requests at a fixed rate, however long the answers take: each has a time at which it is due, and its latency counts from that, so that
/// what waits behind a slow one counts as slow too.
/// </summary>
internal static class FixedRate
{
    private const int Connections = 10;

    /// <summary>Runs it. The first answer of each connection, which waits for the handshakes, is not counted.</summary>
    public static async Task<HttpMeasured> RunAsync(HttpPod pod, int perSecond, TimeSpan duration)
    {
        TimeSpan cpu = pod.ProxyCpu();
        byte[] request = Requests.Make(ServedFiles.Tiny, pod.Token);
        int each = (int)(perSecond * duration.TotalSeconds / Connections);
        // Time for the handshakes.
        long first = Stopwatch.GetTimestamp() + (Stopwatch.Frequency / 5);
        double[][] took = await Task.WhenAll(Enumerable.Range(0, Connections).Select(index => Task.Factory.StartNew(
            () => pod.Network.Pod.Enter(() => RunOne(request, first + (Stopwatch.Frequency * index / perSecond), Stopwatch.Frequency * Connections / perSecond, each)),
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        return HttpMeasured.OfLatencies([.. took.SelectMany(one => one)], duration, pod.ProxyCpu() - cpu);
    }

    private static double[] RunOne(byte[] request, long first, long interval, int count)
    {
        double[] took = new double[count];
        byte[] buffer = new byte[64 * 1024];
        using SslStream connection = HttpPod.Connect();
        Requests.Exchange(connection, request, buffer);
        for (int i = 0; i < count; i++)
        {
            long due = first + (i * interval);
            Clock.Wait(due);
            Requests.Exchange(connection, request, buffer);
            took[i] = Stopwatch.GetElapsedTime(due).TotalMilliseconds;
        }

        return took;
    }
}
