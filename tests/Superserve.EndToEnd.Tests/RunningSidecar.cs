using System.Diagnostics;
using Superserve.Testing;

namespace Superserve.EndToEnd.Tests;

/// <summary>The built sidecar in local mode, as a process of its own.</summary>
internal sealed class RunningSidecar : IAsyncDisposable
{
    private readonly Process _process;
    private readonly Task<string> _log;

    private RunningSidecar(Setup setup, Process process)
    {
        Setup = setup;
        _process = process;
        _log = process.StandardError.ReadToEndAsync();
    }

    public Setup Setup { get; }

    public int ProcessId => _process.Id;

    /// <summary>What a sandboxed process gets: the stand-ins, the proxy, and the variables by which programs find the CA.</summary>
    public Dictionary<string, string> Environment
    {
        get
        {
            string trust = Path.Combine(Setup.Directory, "trust");
            Dictionary<string, string> environment = new()
            {
                ["HTTPS_PROXY"] = $"http://{Setup.Json["proxyAddress"]}",
                ["HTTP_PROXY"] = $"http://{Setup.Json["proxyAddress"]}",
                ["http_proxy"] = $"http://{Setup.Json["proxyAddress"]}",
                ["SSL_CERT_FILE"] = Path.Combine(trust, "ca-bundle.crt"),
                ["CURL_CA_BUNDLE"] = Path.Combine(trust, "ca-bundle.crt"),
            };
            foreach (string line in File.ReadAllLines(Path.Combine(trust, "env")))
            {
                string[] parts = line.Split('=', 2);
                environment[parts[0]] = parts[1];
            }

            return environment;
        }
    }

    public static async Task<RunningSidecar> StartAsync(Setup setup)
    {
        setup.Save();
        RunningSidecar sidecar = new(setup, Programs.Start(new Dictionary<string, string>(), Repository.Sidecar, "run", "--config", setup.FilePath, "--log-level", "Trace"));
        using HttpClient client = new(new SocketsHttpHandler { UseProxy = false });
        for (int attempt = 0; attempt < 200 && !sidecar._process.HasExited; attempt++)
        {
            try
            {
                if ((await client.GetAsync(new Uri($"http://{setup.Json["healthAddress"]}/readyz"))).IsSuccessStatusCode) return sidecar;
            }
            catch (HttpRequestException)
            {
                // Not listening yet.
            }

            await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System);
        }

        await sidecar.DisposeAsync();
        throw new InvalidOperationException("The sidecar did not become ready: " + await sidecar._log);
    }

    /// <summary>Asks it to end, and gives its exit status and log.</summary>
    public async Task<(int Status, string Log)> StopAsync()
    {
        using Process kill = Process.Start("kill", ["-TERM", ProcessId.ToString()]);
        await kill.WaitForExitAsync();
        using CancellationTokenSource timeout = new(TimeSpan.FromSeconds(30), TimeProvider.System);
        await _process.WaitForExitAsync(timeout.Token);
        return (_process.ExitCode, await _log);
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited) _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        Directory.Delete(Setup.Directory, recursive: true);
    }
}
