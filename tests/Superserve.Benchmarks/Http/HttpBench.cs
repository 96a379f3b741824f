using System.Globalization;
using System.Net.Security;

namespace Superserve.Benchmarks.Http;

/// <summary>
/// What interception and the swap cost a request: against none, nginx and mitmproxy, which replace the same header. All take turns, round
/// by round, so that whatever else the machine does falls on each.
/// </summary>
internal sealed class HttpBench : IAsyncDisposable
{
    private const int Starts = 21;
    private const int IdleConnections = 500;

    private static readonly string[] Parts = ["h1", "h2", "latency", "memory", "start", "transfer", "scrub"];

    private static readonly TimeSpan Turn = TimeSpan.FromSeconds(1.5);

    /// <summary>Idle is what has been left alone for a while.</summary>
    private static readonly TimeSpan Settling = TimeSpan.FromSeconds(5);

    private readonly Action<string> _say;
    private readonly HashSet<string> _parts = [];
    private readonly int _rounds = 5;
    private readonly Proxy[] _proxies;
    private readonly ServedFiles _files;
    private readonly List<HttpPod> _pods = [];
    private readonly Dictionary<Proxy, List<string>> _memory = [];

    /// <summary>One row of a table.</summary>
    private sealed record Row(string What, HttpPod Pod, Func<HttpPod, Task<HttpMeasured>> RunAsync)
    {
        public List<HttpMeasured> Rounds { get; } = [];
    }

    /// <param name="say">Takes the lines.</param>
    /// <param name="words">What to measure: parts, proxies and a number of rounds; of what is not named, all.</param>
    public HttpBench(Action<string> say, params string[] words)
    {
        _say = say;
        List<Proxy> proxies = [];
        foreach (string word in words)
        {
            if (int.TryParse(word, CultureInfo.InvariantCulture, out int rounds)) _rounds = rounds;
            else if (Enum.TryParse(word, ignoreCase: true, out Proxy proxy)) proxies.Add(proxy);
            else if (Parts.Contains(word)) _parts.Add(word);
            else throw new ArgumentException($"{word} is none of {string.Join(", ", [.. Parts, .. Enum.GetNames<Proxy>()])}, and no number of rounds.");
        }

        _proxies = proxies.Count > 0 ? [.. proxies] : Enum.GetValues<Proxy>();
        _files = new ServedFiles(Wants("transfer"));
    }

    public async Task RunAsync()
    {
        foreach (Proxy proxy in _proxies) _pods.Add(await HttpPod.StartAsync(proxy, _files));
        // First, while all are as they started.
        if (Wants("memory")) await MemoryAtStartAsync();
        await LoadAsync();
        if (Wants("memory")) await MemoryAfterLoadAsync();
        if (Wants("scrub")) await ScrubbingAsync();
        if (Wants("transfer")) await TransfersAsync();
        // Last: these start the proxies anew.
        if (Wants("start")) await StartsAsync();
        if (Wants("memory")) await IdleConnectionsAsync();
    }

    public async ValueTask DisposeAsync()
    {
        foreach (HttpPod pod in _pods) await pod.DisposeAsync();
        _files.Dispose();
    }

    private static string Name(Proxy proxy) => proxy switch
    {
        Proxy.Direct => "direct",
        Proxy.Nginx => "nginx",
        Proxy.NginxStreaming => "nginx, no log, no buffering",
        Proxy.Mitmproxy => "mitmproxy",
        _ => "sidecar",
    };

    private bool Wants(string part) => _parts.Count == 0 || _parts.Contains(part);

    private List<Row> Rows(Func<HttpPod, Task<HttpMeasured>> run) => [.. _pods.Select(pod => new Row(Name(pod.Kind), pod, run))];

    /// <param name="groups">The rows.</param>
    /// <param name="rounds">How many rounds count.</param>
    /// <param name="warmsUp">Whether there is one more ahead of them, for what programs do once.</param>
    private static async Task TakeTurnsAsync(List<(string Title, List<Row> Rows)> groups, int rounds, bool warmsUp = true)
    {
        for (int round = warmsUp ? 0 : 1; round <= rounds; round++)
        {
            foreach (Row row in groups.SelectMany(group => group.Rows))
            {
                // One round says how far behind it is.
                if (row.Pod.Kind == Proxy.Mitmproxy && round > 1) continue;
                HttpMeasured measured = await row.RunAsync(row.Pod);
                if (round > 0) row.Rounds.Add(measured);
            }
        }
    }

