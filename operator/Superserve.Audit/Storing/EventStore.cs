using System.Data.Common;
using Microsoft.Data.Sqlite;
using Npgsql;
using Superserve.Audit.Ingest;
using Superserve.Protocol.Audit;

namespace Superserve.Audit.Storing;

/// <summary>What became of a batch.</summary>
/// <param name="Position">Up to here its numbering is stored.</param>
/// <param name="Rows">The rows that were new, with their numbers.</param>
/// <param name="Overflowed">Events that the sidecar had no room for since it last said so.</param>
internal sealed record StoredBatch(long Position, IReadOnlyList<(long Id, NewRow Row)> Rows, long Overflowed);

/// <summary>A row as it was found.</summary>
internal readonly record struct FoundRow(long Id, long Time, byte[] Bytes);

/// <summary>A place in a list that is ordered by time, newest first, and by number where times are equal.</summary>
internal readonly record struct Place(long Time, long Id)
{
    public static Place Newest { get; } = new(long.MaxValue, long.MaxValue);
}

/// <summary>An index, by the column that it begins with, and which value of it.</summary>
internal readonly record struct IndexKey(string Table, string? Column, long Value);

/// <summary>How far a numbering is stored, and how many of its events were lost.</summary>
internal readonly record struct Position(long Sequence, long Overflowed);

/// <summary>What is added to the counts of a secret.</summary>
internal sealed record Use(string Namespace, string Secret)
{
    public long LastUsed { get; set; }

    public long Used { get; set; }

    public long Refused { get; set; }
}

/// <summary>
/// The database. A row is the event as a message, with the few numbers beside it that indexes need; a table for each log, one with a
/// line for each secret that a request used, one with how far each numbering is stored, and one with the counts of secrets. The
/// engines differ in how they take many rows; what a transaction does is here, in <see cref="WriteAsync"/>, and how rows are
/// found, in <see cref="PageAsync"/>.
/// </summary>
internal abstract class EventStore : IAsyncDisposable
{
    /// <summary>Secrets of one namespace that are counted; a sidecar that makes names up fills no table.</summary>
    private const int MaxSecrets = 5_000;

    /// <summary>Boots of one pod whose positions are kept.</summary>
    private const int MaxBoots = 64;

    /// <summary>Adds to the counts of one secret; the engines say where the parameters come from.</summary>
    protected static readonly string AddUse = $"""
        WHERE EXISTS (SELECT 1 FROM secrets s WHERE s.namespace = n.namespace AND s.secret = n.secret)
           OR (SELECT count(*) FROM secrets s WHERE s.namespace = n.namespace) < {MaxSecrets}
        ON CONFLICT (namespace, secret) DO UPDATE SET
          last_used = CASE WHEN excluded.last_used > secrets.last_used THEN excluded.last_used ELSE secrets.last_used END,
          used = secrets.used + excluded.used, refused = secrets.refused + excluded.refused, changed = excluded.changed
        """;

    /// <summary>A statement that is not done by then is ended.</summary>
    protected static readonly TimeSpan StatementTimeout = TimeSpan.FromSeconds(5);

    /// <summary>A write that is not done by then is given up.</summary>
    protected static readonly TimeSpan WriteTimeout = TimeSpan.FromSeconds(30);

    /// <summary>The table of a log.</summary>
    public static string TableOf(Log log) => log == Log.Requests ? "requests" : "network";

    /// <summary>What is wrong with the database, and what to do. Nothing in its words is an event's: rows travel as parameters.</summary>
    public static string Describe(Exception exception) => exception switch
    {
        SqliteException { SqliteErrorCode: 13 } => "the volume or the database's share of it is full: make the volume larger, or maxBytes smaller",
        SqliteException { SqliteErrorCode: 10 or 14 or 8 } sqlite => $"SQLite cannot use its file ({sqlite.SqliteExtendedErrorCode}): look at the volume, its space and its permissions",
        SqliteException { SqliteErrorCode: 11 or 26 } => "the database file is damaged: put a backup in its place, or move it away to begin a new one",
        SqliteException sqlite => $"SQLite failed with code {sqlite.SqliteExtendedErrorCode}",
        PostgresException postgres => $"PostgreSQL refused with {postgres.SqlState} ({postgres.MessageText}): look at the server, the role and its rights",
        NpgsqlException => "PostgreSQL cannot be reached: look at the server, the network and the connection string",
        SchemaException => exception.Message,
        IOException => $"the database cannot be reached: {exception.Message}",
        _ => $"an unexpected {exception.GetType().Name}",
    };

    /// <summary>Brings the schema up to date. Asked again after a failure.</summary>
    public abstract Task OpenAsync(CancellationToken cancellationToken);

