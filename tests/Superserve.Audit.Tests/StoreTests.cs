using Google.Protobuf;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Superserve.Audit.Ingest;
using Superserve.Audit.Queries;
using Superserve.Audit.Storing;
using Superserve.Audit.Tests.Fixture;
using Superserve.Protocol.Audit;

namespace Superserve.Audit.Tests;

/// <summary>What holds for SQLite.</summary>
public sealed class SqliteStoreTests : StoreTests
{
    private protected override Task<Engine> EngineAsync() => Task.FromResult<Engine>(new SqliteEngine());
}

/// <summary>What holds for PostgreSQL.</summary>
public sealed class PostgresStoreTests(PostgresFixture server) : StoreTests, IClassFixture<PostgresFixture>
{
    private protected override async Task<Engine> EngineAsync() => new PostgresEngine(await server.CreateAsync());
}

/// <summary>What holds for both engines.</summary>
public abstract class StoreTests : IAsyncLifetime
{
    private readonly FakeTimeProvider _time = new(Some.Now);
    private readonly Meters _meters = new();
    private Engine _engine = null!;
    private EventStore _store = null!;
    private Questions _questions = null!;

    private protected abstract Task<Engine> EngineAsync();

    public async ValueTask InitializeAsync()
    {
        _engine = await EngineAsync();
        _store = await _engine.OpenAsync(_time);
        _questions = new Questions(_store, _meters.Metrics, _time);
    }

    public async ValueTask DisposeAsync()
    {
        await _engine.DisposeAsync();
        _meters.Dispose();
    }

    [Fact]
    public async Task A_batch_that_comes_again_is_stored_once()
    {
        ByteString boot = Some.Boot();
        Batch batch = Some.Batch(boot, 1, Some.Request(path: "/1"), Some.Request(path: "/2"));
        StoredBatch first = await StoreAsync(batch);
        StoredBatch second = await StoreAsync(batch);
        // The answer was lost, and more was gathered since.
        StoredBatch third = await StoreAsync(Some.Batch(boot, 1, Some.Request(path: "/1"), Some.Request(path: "/2"), Some.Request(path: "/3")));
        Assert.Equal([(2, 2), (2, 0), (3, 1)], new[] { first, second, third }.Select(stored => (stored.Position, stored.Rows.Count)));
        Assert.Equal(["/1", "/2", "/3"], (await ListAsync()).Requests.Select(row => row.Record.Path).Order());
    }

    [Fact]
    public async Task A_batch_that_is_twice_in_one_transaction_is_stored_once()
    {
        TakenBatch batch = Some.Taken(Some.Batch(Some.Boot(), 1, Some.Request(), Some.Request()));
        IReadOnlyList<StoredBatch> stored = await _store.WriteAsync([batch, batch]);
        Assert.Equal([2, 0], stored.Select(outcome => outcome.Rows.Count));
        Assert.Equal(2, (await ListAsync()).Requests.Count);
    }

    [Fact]
    public async Task The_same_batches_from_many_senders_to_several_replicas_at_once_are_stored_once()
    {
        EventStore other = await _engine.OpenAsync(_time);
        ByteString[] boots = [.. Enumerable.Range(0, 4).Select(_ => Some.Boot())];
        for (ulong round = 0; round < 10; round++)
        {
            TakenBatch[] batches = [.. boots.Select(boot => Some.Taken(Some.Batch(boot, 1 + (round * 5), Enumerable.Range(0, 5).Select(_ => Some.Request()))))];
            await Task.WhenAll(Enumerable.Range(0, 6).Select(i => Task.Run(() => (i % 2 == 0 ? _store : other).WriteAsync(i % 3 == 0 ? batches : [.. batches.Reverse()]))));
        }

        Assert.Equal(200, (await ListAsync()).Requests.Count);
        Assert.Equal(200UL, Assert.Single((await _store.UsageAsync(0, default)).Secrets).Used);
    }

