using System.Diagnostics;
using System.Security.Cryptography.X509Certificates;
using k8s.Models;

namespace Superserve.Benchmarks;

/// <summary>Many sandboxes with simulated sidecars, kept alive by one heartbeat loop.</summary>
internal sealed class Fleet : IAsyncDisposable
{
    private readonly BenchCluster _cluster;
    private readonly List<SimulatedSidecar> _sidecars = [];
    private readonly X509Certificate2Collection _authorities = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _heartbeats;

    public Fleet(BenchCluster cluster)
    {
        _cluster = cluster;
        _authorities.ImportFromPem(cluster.Authorities);
        _heartbeats = BeatAsync();
    }

    public int Count => _sidecars.Count;

    /// <summary>Grows to a number of connected sandboxes.</summary>
    public async Task GrowAsync(int count, string credential)
    {
        const int Batch = 32;
        while (_sidecars.Count < count)
        {
            int from = _sidecars.Count;
            SimulatedSidecar[] more = await Task.WhenAll(Enumerable.Range(from, Math.Min(Batch, count - from)).Select(async i =>
            {
                V1Pod pod = await _cluster.CreatePodAsync($"agent-{i}");
                return await SimulatedSidecar.ConnectAsync(_cluster.DeliveryPort, _authorities, await _cluster.TokenAsync(pod));
            }));
            lock (_sidecars) _sidecars.AddRange(more);
        }

        await BenchCluster.UntilAsync($"{count} sidecars have a snapshot", () => Task.FromResult(_sidecars.All(sidecar => Check(sidecar).Last.Credential == credential)));
    }

    /// <summary>How long after <paramref name="sent"/> each sidecar had the credential, in milliseconds, sorted.</summary>
    public async Task<double[]> ArrivalsAsync(string credential, long sent)
    {
        await BenchCluster.UntilAsync($"all sidecars have {credential}", () => Task.FromResult(_sidecars.All(sidecar => Check(sidecar).Last.Credential == credential)));
        return [.. _sidecars.Select(sidecar => Stopwatch.GetElapsedTime(sent, sidecar.Last.At).TotalMilliseconds).Order()];
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _heartbeats.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await Task.WhenAll(_sidecars.Select(sidecar => sidecar.DisposeAsync().AsTask()));
        _stop.Dispose();
    }

    private static SimulatedSidecar Check(SimulatedSidecar sidecar) =>
        sidecar.Failure is null ? sidecar : throw new InvalidOperationException($"A stream ended: {sidecar.Failure}");

    private async Task BeatAsync()
    {
        using PeriodicTimer timer = new(TimeSpan.FromSeconds(8), TimeProvider.System);
        while (await timer.WaitForNextTickAsync(_stop.Token))
        {
            SimulatedSidecar[] all;
            lock (_sidecars) all = [.. _sidecars];
            foreach (SimulatedSidecar[] chunk in all.Chunk(256)) await Task.WhenAll(chunk.Select(sidecar => sidecar.HeartbeatAsync()));
        }
    }
}
