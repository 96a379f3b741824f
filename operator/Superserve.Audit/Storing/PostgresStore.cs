using System.Data.Common;
using Npgsql;
using NpgsqlTypes;
using Superserve.Audit.Ingest;
using Superserve.Protocol.Audit;

namespace Superserve.Audit.Storing;

/// <summary>
/// PostgreSQL, with as many replicas as one likes: positions and counts are locked in one order, rows go in by binary COPY. The connection
/// string is read from its file again after every failure to connect, so that a changed password is found.
/// </summary>
internal sealed class PostgresStore(string connectionStringFile, TimeProvider time, IReadOnlyList<string>? migrations = null) : EventStore
{
    /// <summary>What the indexes and the row's own head take beside its message, as measured.</summary>
    private const long BytesBesideRecord = 760;

    /// <summary>"superserv", for the advisory lock of migrations.</summary>
    private const long MigrationLock = 0x73757065727365;

    private readonly Lock _gate = new();
    private NpgsqlDataSource? _source;

    /// <inheritdoc />
    public override async Task OpenAsync(CancellationToken cancellationToken)
    {
        await using NpgsqlConnection connection = await ConnectAsync(cancellationToken);
        await Migrations.ApplyAsync(connection, migrations ?? Migrations.Postgres, $"SELECT pg_advisory_xact_lock({MigrationLock})", cancellationToken);
    }

    /// <summary>
    /// An estimate: what a table occupies does not shrink when rows are deleted, and so says nothing of how many more have to be. It is the
    /// number of rows times what the newest of them take on average.
    /// </summary>
    public override async Task<long> BytesAsync(CancellationToken cancellationToken)
    {
        long bytes = 0;
        foreach (Log log in (Log[])[Log.Requests, Log.Network])
        {
            long rows = await RowsAsync(log, cancellationToken);
            await using DbConnection connection = await ReadingAsync(cancellationToken);
            await using DbCommand command = Command(connection, $"SELECT coalesce(avg(octet_length(record)), 0)::bigint FROM (SELECT record FROM {TableOf(log)} ORDER BY id DESC LIMIT 1000) newest");
            bytes += rows * (Convert.ToInt64(await command.ExecuteScalarAsync(cancellationToken), null) + BytesBesideRecord);
        }

        return bytes;
    }

    /// <inheritdoc />
    public override async ValueTask DisposeAsync()
    {
        if (_source is not null) await _source.DisposeAsync();
    }

    /// <inheritdoc />
    protected override async ValueTask<Lease> WritingAsync()
    {
        NpgsqlConnection connection = await ConnectAsync(CancellationToken.None);
        return new Lease(connection, async _ => await connection.DisposeAsync());
    }

    /// <inheritdoc />
    protected override async ValueTask<DbConnection> ReadingAsync(CancellationToken cancellationToken) => await ConnectAsync(cancellationToken);

    /// <inheritdoc />
    protected override async Task<Dictionary<Numbering, Position>> LockPositionsAsync(DbConnection connection, IReadOnlyList<Numbering> numberings)
    {
        // The row is there and locked then, whether it was there before or not; whoever comes second sees what the first one wrote.
        await using NpgsqlCommand command = Batch(connection, """
            INSERT INTO positions AS p SELECT u.pod_uid, u.boot, u.log, 0, 0, @seen FROM unnest(@pods, @boots, @logs) WITH ORDINALITY AS u (pod_uid, boot, log, place) ORDER BY place
            ON CONFLICT (pod_uid, boot, log) DO UPDATE SET seen = excluded.seen
            RETURNING p.pod_uid, p.boot, p.log, p.sequence, p.overflowed
            """, numberings);
        command.Parameters.AddWithValue("seen", time.GetUtcNow().ToUnixTimeSeconds());
        await using NpgsqlDataReader reader = await command.ExecuteReaderAsync();
        Dictionary<Numbering, Position> positions = [];
        while (await reader.ReadAsync())
            positions.Add(new Numbering(reader.GetString(0), reader.GetString(1), (Log)reader.GetInt16(2)), new Position(reader.GetInt64(3), reader.GetInt64(4)));
        return positions;
    }