    /// <summary>
    /// Stores batches in one transaction: which records are new is decided and remembered in the transaction that stores them, so that
    /// each is stored once, whoever sends it how often and to whichever replica.
    /// </summary>
    public async Task<IReadOnlyList<StoredBatch>> WriteAsync(IReadOnlyList<TakenBatch> group)
    {
        await using Lease lease = await WritingAsync();
        await using DbTransaction transaction = await BeginAsync(lease.Connection);
        Dictionary<Numbering, Position> positions = await LockPositionsAsync(lease.Connection, InOrder(group.Select(batch => batch.Numbering)));
        List<(NewRow Row, int Batch)> rows = [];
        List<(long Position, long Overflowed)> outcomes = [];
        foreach (TakenBatch batch in group)
        {
            Position before = positions[batch.Numbering];
            int known = (int)Math.Clamp(before.Sequence - batch.First + 1, 0, batch.Rows.Count);
            for (int i = known; i < batch.Rows.Count; i++) rows.Add((batch.Rows[i], outcomes.Count));
            // A boot whose position has been forgotten, or a restored database: what comes next counts on from there.
            Position after = new(Math.Max(before.Sequence, batch.Rows.Count == 0 ? 0 : batch.Last), Math.Max(before.Overflowed, batch.Overflowed));
            positions[batch.Numbering] = after;
            outcomes.Add((after.Sequence, after.Overflowed - before.Overflowed));
        }

        IReadOnlyList<(long Id, NewRow Row)>[] stored = new IReadOnlyList<(long, NewRow)>[group.Count];
        long[] ids = await InsertAsync(lease.Connection, [.. rows.Select(row => row.Row)]);
        ILookup<int, (long Id, NewRow Row)> byBatch = rows.Zip(ids).ToLookup(pair => pair.First.Batch, pair => (pair.Second, pair.First.Row));
        for (int i = 0; i < stored.Length; i++) stored[i] = [.. byBatch[i]];
        await AddUsesAsync(lease.Connection, UsesOf(rows.Select(row => row.Row.Row)));
        await SavePositionsAsync(lease.Connection, positions);
        await transaction.CommitAsync();
        lease.Succeeded();
        return [.. outcomes.Zip(stored, (outcome, fresh) => new StoredBatch(outcome.Position, fresh, outcome.Overflowed))];
    }

    /// <summary>
    /// Up to <paramref name="limit"/> rows behind a place and not older than <paramref name="since"/>, newest first: a walk through an index for
    /// each outcome, of which only the index is read, and then the rows that are the newest of all.
    /// </summary>
    public async Task<List<FoundRow>> PageAsync(Log log, IndexKey key, IReadOnlyList<short> outcomes, long since, Place behind, int limit, CancellationToken cancellationToken)
    {
        await using DbConnection connection = await ReadingAsync(cancellationToken);
        await using DbCommand command = Ask(connection, $"""
            SELECT r.id, r.time, r.record FROM ({Newest(key, outcomes)}) p JOIN {TableOf(log)} r ON r.id = p.id
            ORDER BY p.time DESC, p.id DESC
            """, key, outcomes, since, behind, limit);
        await using DbDataReader reader = await command.ExecuteReaderAsync(cancellationToken);
        List<FoundRow> found = [];
        while (await reader.ReadAsync(cancellationToken)) found.Add(new FoundRow(reader.GetInt64(0), reader.GetInt64(1), reader.GetFieldValue<byte[]>(2)));
        return found;
    }

    /// <summary>How many rows <see cref="PageAsync"/> would walk through, up to a limit.</summary>
    public async Task<long> CountAsync(IndexKey key, IReadOnlyList<short> outcomes, long since, Place behind, int limit, CancellationToken cancellationToken)
    {
        await using DbConnection connection = await ReadingAsync(cancellationToken);
        await using DbCommand command = Ask(connection, $"SELECT count(*) FROM ({Newest(key, outcomes)}) p", key, outcomes, since, behind, limit);
        return Convert.ToInt64(await command.ExecuteScalarAsync(cancellationToken), null);
    }

    /// <summary>One row.</summary>
    public async Task<FoundRow?> GetAsync(Log log, long id, CancellationToken cancellationToken)
    {
        await using DbConnection connection = await ReadingAsync(cancellationToken);
        await using DbCommand command = Command(connection, $"SELECT id, time, record FROM {TableOf(log)} WHERE id = @id", ("@id", id));
        await using DbDataReader reader = await command.ExecuteReaderAsync(cancellationToken);
        return await reader.ReadAsync(cancellationToken) ? new FoundRow(reader.GetInt64(0), reader.GetInt64(1), reader.GetFieldValue<byte[]>(2)) : null;
    }

