using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;
using Superserve.ApiServer;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Operator.Certificates;
using Superserve.Operator.Configuration;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Certificates;

/// <summary>What this folder's parts are in one replica of the operator, against a test's API server.</summary>
internal sealed class Replica : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly KubernetesConnection _connection;
    private readonly KubernetesMetrics _metrics = new(new Meters());
    private Task _leading = Task.CompletedTask;

    public Replica(EmbeddedApiServer server, TimeProvider? time = null, string? kubeconfig = null)
    {
        TimeProvider clock = time ?? TimeProvider.System;
        _connection = KubernetesConnection.FromKubeconfig(TimeProvider.System, kubeconfig ?? server.KubeconfigPath);
        Serving = new ServingCertificates(clock);
        Own = new OwnCertificates(Serving, _connection, Options, _metrics, clock, Log);
        Key = new StandInKey(_connection, Options, _metrics, clock, Log);
        Bundles = new CaBundleController(Serving, _connection, Options, _metrics, clock, Log);
        Audit = new AuditCertificate(Own, Serving, _connection, Options, _metrics, clock, Log);
    }

    public static OperatorOptions Options { get; } = new() { AuditAddress = "superserve-audit.superserve-system.svc:16446" };

    public RecordedLog Log { get; } = new();

    public ServingCertificates Serving { get; }

    public OwnCertificates Own { get; }

    public StandInKey Key { get; }

    public CaBundleController Bundles { get; }

    public AuditCertificate Audit { get; }

    public static async Task<Replica> ServingAsync(EmbeddedApiServer server, TimeProvider? time = null)
    {
        Replica replica = new(server, time);
        await replica.Own.StartAsync(CancellationToken.None);
        await Eventually.True(() => replica.Serving.IsReady && replica.Serving.Problem is null, "a replica serves");
        return replica;
    }

    public void Lead() => _leading = Task.WhenAll(Bundles.RunAsync(_stop.Token), Audit.RunAsync(_stop.Token));

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _leading.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await Own.StopAsync(CancellationToken.None);
        await Key.StopAsync(CancellationToken.None);
        Own.Dispose();
        Key.Dispose();
        Bundles.Dispose();
        Audit.Dispose();
        _connection.Dispose();
        _metrics.Dispose();
    }

    private sealed class Meters : IMeterFactory
    {
        public Meter Create(MeterOptions options) => new(options);

        public void Dispose()
        {
        }
    }
}

/// <summary>Every line that was logged, exceptions included.</summary>
internal sealed class RecordedLog : ILoggerFactory, ILogger
{
    private readonly ConcurrentQueue<string> _lines = new();

    public string Text => string.Join('\n', _lines);

    public ILogger CreateLogger(string categoryName) => this;

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        _lines.Enqueue($"{logLevel} {formatter(state, exception)} {exception}");

    public void Dispose()
    {
    }
}