    /// <inheritdoc />
    protected override async Task<long[]> InsertAsync(DbConnection connection, IReadOnlyList<NewRow> rows)
    {
        long[] ids = new long[rows.Count];
        foreach (Log log in (Log[])[Log.Requests, Log.Network])
        {
            int[] which = [.. Enumerable.Range(0, rows.Count).Where(i => rows[i].Row is RequestRow == (log == Log.Requests))];
            if (which.Length == 0) continue;
            await using NpgsqlCommand number = New(connection, $"SELECT array_agg(nextval('{TableOf(log)}_ids')) FROM generate_series(1, @count)");
            number.Parameters.AddWithValue("count", which.Length);
            long[] numbers = (long[])(await number.ExecuteScalarAsync())!;
            Array.Sort(numbers);
            for (int i = 0; i < which.Length; i++) ids[which[i]] = numbers[i];
            await CopyRowsAsync((NpgsqlConnection)connection, log, [.. which.Select(i => (ids[i], rows[i]))]);
        }

        if (rows.Any(row => row.Uses.Count > 0)) await CopyUsesAsync((NpgsqlConnection)connection, rows, ids);
        return ids;
    }

    /// <inheritdoc />
    protected override async Task AddUsesAsync(DbConnection connection, IReadOnlyList<Use> uses)
    {
        if (uses.Count == 0) return;
        await using NpgsqlCommand command = New(connection, """
            INSERT INTO secrets SELECT n.namespace, n.secret, n.last_used, n.used, n.refused, pg_current_xact_id()::text::bigint
            FROM (SELECT * FROM unnest(@namespaces, @secrets, @last_used, @used, @refused) WITH ORDINALITY AS u (namespace, secret, last_used, used, refused, place) ORDER BY place) n
            """ + "\n" + AddUse);
        command.Parameters.AddWithValue("namespaces", uses.Select(use => use.Namespace).ToArray());
        command.Parameters.AddWithValue("secrets", uses.Select(use => use.Secret).ToArray());
        command.Parameters.AddWithValue("last_used", uses.Select(use => use.LastUsed).ToArray());
        command.Parameters.AddWithValue("used", uses.Select(use => use.Used).ToArray());
        command.Parameters.AddWithValue("refused", uses.Select(use => use.Refused).ToArray());
        await command.ExecuteNonQueryAsync();
    }

    /// <inheritdoc />
    protected override async Task SavePositionsAsync(DbConnection connection, Dictionary<Numbering, Position> positions)
    {
        await using NpgsqlCommand command = Batch(connection, """
            UPDATE positions p SET sequence = u.sequence, overflowed = u.overflowed FROM unnest(@pods, @boots, @logs, @sequences, @overflowed) AS u (pod_uid, boot, log, sequence, overflowed)
            WHERE p.pod_uid = u.pod_uid AND p.boot = u.boot AND p.log = u.log
            """, [.. positions.Keys]);
        command.Parameters.AddWithValue("sequences", positions.Values.Select(position => position.Sequence).ToArray());
        command.Parameters.AddWithValue("overflowed", positions.Values.Select(position => position.Overflowed).ToArray());
        await command.ExecuteNonQueryAsync();
    }

    /// <inheritdoc />
    protected override async Task DeleteAsync(DbConnection connection, Log log, IReadOnlyList<long> ids, IReadOnlyList<(UseKeys Keys, short Outcome, long Time, long Id)> uses)
    {
        await using NpgsqlCommand rows = New(connection, $"DELETE FROM {TableOf(log)} WHERE id = ANY (@ids)");
        rows.Parameters.AddWithValue("ids", ids.ToArray());
        await rows.ExecuteNonQueryAsync();
        if (uses.Count == 0) return;
        await using NpgsqlCommand command = New(connection, """
            DELETE FROM request_uses r USING unnest(@secrets, @outcomes, @times, @ids) AS u (namespace_secret, outcome, time, id)
            WHERE r.namespace_secret = u.namespace_secret AND r.outcome = u.outcome AND r.time = u.time AND r.id = u.id
            """);
        command.Parameters.AddWithValue("secrets", uses.Select(use => use.Keys.NamespaceSecret).ToArray());
        command.Parameters.AddWithValue("outcomes", uses.Select(use => use.Outcome).ToArray());
        command.Parameters.AddWithValue("times", uses.Select(use => use.Time).ToArray());
        command.Parameters.AddWithValue("ids", uses.Select(use => use.Id).ToArray());
        await command.ExecuteNonQueryAsync();
    }

