using Superserve.Protocol.Audit;
using Superserve.Testing;

namespace Superserve.Benchmarks.Faults;

/// <summary>
/// What the audit log bears: while a sandbox uses a secret, a part fails for a while, and in the end every request that the service saw
/// has to be in the log, once. All parts are real: sidecar, operator and audit service as they are built, TokenReview, TLS, the database.
/// </summary>
public sealed class FaultRun : IAsyncDisposable
{
    private const int PerSecond = 200;

    /// <summary>Blocked connections of a flood.</summary>
    private const int FloodPerSecond = 2000;

    private const int Workers = 8;

    /// <summary>Why the sidecar refuses what it could not keep an event of.</summary>
    internal const string Unavailable = "audit_unavailable";

    private const string Strict = "strict";
    private const string Confined = "confined";

    private static readonly TimeSpan StepBack = TimeSpan.FromHours(1);

    private readonly BenchCluster _cluster = new(hasAudit: true);
    private readonly TimeSpan _away;
    private int _scenarios;

    private FaultRun(TimeSpan away) => _away = away;

    /// <summary>Every fault there is.</summary>
    public IReadOnlyList<Func<Task<FaultFigures>>> All =>
        [ServiceKilledAsync, VolumeFullAsync, DatabaseAwayAsync, SidecarKilledAsync, ClockSteppedBackAsync, FloodAsync, JournalFullAsync];

    /// <summary>Starts API server and operator.</summary>
    /// <param name="away">How long what fails is away.</param>
    public static async Task<FaultRun> StartAsync(TimeSpan away)
    {
        FaultRun run = new(away);
        try
        {
            await run.PrepareAsync();
            return run;
        }
        catch
        {
            await run.DisposeAsync();
            throw;
        }
    }

    public Task<FaultFigures> ServiceKilledAsync() => RunAsync(new Scene("audit service killed and started again"), async stage =>
    {
        await stage.Audit.KillAsync();
        await PassAsync(_away);
        await stage.ExpectFailedBatchesAsync();
        await stage.Audit.StartAsync();
    });

    public Task<FaultFigures> VolumeFullAsync() => RunAsync(new Scene("SQLite's volume full, then room again") { VolumeSize = 256 << 20 }, async stage =>
    {
        string ballast = Path.Combine(stage.Audit.Volume, "ballast");
        await FillAsync(ballast);
        await PassAsync(_away);
        await stage.ExpectFailedBatchesAsync();
        Expect(await Figures.SumAsync(stage.Audit.MetricsPort, "superserve_audit_writes_failed_total") > 0, "the store did not take a write");
        File.Delete(ballast);
    });

    public async Task<FaultFigures> DatabaseAwayAsync()
    {
        await using PostgresServer postgres = new();
        await postgres.InitializeAsync();
        return await RunAsync(new Scene("PostgreSQL stopped and started again") { ConnectionStringFile = await postgres.CreateAsync() }, async stage =>
        {
            await postgres.StopAsync();
            await PassAsync(_away);
            await stage.ExpectFailedBatchesAsync();
            await postgres.StartAsync();
        });
    }

    public Task<FaultFigures> SidecarKilledAsync() => RunAsync(new Scene("sidecar killed with unacknowledged events, and started again") { MayFail = true }, async stage =>
    {
        await stage.Audit.KillAsync();
        await PassAsync(_away / 2);
        Expect(await stage.Pod.MetricAsync("superserve_sidecar_audit_journal_used_bytes", "requests") > 0, "events wait in the journal");
        await stage.Pod.KillSidecarAsync();
        await stage.Pod.StartSidecarAsync();
        await PassAsync(_away / 2);
        await stage.ExpectFailedBatchesAsync();
        await stage.Audit.StartAsync();
    });

