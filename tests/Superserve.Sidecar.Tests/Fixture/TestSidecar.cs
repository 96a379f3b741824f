using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Logging;
using Superserve.Sidecar.Commands;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests.Fixture;

/// <summary>A sidecar in this process, as <c>run --config</c> would start it.</summary>
internal sealed class TestSidecar : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly List<IDisposable> _owned = [];
    private readonly LogCapture _log;

    private TestSidecar(Setup setup, WebApplication app, LogCapture log)
    {
        _log = log;
        Setup = setup;
        App = app;
    }

    public Setup Setup { get; }

    public WebApplication App { get; }

    public string Directory => Setup.Directory;

    public IPEndPoint Proxy => IPEndPoint.Parse((string)Setup.Json["proxyAddress"]!);

    public X509Certificate2 Authority { get; private set; } = null!;

    /// <summary>All that was logged.</summary>
    public string Log => _log.Text;

    public static Task<TestSidecar> StartAsync(Setup setup, TimeProvider? time = null) => StartAsync(setup, () => LocalSidecar.Build(setup.FilePath, LogLevel.Trace, time));

    /// <summary>One that is built otherwise; the setup says its directory and ports all the same.</summary>
    public static async Task<TestSidecar> StartAsync(Setup setup, Func<WebApplication> build)
    {
        setup.Save();
        LogCapture log = new();
        TextWriter error = Console.Error;
        Console.SetError(log);
        WebApplication app;
        try
        {
            app = build();
        }
        finally
        {
            Console.SetError(error);
        }

        TestSidecar sidecar = new(setup, app, log);
        await SidecarHost.StartAsync(app, CancellationToken.None);
        sidecar.Authority = X509Certificate2.CreateFromPem(await File.ReadAllTextAsync(sidecar.InTrust("ca.crt")));
        return sidecar;
    }

    public string InTrust(string file) => Path.Combine(Directory, "trust", file);

    /// <summary>The stand-in of a variable, as a process in the sandbox reads it.</summary>
    public string StandIn(string env) => StandIns()[env];

    public IReadOnlyDictionary<string, string> StandIns() =>
        File.ReadAllLines(InTrust("env")).Select(line => line.Split('=', 2)).ToDictionary(parts => parts[0], parts => parts[1]);

    /// <summary>A client that uses the proxy and trusts the sidecar's authority alone.</summary>
    public HttpClient Client(Version? version = null)
    {
        X509ChainPolicy policy = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.Add(Authority);
        SocketsHttpHandler handler = new()
        {
            Proxy = new WebProxy($"http://{Proxy}"),
            AllowAutoRedirect = false,
            UseCookies = false,
            SslOptions = { CertificateChainPolicy = policy },
        };
        HttpClient client = new(new ExactVersion(version ?? HttpVersion.Version11, handler)) { Timeout = Patience };
        _owned.Add(client);
        return client;
    }

    /// <summary>Ends the connections of all clients.</summary>
    public void CloseClients()
    {
        foreach (IDisposable owned in _owned) owned.Dispose();
    }

    public Task<RawClient> OpenAsync() => RawClient.OpenAsync(Proxy, Authority);

    /// <summary>CONNECT and TLS to a host, HTTP/1.1.</summary>
    public async Task<RawClient> OpenTlsAsync(string host, int port = 443)
    {
        RawClient client = await OpenAsync();
        await client.ConnectAsync($"{host}:{port}");
        await client.StartTlsAsync(host);
        return client;
    }

    /// <summary>One exchange of exact bytes over TLS.</summary>
    public async Task<RawResponse> ExchangeAsync(string host, string request, bool hasBody = true)
    {
        await using RawClient client = await OpenTlsAsync(host);
        await client.SendAsync(request);
        return await client.ReadResponseAsync(hasBody);
    }

    public IReadOnlyList<JsonElement> Events()
    {
        string file = Path.Combine(Directory, "events.jsonl");
        if (!File.Exists(file)) return [];
        using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using StreamReader reader = new(stream);
        string text = reader.ReadToEnd();
        // The last line may be half written.
        return [.. text[..(text.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement)];
    }

    /// <summary>Waits for an event of a kind (request or connection).</summary>
    public async Task<JsonElement> EventAsync(string kind, Func<JsonElement, bool> matches)
    {
        JsonElement? found = null;
        await WaitAsync(() => (found = Events().Where(line => line.GetProperty("kind").GetString() == kind && matches(line)).Select(line => (JsonElement?)line).FirstOrDefault()) is not null,
            () => $"There is no such {kind} event among:\n{string.Join('\n', Events())}");
        return found!.Value;
    }

    public Task<JsonElement> RequestEventAsync(string? error = null) => EventAsync("request", line => line.Text("error") == error);

    public Task<JsonElement> ConnectionEventAsync(string verdict) => EventAsync("connection", line => line.Text("verdict") == verdict);

    public async Task<string> MetricsAsync() => (await GetAsync("metricsAddress", "/metrics")).Body;

    /// <summary>The status and text of <c>/readyz</c>.</summary>
    public Task<(int Status, string Body)> ReadyAsync() => GetAsync("healthAddress", "/readyz");

    private async Task<(int Status, string Body)> GetAsync(string address, string path)
    {
        using SocketsHttpHandler handler = new();
        using HttpClient client = new(handler);
        using HttpResponseMessage response = await client.GetAsync($"http://{(string)Setup.Json[address]!}{path}");
        return ((int)response.StatusCode, await response.Content.ReadAsStringAsync());
    }

    /// <summary>Waits until a line of the metrics has a name, these labels and this value.</summary>
    public async Task MetricAsync(string name, string value, params string[] labels)
    {
        string metrics = "";
        await WaitAsync(async () => (metrics = await MetricsAsync()).Split('\n').Any(line => line.StartsWith(name + "_total", StringComparison.Ordinal)
            && Array.TrueForAll(labels, line.Contains) && line.Split(' ')[1] == value), () => $"{name} {string.Join(' ', labels)} {value} is not in\n{metrics}");
    }

    /// <summary>Waits for a line of the log.</summary>
    public Task LogAsync(string part) => WaitAsync(() => Log.Contains(part, StringComparison.Ordinal), () => $"'{part}' is not in the log:\n{Log}");

    public static Task WaitAsync(Func<bool> condition, Func<string> problem) => WaitAsync(() => Task.FromResult(condition()), problem);

    public static async Task WaitAsync(Func<Task<bool>> condition, Func<string> problem)
    {
        using CancellationTokenSource patience = new(Patience, TimeProvider.System);
        while (!await condition())
        {
            if (patience.IsCancellationRequested) Assert.Fail(problem());
            await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System);
        }
    }

    /// <summary>Stops the sidecar and keeps its directory.</summary>
    public async Task StopAsync()
    {
        using CancellationTokenSource soon = new(TimeSpan.FromSeconds(1), TimeProvider.System);
        await App.StopAsync(soon.Token);
        await App.DisposeAsync();
    }

    public async ValueTask DisposeAsync()
    {
        CloseClients();
        await StopAsync();
        if (System.IO.Directory.Exists(Directory)) System.IO.Directory.Delete(Directory, recursive: true);
    }

    /// <summary>A client's defaults do not count for messages made by hand.</summary>
    private sealed class ExactVersion(Version version, HttpMessageHandler inner) : DelegatingHandler(inner)
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            request.Version = version;
            request.VersionPolicy = HttpVersionPolicy.RequestVersionExact;
            return base.SendAsync(request, cancellationToken);
        }
    }

    /// <summary>Standard error while a sidecar is built: its log takes it then, and keeps it.</summary>
    private sealed class LogCapture : TextWriter
    {
        private readonly StringBuilder _text = new();

        public override Encoding Encoding => Encoding.UTF8;

        public string Text
        {
            get
            {
                lock (_text) return _text.ToString();
            }
        }

        public override void Write(char value)
        {
            lock (_text) _text.Append(value);
        }

        public override void Write(string? value)
        {
            lock (_text) _text.Append(value);
        }
    }
}

internal static class JsonElements
{
    /// <summary>A text field; null where it is absent.</summary>
    public static string? Text(this JsonElement element, string name) => element.TryGetProperty(name, out JsonElement value) ? value.ToString() : null;
}
