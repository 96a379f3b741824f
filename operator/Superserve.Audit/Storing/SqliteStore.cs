using System.Data.Common;
using Microsoft.Data.Sqlite;
using Superserve.Audit.Ingest;
using Superserve.Protocol.Audit;

namespace Superserve.Audit.Storing;

/// <summary>
/// SQLite, with one writer and readers that it does not keep waiting (WAL). Every commit is on the disk before it is acknowledged
/// (<c>synchronous = FULL</c>), so that neither the end of the process nor a loss of power takes what was acknowledged. The file does
/// not shrink: what is deleted leaves pages that are used again, and no more pages are ever taken than maxBytes and a tenth.
/// </summary>
internal sealed class SqliteStore : EventStore
{
    private const int PageSize = 8192;

    private readonly string _file;
    private readonly string _connectionString;
    private readonly long _maxPages;
    private readonly TimeProvider _time;
    private readonly IReadOnlyList<string> _migrations;
    private readonly SemaphoreSlim _writing = new(1, 1);
    private readonly SemaphoreSlim _reading = new(4, 4);
    private readonly Dictionary<string, SqliteCommand> _prepared = [];
    private SqliteConnection? _writer;
    private SqliteTransaction? _transaction;

    public SqliteStore(string file, long maxBytes, TimeProvider time, IReadOnlyList<string>? migrations = null)
    {
        _file = file;
        _connectionString = new SqliteConnectionStringBuilder { DataSource = file, DefaultTimeout = (int)StatementTimeout.TotalSeconds, Pooling = true }.ToString();
        _maxPages = (maxBytes / PageSize) + (maxBytes / PageSize / 10) + 64;
        _time = time;
        _migrations = migrations ?? Migrations.Sqlite;
    }

    /// <inheritdoc />
    public override async Task OpenAsync(CancellationToken cancellationToken)
    {
        if (Path.GetDirectoryName(Path.GetFullPath(_file)) is { } folder) Directory.CreateDirectory(folder);
        await using Lease lease = await WritingAsync();
        await Migrations.ApplyAsync(lease.Connection, _migrations, null, cancellationToken);
        lease.Succeeded();
    }

    /// <inheritdoc />
    public override async Task<long> BytesAsync(CancellationToken cancellationToken)
    {
        await using DbConnection connection = await ReadingAsync(cancellationToken);
        await using DbCommand command = Command(connection, "SELECT (p.page_count - f.freelist_count) * s.page_size FROM pragma_page_count p, pragma_freelist_count f, pragma_page_size s");
        return Convert.ToInt64(await command.ExecuteScalarAsync(cancellationToken), null);
    }

    /// <inheritdoc />
    public override async ValueTask DisposeAsync()
    {
        await CloseWriterAsync();
        SqliteConnection.ClearPool(new SqliteConnection(_connectionString));
        _writing.Dispose();
        _reading.Dispose();
    }

    /// <inheritdoc />
    protected override async ValueTask<Lease> WritingAsync()
    {
        await _writing.WaitAsync();
        try
        {
            _writer ??= OpenWriter();
        }
        catch
        {
            _writing.Release();
            throw;
        }

        return new Lease(_writer, async succeeded =>
        {
            if (!succeeded) await CloseWriterAsync();
            _writing.Release();
        });
    }

    /// <inheritdoc />
    protected override ValueTask<DbTransaction> BeginAsync(DbConnection connection) => new(_transaction = _writer!.BeginTransaction(deferred: false));

