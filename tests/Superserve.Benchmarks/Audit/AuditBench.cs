using System.Diagnostics;
using System.Globalization;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Superserve.Audit;
using Superserve.Audit.Calls;
using Superserve.Audit.Ingest;
using Superserve.Audit.Storing;
using Superserve.Operator;
using Superserve.Protocol.Audit;
using Superserve.Testing;

namespace Superserve.Benchmarks.Audit;

/// <summary>What the audit service stores in a second, in how many bytes, and how long questions take over many rows.</summary>
internal static class AuditBench
{
    /// <summary>Rows that questions are asked over.</summary>
    public const long Rows = 10_000_000;

    private const string ServiceName = "superserve-audit.superserve-system.svc";

    private const int Batch = 500;

    /// <summary>Of those that send at one time.</summary>
    private const int Senders = 24;

    private const int Rounds = 40;

    private static readonly TimeSpan Turn = TimeSpan.FromSeconds(20);

    /// <summary>Runs it; of <paramref name="rows"/> three in four are requests.</summary>
    public static async Task RunAsync(long rows, Action<string> say)
    {
        say("| engine | events stored a second, over TLS | processor of service and clients, % of one core | write transaction p50, p99, milliseconds | bytes for each event |");
        say("|---|---|---|---|---|");
        List<string> latencies = [];
        string directory = Directory.CreateTempSubdirectory("audit-bench-").FullName;
        PostgresServer postgres = new() { Settings = ["shared_buffers=1GB", "max_wal_size=4GB", "effective_cache_size=8GB", "maintenance_work_mem=256MB"] };
        await postgres.InitializeAsync();
        try
        {
            string connection = await postgres.CreateAsync();
            await RunAsync("SQLite", new AuditOptions { SqliteFile = Path.Combine(directory, "audit.db"), MaxBytes = 1L << 40, RetentionDays = 3650 }, directory, rows, say, latencies);
            await RunAsync("PostgreSQL", new AuditOptions { SqliteFile = null, PostgresConnectionStringFile = connection, MaxBytes = 1L << 40, RetentionDays = 3650 }, directory, rows, say, latencies);
        }
        finally
        {
            await postgres.DisposeAsync();
            Directory.Delete(directory, recursive: true);
        }

        say("");
        say(string.Create(CultureInfo.InvariantCulture, $"| question, at {rows:N0} rows over 30 days | SQLite p50 | p99 | PostgreSQL p50 | p99 |"));
        say("|---|---|---|---|---|");
        int questions = latencies.Count / 2;
        for (int i = 0; i < questions; i++) say(latencies[i] + latencies[questions + i][(latencies[questions + i].IndexOf('|', 2) + 1)..]);
    }

    private static async Task RunAsync(string name, AuditOptions options, string directory, long rows, Action<string> say, List<string> latencies)
    {
        string certificates = Directory.CreateDirectory(Path.Combine(directory, name)).FullName;
        using (X509Certificate2 certificate = TestAuthority.Issue(ServiceName, "127.0.0.1"))
        {
            await File.WriteAllTextAsync(Path.Combine(certificates, "tls.crt"), certificate.ExportCertificatePem());
            await File.WriteAllTextAsync(Path.Combine(certificates, "tls.key"), certificate.GetECDsaPrivateKeyPem());
            await File.WriteAllTextAsync(Path.Combine(certificates, "ca.crt"), TestAuthority.Pem);
        }

        options = options with { ListenAddress = "127.0.0.1", Port = FreePort.Next(), HealthPort = FreePort.Next(), MetricsPort = FreePort.Next(), CertificateDirectory = certificates };
        await using WebApplication app = AuditHost.Build(options, null, LogLevel.Warning, services => services.AddSingleton<ICallerReviewer, Reviewer>());
        await app.StartAsync();
        EventStore store = app.Services.GetRequiredService<EventStore>();
        await Eventually.True(() => app.Services.StoreProblem() is null, "the store is open");

        Stopwatch filling = Stopwatch.StartNew();
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        await FillAsync(app, store, rows, now);
        double bytes = (double)await SizeAsync(options) / rows;
        Console.WriteLine($"{name}: {rows} rows in {filling.Elapsed.TotalSeconds:0} s");

        using GrpcChannel channel = Connect(options);
        AuditService.AuditServiceClient client = new(channel);
        if (name == "PostgreSQL") await AnalyzeAsync(options);
        latencies.AddRange(await AskAsync(client, now));

        (double perSecond, double cpu, double[] writes) = await SendAsync(app, options);
        say(string.Create(CultureInfo.InvariantCulture, $"| {name} | {perSecond:N0} | {cpu:0} | {Percentile(writes, 0.5):0.0}, {Percentile(writes, 0.99):0.0} | {bytes:0} |"));
        await app.StopAsync();
    }

