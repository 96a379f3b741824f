using System.Globalization;
using System.Net.Sockets;

namespace Superserve.Benchmarks.Network;

/// <summary>
/// What the sidecar costs a connection: against none, and against a plain redirect to nginx. All ways take turns, round by round, so
/// that whatever else the machine does falls on each.
/// </summary>
internal static class NetworkBench
{
    private const int Rounds = 5;
    private const int Tunnels = 1000;

    private static readonly TimeSpan Turn = TimeSpan.FromSeconds(1.5);

    /// <summary>One row of a table.</summary>
    /// <param name="What">What is measured.</param>
    /// <param name="Reference">The row that it is a part of.</param>
    /// <param name="RunAsync">Measures it once.</param>
    private sealed record Row(string What, int Reference, Func<Task<Measured>> RunAsync)
    {
        public List<Measured> Rounds { get; } = [];
    }

    public static async Task RunAsync(Action<string> say)
    {
        await using BenchPod direct = await BenchPod.StartAsync(Way.Direct);
        await using BenchPod nginx = await BenchPod.StartAsync(Way.Nginx);
        await using BenchPod sidecar = await BenchPod.StartAsync(Way.Sidecar);
        (Load byItself, Load byNginx, Load bySidecar) = (new Load(direct), new Load(nginx), new Load(sidecar));

        // First, while both are as they started.
        List<string> memory = [await MemoryAsync("nginx", nginx, byNginx), await MemoryAsync("sidecar", sidecar, bySidecar)];

        List<Row> downloads = [];
        foreach (int connections in (int[])[1, 8])
        {
            string what = connections == 1 ? "one download" : $"{connections} downloads";
            int reference = downloads.Count;
            downloads.Add(new($"{what}, direct", reference, () => byItself.DownloadAsync(Turn, connections, isTls: false)));
            downloads.Add(new($"{what}, redirect to nginx", reference, () => byNginx.DownloadAsync(Turn, connections, isTls: false)));
            downloads.Add(new($"{what}, sidecar, opaque", reference, () => bySidecar.DownloadAsync(Turn, connections, isTls: false)));
            downloads.Add(new($"{what}, sidecar, TLS by its name", reference, () => bySidecar.DownloadAsync(Turn, connections, isTls: true)));
        }

        List<Row> exchanges =
        [
            new("plain TCP, direct", 0, () => byItself.ExchangesAsync(Turn, isTls: false)),
            new("plain TCP, redirect to nginx", 0, () => byNginx.ExchangesAsync(Turn, isTls: false)),
            new("plain TCP, sidecar, opaque", 0, () => bySidecar.ExchangesAsync(Turn, isTls: false)),
            new("TLS hello, sidecar, tunnelled by its name", 0, () => bySidecar.ExchangesAsync(Turn, isTls: true)),
            new("HTTPS, direct", 4, () => byItself.HandshakesAsync(Turn, asks: true)),
            new("HTTPS, redirect to nginx", 4, () => byNginx.HandshakesAsync(Turn, asks: true)),
            new("HTTPS, sidecar, intercepted and swapped", 4, () => bySidecar.HandshakesAsync(Turn, asks: true)),
            new("TLS handshake alone, direct", 7, () => byItself.HandshakesAsync(Turn, asks: false)),
            new("TLS handshake alone, sidecar, intercepted", 7, () => bySidecar.HandshakesAsync(Turn, asks: false)),
        ];

        // The first round is for what programs do once.
        for (int round = 0; round <= Rounds; round++)
        {
            foreach (Row row in (Row[])[.. downloads, .. exchanges])
            {
                Measured measured = await row.RunAsync();
                if (round > 0) row.Rounds.Add(measured);
            }
        }

        say("| throughput | MB/s | of direct | of nginx | proxy's processor, ms per GB |");
        say("|---|---|---|---|---|");
        foreach (Row row in downloads)
            say(Line(row.What, Median(row, one => one.PerSecond / 1e6), Ratio(row, downloads[row.Reference]), Ratio(row, downloads[row.Reference + 1]), Cpu(row, 1e6)));
        say("");
        say("| new connections | per second | of direct | proxy's processor, µs each |");
        say("|---|---|---|---|");
        foreach (Row row in exchanges)
            say(Line(row.What, Median(row, one => one.PerSecond), Ratio(row, exchanges[row.Reference]), Cpu(row, 1)));
        say("");
        say($"| memory | resident with 1 tunnel, MB | with {Tunnels} more, idle, MB | kB each | with another {Tunnels}, MB | kB each |");
        say("|---|---|---|---|---|---|");
        foreach (string line in memory) say(line);
        say("");
        say("| one name after another | p50, ms | p99, ms |");
        say("|---|---|---|");
        // Below the rate that a sandbox may ask at.
        foreach ((string what, Load load) in (ReadOnlySpan<(string, Load)>)[("direct", byItself), ("sidecar's DNS", bySidecar)])
        {
            double[] took = load.Ask(150);
            say(Line(what, Number(took[took.Length / 2], 2), Number(took[(int)(took.Length * 0.99)], 2)));
        }
    }

    private static async Task<string> MemoryAsync(string what, BenchPod pod, Load load)
    {
        // One, so that what is made once does not count for the rest.
        List<Socket> sockets = load.OpenIdle(1);
        await SettleAsync();
        long before = pod.ProxyMemory();
        sockets.AddRange(load.OpenIdle(Tunnels));
        await SettleAsync();
        long some = pod.ProxyMemory();
        sockets.AddRange(load.OpenIdle(Tunnels));
        await SettleAsync();
        long more = pod.ProxyMemory();
        foreach (Socket socket in sockets) socket.Dispose();
        return Line(what, Number(before / 1e6, 1), Number(some / 1e6, 1), Number((some - before) / 1e3 / Tunnels, 1), Number(more / 1e6, 1), Number((more - some) / 1e3 / Tunnels, 1));

        // Idle is what has been left alone for a while.
        static Task SettleAsync() => Task.Delay(TimeSpan.FromSeconds(3), TimeProvider.System);
    }

    private static string Ratio(Row row, Row reference) => ReferenceEquals(row, reference)
        ? "1"
        : Number(MedianOf(row.Rounds.Zip(reference.Rounds, (one, other) => one.PerSecond / other.PerSecond)), 2);

    private static string Cpu(Row row, double scale) => row.Rounds[0].Cpu == TimeSpan.Zero ? "–" : Median(row, one => one.CpuMicrosecondsEach * scale);

    private static string Median(Row row, Func<Measured, double> of) => Number(MedianOf(row.Rounds.Select(of)), 0);

    private static double MedianOf(IEnumerable<double> values) => values.Order().ElementAt(Rounds / 2);

    private static string Number(double value, int digits) => value.ToString("F" + digits, CultureInfo.InvariantCulture);

    private static string Line(params string[] cells) => $"| {string.Join(" | ", cells)} |";
}