    /// <summary>The secrets whose counts have changed since a stamp, or all of them where it is 0 or of another database.</summary>
    public async Task<UsageReply> UsageAsync(long since, CancellationToken cancellationToken)
    {
        await using DbConnection connection = await ReadingAsync(cancellationToken);
        UsageReply reply = new() { AsOf = await StampAsync(connection, cancellationToken) };
        await using DbCommand command = Command(connection, "SELECT namespace, secret, last_used, used, refused FROM secrets WHERE changed >= @since", ("@since", since > reply.AsOf ? 0 : since));
        await using DbDataReader reader = await command.ExecuteReaderAsync(cancellationToken);
        while (await reader.ReadAsync(cancellationToken))
        {
            reply.Secrets.Add(new SecretUsage
            {
                Namespace = reader.GetString(0),
                Secret = reader.GetString(1),
                LastUsed = reader.GetInt64(2),
                Used = (ulong)reader.GetInt64(3),
                Refused = (ulong)reader.GetInt64(4),
            });
        }

        return reply;
    }

    /// <summary>Deletes up to <paramref name="limit"/> rows from before a time; how many it were.</summary>
    public async Task<int> DeleteBeforeAsync(Log log, long time, int limit)
    {
        int deleted = 0;
        foreach (short outcome in Outcomes.All(log))
        {
            deleted += await DeleteAsync(log, $"SELECT id, time, outcome, record FROM {TableOf(log)} WHERE outcome = @outcome AND time < @before ORDER BY time, id LIMIT @limit",
                ("@outcome", outcome), ("@before", time), ("@limit", limit));
            if (deleted >= limit) break;
        }

        return deleted;
    }

    /// <summary>Deletes the rows that were stored first.</summary>
    public Task<int> DeleteFirstAsync(Log log, int limit) =>
        DeleteAsync(log, $"SELECT id, time, outcome, record FROM {TableOf(log)} ORDER BY id LIMIT @limit", ("@limit", limit));

    /// <summary>Forgets the positions that nobody resumes any more: of boots long gone, and all but the newest boots of a pod.</summary>
    public async Task ForgetPositionsAsync(long seenBefore)
    {
        await using Lease lease = await WritingAsync();
        await using DbCommand command = Command(lease.Connection, """
            DELETE FROM positions WHERE seen < @before OR (pod_uid, boot, log) IN (
              SELECT pod_uid, boot, log FROM (
                SELECT pod_uid, boot, log, row_number() OVER (PARTITION BY pod_uid, log ORDER BY seen DESC, boot) AS place FROM positions) ranked
              WHERE place > @most)
            """, ("@before", seenBefore), ("@most", MaxBoots));
        await command.ExecuteNonQueryAsync();
        lease.Succeeded();
    }

    /// <summary>About how many rows a log has; numbers are given in order, and the first ones go first.</summary>
    public async Task<long> RowsAsync(Log log, CancellationToken cancellationToken)
    {
        await using DbConnection connection = await ReadingAsync(cancellationToken);
        await using DbCommand command = Command(connection, $"SELECT coalesce((SELECT max(id) FROM {TableOf(log)}) - (SELECT min(id) FROM {TableOf(log)}) + 1, 0)");
        return Convert.ToInt64(await command.ExecuteScalarAsync(cancellationToken), null);
    }

    /// <summary>The bytes that the events take.</summary>
    public abstract Task<long> BytesAsync(CancellationToken cancellationToken);

    /// <inheritdoc />
    public abstract ValueTask DisposeAsync();

    /// <summary>A connection that nobody else writes with, until it is given back.</summary>
    protected abstract ValueTask<Lease> WritingAsync();

    /// <summary>Begins a transaction that writes.</summary>
    protected virtual async ValueTask<DbTransaction> BeginAsync(DbConnection connection) => await connection.BeginTransactionAsync();

    /// <summary>A connection to read with.</summary>
    protected abstract ValueTask<DbConnection> ReadingAsync(CancellationToken cancellationToken);

    /// <summary>The positions of numberings, in whose order they are locked until the transaction ends.</summary>
    protected abstract Task<Dictionary<Numbering, Position>> LockPositionsAsync(DbConnection connection, IReadOnlyList<Numbering> numberings);

    /// <summary>Numbers rows and stores them.</summary>
    protected abstract Task<long[]> InsertAsync(DbConnection connection, IReadOnlyList<NewRow> rows);

    /// <summary>Adds to the counts of secrets, in their order.</summary>
    protected abstract Task AddUsesAsync(DbConnection connection, IReadOnlyList<Use> uses);

    /// <summary>Remembers how far numberings are stored.</summary>
    protected abstract Task SavePositionsAsync(DbConnection connection, Dictionary<Numbering, Position> positions);

    /// <summary>Deletes rows by number, and their uses.</summary>
    protected abstract Task DeleteAsync(DbConnection connection, Log log, IReadOnlyList<long> ids, IReadOnlyList<(UseKeys Keys, short Outcome, long Time, long Id)> uses);

