using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using k8s.Models;
using Superserve.Testing;

namespace Superserve.Benchmarks.Faults;

/// <summary>A sandbox with the built sidecar, and the service that it asks, which writes down every request that came with the credential.</summary>
internal sealed class FaultPod(BenchCluster cluster, string directory, int auditPort) : IAsyncDisposable
{
    private readonly int _proxyPort = FreePort.Next();
    private readonly int _metricsPort = FreePort.Next();
    private readonly int _healthPort = FreePort.Next();
    private readonly ConcurrentQueue<string> _seen = new();
    private V1Pod _pod = null!;
    private TestService _service = null!;
    private Process? _process;
    private HttpClient _client = null!;
    private string _standIn = "";

    public MovableClock? Clock { get; init; }

    /// <summary>The targets that came with the credential, in order.</summary>
    public IReadOnlyList<string> Seen => [.. _seen];

    public async Task StartAsync(string name, string app)
    {
        _service = await TestService.StartAsync(BenchCluster.UpstreamHost);
        _service.KeepsRequests = false;
        _service.Answer = (_, request) =>
        {
            if (request["Authorization"] == "Bearer the-first-credential") _seen.Enqueue(request.Target);
            return Task.CompletedTask;
        };
        _pod = await cluster.CreatePodAsync(name, app);
        await File.WriteAllTextAsync(In("ca.pem"), cluster.Authorities);
        await File.WriteAllTextAsync(In("roots.pem"), TestAuthority.Pem);
        await File.WriteAllTextAsync(In("token"), await cluster.TokenAsync(_pod));
        await StartSidecarAsync();
    }

    /// <summary>Starts it in the state directory that there is, and waits until it is ready.</summary>
    public async Task StartSidecarAsync()
    {
        ProcessStartInfo start = new("sh",
        [
            "-c", $"exec \"$@\" 2>>{In("sidecar.log")}", "sh", Repository.Sidecar,
            "run", "--operator", string.Create(CultureInfo.InvariantCulture, $"127.0.0.1:{cluster.DeliveryPort}"), "--operator-ca", In("ca.pem"), "--token-file", In("token"),
            "--trust-directory", In("trust"), "--state-directory", In("state"), "--capture", "Explicit", "--audit", $"localhost:{auditPort}",
            "--proxy-address", $"127.0.0.1:{_proxyPort}", "--health-address", $"127.0.0.1:{_healthPort}", "--metrics-address", $"127.0.0.1:{_metricsPort}",
            "--upstream-host", $"{BenchCluster.UpstreamHost}={_service.Address}", "--trusted-roots", In("roots.pem"), "--log-level", "Warning",
        ]);
        start.Environment["POD_NAMESPACE"] = BenchCluster.Namespace;
        start.Environment["POD_NAME"] = _pod.Metadata.Name;
        start.Environment["POD_UID"] = _pod.Metadata.Uid;
        Clock?.Give(start);
        _process = Process.Start(start)!;
        await BenchCluster.UntilAsync("the sidecar is ready", () =>
            _process.HasExited ? throw new InvalidOperationException($"The sidecar ended with {_process.ExitCode}:\n{File.ReadAllText(In("sidecar.log"))}") : Figures.IsReadyAsync(_healthPort));
        _standIn = (await File.ReadAllLinesAsync(In("trust/env"))).First(line => line.StartsWith("TOKEN=", StringComparison.Ordinal))["TOKEN=".Length..];
        X509ChainPolicy policy = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.ImportFromPemFile(In("trust/ca.crt"));
        _client?.Dispose();
        _client = new HttpClient(new SocketsHttpHandler { Proxy = new WebProxy($"http://127.0.0.1:{_proxyPort}"), SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = policy } })
        {
            Timeout = TimeSpan.FromSeconds(30),
        };
    }

    /// <summary>SIGKILL.</summary>
    public async Task KillSidecarAsync()
    {
        if (_process is null) return;
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        _process = null;
    }

    /// <summary>One request; its status, and why the sidecar refused it.</summary>
    public async Task<(HttpStatusCode Status, string? Reason)> AskAsync(string target, bool hasSecret = true)
    {
        // With a body, since the client sends a request without one again by itself when a connection breaks.
        using HttpRequestMessage request = new(HttpMethod.Post, $"https://{BenchCluster.UpstreamHost}{target}") { Content = new StringContent("x") };
        if (hasSecret) request.Headers.Add("Authorization", $"Bearer {_standIn}");
        using HttpResponseMessage answer = await _client.SendAsync(request);
        return (answer.StatusCode, answer.Headers.TryGetValues("X-Superserve-Proxy-Reason", out IEnumerable<string>? reasons) ? string.Concat(reasons) : null);
    }

    /// <summary>Tries to reach another host, on a connection of its own; whether it was refused.</summary>
    public async Task<bool> IsBlockedAsync(string host, int port)
    {
        using Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(IPAddress.Loopback, _proxyPort);
        await socket.SendAsync(System.Text.Encoding.ASCII.GetBytes($"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"));
        byte[] buffer = new byte[16];
        int read = 0;
        while (read < "HTTP/1.1 403".Length && await socket.ReceiveAsync(buffer.AsMemory(read)) is var got and > 0) read += got;
        return System.Text.Encoding.ASCII.GetString(buffer, 0, read).StartsWith("HTTP/1.1 403", StringComparison.Ordinal);
    }

    public Task<long> MetricAsync(string name, string label = "") => Figures.SumAsync(_metricsPort, name, label);

    public async ValueTask DisposeAsync()
    {
        await KillSidecarAsync();
        _client?.Dispose();
        if (_service is not null) await _service.DisposeAsync();
    }

    private string In(string name) => Path.Combine(directory, name);
}