    /// <inheritdoc />
    protected override async ValueTask<DbConnection> ReadingAsync(CancellationToken cancellationToken)
    {
        // Reading holds a thread.
        await _reading.WaitAsync(cancellationToken);
        SqliteConnection connection = new(_connectionString);
        connection.Disposed += (_, _) => _reading.Release();
        try
        {
            await connection.OpenAsync(cancellationToken);
            Run(connection, "PRAGMA query_only = 1; PRAGMA cache_size = -16384; PRAGMA mmap_size = 1073741824");
            return connection;
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    /// <inheritdoc />
    protected override Task<Dictionary<Numbering, Position>> LockPositionsAsync(DbConnection connection, IReadOnlyList<Numbering> numberings)
    {
        Dictionary<Numbering, Position> positions = [];
        foreach (Numbering numbering in numberings)
        {
            SqliteCommand command = Prepared("SELECT sequence, overflowed FROM positions WHERE pod_uid = @a AND boot = @b AND log = @c", numbering.PodUid, numbering.Boot, (long)numbering.Log);
            using SqliteDataReader reader = command.ExecuteReader();
            positions.Add(numbering, reader.Read() ? new Position(reader.GetInt64(0), reader.GetInt64(1)) : default);
        }

        return Task.FromResult(positions);
    }

    /// <inheritdoc />
    protected override Task<long[]> InsertAsync(DbConnection connection, IReadOnlyList<NewRow> rows)
    {
        long[] ids = new long[rows.Count];
        (long requests, long network) = (Counter("requests"), Counter("network"));
        for (int i = 0; i < rows.Count; i++)
        {
            NewRow row = rows[i];
            bool isRequest = row.Row is RequestRow;
            long id = ids[i] = isRequest ? ++requests : ++network;
            Prepared(
                isRequest ? "INSERT INTO requests VALUES (@a, @b, @c, @d, @e, @f, @g, @h, @i)" : "INSERT INTO network VALUES (@a, @b, @c, @d, @e, @f, @g, @h, @i)",
                id, row.Time, row.Outcome, row.Namespace, row.Pod, row.NamespacePod, row.Host, row.NamespaceHost, row.Bytes).ExecuteNonQuery();
            foreach (UseKeys use in row.Uses)
                Prepared("INSERT INTO request_uses VALUES (@a, @b, @c, @d, @e)", use.NamespaceSecret, row.Outcome, row.Time, id, use.Secret).ExecuteNonQuery();
        }

        SetCounter("requests", requests);
        SetCounter("network", network);
        return Task.FromResult(ids);
    }

    /// <inheritdoc />
    protected override Task AddUsesAsync(DbConnection connection, IReadOnlyList<Use> uses)
    {
        long change = Counter("changes") + 1;
        foreach (Use use in uses)
        {
            Prepared(
                "INSERT INTO secrets SELECT * FROM (SELECT @a AS namespace, @b AS secret, @c, @d, @e, @f) n " + AddUse,
                use.Namespace, use.Secret, use.LastUsed, use.Used, use.Refused, change).ExecuteNonQuery();
        }

        SetCounter("changes", change);
        return Task.CompletedTask;
    }

    /// <inheritdoc />
    protected override Task SavePositionsAsync(DbConnection connection, Dictionary<Numbering, Position> positions)
    {
        long now = _time.GetUtcNow().ToUnixTimeSeconds();
        foreach ((Numbering numbering, Position position) in positions)
        {
            Prepared(
                "INSERT INTO positions VALUES (@a, @b, @c, @d, @e, @f) ON CONFLICT DO UPDATE SET sequence = excluded.sequence, overflowed = excluded.overflowed, seen = excluded.seen",
                numbering.PodUid, numbering.Boot, (long)numbering.Log, position.Sequence, position.Overflowed, now).ExecuteNonQuery();
        }

        return Task.CompletedTask;
    }

    /// <inheritdoc />
    protected override Task DeleteAsync(DbConnection connection, Log log, IReadOnlyList<long> ids, IReadOnlyList<(UseKeys Keys, short Outcome, long Time, long Id)> uses)
    {
        foreach (long id in ids) Prepared(log == Log.Requests ? "DELETE FROM requests WHERE id = @a" : "DELETE FROM network WHERE id = @a", id).ExecuteNonQuery();
        foreach ((UseKeys keys, short outcome, long time, long id) in uses)
            Prepared("DELETE FROM request_uses WHERE namespace_secret = @a AND outcome = @b AND time = @c AND id = @d", keys.NamespaceSecret, outcome, time, id).ExecuteNonQuery();
        return Task.CompletedTask;
    }

    /// <inheritdoc />
    protected override async Task<long> StampAsync(DbConnection connection, CancellationToken cancellationToken)
    {
        await using DbCommand command = Command(connection, "SELECT value + 1 FROM counters WHERE name = 'changes'");
        return Convert.ToInt64(await command.ExecuteScalarAsync(cancellationToken), null);
    }

    private SqliteConnection OpenWriter()
    {
        SqliteConnection connection = new(_connectionString + ";Pooling=False");
        try
        {
            connection.Open();
            Run(connection, $"PRAGMA page_size = {PageSize}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -131072; PRAGMA wal_autocheckpoint = 4096; PRAGMA journal_size_limit = 67108864; PRAGMA max_page_count = {_maxPages}");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    private async ValueTask CloseWriterAsync()
    {
        foreach (SqliteCommand command in _prepared.Values) await command.DisposeAsync();
        _prepared.Clear();
        if (_writer is not null) await _writer.DisposeAsync();
        _writer = null;
    }

    private long Counter(string name) => Convert.ToInt64(Prepared("SELECT value FROM counters WHERE name = @a", name).ExecuteScalar(), null);

    private void SetCounter(string name, long value) => Prepared("UPDATE counters SET value = @a WHERE name = @b", value, name).ExecuteNonQuery();

    private static void Run(SqliteConnection connection, string text)
    {
        using SqliteCommand command = connection.CreateCommand();
        command.CommandText = text;
        command.ExecuteNonQuery();
    }

    /// <summary>A statement of the writer's, prepared once, with its parameters @a, @b, … set.</summary>
    private SqliteCommand Prepared(string text, params ReadOnlySpan<object> values)
    {
        if (!_prepared.TryGetValue(text, out SqliteCommand? command))
        {
            command = _writer!.CreateCommand();
            command.CommandText = text;
            for (int i = 0; i < values.Length; i++) command.Parameters.Add(new SqliteParameter($"@{(char)('a' + i)}", null));
            _prepared.Add(text, command);
        }

        command.Transaction = _transaction;
        for (int i = 0; i < values.Length; i++) command.Parameters[i].Value = values[i];
        return command;
    }
}
