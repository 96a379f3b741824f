using System.Text;
using Grpc.Core;
using Microsoft.Extensions.DependencyInjection;
using Superserve.Core.Events;
using Superserve.Protocol;
using Superserve.Protocol.Audit;
using Superserve.Sidecar.Events;
using Superserve.Sidecar.Tests.Delivery;
using Superserve.Testing;
using Verdict = Superserve.Protocol.Audit.Verdict;

namespace Superserve.Sidecar.Tests.Audit;

/// <summary>Events on their way to the audit service, whatever becomes of it.</summary>
public sealed class SendingTests : IAsyncLifetime
{
    private readonly TestAudit _audit = new();

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => _audit.DisposeAsync();

    /// <summary>A pod that may reach nothing but the hosts of its secret.</summary>
    private async Task<Pod> StartAsync(AuditMode audit = AuditMode.BestEffort, bool hasService = true, bool hasFakeTime = false)
    {
        if (hasService) await _audit.StartAsync();
        Pod pod = hasFakeTime ? Pod.WithFakeTime(auditPort: _audit.Port) : new Pod { AuditPort = _audit.Port };
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot(usual => usual with { Audit = audit, Bindings = [Pod.Binding("research", Pod.Other)] }));
        return pod;
    }

    private Task RowsAsync(int count) => Eventually.True(() => _audit.Requests.Count >= count, $"{count} requests are in the log");

    private static IEnumerable<string> Paths(IEnumerable<RequestRecord> rows) => rows.Select(row => row.Path).Order(StringComparer.Ordinal);

    private static async Task<string[]> AskAsync(Pod pod, int count)
    {
        string[] paths = [.. Enumerable.Range(0, count).Select(i => $"/{i:000}")];
        foreach (string path in paths) (await pod.AskAsync(path: path)).AssertOk();
        return paths;
    }

    [Fact]
    public async Task The_use_of_a_secret_and_its_connection_are_rows()
    {
        await using Pod pod = await StartAsync();
        (await pod.AskAsync(path: "/v1/things?q=hidden")).AssertOk();
        await RowsAsync(1);
        RequestRecord row = Assert.Single(_audit.Requests);
        Assert.Equal(new SecretUse { Secret = "example", Env = "KEY" }, Assert.Single(row.Uses));
        Assert.Equal(("GET", Pod.Host, 443U, "/v1/things", 200U, 200U, "HTTP/1.1", "", Verdict.Allowed, 0UL),
            (row.Method, row.Host, row.Port, row.Path, row.Status, row.UpstreamStatus, row.Protocol, row.Error, row.Verdict, row.Count));
        Assert.Equal(2UL, row.BytesReceived);
        Assert.InRange(row.Time, TimeProvider.System.GetUtcNow().AddMinutes(-5).ToUnixTimeMilliseconds() * 1000, TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() * 1000 + 1000);
        Assert.InRange(row.DurationMicroseconds, 1, 60_000_000);
        await Eventually.True(() => _audit.Network.Count == 1, "the connection is in the log");
        NetworkRecord connection = _audit.Network[0];
        Assert.Equal(("connection", "tcp", Pod.Host, 443U, "intercepted", Verdict.Allowed), (connection.Kind, connection.Protocol, connection.Host, connection.Port, connection.Handling, connection.Verdict));
        Assert.All(_audit.Tokens, token => Assert.Equal("Bearer " + Pod.FirstToken, token));
        Assert.All(_audit.Batches, batch => Assert.Equal(1UL, batch.FirstSequence));
    }

    [Fact]
    public async Task A_refusal_and_a_failure_are_told_apart()
    {
        await using Pod pod = await StartAsync();
        (await pod.AskAsync(host: Pod.Other)).AssertRefused(403, "credential_host_mismatch");
        await pod.Service.DisposeAsync();
        (await pod.AskAsync()).AssertRefused(502, "upstream_unreachable");
        await RowsAsync(2);
        Assert.Equal([("credential_host_mismatch", Verdict.Blocked, 403U), ("upstream_unreachable", Verdict.Failed, 502U)], _audit.Requests.Select(row => (row.Error, row.Verdict, row.Status)));
    }

    [Fact]
    public async Task Answers_that_are_lost_make_no_second_row_and_no_other_number()
    {
        await using Pod pod = await StartAsync(hasFakeTime: true);
        int lost = 3;
        _audit.After = batch => batch.Log == Log.Requests && lost-- > 0 ? throw new RpcException(new Status(StatusCode.Unavailable, "the answer is lost")) : Task.CompletedTask;
        string[] paths = await AskAsync(pod, 20);
        await Eventually.True(() => _audit.Requests.Count == 20, "all are in the log", pod.Time!, TimeSpan.FromSeconds(1));
        Assert.Equal(paths, Paths(_audit.Requests));
        Batch[] batches = [.. _audit.Batches.Where(batch => batch.Log == Log.Requests)];
        // The first came four times, the same each time.
        Assert.True(batches.Length >= 5);
        Assert.All(batches[1..4], batch => Assert.Equal(batches[0], batch));
        Assert.Equal(Enumerable.Range(1, 20).Select(i => (ulong)i), Assert.Single(_audit.Sequences).Value);
        await pod.Sidecar.MetricAsync("superserve_sidecar_audit_batches_failed", "3", "log=\"requests\"", "reason=\"ended\"");
        await pod.Sidecar.MetricAsync("superserve_sidecar_audit_events_sent", "20", "log=\"requests\"");
        Assert.DoesNotContain("superserve_sidecar_audit_failing{", await pod.Sidecar.MetricsAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_service_that_is_away_keeps_no_request_waiting_and_gets_all_rows_later()
    {
        await using Pod pod = await StartAsync(AuditMode.Required, hasService: false);
        string[] paths = await AskAsync(pod, 20);
        await pod.Sidecar.LogAsync("ConnectionRefused). Look whether the audit service runs");
        Assert.Equal(200, (await pod.Sidecar.ReadyAsync()).Status);
        string metrics = await pod.Sidecar.MetricsAsync();
        Assert.Contains("superserve_sidecar_audit_failing{reason=\"unreachable\"} 1", metrics, StringComparison.Ordinal);
        Assert.Contains("superserve_sidecar_audit_events_recorded_total{log=\"requests\"} 20", metrics, StringComparison.Ordinal);
        Assert.Matches("superserve_sidecar_audit_journal_used_bytes{log=\"requests\"} [1-9]", metrics);
        Assert.Matches("superserve_sidecar_audit_journal_age_seconds{log=\"requests\"} [0-9.]*[1-9]", metrics);
        await _audit.StartAsync();
        await RowsAsync(20);
        Assert.Equal(paths, Paths(_audit.Requests));
        await pod.Sidecar.LogAsync("stores events again");
        // Said once, however many attempts there were.
        Assert.Equal(1, pod.Sidecar.Log.Split("Events are not stored").Length - 1);
    }

    [Fact]
    public async Task What_the_service_takes_for_invalid_keeps_nothing_else_from_the_log()
    {
        await using Pod pod = await StartAsync(hasFakeTime: true);
        bool isAway = true;
        _audit.Before = batch =>
            isAway ? throw new RpcException(new Status(StatusCode.Unavailable, "away"))
            : batch.Requests.Any(row => row.Path == "/013") ? throw new RpcException(new Status(StatusCode.InvalidArgument, "record 7: no such thing\r\n"))
            : Task.CompletedTask;
        string[] paths = await AskAsync(pod, 30);
        isAway = false;
        await Eventually.True(() => _audit.Requests.Count == 29, "all others are in the log", pod.Time!, TimeSpan.FromSeconds(1));
        Assert.Equal(paths.Where(path => path != "/013"), Paths(_audit.Requests));
        await pod.Sidecar.LogAsync("takes for invalid what was sent: record 7: no such thing??");
        await pod.Sidecar.LogAsync("Event 14 of the log requests is lost");
        await pod.Sidecar.MetricAsync("superserve_sidecar_events_dropped", "1", "kind=\"requests\"", "reason=\"refused\"");
    }

    [Theory]
    [InlineData(StatusCode.Unauthenticated)]
    [InlineData(StatusCode.PermissionDenied)]
    public async Task A_refused_token_is_told_and_the_one_in_the_file_is_shown_each_time(StatusCode code)
    {
        await using Pod pod = await StartAsync(hasFakeTime: true);
        bool isRefused = true;
        _audit.Before = _ => isRefused ? throw new RpcException(new Status(code, "the token is of another audience")) : Task.CompletedTask;
        string[] paths = await AskAsync(pod, 3);
        await pod.Sidecar.LogAsync($"refused the sidecar ({code}): the token is of another audience");
        await File.WriteAllTextAsync(pod.TokenFile, "header.second-token-of-the-pod.signature");
        isRefused = false;
        await Eventually.True(() => _audit.Requests.Count == 3, "all are in the log", pod.Time!, TimeSpan.FromSeconds(1));
        Assert.Equal(paths, Paths(_audit.Requests));
        Assert.Equal("Bearer header.second-token-of-the-pod.signature", _audit.Tokens[^1]);
    }

    [Fact]
    public async Task A_service_that_does_not_answer_is_asked_again_and_holds_nothing_up()
    {
        await using Pod pod = await StartAsync(hasFakeTime: true);
        int hanging = 1;
        TaskCompletionSource never = new();
        _audit.Before = batch => batch.Log == Log.Requests && hanging-- > 0 ? never.Task : Task.CompletedTask;
        string[] paths = await AskAsync(pod, 5);
        await Eventually.True(() => _audit.Requests.Count == 5, "all are in the log", pod.Time!, TimeSpan.FromSeconds(1));
        Assert.Equal(paths, Paths(_audit.Requests));
        await pod.Sidecar.LogAsync("did not answer within 30 s");
        never.SetResult();
    }

    [Theory]
    [InlineData("another CA", "does not verify against the operator's CA")]
    [InlineData("another name", "is not for the name localhost")]
    public async Task An_impostor_gets_neither_token_nor_events(string fault, string said)
    {
        await _audit.StartAsync(fault == "another CA" ? TestAuthority.IssueUntrusted("localhost") : TestAuthority.Issue("audit.test"));
        await using Pod pod = await StartAsync(hasService: false);
        await AskAsync(pod, 1);
        await pod.Sidecar.LogAsync(said);
        Assert.Empty(_audit.Batches);
    }

    [Fact]
    public async Task A_successor_of_the_CA_counts_from_the_next_connection()
    {
        (System.Security.Cryptography.X509Certificates.X509Certificate2 certificate, string pem) = TestAuthority.IssueByAnother("localhost");
        await _audit.StartAsync(certificate);
        await using Pod pod = new() { AuditPort = _audit.Port };
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        await AskAsync(pod, 1);
        await pod.Sidecar.LogAsync("does not verify against the operator's CA");
        await call.SendAsync(new OperatorMessage { Trust = new Protocol.Trust { Authorities = pem } });
        await RowsAsync(1);
    }

    [Fact]
    public async Task Required_refuses_secrets_before_they_leave_while_the_journal_is_full_and_goes_on_after()
    {
        await using Pod pod = await StartAsync(AuditMode.Required, hasService: false);
        int filled = Fill(pod);
        (await pod.AskAsync(path: "/refused")).AssertRefused(503, "audit_unavailable");
        (await pod.AskAsync(standIn: null)).AssertOk();
        Assert.Equal("GET / HTTP/1.1", Assert.Single(pod.Service.Requests).Split('\r')[0]);

        await _audit.StartAsync();
        await Eventually.True(() => _audit.Requests.Count >= filled, "what was kept is in the log");
        (await pod.AskAsync(path: "/after")).AssertOk();
        await Eventually.True(() => _audit.Requests.Any(row => row.Path == "/after"), "the next one is in the log");
        await Eventually.True(() => _audit.Batches.Any(batch => batch.Log == Log.Requests && batch.Overflowed > 0), "the refusal's own event, for which there was no room, is told of");
        await pod.Sidecar.MetricAsync("superserve_sidecar_events_dropped", "1", "kind=\"request\"", "reason=\"full\"");
    }

    [Fact]
    public async Task BestEffort_goes_on_with_a_full_journal_and_counts_what_is_lost()
    {
        await using Pod pod = await StartAsync(hasService: false);
        Fill(pod);
        await AskAsync(pod, 3);
        await pod.Sidecar.MetricAsync("superserve_sidecar_events_dropped", "3", "kind=\"request\"", "reason=\"full\"");
        Assert.Equal(3, pod.Service.Requests.Count);
        await _audit.StartAsync();
        await Eventually.True(() => _audit.Batches.Any(batch => batch.Overflowed >= 3), "the service knows of them");
    }

    [Fact]
    public async Task A_flood_of_blocked_connections_takes_nothing_from_requests_and_little_from_their_log()
    {
        const int Flood = 3000;
        await using Pod pod = await StartAsync(AuditMode.Required, hasService: false);
        Task<string[]> asking = AskAsync(pod, 50);
        await Parallel.ForAsync(0, Flood, new ParallelOptions { MaxDegreeOfParallelism = 8 }, async (i, _) => await pod.ConnectAsync($"host-{i}.blocked.test"));
        string[] paths = await asking;
        long used = pod.Sidecar.App.Services.GetRequiredService<AuditLog>().Network.State.Used;
        Assert.InRange(used, 1, 1024 * 1024);
        await _audit.StartAsync();
        await RowsAsync(50);
        Assert.Equal(paths, Paths(_audit.Requests));
        pod.Sidecar.App.Services.GetRequiredService<RepeatedRefusals>().Flush();
        await Eventually.True(() => _audit.Network.Where(row => row.Verdict == Verdict.Blocked).Sum(row => (int)Math.Max(1, row.Count)) == Flood, "each blocked connection is counted");
        Assert.Contains(_audit.Network, row => row is { Host: "*", Port: 0, Count: > 1, Error: "host_not_allowed" });
        Assert.DoesNotContain("superserve_sidecar_events_dropped_total{kind=\"connection\",reason=\"full\"} 1", await pod.Sidecar.MetricsAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Refused_requests_leave_room_for_those_with_a_credential()
    {
        await using Pod pod = await StartAsync(AuditMode.Required, hasService: false);
        AuditLog log = pod.Sidecar.App.Services.GetRequiredService<AuditLog>();
        for (int i = 0; log.Requests.Counts.Overflowed == 0; i++) log.Add(Request($"/{i}") with { Error = "host_not_allowed" });
        string[] paths = await AskAsync(pod, 3);
        Assert.Equal(3, pod.Service.Requests.Count);
        await _audit.StartAsync();
        await Eventually.True(() => paths.All(path => _audit.Requests.Any(row => row.Path == path)), "they are in the log");
    }

    [Fact]
    public async Task What_is_left_is_sent_when_the_sidecar_stops()
    {
        await using Pod pod = await StartAsync();
        string[] paths = await AskAsync(pod, 30);
        await pod.StopSidecarAsync();
        Assert.Equal(paths, Paths(_audit.Requests));
        Assert.Equal(30, _audit.Network.Count);
    }

    [Fact]
    public async Task A_sidecar_that_starts_again_sends_what_the_last_one_could_not()
    {
        await using Pod pod = await StartAsync(hasService: false);
        await AskAsync(pod, 5);
        await pod.StopSidecarAsync();
        Assert.Contains("ends before localhost", pod.Sidecar.Log, StringComparison.Ordinal);
        await _audit.StartAsync();
        await pod.StartSidecarAsync();
        OperatorCall call = await pod.Operator!.NextCallAsync();
        await call.DeliverAsync(pod.Snapshot());
        await AskAsync(pod, 4);
        await RowsAsync(9);
        Assert.Equal([5, 4], _audit.Batches.Where(batch => batch.Log == Log.Requests).GroupBy(batch => batch.Boot).Select(boot => _audit.Sequences[boot.Key.ToBase64()].Length));
        Assert.All(_audit.Sequences.Values, sequences => Assert.Equal(1UL, sequences[0]));
    }

    [Fact]
    public async Task No_credential_stand_in_or_query_is_in_the_journals()
    {
        await using Pod pod = await StartAsync(hasService: false);
        (await pod.AskAsync(path: "/a/path?q=in-the-query")).AssertOk();
        (await pod.AskAsync(path: $"/{Pod.StandIn}/x")).AssertRefused(403, "credential_misplaced");
        (await pod.AskAsync(host: Pod.Other)).AssertRefused(403, "credential_host_mismatch");
        await pod.ConnectAsync($"{Pod.StandIn}.blocked.test");
        await pod.StopSidecarAsync();
        string[] files = Directory.GetFiles(pod.StateDirectory, "*.journal");
        Assert.Equal(2, files.Length);
        string all = string.Concat(files.Select(file => Encoding.Latin1.GetString(File.ReadAllBytes(file))));
        Assert.Contains("/a/path", all, StringComparison.Ordinal);
        Assert.Contains("blocked.test", all, StringComparison.Ordinal);
        foreach (string hidden in (string[])[Pod.Credential, Pod.StandIn, "in-the-query", "first-token-of-the-pod"]) Assert.DoesNotContain(hidden, all, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task Garbage_in_the_journals_keeps_no_sidecar_from_starting()
    {
        await _audit.StartAsync();
        await using Pod pod = new() { AuditPort = _audit.Port };
        Directory.CreateDirectory(pod.StateDirectory);
        await File.WriteAllTextAsync(Path.Combine(pod.StateDirectory, "requests.journal"), "garbage");
        OperatorCall call = await pod.StartAsync();
        await call.DeliverAsync(pod.Snapshot());
        await AskAsync(pod, 1);
        await RowsAsync(1);
        await pod.Sidecar.LogAsync("Events of an earlier process are lost");
    }

    private static RequestEvent Request(string path) => new()
    {
        Time = TimeProvider.System.GetUtcNow(),
        Sandbox = "agents/research-0",
        Host = "filler.test",
        Port = 443,
        Method = "GET",
        Path = path,
        Protocol = "HTTP/1.1",
        Status = 403,
        BytesSent = 0,
        BytesReceived = 0,
        DurationMilliseconds = 0,
        Verdict = ConnectionVerdict.Blocked,
    };

    /// <summary>Fills the requests' journal; how many there are in it.</summary>
    private static int Fill(Pod pod)
    {
        Journal journal = pod.Sidecar.App.Services.GetRequiredService<AuditLog>().Requests;
        int count = 0;
        foreach (int length in (int[])[12_000, 1000, 1]) while (journal.TryAppend(AuditRecords.Of(Request("/" + new string('x', length))))) count++;
        return count;
    }
}
