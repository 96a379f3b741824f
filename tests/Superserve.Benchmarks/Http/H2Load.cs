using System.Globalization;
using System.Text.RegularExpressions;
using Superserve.Testing;

namespace Superserve.Benchmarks.Http;

/// <summary>nghttp2's load generator in the pod: closed loops, each connection asking again once it has its answer.</summary>
internal static partial class H2Load
{
    /// <summary>Requests for a while. Each is answered with 200, or the measurement fails.</summary>
    public static Task<HttpMeasured> RequestsAsync(HttpPod pod, bool isHttp2, int connections, int streams, string path, string? token, TimeSpan duration) =>
        RunAsync(pod, isHttp2, path, token, ["-c", $"{connections}", "-m", $"{streams}", "-D", $"{duration.TotalMilliseconds:0}ms"]);

    /// <summary>How long requests take that follow one another on one connection.</summary>
    public static async Task<HttpMeasured> LatencyAsync(HttpPod pod, string path, TimeSpan duration)
    {
        string log = Path.GetTempFileName();
        try
        {
            HttpMeasured measured = await RunAsync(pod, isHttp2: false, path, pod.Token, ["-c", "1", "-D", $"{duration.TotalMilliseconds:0}ms", $"--log-file={log}"]);
            // Start, status and microseconds.
            double[] took = [.. File.ReadLines(log).Select(line => long.Parse(line.Split('\t')[2], CultureInfo.InvariantCulture) / 1e3)];
            return HttpMeasured.OfLatencies(took, measured.Time, measured.Cpu);
        }
        finally
        {
            File.Delete(log);
        }
    }

    /// <summary>Bytes of one body, down or up.</summary>
    public static async Task<HttpMeasured> TransferAsync(HttpPod pod, bool isHttp2, string path, string token, string? upload)
    {
        HttpMeasured measured = await RunAsync(pod, isHttp2, path, token, upload is null ? ["-n", "1"] : ["-n", "1", "-d", upload]);
        return measured with { Amount = ServedFiles.HugeLength };
    }

    private static async Task<HttpMeasured> RunAsync(HttpPod pod, bool isHttp2, string path, string? token, string[] arguments)
    {
        TimeSpan cpu = pod.ProxyCpu();
        string[] authorization = token is null ? [] : ["-H", $"authorization: Bearer {token}"];
        string[] version = isHttp2 ? [] : ["--h1"];
        Outcome outcome = await pod.Network.Pod.RunAsync("h2load", [.. arguments, .. version, .. authorization, $"--connect-to={HttpPod.Service}:443", $"https://{HttpPod.Host}{path}"]);
        cpu = pod.ProxyCpu() - cpu;
        Match requests = Requests().Match(outcome.Output), answered = Answered().Match(outcome.Output), time = Time().Match(outcome.Output), size = Size().Match(outcome.Output);
        long done = Number(requests, 1);
        if (!requests.Success || !time.Success || !answered.Success || done == 0 || Number(requests, 2) + Number(requests, 3) > 0)
            throw new InvalidOperationException($"Requests through {pod.Kind} were not all answered as they should be:\n{outcome}");
        if (path == ServedFiles.Huge && Number(size, 1) < ServedFiles.HugeLength) throw new InvalidOperationException($"A download through {pod.Kind} was cut off:\n{outcome}");
        double seconds = double.Parse(time.Groups[1].Value, CultureInfo.InvariantCulture) / (time.Groups[2].Value switch { "us" => 1e6, "ms" => 1e3, _ => 1 });
        return new HttpMeasured(done, TimeSpan.FromSeconds(seconds), cpu);
    }

    private static long Number(Match match, int group) => match.Success ? long.Parse(match.Groups[group].Value, CultureInfo.InvariantCulture) : 0;

    [GeneratedRegex(@"(\d+) succeeded, (\d+) failed, (\d+) errored")]
    private static partial Regex Requests();

    [GeneratedRegex(@"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx")]
    private static partial Regex Answered();

    [GeneratedRegex(@"finished in ([\d.]+)(us|ms|s)")]
    private static partial Regex Time();

    [GeneratedRegex(@"(\d+)\) data")]
    private static partial Regex Size();
}