    /// <summary>From here on changes of counts come to be seen.</summary>
    protected abstract Task<long> StampAsync(DbConnection connection, CancellationToken cancellationToken);

    /// <summary>A command whose values are parameters.</summary>
    protected static DbCommand Command(DbConnection connection, string text, params ReadOnlySpan<(string Name, object Value)> parameters)
    {
        DbCommand command = connection.CreateCommand();
        command.CommandText = text;
        command.CommandTimeout = (int)StatementTimeout.TotalSeconds;
        foreach ((string name, object value) in parameters)
        {
            DbParameter parameter = command.CreateParameter();
            parameter.ParameterName = name;
            parameter.Value = value;
            command.Parameters.Add(parameter);
        }

        return command;
    }

    private static DbCommand Ask(DbConnection connection, string text, IndexKey key, IReadOnlyList<short> outcomes, long since, Place behind, int limit)
    {
        DbCommand command = Command(connection, text, ("@key", key.Value), ("@since", since), ("@time", behind.Time), ("@id", behind.Id), ("@limit", limit));
        for (int i = 0; i < outcomes.Count; i++)
        {
            DbParameter parameter = command.CreateParameter();
            parameter.ParameterName = $"@outcome{i}";
            parameter.Value = outcomes[i];
            command.Parameters.Add(parameter);
        }

        return command;
    }

    private static string Newest(IndexKey key, IReadOnlyList<short> outcomes)
    {
        string start = key.Column is null ? "" : $"{key.Column} = @key AND ";
        IEnumerable<string> walks = outcomes.Select((_, i) => $"""
            SELECT * FROM (SELECT time, id FROM {key.Table} WHERE {start}outcome = @outcome{i} AND time >= @since AND (time, id) < (@time, @id)
              ORDER BY time DESC, id DESC LIMIT @limit) w{i}
            """);
        return $"SELECT time, id FROM ({string.Join(" UNION ALL ", walks)}) u ORDER BY time DESC, id DESC LIMIT @limit";
    }

    private static IReadOnlyList<Numbering> InOrder(IEnumerable<Numbering> numberings) =>
        [.. numberings.Distinct().OrderBy(numbering => numbering.PodUid, StringComparer.Ordinal).ThenBy(numbering => numbering.Boot, StringComparer.Ordinal).ThenBy(numbering => numbering.Log)];

    private static IReadOnlyList<Use> UsesOf(IEnumerable<object> rows)
    {
        Dictionary<(string, string), Use> uses = [];
        foreach (RequestRow row in rows.OfType<RequestRow>())
        {
            foreach (string secret in row.Record.Uses.Select(use => use.Secret).Distinct())
            {
                if (!uses.TryGetValue((row.Origin.Namespace, secret), out Use? use))
                    uses.Add((row.Origin.Namespace, secret), use = new Use(row.Origin.Namespace, secret));
                long count = (long)Math.Max(row.Record.Count, 1);
                if (row.Record.Verdict == Verdict.Allowed)
                {
                    use.Used += count;
                    use.LastUsed = Math.Max(use.LastUsed, row.Record.Time);
                }
                else use.Refused += count;
            }
        }

        return [.. uses.Values.OrderBy(use => use.Namespace, StringComparer.Ordinal).ThenBy(use => use.Secret, StringComparer.Ordinal)];
    }

    private async Task<int> DeleteAsync(Log log, string which, params (string Name, object Value)[] parameters)
    {
        await using Lease lease = await WritingAsync();
        await using DbTransaction transaction = await BeginAsync(lease.Connection);
        List<long> ids = [];
        List<(UseKeys, short, long, long)> uses = [];
        await using (DbCommand command = Command(lease.Connection, which, parameters))
        await using (DbDataReader reader = await command.ExecuteReaderAsync())
        {
            while (await reader.ReadAsync())
            {
                long id = reader.GetInt64(0);
                ids.Add(id);
                if (log != Log.Requests) continue;
                foreach (UseKeys keys in NewRow.UsesOf(RequestRow.Parser.ParseFrom(reader.GetFieldValue<byte[]>(3)))) uses.Add((keys, reader.GetInt16(2), reader.GetInt64(1), id));
            }
        }

        if (ids.Count > 0) await DeleteAsync(lease.Connection, log, ids, uses);
        await transaction.CommitAsync();
        lease.Succeeded();
        return ids.Count;
    }

    /// <summary>A connection that was lent. One with which something failed is not used again.</summary>
    protected sealed class Lease(DbConnection connection, Func<bool, ValueTask> giveBack) : IAsyncDisposable
    {
        private bool _hasSucceeded;

        public DbConnection Connection => connection;

        public void Succeeded() => _hasSucceeded = true;

        public ValueTask DisposeAsync() => giveBack(_hasSucceeded);
    }
}