    /// <summary>Fills the store as the service writes it, without the network.</summary>
    private static async Task FillAsync(WebApplication app, EventStore store, long rows, DateTimeOffset now)
    {
        BatchReader reader = app.Services.GetRequiredService<BatchReader>();
        long end = now.ToUnixTimeMilliseconds() * 1000, span = (long)TimeSpan.FromDays(30).TotalMicroseconds;
        ByteString boot = ByteString.CopyFrom(new byte[16]);
        const int Group = 10_000, Each = 100;
        Task<TakenBatch[]> next = MakeAsync(0);
        for (long done = 0; done < rows; done += Group)
        {
            TakenBatch[] group = await next;
            next = MakeAsync(done + Group);
            await store.WriteAsync(group);
        }

        Task<TakenBatch[]> MakeAsync(long done) => Task.Run(() => Enumerable.Range(0, Group / Each).Select(i =>
        {
            long from = done + (i * Each);
            int pod = (int)(from / Each * 7919 % Events.Pods);
            Log log = i % 4 == 3 ? Log.Network : Log.Requests;
            Batch batch = Events.Batch(boot, log, from + 1, Each, n => end - span + (long)((double)span / rows * Math.Min(from + n, rows - 1)));
            return reader.Read(batch, new Caller(Events.NamespaceOf(pod), Events.PodOf(pod), $"2f6f1a3c-0000-4000-8000-{pod:d12}", "default", DateTimeOffset.MaxValue));
        }).ToArray());
    }

