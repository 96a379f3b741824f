using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Superserve.Audit.Calls;
using Superserve.Operator;
using Superserve.Protocol.Audit;
using Superserve.Testing;

namespace Superserve.Audit.Tests.Fixture;

/// <summary>The audit service as its process runs it, with callers that the test names: a token is the name that it was given out for.</summary>
internal sealed class Service : IAsyncDisposable
{
    public const string Name = "superserve-audit.superserve-system.svc";

    private readonly WebApplication _app;
    private readonly string _directory = Directory.CreateTempSubdirectory("audit-service-").FullName;
    private readonly List<GrpcChannel> _channels = [];
    private readonly MeterListener _listener = new();
    private readonly ConcurrentDictionary<string, long> _counts = [];

    private Service(AuditOptions options, CallerGate.Limits? limits, Action<IServiceCollection>? replace)
    {
        WriteCertificates(_directory);
        Options = options with { ListenAddress = "127.0.0.1", Port = FreePort.Next(), HealthPort = FreePort.Next(), MetricsPort = FreePort.Next(), CertificateDirectory = _directory };
        _app = AuditHost.Build(Options, null, LogLevel.Debug, services =>
        {
            services.AddSingleton<ICallerReviewer>(Reviewer);
            services.AddSingleton<ILoggerProvider>(Logs);
            if (limits is not null) services.AddSingleton(limits);
            replace?.Invoke(services);
        });
        Meters.Watch(_listener, _app.Services.GetRequiredService<IMeterFactory>(), _counts);
    }

    public AuditOptions Options { get; }

    public TestReviewer Reviewer { get; } = new();

    public RecordedLogs Logs { get; } = new();

    public IServiceProvider Services => _app.Services;

    public static async Task<Service> StartAsync(AuditOptions options, CallerGate.Limits? limits = null, Action<IServiceCollection>? replace = null, bool waits = true)
    {
        Service service = new(options, limits, replace);
        await service._app.StartAsync();
        if (waits) await Eventually.True(() => service.Get(service.Options.HealthPort, "/readyz").StartsWith("200", StringComparison.Ordinal), "the store is open, and there is a certificate");
        return service;
    }

    /// <summary>What an instrument has counted.</summary>
    public long Count(string name) => _counts.GetValueOrDefault(name);

    public AuditService.AuditServiceClient Client()
    {
        GrpcChannel channel = Connect(Options.Port);
        _channels.Add(channel);
        return new AuditService.AuditServiceClient(channel);
    }

    public Task StopAsync() => _app.StopAsync();

    public string Get(int port, string path) => GetAsync(port, path).GetAwaiter().GetResult();

    public static Metadata Token(string of) => new() { { "authorization", $"Bearer {of}" } };

    public static GrpcChannel Connect(int port)
    {
        X509ChainPolicy policy = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.ImportFromPem(TestAuthority.Pem);
        return GrpcChannel.ForAddress($"https://127.0.0.1:{port}", new GrpcChannelOptions
        {
            HttpHandler = new SocketsHttpHandler { SslOptions = new SslClientAuthenticationOptions { TargetHost = Name, CertificateChainPolicy = policy } },
            DisposeHttpClient = true,
        });
    }

    public static void WriteCertificates(string directory)
    {
        using X509Certificate2 certificate = TestAuthority.Issue(Name, "127.0.0.1");
        using ECDsa key = certificate.GetECDsaPrivateKey()!;
        File.WriteAllText(Path.Combine(directory, "tls.crt"), certificate.ExportCertificatePem());
        File.WriteAllText(Path.Combine(directory, "tls.key"), key.ExportPkcs8PrivateKeyPem());
        File.WriteAllText(Path.Combine(directory, "ca.crt"), TestAuthority.Pem);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (GrpcChannel channel in _channels) channel.Dispose();
        _listener.Dispose();
        await _app.StopAsync();
        await _app.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    private static async Task<string> GetAsync(int port, string path)
    {
        using SocketsHttpHandler handler = new();
        using HttpMessageInvoker client = new(handler);
        using HttpRequestMessage request = new(HttpMethod.Get, $"http://127.0.0.1:{port}{path}");
        using HttpResponseMessage response = await client.SendAsync(request, CancellationToken.None);
        return $"{(int)response.StatusCode} {await response.Content.ReadAsStringAsync()}";
    }
}

/// <summary>Knows tokens by their text, and how often it was asked.</summary>
internal sealed class TestReviewer : ICallerReviewer
{
    private int _asked;

    public int Asked => _asked;

    public ConcurrentDictionary<string, Caller> Callers { get; } = new() { ["operator"] = Some.Operator(), ["agent-1"] = Some.Pod(), ["agent-2"] = Some.Pod("agent-2") };

    /// <summary>Held back for as long as it is not done.</summary>
    public Task Answers { get; set; } = Task.CompletedTask;

    public async Task<Caller> ReviewAsync(string token, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _asked);
        await Answers.WaitAsync(cancellationToken);
        return Callers.TryGetValue(token, out Caller? caller) ? caller : throw new CallerRefusedException("token_refused", StatusCode.Unauthenticated, "nobody knows this token");
    }
}

/// <summary>Everything that was logged.</summary>
internal sealed class RecordedLogs : ILoggerProvider, ILogger
{
    private readonly ConcurrentQueue<string> _lines = [];

    public IEnumerable<string> Lines => _lines;

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        _lines.Enqueue($"{logLevel} {eventId.Id} {formatter(state, exception)} {exception}");

    public void Dispose()
    {
    }
}
