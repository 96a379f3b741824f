using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using k8s.Models;
using Superserve.Testing;

namespace Superserve.Benchmarks;

/// <summary>The built sidecar of one more pod, and requests through it to a service that sees what they carry.</summary>
internal sealed class RealSidecar : IAsyncDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("superserve-bench-sidecar-").FullName;
    private TestService _service = null!;
    private Process _process = null!;
    private HttpClient _client = null!;
    private (string Credential, long At) _seen;

    public static async Task<RealSidecar> StartAsync(BenchCluster cluster)
    {
        RealSidecar sidecar = new();
        V1Pod pod = await cluster.CreatePodAsync("measured");
        await sidecar.StartAsync(cluster, pod);
        return sidecar;
    }

    /// <summary>
    /// Changes the credential while requests follow one another. Milliseconds from when the change was sent until the service had a
    /// request with the new value; and when that was, as a timestamp.
    /// </summary>
    public async Task<(double Milliseconds, long Sent)> RotateAsync(string credential, Func<Task<long>> change)
    {
        Task<long> changing = change();
        while (_seen.Credential != credential)
        {
            using HttpResponseMessage answer = await _client.GetAsync(new Uri($"https://{BenchCluster.UpstreamHost}/"));
            if (changing.IsFaulted) await changing;
        }

        long sent = await changing;
        return (Stopwatch.GetElapsedTime(sent, _seen.At).TotalMilliseconds, sent);
    }

    /// <summary>The same of a revocation: until a request was refused.</summary>
    public async Task<(double Milliseconds, long Sent)> RevokeAsync(Func<Task<long>> change)
    {
        Task<long> changing = change();
        while (true)
        {
            using HttpResponseMessage answer = await _client.GetAsync(new Uri($"https://{BenchCluster.UpstreamHost}/"));
            long now = Stopwatch.GetTimestamp();
            if (changing.IsFaulted) await changing;
            if (answer.StatusCode != HttpStatusCode.ServiceUnavailable) continue;
            long sent = await changing;
            return (Stopwatch.GetElapsedTime(sent, now).TotalMilliseconds, sent);
        }
    }

    public async ValueTask DisposeAsync()
    {
        _client?.Dispose();
        if (_process is { HasExited: false }) _process.Kill();
        _process?.Dispose();
        if (_service is not null) await _service.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    private async Task StartAsync(BenchCluster cluster, V1Pod pod)
    {
        _service = await TestService.StartAsync(BenchCluster.UpstreamHost);
        _service.KeepsRequests = false;
        _service.Answer = (context, request) =>
        {
            _seen = (request["Authorization"]?.Replace("Bearer ", "", StringComparison.Ordinal) ?? "", Stopwatch.GetTimestamp());
            return Task.CompletedTask;
        };
        string InDirectory(string name) => Path.Combine(_directory, name);
        await File.WriteAllTextAsync(InDirectory("ca.pem"), cluster.Authorities);
        await File.WriteAllTextAsync(InDirectory("roots.pem"), TestAuthority.Pem);
        await File.WriteAllTextAsync(InDirectory("token"), await cluster.TokenAsync(pod));
        int proxy = FreePort.Next();
        ProcessStartInfo start = new(Repository.Sidecar,
        [
            "run", "--operator", string.Create(CultureInfo.InvariantCulture, $"127.0.0.1:{cluster.DeliveryPort}"), "--operator-ca", InDirectory("ca.pem"), "--token-file", InDirectory("token"),
            "--trust-directory", InDirectory("trust"), "--state-directory", InDirectory("state"), "--capture", "Explicit",
            "--proxy-address", $"127.0.0.1:{proxy}", "--health-address", $"127.0.0.1:{FreePort.Next()}", "--metrics-address", $"127.0.0.1:{FreePort.Next()}",
            "--upstream-host", $"{BenchCluster.UpstreamHost}={_service.Address}", "--trusted-roots", InDirectory("roots.pem"), "--log-level", "Warning",
        ]);
        start.Environment["POD_NAMESPACE"] = BenchCluster.Namespace;
        start.Environment["POD_NAME"] = pod.Metadata.Name;
        start.Environment["POD_UID"] = pod.Metadata.Uid;
        _process = Process.Start(start)!;

        string standIns = InDirectory("trust/env");
        await BenchCluster.UntilAsync("the sidecar has its stand-in", () => Task.FromResult(File.Exists(standIns) && File.ReadAllText(standIns).Contains("TOKEN=", StringComparison.Ordinal)));
        string standIn = (await File.ReadAllLinesAsync(standIns)).First(line => line.StartsWith("TOKEN=", StringComparison.Ordinal))["TOKEN=".Length..];
        X509ChainPolicy policy = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.ImportFromPemFile(InDirectory("trust/ca.crt"));
        _client = new HttpClient(new SocketsHttpHandler
        {
            Proxy = new WebProxy($"http://127.0.0.1:{proxy}"),
            SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = policy },
        });
        _client.DefaultRequestHeaders.Add("Authorization", $"Bearer {standIn}");
    }
}