    private static async Task<List<string>> AskAsync(AuditService.AuditServiceClient client, DateTimeOffset now)
    {
        long hour = (now - TimeSpan.FromHours(1)).ToUnixTimeMilliseconds() * 1000, day = (now - TimeSpan.FromDays(1)).ToUnixTimeMilliseconds() * 1000;
        (string What, Func<int, ListRequest> Ask)[] questions =
        [
            ("newest 500 requests of all namespaces", _ => New(Log.Requests, "")),
            ("newest 500 requests of a namespace", i => New(Log.Requests, Ns(i))),
            ("newest 500 connections and look-ups of a namespace", i => New(Log.Network, Ns(i))),
            ("by secret, often used", i => New(Log.Requests, Ns(i), (Field.Secret, "secret-0"))),
            ("by secret, over all namespaces", _ => New(Log.Requests, "", (Field.Secret, "secret-3"))),
            ("by secret and status class 4xx", i => New(Log.Requests, Ns(i), (Field.Secret, "secret-0"), (Field.StatusClass, "4xx"))),
            ("by secret and status class 5xx, of which there is none", i => New(Log.Requests, Ns(i), (Field.Secret, "secret-0"), (Field.StatusClass, "5xx"))),
            ("by sandbox", i => New(Log.Requests, Ns(i), (Field.Sandbox, Events.PodOf(i % Events.Pods)))),
            ("by status class 4xx", i => New(Log.Requests, Ns(i), (Field.StatusClass, "4xx"))),
            ("by verdict blocked", i => New(Log.Network, Ns(i), (Field.Verdict, "blocked"))),
            ("by host, often asked", i => New(Log.Requests, Ns(i), (Field.Host, "api-0.example.com"))),
            ("by host, seldom asked", i => New(Log.Requests, Ns(i), (Field.Host, "api-499.example.com"))),
            ("by host that is not there", i => New(Log.Requests, Ns(i), (Field.Host, "nobody.example.com"))),
            ("the last hour of a namespace", i => With(New(Log.Requests, Ns(i)), request => request.Since = hour)),
            ("a secret's 4xx in the last hour", i => With(New(Log.Requests, Ns(i), (Field.Secret, "secret-1"), (Field.StatusClass, "4xx")), request => request.Since = hour)),
            ("a day two weeks ago, blocked", i => With(New(Log.Requests, Ns(i), (Field.Verdict, "blocked")), request =>
            {
                request.Since = day - (14L * 86_400_000_000);
                request.Before = request.Since + 86_400_000_000;
            })),
            ("by secret and host, 50 rows", i => With(New(Log.Requests, Ns(i), (Field.Secret, "secret-2"), (Field.Host, $"api-{i % 50}.example.com")), request => request.Limit = 50)),
            ("by secret and sandbox in the last day", i => With(New(Log.Requests, Ns(i), (Field.Secret, "secret-0"), (Field.Sandbox, Events.PodOf(i % Events.Pods))), request => request.Since = day)),
        ];
        List<string> lines = [];
        foreach ((string what, Func<int, ListRequest> ask) in questions)
        {
            List<double> took = [];
            int found = 0;
            for (int i = 0; i < Rounds + 3; i++)
            {
                long began = Stopwatch.GetTimestamp();
                ListReply reply = await client.ListAsync(ask(i * 37), Token("operator"));
                if (i >= 3) took.Add(Stopwatch.GetElapsedTime(began).TotalMilliseconds);
                found += reply.Requests.Count + reply.Network.Count;
            }

            double[] sorted = [.. took.Order()];
            lines.Add(string.Create(CultureInfo.InvariantCulture, $"| {what} (finds {found / (Rounds + 3)}) | {Percentile(sorted, 0.5):0.0} | {Percentile(sorted, 0.99):0.0} |"));
            Console.WriteLine(lines[^1]);
        }

        return lines;

        static string Ns(int i) => Events.NamespaceOf(i);

        static ListRequest New(Log log, string inNamespace, params (Field Field, string Value)[] filters)
        {
            ListRequest request = new() { Log = log, Namespace = inNamespace, Limit = 500 };
            request.Filters.AddRange(filters.Select(filter => new Filter { Field = filter.Field, Value = filter.Value }));
            return request;
        }

        static ListRequest With(ListRequest request, Action<ListRequest> change)
        {
            change(request);
            return request;
        }
    }

    /// <summary>Senders that each send a batch, wait for the receipt, and send the next one.</summary>
    private static async Task<(double PerSecond, double Cpu, double[] Writes)> SendAsync(WebApplication app, AuditOptions options)
    {
        using WriteTimes times = new(app.Services.GetRequiredService<System.Diagnostics.Metrics.IMeterFactory>());
        using CancellationTokenSource ends = new(Turn, TimeProvider.System);
        using Process self = Process.GetCurrentProcess();
        GrpcChannel[] channels = [.. Enumerable.Range(0, 8).Select(_ => Connect(options))];
        TimeSpan cpu = self.TotalProcessorTime;
        long began = Stopwatch.GetTimestamp(), sent = 0;
        await Task.WhenAll(Enumerable.Range(0, Senders).Select(async sender =>
        {
            AuditService.AuditServiceClient client = new(channels[sender % channels.Length]);
            ByteString boot = ByteString.CopyFrom(RandomNumberGenerator.GetBytes(16));
            Log log = sender % 4 == 3 ? Log.Network : Log.Requests;
            // Made ahead: only their numbers differ, so that the clients take little of the processors.
            long now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() * 1000;
            Batch batch = Events.Batch(boot, log, sender, Batch, i => now + i);
            for (ulong first = 1; !ends.IsCancellationRequested; first += Batch)
            {
                batch.FirstSequence = first;
                Receipt receipt = await client.RecordAsync(batch, Token($"pod-{sender}"));
                if (receipt.StoredSequence != first + Batch - 1) throw new InvalidOperationException("A batch was not stored whole.");
                Interlocked.Add(ref sent, Batch);
            }
        }));
        TimeSpan took = Stopwatch.GetElapsedTime(began);
        self.Refresh();
        double used = (self.TotalProcessorTime - cpu) / took * 100;
        foreach (GrpcChannel channel in channels) channel.Dispose();
        return (sent / took.TotalSeconds, used, times.Sorted());
    }