    private async Task LoadAsync()
    {
        List<(string Title, List<Row> Rows)> requests = [], latencies = [];
        if (Wants("h1")) requests.Add(("HTTP/1.1, 32 connections", Rows(pod => H2Load.RequestsAsync(pod, false, 32, 1, ServedFiles.Tiny, pod.Token, Turn))));
        if (Wants("h2")) requests.Add(("HTTP/2, 8 connections of 10 streams", Rows(pod => H2Load.RequestsAsync(pod, true, 8, 10, ServedFiles.Tiny, pod.Token, Turn))));
        if (Wants("latency"))
        {
            latencies.Add(("one connection, one after another", Rows(pod => H2Load.LatencyAsync(pod, ServedFiles.Tiny, Turn))));
            latencies.Add(("500 a second on 10 connections", Rows(pod => FixedRate.RunAsync(pod, 500, Turn))));
        }

        await TakeTurnsAsync([.. requests, .. latencies], _rounds);
        foreach ((string title, List<Row> rows) in requests) SayRequests(title, rows);
        foreach ((string title, List<Row> rows) in latencies)
        {
            _say($"| {title} | p50, ms | of nginx | p99, ms | of nginx | proxy's processor, ms per 1,000 |");
            _say("|---|---|---|---|---|---|");
            foreach (Row row in rows)
                _say(Line(row.What, Median(row, one => one.P50, 3), Ratio(row, rows, Proxy.NginxStreaming, one => one.P50), Median(row, one => one.P99, 3), Ratio(row, rows, Proxy.NginxStreaming, one => one.P99), Cpu(row, 1e3)));
            _say("");
        }
    }

    /// <summary>What looking for the credential in answers costs, against requests for which nothing is looked for.</summary>
    private async Task ScrubbingAsync()
    {
        List<(string Title, List<Row> Rows)> groups = [];
        foreach ((string path, string length) in (ReadOnlySpan<(string, string)>)[(ServedFiles.Tiny, "100 bytes"), (ServedFiles.Small, "10 KB"), (ServedFiles.Medium, "100 KB")])
        {
            List<Row> rows = [];
            foreach (HttpPod pod in _pods.Where(pod => pod.Kind is Proxy.NginxStreaming or Proxy.Sidecar))
            {
                rows.Add(new(pod.Kind == Proxy.Sidecar ? "sidecar, swapped and scrubbed" : Name(pod.Kind), pod, one => RequestsAsync(one, path, one.Token)));
                if (pod.Kind != Proxy.Sidecar) continue;
                rows.Add(new("sidecar, swapped, body not scrubbed", pod, one => RequestsAsync(one, path, one.ShortToken)));
                rows.Add(new("sidecar, intercepted, not swapped", pod, one => RequestsAsync(one, "/open" + path, token: null)));
            }

            groups.Add(($"answers of {length}", rows));
        }

        await TakeTurnsAsync(groups, Math.Min(_rounds, 3));
        foreach ((string title, List<Row> rows) in groups) SayRequests(title, rows);

        static Task<HttpMeasured> RequestsAsync(HttpPod pod, string path, string? token) => H2Load.RequestsAsync(pod, false, 32, 1, path, token, Turn);
    }

    private async Task TransfersAsync()
    {
        List<(string Title, List<Row> Rows)> groups =
        [
            ("download, HTTP/1.1", Rows(pod => H2Load.TransferAsync(pod, false, ServedFiles.Huge, pod.Token, upload: null))),
            ("download, HTTP/2", Rows(pod => H2Load.TransferAsync(pod, true, ServedFiles.Huge, pod.Token, upload: null))),
            ("upload, HTTP/1.1", Rows(pod => H2Load.TransferAsync(pod, false, "/upload", pod.Token, _files.PathOf(ServedFiles.Huge)))),
        ];
        foreach (HttpPod pod in _pods.Where(pod => pod.Kind == Proxy.Sidecar))
        {
            groups[0].Rows.Add(new("sidecar, body not scrubbed", pod, one => H2Load.TransferAsync(one, false, ServedFiles.Huge, one.ShortToken, upload: null)));
            groups[1].Rows.Add(new("sidecar, body not scrubbed", pod, one => H2Load.TransferAsync(one, true, ServedFiles.Huge, one.ShortToken, upload: null)));
        }

        await TakeTurnsAsync(groups, Math.Min(_rounds, 3), warmsUp: false);
        foreach ((string title, List<Row> rows) in groups)
        {
            _say($"| {title}, 1 GiB | MB/s | of direct | of nginx | proxy's processor, s |");
            _say("|---|---|---|---|---|");
            foreach (Row row in rows)
                _say(Line(row.What, Median(row, one => one.PerSecond / 1e6, 0), Ratio(row, rows, Proxy.Direct, one => one.PerSecond), Ratio(row, rows, Proxy.NginxStreaming, one => one.PerSecond), row.Pod.Kind == Proxy.Direct ? "–" : Median(row, one => one.Cpu.TotalSeconds, 2)));
            _say("");
        }
    }