    /// <summary>
    /// The service's first, then the sidecar's too; then the service starts anew. By their clocks its certificate is of the future then:
    /// nothing is sent until they are right again.
    /// </summary>
    public Task<FaultFigures> ClockSteppedBackAsync() => RunAsync(new Scene("clocks an hour back, then right again") { HasClocks = true }, async stage =>
    {
        stage.AuditClock.MoveTo(-StepBack);
        await PassAsync(_away / 4);
        stage.PodClock.MoveTo(-StepBack);
        await PassAsync(_away / 4);
        await stage.Audit.KillAsync();
        stage.Audit.Start();
        await PassAsync(_away / 2);
        await stage.ExpectFailedBatchesAsync();
        stage.PodClock.MoveTo(TimeSpan.Zero);
        stage.AuditClock.MoveTo(TimeSpan.Zero);
        await stage.Audit.ReadyAsync();
    });

    public Task<FaultFigures> FloodAsync() => RunAsync(new Scene("a flood of blocked connections, and the audit service away meanwhile") { App = Confined }, async stage =>
    {
        long began = TimeProvider.System.GetTimestamp();
        using CancellationTokenSource end = new();
        Task[] flood = [.. Enumerable.Range(0, Workers).Select(worker => Task.Run(() => FloodAsync(stage, worker, end.Token)))];
        await PassAsync(_away / 4);
        await stage.Audit.KillAsync();
        await PassAsync(_away / 2);
        await stage.ExpectFailedBatchesAsync();
        await stage.Audit.StartAsync();
        await PassAsync(_away / 4);
        await end.CancelAsync();
        await Task.WhenAll(flood);
        stage.FloodTook = TimeProvider.System.GetElapsedTime(began);
    });

    /// <summary><c>audit: Required</c>: with a full journal the use of secrets ends, and nothing else.</summary>
    public Task<FaultFigures> JournalFullAsync() => RunAsync(new Scene("audit: Required, the service away and the journal full") { App = Strict, MayRefuse = true }, async stage =>
    {
        await stage.Audit.KillAsync();
        // As many bytes for an event as there may be, so that it does not take long.
        string padding = "/" + new string('p', 1500);
        async Task FillAsync()
        {
            for (int left = 5000; left > 0 && await stage.Traffic.AskAsync(padding); left--)
            {
            }
        }

        await Task.WhenAll(Enumerable.Range(0, Workers).Select(_ => Task.Run(FillAsync)));
        int before = stage.Traffic.Refused;
        await BenchCluster.UntilAsync("requests with a secret are refused", () => Task.FromResult(stage.Traffic.Refused > before + PerSecond));
        await PassAsync(_away);
        int seen = stage.Pod.Seen.Count;
        for (int i = 0; i < 20; i++)
        {
            Expect(!await stage.Traffic.AskAsync(), "a request with a secret is refused");
            Expect((await stage.Pod.AskAsync("/open", hasSecret: false)).Status == System.Net.HttpStatusCode.OK, "a request without a secret passes");
        }

        Expect(stage.Pod.Seen.Count == seen, "the service sees nothing of what is refused");
        await stage.Audit.StartAsync();
        await BenchCluster.UntilAsync("requests with a secret pass again", () => stage.Traffic.AskAsync());
    });

    public async ValueTask DisposeAsync() => await _cluster.DisposeAsync();

    private static Task PassAsync(TimeSpan time) => Task.Delay(time, TimeProvider.System);

    private static void Expect(bool condition, string what)
    {
        if (!condition) throw new InvalidOperationException($"This is not so: {what}.");
    }