    private static GrpcChannel Connect(AuditOptions options)
    {
        X509ChainPolicy policy = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.ImportFromPem(TestAuthority.Pem);
        return GrpcChannel.ForAddress($"https://127.0.0.1:{options.Port}", new GrpcChannelOptions
        {
            HttpHandler = new SocketsHttpHandler { SslOptions = new SslClientAuthenticationOptions { TargetHost = ServiceName, CertificateChainPolicy = policy } },
            DisposeHttpClient = true,
            MaxReceiveMessageSize = null,
        });
    }

    private static Metadata Token(string of) => new() { { "authorization", $"Bearer {of}" } };

    private static double Percentile(double[] sorted, double part) => sorted.Length == 0 ? 0 : sorted[Math.Min((int)(sorted.Length * part), sorted.Length - 1)];

    private static async Task AnalyzeAsync(AuditOptions options)
    {
        await using Npgsql.NpgsqlConnection connection = new(await File.ReadAllTextAsync(options.PostgresConnectionStringFile!));
        await connection.OpenAsync();
        // As autovacuum does by itself, a while later.
        await using Npgsql.NpgsqlCommand command = new("VACUUM ANALYZE", connection) { CommandTimeout = 0 };
        await command.ExecuteNonQueryAsync();
    }

    private static async Task<long> SizeAsync(AuditOptions options)
    {
        if (options.PostgresConnectionStringFile is null) return new FileInfo(options.SqliteFile!).Length;
        await using Npgsql.NpgsqlConnection connection = new(await File.ReadAllTextAsync(options.PostgresConnectionStringFile));
        await connection.OpenAsync();
        await using Npgsql.NpgsqlCommand command = new("SELECT pg_database_size(current_database())", connection);
        return (long)(await command.ExecuteScalarAsync())!;
    }

    private static string GetECDsaPrivateKeyPem(this X509Certificate2 certificate)
    {
        using ECDsa key = certificate.GetECDsaPrivateKey()!;
        return key.ExportPkcs8PrivateKeyPem();
    }

    /// <summary>A token is its pod's name: what TokenReview costs is once a minute for each pod.</summary>
    private sealed class Reviewer : ICallerReviewer
    {
        public Task<Caller> ReviewAsync(string token, CancellationToken cancellationToken) => Task.FromResult(token == "operator"
            ? new Caller("superserve-system", "superserve-operator-0", "operator", "superserve-operator", DateTimeOffset.MaxValue)
            : new Caller("team-1", token, $"uid-{token}", "default", DateTimeOffset.MaxValue));
    }

    private sealed class WriteTimes : IDisposable
    {
        private readonly System.Diagnostics.Metrics.MeterListener _listener = new();
        private readonly List<double> _times = [];

        public WriteTimes(System.Diagnostics.Metrics.IMeterFactory meters)
        {
            _listener.InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Name == "superserve.audit.write.duration" && instrument.Meter.Scope == meters) listener.EnableMeasurementEvents(instrument);
            };
            _listener.SetMeasurementEventCallback<double>((_, value, _, _) =>
            {
                lock (_times) _times.Add(value * 1000);
            });
            _listener.Start();
        }

        public double[] Sorted()
        {
            lock (_times) return [.. _times.Order()];
        }

        public void Dispose() => _listener.Dispose();
    }
}
