using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Superserve.Audit.Queries;
using Superserve.Audit.Storing;
using Superserve.Audit.Tests.Fixture;
using Superserve.Protocol.Audit;
using Superserve.Testing;

namespace Superserve.Audit.Tests;

/// <summary>The command <c>audit</c> as a process that is killed with SIGKILL while it acknowledges, with tokens that a real TokenReview judges.</summary>
public sealed partial class KilledProcessTests(PostgresFixture postgres, TokenCluster cluster) : IClassFixture<PostgresFixture>, IClassFixture<TokenCluster>
{
    private const int Senders = 6;

    [Fact]
    public async Task Of_what_was_acknowledged_nothing_is_missing_and_nothing_is_twice_on_SQLite()
    {
        await using SqliteEngine engine = new();
        await RunAsync(engine);
    }

    [Fact]
    public async Task Of_what_was_acknowledged_nothing_is_missing_and_nothing_is_twice_on_PostgreSQL()
    {
        await using PostgresEngine engine = new(await postgres.CreateAsync());
        await RunAsync(engine);
    }

    [Fact]
    public async Task Told_to_end_it_ends_with_0_and_with_bad_options_it_says_what_to_change()
    {
        await using SqliteEngine engine = new();
        await using AuditProcess process = new(engine.Options, cluster.Kubeconfig);
        process.Start();
        await process.ReadyAsync();
        Assert.Equal(0, await process.TerminateAsync());

        await using AuditProcess wrong = new(engine.Options with { RetentionDays = 0, SqliteFile = null, OtlpEndpoint = "collector:4317" }, cluster.Kubeconfig);
        wrong.Start();
        Assert.Equal(2, await wrong.EndAsync());
        Assert.Contains("RetentionDays", wrong.Errors, StringComparison.Ordinal);
        Assert.Contains("sqliteFile: say where the database is", wrong.Errors, StringComparison.Ordinal);
        Assert.Contains("OtlpEndpoint", wrong.Errors, StringComparison.Ordinal);
    }

    private async Task RunAsync(Engine engine)
    {
        await using AuditProcess process = new(engine.Options, cluster.Kubeconfig);
        process.Start();
        await process.ReadyAsync();
        using CancellationTokenSource ends = new();
        long[] acknowledged = new long[Senders];
        long now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() * 1000;
        Task[] sending = [.. Enumerable.Range(0, Senders).Select(sender => Task.Run(async () =>
        {
            using GrpcChannel channel = Service.Connect(process.Options.Port);
            AuditService.AuditServiceClient client = new(channel);
            Metadata token = Service.Token(cluster.Tokens[sender]);
            ByteString boot = Some.Boot();
            while (!ends.IsCancellationRequested)
            {
                try
                {
                    long first = acknowledged[sender] + 1;
                    Receipt receipt = await client.RecordAsync(Some.Batch(boot, (ulong)first, Enumerable.Range(0, 25).Select(i => Some.Request(now, path: $"/{sender}/{first + i}"))), token);
                    acknowledged[sender] = (long)receipt.StoredSequence;
                }
                catch (RpcException)
                {
                    await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System);
                }
            }
        }))];
        for (int kill = 1; kill <= 3; kill++)
        {
            long before = acknowledged.Sum();
            await Eventually.True(() => acknowledged.Sum() >= before + 1000, "batches are acknowledged");
            await process.KillAsync();
            process.Start();
            await process.ReadyAsync();
        }

        await ends.CancelAsync();
        await Task.WhenAll(sending);
        await process.KillAsync();

        EventStore store = await engine.OpenAsync();
        using Meters meters = new();
        Questions questions = new(store, meters.Metrics, TimeProvider.System);
        HashSet<string> paths = [];
        ListRequest request = new() { Log = Log.Requests };
        do
        {
            ListReply reply = await questions.ListAsync(request, default);
            foreach (RequestRow row in reply.Requests) Assert.True(paths.Add(row.Record.Path), $"{row.Record.Path} is there twice");
            request.Continue = reply.Continue;
        }
        while (!request.Continue.IsEmpty);
        for (int sender = 0; sender < Senders; sender++)
            for (long sequence = 1; sequence <= acknowledged[sender]; sequence++) Assert.Contains($"/{sender}/{sequence}", paths);
    }

    private sealed partial class AuditProcess : IAsyncDisposable
    {
        private const int Terminate = 15;

        private readonly string _directory = Directory.CreateTempSubdirectory("audit-process-").FullName;
        private readonly string _kubeconfig;
        private Process? _process;
        private Task<string>? _errors;

        public AuditProcess(AuditOptions options, string kubeconfig)
        {
            _kubeconfig = kubeconfig;
            Service.WriteCertificates(_directory);
            Options = options with { ListenAddress = "127.0.0.1", Port = FreePort.Next(), HealthPort = FreePort.Next(), MetricsPort = FreePort.Next(), CertificateDirectory = _directory };
            File.WriteAllText(Path.Combine(_directory, "audit.json"), JsonSerializer.Serialize(Options, JsonSerializerOptions.Web));
        }

        public AuditOptions Options { get; }

        public string Errors { get; private set; } = "";

        public void Start()
        {
            string program = Path.Combine(AppContext.BaseDirectory, "superserve-operator.dll");
            _process = Process.Start(new ProcessStartInfo("dotnet", [program, "audit", "--config", Path.Combine(_directory, "audit.json"), "--kubeconfig", _kubeconfig]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
            _process.OutputDataReceived += (_, _) => { };
            _process.BeginOutputReadLine();
            _errors = _process.StandardError.ReadToEndAsync();
        }

        public async Task ReadyAsync()
        {
            using SocketsHttpHandler handler = new();
            using HttpMessageInvoker client = new(handler);
            await Eventually.True(
                () =>
                {
                    Assert.False(_process!.HasExited, "the process ended");
                    try
                    {
                        using HttpRequestMessage request = new(HttpMethod.Get, $"http://127.0.0.1:{Options.HealthPort}/readyz");
                        using HttpResponseMessage response = client.SendAsync(request, CancellationToken.None).GetAwaiter().GetResult();
                        return response.IsSuccessStatusCode;
                    }
                    catch (HttpRequestException)
                    {
                        return false;
                    }
                },
                "the process is ready");
        }

        public async Task KillAsync()
        {
            // SIGKILL.
            _process!.Kill();
            await _process.WaitForExitAsync();
        }

        public async Task<int> TerminateAsync()
        {
            Assert.Equal(0, kill(_process!.Id, Terminate));
            return await EndAsync();
        }

        public async Task<int> EndAsync()
        {
            await _process!.WaitForExitAsync();
            Errors = await _errors!;
            return _process.ExitCode;
        }

        public async ValueTask DisposeAsync()
        {
            if (_process is { HasExited: false }) await KillAsync();
            _process?.Dispose();
            Directory.Delete(_directory, recursive: true);
        }

        [LibraryImport("libc")]
        private static partial int kill(int process, int signal);
    }
}
