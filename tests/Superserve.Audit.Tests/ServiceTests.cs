using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.DependencyInjection;
using Superserve.Audit.Calls;
using Superserve.Audit.Export;
using Superserve.Audit.Tests.Fixture;
using Superserve.Protocol.Audit;
using Superserve.Testing;

namespace Superserve.Audit.Tests;

/// <summary>The service as sidecars and operators meet it, on SQLite.</summary>
public sealed class ServiceTests : IAsyncLifetime
{
    private readonly SqliteEngine _engine = new();
    private readonly List<Service> _services = [];

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        foreach (Service service in _services) await service.DisposeAsync();
        await _engine.DisposeAsync();
    }

    [Fact]
    public async Task A_batch_is_acknowledged_listed_and_counted()
    {
        Service service = await StartAsync();
        ByteString boot = Some.Boot();
        Batch batch = Some.Batch(boot, 1, Fresh(), Fresh());
        batch.Overflowed = 3;
        Receipt receipt = await service.Client().RecordAsync(batch, Service.Token("agent-1"));
        receipt = await service.Client().RecordAsync(batch, Service.Token("agent-1"));
        Assert.Equal(2UL, receipt.StoredSequence);
        ListReply reply = await service.Client().ListAsync(new ListRequest { Log = Log.Requests }, Service.Token("operator"));
        Assert.Equal(["agent-1", "agent-1"], reply.Requests.Select(row => row.Origin.Pod));
        UsageReply usage = await service.Client().UsageAsync(new UsageRequest(), Service.Token("operator"));
        Assert.Equal(("agents", "anthropic-prod", 2UL), (usage.Secrets[0].Namespace, usage.Secrets[0].Secret, usage.Secrets[0].Used));
        Assert.Equal((2, 2, 3), (service.Count("stored requests"), service.Count("duplicates requests"), service.Count("overflowed requests")));
        string metrics = service.Get(service.Options.MetricsPort, "/metrics");
        Assert.All(["superserve_audit_stored_total{log=\"requests\"} 2", "superserve_audit_write_duration_seconds_bucket", "superserve_audit_bytes"], name => Assert.Contains(name, metrics, StringComparison.Ordinal));
        Assert.Equal("200 ok\n", service.Get(service.Options.HealthPort, "/readyz"));
    }

    [Fact]
    public async Task Whoever_is_not_known_is_refused_before_a_byte_of_the_message_is_read()
    {
        Service service = await StartAsync();
        await FailsAsync(StatusCode.Unauthenticated, "has no token", service.Client().RecordAsync(Some.Batch(Some.Boot(), 1, Fresh())));
        await FailsAsync(StatusCode.Unauthenticated, "nobody knows this token", service.Client().RecordAsync(Some.Batch(Some.Boot(), 1, Fresh()), Service.Token("stranger")));
        Metadata two = [.. Service.Token("agent-1"), .. Service.Token("agent-2")];
        await FailsAsync(StatusCode.Unauthenticated, "nobody knows this token", service.Client().RecordAsync(Some.Batch(Some.Boot(), 1, Fresh()), two));
        Assert.Equal(2, service.Count("refused token_refused"));
        Assert.Equal(0, service.Count("stored requests"));
    }

    [Fact]
    public async Task Only_the_operator_may_ask()
    {
        Service service = await StartAsync();
        service.Reviewer.Callers["impostor-1"] = Some.Operator() with { Namespace = "agents" };
        service.Reviewer.Callers["impostor-2"] = Some.Operator() with { ServiceAccount = "default" };
        foreach (string token in (string[])["agent-1", "impostor-1", "impostor-2"])
        {
            await FailsAsync(StatusCode.PermissionDenied, "only the service account superserve-operator", service.Client().ListAsync(new ListRequest { Log = Log.Requests }, Service.Token(token)));
            await FailsAsync(StatusCode.PermissionDenied, "only the service account", service.Client().UsageAsync(new UsageRequest(), Service.Token(token)));
        }
    }

    [Fact]
    public async Task A_token_is_asked_about_once_a_minute_and_never_used_beyond_its_end()
    {
        Microsoft.Extensions.Time.Testing.FakeTimeProvider time = new(Some.Now);
        TestReviewer reviewer = new();
        KnownCallers known = new(reviewer, time);
        TaskCompletionSource answers = new();
        reviewer.Answers = answers.Task;
        Task<Caller>[] together = [.. Enumerable.Range(0, 20).Select(_ => known.OfAsync("agent-1", default))];
        await Eventually.True(() => reviewer.Asked == 1, "it is asked");
        answers.SetResult();
        await Task.WhenAll(together);
        await known.OfAsync("agent-1", default);
        Assert.Equal(1, reviewer.Asked);
        time.Advance(KnownCallers.Lifetime);
        await known.OfAsync("agent-1", default);
        Assert.Equal(2, reviewer.Asked);

        reviewer.Callers["short"] = Some.Pod() with { Until = time.GetUtcNow().AddSeconds(10) };
        await known.OfAsync("short", default);
        time.Advance(TimeSpan.FromSeconds(11));
        CallerRefusedException expired = await Assert.ThrowsAsync<CallerRefusedException>(() => known.OfAsync("short", default));
        Assert.Equal("token_expired", expired.Reason);

        await Assert.ThrowsAsync<CallerRefusedException>(() => known.OfAsync("stranger", default));
        int before = reviewer.Asked;
        await Assert.ThrowsAsync<CallerRefusedException>(() => known.OfAsync("stranger", default));
        Assert.Equal(before, reviewer.Asked);
        time.Advance(KnownCallers.RefusalLifetime);
        reviewer.Callers["stranger"] = Some.Pod("late");
        Assert.Equal("late", (await known.OfAsync("stranger", default)).Pod);
    }

    [Fact]
    public async Task That_nobody_could_be_asked_is_not_remembered()
    {
        TestReviewer reviewer = new() { Answers = Task.FromException(new TimeoutException()) };
        KnownCallers known = new(reviewer, TimeProvider.System);
        Assert.Equal(StatusCode.Unavailable, (await Assert.ThrowsAsync<CallerRefusedException>(() => known.OfAsync("agent-1", default))).Status);
        reviewer.Answers = Task.CompletedTask;
        Assert.Equal("agent-1", (await known.OfAsync("agent-1", default)).Pod);
    }

    [Fact]
    public async Task A_bad_batch_is_an_invalid_argument_and_is_counted()
    {
        Service service = await StartAsync();
        await FailsAsync(StatusCode.InvalidArgument, "record 0: path holds a control character", service.Client().RecordAsync(Some.Batch(Some.Boot(), 1, Some.Request(path: "\u0001")), Service.Token("agent-1")));
        await FailsAsync(StatusCode.InvalidArgument, "limit is at most 1000", service.Client().ListAsync(new ListRequest { Log = Log.Requests, Limit = 2000 }, Service.Token("operator")));
        Assert.Equal((1, 1), (service.Count("refused bad_batch"), service.Count("refused bad_question")));
        Batch huge = Some.Batch(Some.Boot(), 1, Enumerable.Repeat(Some.Request(path: new string('a', 4000)), 1100));
        await FailsAsync(StatusCode.ResourceExhausted, "", service.Client().RecordAsync(huge, Service.Token("agent-1")));
        Assert.Equal(0, service.Count("stored requests"));
    }

    [Fact]
    public async Task While_the_store_does_not_answer_calls_wait_and_those_beyond_the_bounds_are_told_to_come_again()
    {
        Service service = await StartAsync(limits: new CallerGate.Limits { Calls = 2, CallsOfPod = 2, Wait = TimeSpan.FromMilliseconds(50) });
        // Somebody else writes, and SQLite's own patience is longer than the test.
        await using SqliteConnection other = new($"Data Source={service.Options.SqliteFile};Pooling=False");
        await other.OpenAsync();
        SqliteTransaction hold = other.BeginTransaction();
        ByteString boot = Some.Boot();
        AsyncUnaryCall<Receipt> first = service.Client().RecordAsync(Some.Batch(boot, 1, Fresh()), Service.Token("agent-1"));
        await Eventually.True(() => service.Services.GetRequiredService<RunningBatches>().Count == 1, "the first batch is on its way");
        await FailsAsync(StatusCode.ResourceExhausted, "a batch of this log is under way", service.Client().RecordAsync(Some.Batch(boot, 1, Fresh()), Service.Token("agent-1")));
        AsyncUnaryCall<Receipt> second = service.Client().RecordAsync(Some.Batch(Some.Boot(), 1, Fresh()), Service.Token("agent-1"));
        await Eventually.True(() => service.Services.GetRequiredService<RunningBatches>().Count == 2, "the second batch is on its way");
        await FailsAsync(StatusCode.ResourceExhausted, "this pod has as many calls", service.Client().RecordAsync(Some.Batch(Some.Boot(), 1, Fresh()), Service.Token("agent-1")));
        await FailsAsync(StatusCode.ResourceExhausted, "as many batches wait", service.Client().RecordAsync(Some.Batch(Some.Boot(), 1, Fresh()), Service.Token("agent-2")));
        await hold.RollbackAsync();
        Assert.Equal((1UL, 1UL), ((await first).StoredSequence, (await second).StoredSequence));
    }

    [Fact]
    public async Task A_full_store_acknowledges_nothing_and_recovers_by_itself()
    {
        await using SqliteEngine small = new(maxBytes: 2 << 20);
        Service service = await Service.StartAsync(small.Options with { RetentionDays = 3650 });
        _services.Add(service);
        ByteString boot = Some.Boot();
        ulong next = 1, acknowledged = 0;
        RpcException? full = null;
        AuditService.AuditServiceClient client = service.Client();
        // Faster than the keeper looks.
        for (; full is null && next < 100_000; next += 500)
        {
            try
            {
                acknowledged = (await client.RecordAsync(Some.Batch(boot, next, Enumerable.Range(0, 500).Select(_ => Fresh())), Service.Token("agent-1"))).StoredSequence;
            }
            catch (RpcException exception)
            {
                full = exception;
            }
        }

        Assert.Equal(StatusCode.Unavailable, full!.StatusCode);
        Assert.Contains("full", full.Status.Detail, StringComparison.Ordinal);
        Assert.Contains("Error 600", string.Join('\n', service.Logs.Lines), StringComparison.Ordinal);

        // The keeper makes room.
        await Eventually.True(() => TrySend(client, Some.Batch(boot, acknowledged + 1, Fresh())) == acknowledged + 1, "events are stored again");
    }

    [Fact]
    public async Task Stored_events_are_written_as_lines_of_JSON()
    {
        MemoryStream output = new();
        Service service = await StartAsync(replace: services => services.AddSingleton<IEventExporter>(new JsonLines(output)));
        ByteString boot = Some.Boot();
        NetworkRecord look = Some.Connection(Now(), kind: "dns");
        (look.QueryType, look.Response) = ("AAAA", "NXDOMAIN");
        await service.Client().RecordAsync(Some.Batch(boot, 1, Fresh()), Service.Token("agent-1"));
        await service.Client().RecordAsync(Some.Batch(boot, 1, Fresh()), Service.Token("agent-1"));
        await service.Client().RecordAsync(Some.Batch(boot, 1, look), Service.Token("agent-1"));
        await service.StopAsync();
        string[] lines = System.Text.Encoding.UTF8.GetString(output.ToArray()).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(2, lines.Length);
        JsonElement request = JsonDocument.Parse(lines[0]).RootElement, dns = JsonDocument.Parse(lines[1]).RootElement;
        Assert.Equal(("request", "agents", "agent-1", "anthropic-prod", 200), (Text(request, "kind"), Text(request, "namespace"), Text(request, "pod"), request.GetProperty("secrets")[0].GetString(), request.GetProperty("status").GetInt32()));
        Assert.Equal(("dns", "NXDOMAIN", "blocked"), (Text(dns, "kind"), Text(dns, "response"), Text(dns, "verdict")));
        Assert.False(dns.TryGetProperty("handling", out _));

        static string? Text(JsonElement element, string name) => element.GetProperty(name).GetString();
    }

    [Fact]
    public async Task Stored_events_reach_a_collector_with_named_attributes()
    {
        int port = FreePort.Next();
        TaskCompletionSource<byte[]> received = new(TaskCreationOptions.RunContinuationsAsynchronously);
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, port, listen => listen.Protocols = HttpProtocols.Http2));
        await using WebApplication collector = builder.Build();
        collector.Run(async context =>
        {
            MemoryStream body = new();
            await context.Request.Body.CopyToAsync(body);
            if (context.Request.Path == "/opentelemetry.proto.collector.logs.v1.LogsService/Export") received.TrySetResult(body.ToArray());
            // An empty message, and the status that it went well.
            context.Response.ContentType = "application/grpc";
            await context.Response.Body.WriteAsync(new byte[5]);
            context.Response.AppendTrailer("grpc-status", "0");
        });
        await collector.StartAsync();
        Service service = await StartAsync(options => options with { OtlpEndpoint = $"http://127.0.0.1:{port}" });
        await service.Client().RecordAsync(Some.Batch(Some.Boot(), 1, Fresh()), Service.Token("agent-1"));
        string bytes = System.Text.Encoding.Latin1.GetString(await received.Task.WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.All(["superserve.namespace", "agents", "superserve.pod", "agent-1", "superserve.secrets", "anthropic-prod", "superserve.verdict", "Superserve.Audit"], text => Assert.Contains(text, bytes, StringComparison.Ordinal));
        await service.StopAsync();
        Assert.Equal(0, service.Count("export.dropped otlp"));
    }

    [Fact]
    public async Task A_collector_that_is_away_delays_nothing_and_what_it_misses_is_counted()
    {
        Service service = await StartAsync(options => options with { OtlpEndpoint = $"http://127.0.0.1:{FreePort.Next()}" });
        for (ulong i = 0; i < 3; i++) await service.Client().RecordAsync(Some.Batch(Some.Boot(), 1, Fresh(), Fresh()), Service.Token("agent-1"));
        Assert.Equal(6, service.Count("stored requests"));
        await Eventually.True(() => service.Count("export.dropped otlp") == 6, "the lost events are counted");
    }

    [Fact]
    public async Task An_exporter_that_hangs_delays_nothing()
    {
        using ManualResetEventSlim hangs = new();
        Service service = await StartAsync(replace: services => services.AddSingleton<IEventExporter>(new HangingExporter(hangs)));
        for (int i = 0; i < 5; i++)
            await service.Client().RecordAsync(Some.Batch(Some.Boot(), 1, Enumerable.Range(0, 5000).Select(_ => Fresh())), Service.Token("agent-1"));
        Assert.Equal(25_000, service.Count("stored requests"));
        Assert.InRange(service.Count("export.dropped hanging"), 25_000 - EventExport.QueueLength - 512, 25_000 - EventExport.QueueLength);
        hangs.Set();
    }

    [Fact]
    public async Task No_token_is_in_a_row_a_log_or_a_metric()
    {
        const string Token = "eyJhbGciOi.super-secret-token.signature";
        Service service = await StartAsync();
        service.Reviewer.Callers[Token] = Some.Pod("marked");
        await service.Client().RecordAsync(Some.Batch(Some.Boot(), 1, Fresh()), Service.Token(Token));
        await FailsAsync(StatusCode.InvalidArgument, "", service.Client().RecordAsync(new Batch(), Service.Token(Token)));
        await FailsAsync(StatusCode.PermissionDenied, "", service.Client().ListAsync(new ListRequest(), Service.Token(Token)));
        await FailsAsync(StatusCode.Unauthenticated, "", service.Client().RecordAsync(new Batch(), Service.Token(Token + "x")));
        string metrics = service.Get(service.Options.MetricsPort, "/metrics");
        await service.StopAsync();
        Assert.NotEmpty(service.Logs.Lines);
        Assert.DoesNotContain("super-secret-token", string.Join('\n', service.Logs.Lines) + metrics, StringComparison.Ordinal);
        foreach (string file in Directory.GetFiles(Path.GetDirectoryName(service.Options.SqliteFile!)!))
            Assert.Equal(-1, (await File.ReadAllBytesAsync(file)).AsSpan().IndexOf("super-secret-token"u8));
    }

    [Fact]
    public async Task The_port_answers_nothing_but_its_calls()
    {
        Service service = await StartAsync();
        using SocketsHttpHandler handler = new() { SslOptions = { RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is not null } };
        using HttpMessageInvoker client = new(handler);
        foreach (string path in (string[])["/metrics", "/healthz", "/superserve.audit.v1.AuditService/Other"])
        {
            using HttpRequestMessage request = new(HttpMethod.Post, $"https://127.0.0.1:{service.Options.Port}{path}") { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
            request.Headers.Add("authorization", "Bearer agent-1");
            using HttpResponseMessage response = await client.SendAsync(request, CancellationToken.None);
            Assert.True(response.StatusCode == HttpStatusCode.NotFound || response.Headers.TryGetValues("grpc-status", out _), path);
        }

        Assert.StartsWith("404", service.Get(service.Options.MetricsPort, "/readyz"), StringComparison.Ordinal);
        // HTTP/1.1 is not spoken.
        using Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(IPAddress.Loopback, service.Options.Port);
        await socket.SendAsync("GET / HTTP/1.1\r\nHost: a\r\n\r\n"u8.ToArray());
        Assert.True(await socket.ReceiveAsync(new byte[1]) <= 1);
    }

    private static long Now() => TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() * 1000;

    private static RequestRecord Fresh() => Some.Request(Now());

    private static ulong TrySend(AuditService.AuditServiceClient client, Batch batch)
    {
        try
        {
            return client.Record(batch, Service.Token("agent-1")).StoredSequence;
        }
        catch (RpcException)
        {
            return 0;
        }
    }

    private static async Task FailsAsync<T>(StatusCode status, string words, AsyncUnaryCall<T> call)
    {
        RpcException exception = await Assert.ThrowsAsync<RpcException>(() => call.ResponseAsync);
        Assert.Equal(status, exception.StatusCode);
        Assert.Contains(words, exception.Status.Detail, StringComparison.Ordinal);
    }

    private async Task<Service> StartAsync(Func<AuditOptions, AuditOptions>? change = null, CallerGate.Limits? limits = null, Action<IServiceCollection>? replace = null)
    {
        Service service = await Service.StartAsync(change?.Invoke(_engine.Options) ?? _engine.Options, limits, replace);
        _services.Add(service);
        return service;
    }

    private sealed class HangingExporter(ManualResetEventSlim until) : IEventExporter
    {
        public string Name => "hanging";

        public int Export(IReadOnlyList<IMessage> rows)
        {
            until.Wait();
            return 0;
        }

        public void Dispose()
        {
        }
    }
}