    [Fact]
    public async Task Each_boot_and_each_log_and_each_pod_has_its_own_numbering()
    {
        ByteString boot = Some.Boot();
        await StoreAsync(Some.Batch(boot, 1, Some.Request()));
        Assert.Single((await StoreAsync(Some.Batch(boot, 1, Some.Connection()))).Rows);
        Assert.Single((await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request()))).Rows);
        StoredBatch another = (await _store.WriteAsync([Some.Taken(Some.Batch(boot, 1, Some.Request()), Some.Pod("agent-2"))]))[0];
        Assert.Single(another.Rows);
    }

    [Fact]
    public async Task Numbering_goes_on_where_a_position_was_forgotten()
    {
        ByteString boot = Some.Boot();
        await StoreAsync(Some.Batch(boot, 1, Some.Request(), Some.Request()));
        await _store.ForgetPositionsAsync(Some.Now.AddDays(1).ToUnixTimeSeconds());
        StoredBatch stored = await StoreAsync(Some.Batch(boot, 3, Some.Request()));
        Assert.Equal((3, 1), (stored.Position, stored.Rows.Count));
    }

    [Fact]
    public async Task Of_a_pod_that_makes_boots_up_only_the_newest_are_remembered()
    {
        ByteString kept = Some.Boot();
        for (int i = 0; i < 100; i++)
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request()));
        }

        await StoreAsync(Some.Batch(kept, 1, Some.Request()));
        await _store.ForgetPositionsAsync(0);
        Assert.Empty((await StoreAsync(Some.Batch(kept, 1, Some.Request()))).Rows);
    }

    [Fact]
    public async Task An_overflow_is_told_once()
    {
        ByteString boot = Some.Boot();
        Batch batch = Some.Batch(boot, 1, Some.Request());
        batch.Overflowed = 7;
        Batch empty = new() { Boot = boot, Log = Log.Requests, FirstSequence = 2, Overflowed = 9 };
        long[] told = [(await StoreAsync(batch)).Overflowed, (await StoreAsync(batch)).Overflowed, (await StoreAsync(empty)).Overflowed, (await StoreAsync(empty)).Overflowed];
        Assert.Equal([7, 0, 2, 0], told);
        Assert.Equal(1, (await StoreAsync(empty)).Position);
    }

    [Fact]
    public async Task Everything_of_an_event_comes_back()
    {
        RequestRecord request = Some.Request(secrets: ["one", "two"]);
        NetworkRecord look = Some.Connection(kind: "dns");
        (look.QueryType, look.Response, look.LogOnly, look.Count, look.Error) = ("AAAA", "NXDOMAIN", true, 5, "refused");
        await StoreAsync(Some.Batch(Some.Boot(), 1, request));
        await StoreAsync(Some.Batch(Some.Boot(), 1, look));
        RequestRow row = Assert.Single((await ListAsync()).Requests);
        Assert.Equal(request, row.Record);
        Assert.Equal(("agents", "agent-1", "uid-of-agent-1"), (row.Origin.Namespace, row.Origin.Pod, row.Origin.PodUid));
        Assert.Equal(look, Assert.Single((await _questions.ListAsync(new ListRequest { Log = Log.Network }, default)).Network).Record);
    }

    [Fact]
    public async Task A_row_is_found_by_its_name_in_its_namespace_alone()
    {
        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request(path: "/a"), Some.Request(path: "/b")));
        RequestRow row = (await ListAsync()).Requests[1];
        Assert.Matches("^[a-z0-9]+$", row.Origin.Name);
        Assert.Equal(row, Assert.Single((await NamedAsync(row.Origin.Name, "agents")).Requests));
        Assert.Equal(row, Assert.Single((await NamedAsync(row.Origin.Name, "")).Requests));
        foreach (string other in (string[])["0" + row.Origin.Name, "ffffffffffffffff", "nothing", " 1", "-1", "A"]) Assert.Empty((await NamedAsync(other, "")).Requests);
        Assert.Empty((await NamedAsync(row.Origin.Name, "others")).Requests);
        Assert.Empty((await _questions.ListAsync(new ListRequest { Log = Log.Network, Name = row.Origin.Name }, default)).Network);

        Task<ListReply> NamedAsync(string name, string inNamespace) => _questions.ListAsync(new ListRequest { Log = Log.Requests, Name = name, Namespace = inNamespace }, default);
    }

    [Fact]
    public async Task Names_are_never_given_again()
    {
        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request()));
        string name = (await ListAsync()).Requests[0].Origin.Name;
        Assert.Equal(1, await _store.DeleteFirstAsync(Log.Requests, 10));
        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request()));
        Assert.NotEqual(name, Assert.Single((await ListAsync()).Requests).Origin.Name);
    }

    [Fact]
    public async Task Every_combination_of_filters_answers_as_looking_at_each_row_would()
    {
        string[] hosts = ["a.example", "b.example"], pods = ["p1", "p2"], namespaces = ["n1", "n2"], secrets = ["s1", "s2", "s3"];
        uint[] statuses = [0, 101, 200, 302, 404, 503, 999];
        List<RequestRow> all = [];
        int number = 0;
        foreach (string ns in namespaces)
            foreach (string pod in pods)
            {
                List<RequestRecord> records = [];
                foreach (string host in hosts)
                    foreach (uint status in statuses)
                        for (int s = 0; s < 4; s++)
                            records.Add(Some.Request(Some.NowMicroseconds - (++number * 997 % 101), host, status, (Verdict)(1 + (number % 3)), s == 3 ? ["s1", "s2"] : s == 2 ? [] : [secrets[s + (number % 2)]]));
                StoredBatch stored = (await _store.WriteAsync([Some.Taken(Some.Batch(Some.Boot(), 1, records), Some.Pod(pod, ns))]))[0];
                all.AddRange(stored.Rows.Select(row => Named((RequestRow)row.Row.Row, row.Id)));
            }

        Filter?[] bySecret = [null, New(Field.Secret, "s1"), New(Field.Secret, "s1", true), New(Field.Secret, "none")];
        Filter?[] byPod = [null, New(Field.Sandbox, "p1"), New(Field.Sandbox, "p2", true)];
        Filter?[] byHost = [null, New(Field.Host, "a.example"), New(Field.Host, "b.example", true)];
        Filter?[] byClass = [null, New(Field.StatusClass, "4xx"), New(Field.StatusClass, "error"), New(Field.StatusClass, "2xx", true), New(Field.StatusClass, "5xx")];
        Filter?[] byVerdict = [null, New(Field.Verdict, "blocked"), New(Field.Verdict, "allowed", true)];
        int asked = 0;
        foreach (string ns in (string[])["", "n1"])
            foreach (Filter?[] filters in from a in bySecret from b in byPod from c in byHost from d in byClass from e in byVerdict select new[] { a, b, c, d, e })
            {
                // A part of them: each is a question to a database.
                if (asked++ % 5 != 0) continue;
                ListRequest request = new() { Log = Log.Requests, Namespace = ns, Since = Some.NowMicroseconds - 90, Before = Some.NowMicroseconds - 2 };
                request.Filters.AddRange(filters.OfType<Filter>());
                string[] expected = [.. all.Where(row => Holds(row, request)).OrderByDescending(row => row.Record.Time).ThenByDescending(row => Convert.ToInt64(row.Origin.Name, 16)).Select(row => row.Origin.Name)];
                Assert.Equal(expected, (await _questions.ListAsync(request, default)).Requests.Select(row => row.Origin.Name));
            }

        static Filter New(Field field, string value, bool negated = false) => new() { Field = field, Value = value, Negated = negated };

        static RequestRow Named(RequestRow row, long id)
        {
            RequestRow named = row.Clone();
            named.Origin.Name = Questions.NameOf(id);
            return named;
        }

        // Other code than the product's.
        static bool Holds(RequestRow row, ListRequest request) =>
            (request.Namespace == "" || row.Origin.Namespace == request.Namespace) && row.Record.Time >= request.Since && row.Record.Time < request.Before
            && request.Filters.All(filter => filter.Negated != filter.Field switch
            {
                Field.Secret => row.Record.Uses.Any(use => use.Secret == filter.Value),
                Field.Sandbox => row.Origin.Pod == filter.Value,
                Field.Host => row.Record.Host == filter.Value,
                Field.StatusClass => (row.Record.Status switch { 0 => "error", < 200 => "1xx", < 300 => "2xx", < 400 => "3xx", < 500 => "4xx", _ => "5xx" }) == filter.Value,
                _ => string.Equals(row.Record.Verdict.ToString(), filter.Value, StringComparison.OrdinalIgnoreCase),
            });
    }

    [Fact]
    public async Task The_network_log_is_found_by_kind_verdict_host_and_sandbox()
    {
        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Connection(host: "a"), Some.Connection(host: "a", verdict: Verdict.Allowed), Some.Connection(host: "b", kind: "dns")));
        Assert.Equal(1, await CountAsync((Field.Kind, "dns", false)));
        Assert.Equal(2, await CountAsync((Field.Kind, "dns", true)));
        Assert.Equal(1, await CountAsync((Field.Host, "a", false), (Field.Verdict, "blocked", false)));
        Assert.Equal(3, await CountAsync((Field.Sandbox, "agent-1", false)));
        Assert.Equal(0, await CountAsync((Field.Kind, "dns", false), (Field.Kind, "connection", false)));

        async Task<int> CountAsync(params (Field Field, string Value, bool Negated)[] filters)
        {
            ListRequest request = new() { Log = Log.Network };
            request.Filters.AddRange(filters.Select(filter => new Filter { Field = filter.Field, Value = filter.Value, Negated = filter.Negated }));
            return (await _questions.ListAsync(request, default)).Network.Count;
        }
    }

    [Fact]
    public async Task Pages_hold_each_row_once_while_rows_are_added()
    {
        // Times that collide, and come late.
        await StoreAsync(Some.Batch(Some.Boot(), 1, Enumerable.Range(0, 250).Select(i => Some.Request(Some.NowMicroseconds - 1000 - (i % 7), path: $"/{i}"))));
        List<string> paths = [];
        ListRequest request = new() { Log = Log.Requests, Namespace = "agents", Limit = 17 };
        do
        {
            ListReply reply = await _questions.ListAsync(request, default);
            paths.AddRange(reply.Requests.Select(row => row.Record.Path));
            Assert.True(reply.Requests.Count == 17 || reply.Continue.IsEmpty);
            request.Continue = reply.Continue;
            await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request(Some.NowMicroseconds, path: "/new"), Some.Request(Some.NowMicroseconds - 1003, path: "/late")));
        }
        while (!request.Continue.IsEmpty);

        string[] old = [.. paths.Where(path => path is not ("/new" or "/late"))];
        Assert.Equal(Enumerable.Range(0, 250).Select(i => $"/{i}").Order(StringComparer.Ordinal), old.Order(StringComparer.Ordinal));
        Assert.DoesNotContain("/new", paths.Skip(17));
    }

    [Fact]
    public async Task A_page_that_is_full_at_the_last_row_is_the_end()
    {
        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request(), Some.Request()));
        Assert.True((await _questions.ListAsync(new ListRequest { Log = Log.Requests, Limit = 2 }, default)).Continue.IsEmpty);
        Assert.False((await _questions.ListAsync(new ListRequest { Log = Log.Requests, Limit = 1 }, default)).Continue.IsEmpty);
    }

    [Fact]
    public async Task Where_few_of_many_rows_match_pages_are_short_and_the_cursor_goes_on()
    {
        for (int i = 0; i < 3; i++)
            await StoreAsync(Some.Batch(Some.Boot(), 1, Enumerable.Range(0, 4500).Select(n => Some.Request(Some.NowMicroseconds - (i * 10_000) - n, path: i == 2 && n == 4499 ? "/found" : "/", secrets: i == 2 && n == 4499 ? ["rare"] : ["common"]))));
        // Each look at the clock is a long time later.
        Questions impatient = new(_store, _meters.Metrics, new FakeTimeProvider(Some.Now) { AutoAdvanceAmount = TimeSpan.FromSeconds(3) });
        ListRequest request = new() { Log = Log.Requests };
        request.Filters.Add(new Filter { Field = Field.Secret, Value = "common", Negated = true });
        List<RequestRow> found = [];
        int pages = 0;
        do
        {
            ListReply reply = await impatient.ListAsync(request, default);
            found.AddRange(reply.Requests);
            request.Continue = reply.Continue;
            pages++;
        }
        while (!request.Continue.IsEmpty);
        Assert.Equal("/found", Assert.Single(found).Record.Path);
        Assert.InRange(pages, 3, 5);
    }

    [Fact]
    public async Task A_question_that_is_not_in_order_is_refused_with_words()
    {
        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request(), Some.Request()));
        ByteString cursor = (await _questions.ListAsync(new ListRequest { Log = Log.Requests, Limit = 1 }, default)).Continue;
        await RefusedAsync("log has to be", new ListRequest());
        await RefusedAsync("limit is at most 1000", new ListRequest { Log = Log.Requests, Limit = 1001 });
        await RefusedAsync("since and before", new ListRequest { Log = Log.Requests, Since = -1 });
        await RefusedAsync("continue is not", new ListRequest { Log = Log.Requests, Continue = ByteString.CopyFromUtf8("x") });
        await RefusedAsync("continue is not", new ListRequest { Log = Log.Network, Continue = cursor });
        await RefusedAsync("continue is not", new ListRequest { Log = Log.Requests, Namespace = "other", Continue = cursor });
        await RefusedAsync("StatusClass is one of: error, 1xx, 2xx", With(Log.Requests, Field.StatusClass, "4"));
        await RefusedAsync("Verdict is one of", With(Log.Requests, Field.Verdict, "'; DROP TABLE requests; --"));
        await RefusedAsync("rows of this log have no Kind", With(Log.Requests, Field.Kind, "dns"));
        await RefusedAsync("rows of this log have no Secret", With(Log.Network, Field.Secret, "a"));
        await RefusedAsync("rows of this log have no StatusClass", With(Log.Network, Field.StatusClass, "4xx"));
        await RefusedAsync("rows of this log have no", With(Log.Requests, Field.Unspecified, "a"));
        await RefusedAsync("a filter's value is longer", With(Log.Requests, Field.Host, new string('a', 513)));
        ListRequest many = new() { Log = Log.Requests };
        for (int i = 0; i < 33; i++) many.Filters.Add(new Filter { Field = Field.Host, Value = "a" });
        await RefusedAsync("more than 32 filters", many);
        Assert.Empty((await _questions.ListAsync(With(Log.Requests, Field.Host, "' OR 1=1 --"), default)).Requests);

        async Task RefusedAsync(string words, ListRequest request) =>
            Assert.Contains(words, (await Assert.ThrowsAsync<BadQuestionException>(() => _questions.ListAsync(request, default))).Message, StringComparison.Ordinal);

        static ListRequest With(Log log, Field field, string value) => new() { Log = log, Filters = { new Filter { Field = field, Value = value } } };
    }

    [Fact]
    public async Task Usage_counts_uses_and_refusals_and_tells_what_has_changed()
    {
        RequestRecord repeated = Some.Request(verdict: Verdict.Blocked, secrets: ["one"]);
        repeated.Count = 40;
        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request(Some.NowMicroseconds - 5, secrets: ["one", "two"]), Some.Request(Some.NowMicroseconds - 9, secrets: ["one", "one"]), repeated, Some.Request(verdict: Verdict.Failed, secrets: ["two"]), Some.Request(verdict: Verdict.Blocked, secrets: ["three"])));
        UsageReply all = await _store.UsageAsync(0, default);
        Assert.Equal(
            [("one", Some.NowMicroseconds - 5, 2UL, 40UL), ("three", 0, 0UL, 1UL), ("two", Some.NowMicroseconds - 5, 1UL, 1UL)],
            all.Secrets.OrderBy(secret => secret.Secret, StringComparer.Ordinal).Select(secret => (secret.Secret, secret.LastUsed, secret.Used, secret.Refused)));

        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request(Some.NowMicroseconds - 100, secrets: ["two"])));
        UsageReply changed = await _store.UsageAsync(all.AsOf, default);
        SecretUsage two = Assert.Single(changed.Secrets);
        Assert.Equal(("two", Some.NowMicroseconds - 5, 2UL), (two.Secret, two.LastUsed, two.Used));
        Assert.Empty((await _store.UsageAsync(changed.AsOf, default)).Secrets);
        // A stamp of another database.
        Assert.Equal(3, (await _store.UsageAsync(long.MaxValue, default)).Secrets.Count);
    }

    [Fact]
    public async Task What_is_too_old_goes_and_its_uses_with_it()
    {
        long Days(int ago) => Some.NowMicroseconds - (ago * 86_400_000_000L);
        await StoreAsync(Some.Batch(Some.Boot(), 1, Enumerable.Range(0, 2500).Select(i => Some.Request(Days(31) + i, status: i % 2 == 0 ? 200u : 404u, verdict: i % 3 == 0 ? Verdict.Blocked : Verdict.Allowed, secrets: ["one", "two"]))));
        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request(Days(29), secrets: ["one"])));
        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Connection(Days(31)), Some.Connection(Days(1))));
        await Keeper().LookAsync(default);
        Assert.Equal(Days(29), Assert.Single((await ListAsync()).Requests).Record.Time);
        Assert.Single((await _questions.ListAsync(new ListRequest { Log = Log.Network }, default)).Network);
        Assert.Equal((2500, 1), (_meters["deleted requests age"], _meters["deleted network age"]));
        Assert.Equal(0, await _store.CountAsync(new IndexKey("request_uses", "secret", Keys.Of(Field.Secret, "", "two")), [.. Outcomes.All(Log.Requests)], 0, Place.Newest, 10, default));
        // What was counted stays.
        Assert.Equal(2, (await _store.UsageAsync(0, default)).Secrets.Count);
    }

    [Fact]
    public async Task What_is_too_much_goes_oldest_first_and_leaves_the_other_log_alone()
    {
        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request(path: "/kept")));
        for (int i = 0; i < 5; i++)
            await StoreAsync(Some.Batch(Some.Boot(), 1, Enumerable.Range(0, 4000).Select(n => Some.Connection(host: $"host-{i}-{n}"))));
        await Keeper(4 << 20).LookAsync(default);
        Assert.InRange(await _store.BytesAsync(default), 1, 4 << 20);
        Assert.InRange(_meters["deleted network size"], 1000, 19_000);
        Assert.Equal(0, _meters["deleted requests size"]);
        Assert.Equal("/kept", Assert.Single((await ListAsync()).Requests).Record.Path);
        ListReply newest = await _questions.ListAsync(new ListRequest { Log = Log.Network, Limit = 1000 }, default);
        Assert.All(newest.Network, row => Assert.StartsWith("host-4-", row.Record.Host, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_clock_that_leaps_ahead_deletes_nothing_until_it_is_right()
    {
        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request()));
        LeapingTime leaping = new(_time);
        StoreKeeper keeper = Keeper(time: leaping);
        leaping.Ahead = TimeSpan.FromDays(365);
        await keeper.LookAsync(default);
        Assert.Single((await ListAsync()).Requests);
        leaping.Ahead = TimeSpan.Zero;
        _time.Advance(TimeSpan.FromDays(31));
        await keeper.LookAsync(default);
        Assert.Empty((await ListAsync()).Requests);
    }

    [Fact]
    public async Task A_clock_that_steps_back_breaks_neither_numbering_nor_order()
    {
        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request(Some.NowMicroseconds, path: "/first")));
        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request(Some.NowMicroseconds - 3_600_000_000, path: "/stepped")));
        ListRequest request = new() { Log = Log.Requests, Limit = 1 };
        ListReply first = await _questions.ListAsync(request, default);
        request.Continue = first.Continue;
        Assert.Equal(["/first", "/stepped"], new[] { first, await _questions.ListAsync(request, default) }.SelectMany(reply => reply.Requests).Select(row => row.Record.Path));
    }

    [Fact]
    public async Task Two_replicas_that_start_at_once_do_not_race_for_the_schema()
    {
        await using Engine fresh = await EngineAsync();
        EventStore[] stores = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => fresh.OpenAsync(_time))));
        await stores[3].WriteAsync([Some.Taken(Some.Batch(Some.Boot(), 1, Some.Request()))]);
        Assert.Equal(1, await stores[0].RowsAsync(Log.Requests, default));
    }

    [Fact]
    public async Task A_schema_of_an_earlier_version_is_brought_up_to_date_and_keeps_its_rows()
    {
        await StoreAsync(Some.Batch(Some.Boot(), 1, Some.Request(path: "/before")));
        EventStore next = await _engine.OpenAsync(_time, [.. _engine.Migrations, "CREATE TABLE next (a integer); INSERT INTO next VALUES (1)", "INSERT INTO next VALUES (2)"]);
        Assert.Single((await new Questions(next, _meters.Metrics, _time).ListAsync(new ListRequest { Log = Log.Requests }, default)).Requests);

        // And the version before it says why it cannot go on.
        EventStore earlier = _engine.Make(_time);
        SchemaException refused = await Assert.ThrowsAsync<SchemaException>(() => earlier.OpenAsync(default));
        Assert.Contains($"the schema {_engine.Migrations.Count + 2} of a newer version, and this one knows {_engine.Migrations.Count}", refused.Message, StringComparison.Ordinal);
        await earlier.DisposeAsync();
    }

    [Fact]
    public async Task A_migration_that_fails_leaves_nothing_behind()
    {
        await using Engine fresh = await EngineAsync();
        await Assert.ThrowsAnyAsync<System.Data.Common.DbException>(() => fresh.OpenAsync(_time, [.. fresh.Migrations, "CREATE TABLE half (a integer); INSERT INTO nowhere VALUES (1)"]));
        Assert.Equal(0, await (await fresh.OpenAsync(_time)).RowsAsync(Log.Requests, default));
    }

    private StoreKeeper Keeper(long maxBytes = 1L << 40, TimeProvider? time = null) =>
        new(_store, _engine.Options with { MaxBytes = maxBytes }, _meters.Metrics, time ?? _time, NullLogger<StoreKeeper>.Instance);

    private async Task<StoredBatch> StoreAsync(Batch batch) => (await _store.WriteAsync([Some.Taken(batch, time: _time)]))[0];

    private Task<ListReply> ListAsync() => _questions.ListAsync(new ListRequest { Log = Log.Requests }, default);

    private sealed class LeapingTime(TimeProvider steady) : TimeProvider
    {
        public TimeSpan Ahead { get; set; }

        public override long TimestampFrequency => steady.TimestampFrequency;

        public override DateTimeOffset GetUtcNow() => steady.GetUtcNow() + Ahead;

        public override long GetTimestamp() => steady.GetTimestamp();
    }
}