    private static async Task FillAsync(string file)
    {
        await using FileStream ballast = new(file, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, BufferSize = 0 });
        byte[] block = new byte[4096];
        try
        {
            while (true) ballast.Write(block);
        }
        catch (IOException)
        {
            // Full.
        }
    }

    private static async Task FloodAsync(Stage stage, int worker, CancellationToken end)
    {
        long started = TimeProvider.System.GetTimestamp();
        for (int number = 0; !end.IsCancellationRequested; number++)
        {
            TimeSpan wait = TimeSpan.FromSeconds((double)number * Workers / FloodPerSecond) - TimeProvider.System.GetElapsedTime(started);
            if (wait > TimeSpan.Zero) await Task.Delay(wait, TimeProvider.System, CancellationToken.None);
            Expect(await stage.Pod.IsBlockedAsync($"h{number % 5000}.w{worker}.example.org", 1 + (number * 7919 % 65535)), "a connection is blocked");
            Interlocked.Increment(ref stage.Blocked);
        }
    }

    private async Task PrepareAsync()
    {
        await _cluster.StartAsync();
        await _cluster.Kubectl.FeedAsync($$"""
            {apiVersion: v1, kind: Pod, metadata: {name: superserve-operator, namespace: superserve-system}, spec: {serviceAccountName: superserve-operator, containers: [{name: operator, image: operator}]} }
            ---
            apiVersion: superserve.ai/v1alpha1
            kind: SandboxBinding
            metadata: {name: {{Strict}}, namespace: {{BenchCluster.Namespace}} }
            spec: {selector: {matchLabels: {app: {{Strict}} } }, secrets: [{env: TOKEN, secretName: service}], audit: Required}
            ---
            apiVersion: superserve.ai/v1alpha1
            kind: SandboxBinding
            metadata: {name: {{Confined}}, namespace: {{BenchCluster.Namespace}} }
            spec: {selector: {matchLabels: {app: {{Confined}} } }, secrets: [{env: TOKEN, secretName: service}], network: {allowOut: [{{BenchCluster.UpstreamHost}}]} }
            """, "apply", "--server-side", "-f", "-");
    }

    private async Task<FaultFigures> RunAsync(Scene scene, Func<Stage, Task> fault)
    {
        await using Stage stage = new(_cluster, scene, $"sandbox-{++_scenarios}");
        await stage.StartAsync();
        TimeSpan around = _away < TimeSpan.FromSeconds(20) ? _away / 2 : TimeSpan.FromSeconds(20);
        stage.Traffic.Start();
        await PassAsync(around / 2);
        stage.Traffic.Phase = Phase.Before;
        await PassAsync(around);
        stage.Traffic.Phase = Phase.During;
        await fault(stage);
        stage.Traffic.Phase = Phase.After;
        await PassAsync(around);
        await stage.Traffic.EndAsync();
        return await stage.JudgeAsync();
    }

    /// <summary>What a fault is tried on.</summary>
    private sealed record Scene(string Fault)
    {
        public string App { get; init; } = "agent";

        public long? VolumeSize { get; init; }

        public string? ConnectionStringFile { get; init; }

        public bool HasClocks { get; init; }

        public bool MayFail { get; init; }

        public bool MayRefuse { get; init; }
    }

    /// <summary>A sandbox and an audit service of a fault's own.</summary>
    private sealed class Stage : IAsyncDisposable
    {
        private readonly string _directory = Directory.CreateTempSubdirectory("superserve-faults-").FullName;
        private readonly Scene _scene;
        private readonly string _name;
        private readonly long _earlier = (TimeProvider.System.GetUtcNow() - (StepBack / 2)).ToUnixTimeMilliseconds() * 1000;

        public Stage(BenchCluster cluster, Scene scene, string name)
        {
            (_scene, _name) = (scene, name);
            AuditClock = new MovableClock(Directory.CreateDirectory(Path.Combine(_directory, "audit")).FullName);
            PodClock = new MovableClock(Directory.CreateDirectory(Path.Combine(_directory, "pod")).FullName);
            Audit = new AuditProcess(cluster, Path.Combine(_directory, "audit"))
            {
                VolumeSize = scene.VolumeSize,
                ConnectionStringFile = scene.ConnectionStringFile,
                Clock = scene.HasClocks ? AuditClock : null,
            };
            Pod = new FaultPod(cluster, Path.Combine(_directory, "pod"), Audit.Port) { Clock = scene.HasClocks ? PodClock : null };
            Traffic = new Traffic(Pod, PerSecond);
        }

        public AuditProcess Audit { get; }

        public FaultPod Pod { get; }

        public Traffic Traffic { get; }

        public MovableClock AuditClock { get; }

        public MovableClock PodClock { get; }

        /// <summary>Connections that were refused.</summary>
        public int Blocked;

        public TimeSpan FloodTook { get; set; }

        public async Task StartAsync()
        {
            if (_scene.HasClocks)
            {
                await AuditClock.MakeAsync();
                await PodClock.MakeAsync();
            }

            await Audit.PrepareAsync();
            await Audit.StartAsync();
            await Pod.StartAsync(_name, _scene.App);
        }

        /// <summary>That the fault was one.</summary>
        public async Task ExpectFailedBatchesAsync() =>
            Expect(await Pod.MetricAsync("superserve_sidecar_audit_batches_failed_total", "requests") > 0, "the sidecar could not send a batch");

        public async Task<FaultFigures> JudgeAsync()
        {
            string[] seen = [.. Pod.Seen];
            FaultFigures figures = null!;
            // The last events are on their way, and refusals are counted together for ten seconds.
            for (int attempt = 0; attempt < 60; attempt++)
            {
                figures = await LookAsync(seen);
                if (figures.Problem is null) break;
                await PassAsync(TimeSpan.FromSeconds(1));
            }

            return figures;
        }

        public async ValueTask DisposeAsync()
        {
            await Traffic.EndAsync();
            await Pod.DisposeAsync();
            await Audit.DisposeAsync();
            Directory.Delete(_directory, recursive: true);
        }

        /// <summary>What a target begins with; the log cuts long ones.</summary>
        private static string NumberOf(string target) => target.Split('/') is [_, { } number, ..] ? number : target;

        private async Task<FaultFigures> LookAsync(string[] seen)
        {
            RequestRow[] rows = [.. (await Audit.ListAsync(Log.Requests)).Requests.Where(row => row.Record.Error != Unavailable)];
            HashSet<string> targets = [.. rows.Select(row => NumberOf(row.Record.Path))];
            int missing = seen.Count(target => !targets.Contains(NumberOf(target))), twice = rows.Length - targets.Count;
            long overflowed = await Pod.MetricAsync("superserve_sidecar_events_dropped_total", "request"), told = await Figures.SumAsync(Audit.MetricsPort, "superserve_audit_overflowed_total", "requests");
            ulong blocked = 0;
            if (Blocked > 0) foreach (NetworkRow row in (await Audit.ListAsync(Log.Network)).Network) blocked += row.Record.Verdict == Verdict.Blocked ? Math.Max(1, row.Record.Count) : 0;
            (bool Is, string What)[] problems =
            [
                (seen.Length == 0, "The service saw nothing."),
                (seen.Length != seen.Distinct().Count(), "The service saw a request twice."),
                (missing > (_scene.MayRefuse ? 0 : overflowed), "Requests are missing."),
                (twice > 0, "Requests are in the log twice."),
                (overflowed != told, $"The sidecar counts {overflowed} overflowed events, the audit service {told}."),
                (!_scene.MayFail && Traffic.Failed > 0, $"Requests failed, the last one with {Traffic.Failure}"),
                (!_scene.MayRefuse && Traffic.Refused > 0, "Requests were refused."),
                (!_scene.MayFail && rows.Any(row => row.Record.Error.Length > 0), "Requests are in the log as interrupted."),
                (_scene.HasClocks && !(rows.Any(row => row.Record.Time < _earlier) && rows.Any(row => row.Record.Time > _earlier)), "No clock has stepped back."),
                ((ulong)Blocked != blocked, $"{Blocked} connections were blocked, and the network log has {blocked}."),
            ];
            string problem = string.Join(' ', problems.Where(each => each.Is).Select(each => each.What));
            return new FaultFigures
            {
                Fault = _scene.Fault,
                Asked = Traffic.Asked,
                Failed = Traffic.Failed,
                Refused = Traffic.Refused,
                Seen = seen.Length,
                Rows = rows.Length,
                Missing = missing,
                Twice = twice,
                Overflowed = overflowed,
                Interrupted = rows.Count(row => row.Record.Error == "interrupted"),
                Before = Traffic.P99(Phase.Before),
                During = Traffic.P99(Phase.During),
                After = Traffic.P99(Phase.After),
                Note = Blocked == 0 ? "" : $"The flood: {Blocked} connections were blocked, {Blocked / FloodTook.TotalSeconds:0} a second, and the network log has {blocked}.",
                Problem = problem.Length == 0 ? null : problem,
            };
        }
    }
}