    /// <summary>From the start of a proxy's program to the answer to the first request through it.</summary>
    private async Task StartsAsync()
    {
        Dictionary<HttpPod, List<(double Listening, double Answered)>> took = _pods.Where(pod => pod.Kind != Proxy.Direct).ToDictionary(pod => pod, _ => new List<(double Listening, double Answered)>());
        for (int start = 0; start <= Starts; start++)
        {
            foreach ((HttpPod pod, List<(double Listening, double Answered)> all) in took)
            {
                // It takes seconds, and is no goal.
                if (pod.Kind == Proxy.Mitmproxy && start > 3) continue;
                await pod.StopProxyAsync();
                DateTimeOffset started = pod.RestartProxy();
                (DateTimeOffset listening, DateTimeOffset answered) = Requests.FirstAnswer(pod);
                if (start > 0) all.Add(((listening - started).TotalMilliseconds, (answered - started).TotalMilliseconds));
            }
        }

        _say("| from the program's start | until it listens, p50, ms | to the first swapped answer, p50, ms | p90, ms | most, ms |");
        _say("|---|---|---|---|---|");
        foreach ((HttpPod pod, List<(double Listening, double Answered)> all) in took)
        {
            double[] answered = [.. all.Select(one => one.Answered).Order()];
            _say(Line(Name(pod.Kind), Number(MedianOf(all.Select(one => one.Listening)), 1), Number(MedianOf(answered), 1), Number(answered[(int)(answered.Length * 0.9)], 1), Number(answered[^1], 1)));
        }

        _say("");
    }

    private void SayRequests(string title, List<Row> rows)
    {
        _say($"| {title} | requests a second | of direct | of nginx | proxy's processor, ms per 1,000 |");
        _say("|---|---|---|---|---|");
        foreach (Row row in rows) _say(Line(row.What, Median(row, one => one.PerSecond, 0), Ratio(row, rows, Proxy.Direct, one => one.PerSecond), Ratio(row, rows, Proxy.NginxStreaming, one => one.PerSecond), Cpu(row, 1e3)));
        _say("");
    }

    private async Task MemoryAtStartAsync()
    {
        await Task.Delay(Settling, TimeProvider.System);
        foreach (HttpPod pod in _pods.Where(pod => pod.Kind != Proxy.Direct))
        {
            List<string> cells = _memory[pod.Kind] = [.. Resident(pod)];
            pod.Network.Pod.Enter(() => Requests.Ask(pod)).Dispose();
            cells.AddRange(Resident(pod));
        }
    }

    private async Task MemoryAfterLoadAsync()
    {
        await Task.Delay(Settling, TimeProvider.System);
        _say("| resident memory, MB (of that not of files) | just started | at the first answer | after load |");
        _say("|---|---|---|---|");
        foreach (HttpPod pod in _pods.Where(pod => pod.Kind != Proxy.Direct)) _say(Line([Name(pod.Kind), .. _memory[pod.Kind], .. Resident(pod)]));
        _say("");
    }

    private static string[] Resident(HttpPod pod)
    {
        (long all, long own) = pod.ProxyMemory();
        return [$"{Number(all / 1e6, 1)} ({Number(own / 1e6, 1)})"];
    }

    /// <summary>What connections cost that have had one answer each, and then nothing.</summary>
    private async Task IdleConnectionsAsync()
    {
        _say("| connections that are idle | kB each |");
        _say("|---|---|");
        HttpPod[] pods = [.. _pods.Where(pod => pod.Kind != Proxy.Direct)];
        foreach (HttpPod pod in pods)
        {
            await pod.StopProxyAsync();
            pod.RestartProxy();
            Requests.FirstAnswer(pod);
        }

        await Task.Delay(Settling, TimeProvider.System);
        long[] before = [.. pods.Select(pod => pod.ProxyMemory().All)];
        List<SslStream> connections = [.. pods.SelectMany(pod => pod.Network.Pod.Enter(() => Enumerable.Range(0, IdleConnections).Select(_ => Requests.Ask(pod)).ToList()))];
        await Task.Delay(Settling, TimeProvider.System);
        foreach ((HttpPod pod, long then) in pods.Zip(before)) _say(Line(Name(pod.Kind), Number((pod.ProxyMemory().All - then) / 1e3 / IdleConnections, 1)));
        foreach (SslStream connection in connections) connection.Dispose();
        _say("");
    }

    private static string Ratio(Row row, List<Row> rows, Proxy reference, Func<HttpMeasured, double> of) => rows.Find(other => other.Pod.Kind == reference) is not { } against
        ? "–"
        : ReferenceEquals(row, against) ? "1" : Number(MedianOf(row.Rounds.Zip(against.Rounds, (one, other) => of(one) / of(other))), 2);

    private static string Cpu(Row row, double scale) => row.Pod.Kind == Proxy.Direct ? "–" : Median(row, one => one.Cpu.TotalMilliseconds / one.Amount * scale, 0);

    private static string Median(Row row, Func<HttpMeasured, double> of, int digits) => Number(MedianOf(row.Rounds.Select(of)), digits);

    private static double MedianOf(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[sorted.Length / 2];
    }

    private static string Number(double value, int digits) => value.ToString("F" + digits, CultureInfo.InvariantCulture);

    private static string Line(params string[] cells) => $"| {string.Join(" | ", cells)} |";
}