    /// <inheritdoc />
    protected override async Task<long> StampAsync(DbConnection connection, CancellationToken cancellationToken)
    {
        // Of transactions that are under way now, none is before it: what they change is told next time.
        await using DbCommand command = Command(connection, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint");
        return Convert.ToInt64(await command.ExecuteScalarAsync(cancellationToken), null);
    }

    private static async Task CopyRowsAsync(NpgsqlConnection connection, Log log, IReadOnlyList<(long Id, NewRow Row)> rows)
    {
        await using NpgsqlBinaryImporter copy = await connection.BeginBinaryImportAsync(
            $"COPY {TableOf(log)} (id, time, namespace, pod, namespace_pod, host, namespace_host, outcome, record) FROM STDIN (FORMAT BINARY)");
        copy.Timeout = WriteTimeout;
        foreach ((long id, NewRow row) in rows)
        {
            await copy.StartRowAsync();
            foreach (long number in (ReadOnlySpan<long>)[id, row.Time, row.Namespace, row.Pod, row.NamespacePod, row.Host, row.NamespaceHost]) copy.Write(number, NpgsqlDbType.Bigint);
            await copy.WriteAsync(row.Outcome, NpgsqlDbType.Smallint);
            await copy.WriteAsync(row.Bytes, NpgsqlDbType.Bytea);
        }

        await copy.CompleteAsync();
    }

    private static async Task CopyUsesAsync(NpgsqlConnection connection, IReadOnlyList<NewRow> rows, long[] ids)
    {
        await using NpgsqlBinaryImporter copy = await connection.BeginBinaryImportAsync("COPY request_uses (namespace_secret, secret, time, id, outcome) FROM STDIN (FORMAT BINARY)");
        copy.Timeout = WriteTimeout;
        for (int i = 0; i < rows.Count; i++)
        {
            foreach (UseKeys use in rows[i].Uses)
            {
                await copy.StartRowAsync();
                await copy.WriteAsync(use.NamespaceSecret, NpgsqlDbType.Bigint);
                await copy.WriteAsync(use.Secret, NpgsqlDbType.Bigint);
                await copy.WriteAsync(rows[i].Time, NpgsqlDbType.Bigint);
                await copy.WriteAsync(ids[i], NpgsqlDbType.Bigint);
                await copy.WriteAsync(rows[i].Outcome, NpgsqlDbType.Smallint);
            }
        }

        await copy.CompleteAsync();
    }

    private static NpgsqlCommand Batch(DbConnection connection, string text, IReadOnlyList<Numbering> numberings)
    {
        NpgsqlCommand command = New(connection, text);
        command.Parameters.AddWithValue("pods", numberings.Select(numbering => numbering.PodUid).ToArray());
        command.Parameters.AddWithValue("boots", numberings.Select(numbering => numbering.Boot).ToArray());
        command.Parameters.AddWithValue("logs", numberings.Select(numbering => (short)numbering.Log).ToArray());
        return command;
    }

    private static NpgsqlCommand New(DbConnection connection, string text) =>
        new(text, (NpgsqlConnection)connection) { CommandTimeout = (int)WriteTimeout.TotalSeconds };

    private async Task<NpgsqlConnection> ConnectAsync(CancellationToken cancellationToken)
    {
        NpgsqlDataSource source = Source();
        try
        {
            return await source.OpenConnectionAsync(cancellationToken);
        }
        catch (NpgsqlException)
        {
            // The next one reads the file again. Who has a connection of the old source keeps it.
            lock (_gate)
            {
                if (_source == source) _source = null;
            }

            await source.DisposeAsync();
            throw;
        }
    }

    private NpgsqlDataSource Source()
    {
        lock (_gate)
        {
            if (_source is not null) return _source;
            NpgsqlConnectionStringBuilder connection;
            try
            {
                connection = new NpgsqlConnectionStringBuilder(File.ReadAllText(connectionStringFile).Trim())
                {
                    ApplicationName = "superserve-audit",
                    // Errors that quote rows would show them in the log.
                    IncludeErrorDetail = false,
                };
            }
            catch (Exception exception) when (exception is ArgumentException or IOException or UnauthorizedAccessException)
            {
                // Its words may quote the password.
                throw new SchemaException($"{connectionStringFile} holds no connection string that can be used ({exception.GetType().Name}): write one as Host=…;Username=…;Password=…;Database=…");
            }

            if (connection.MaxPoolSize > 20) connection.MaxPoolSize = 20;
            return _source = NpgsqlDataSource.Create(connection);
        }
    }
}
