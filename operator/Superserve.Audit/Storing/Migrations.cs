using System.Data.Common;
using System.Globalization;

namespace Superserve.Audit.Storing;

/// <summary>The database cannot be used by this version.</summary>
internal sealed class SchemaException(string message) : Exception(message);

/// <summary>
/// The schema, as numbered steps. Each is applied once, in the transaction that notes it. A step that has been released is never
/// changed: another one follows it.
/// </summary>
internal static class Migrations
{
    /// <summary>What all engines have alike.</summary>
    private const string Shared = """
        CREATE TABLE positions (
          pod_uid text NOT NULL, boot text NOT NULL, log smallint NOT NULL,
          sequence bigint NOT NULL, overflowed bigint NOT NULL, seen bigint NOT NULL,
          PRIMARY KEY (pod_uid, boot, log));
        CREATE TABLE secrets (
          namespace text NOT NULL, secret text NOT NULL,
          last_used bigint NOT NULL, used bigint NOT NULL, refused bigint NOT NULL, changed bigint NOT NULL,
          PRIMARY KEY (namespace, secret));
        CREATE INDEX secrets_changed ON secrets (changed);
        """;

    /// <summary>SQLite's. An index ends with the row's number by itself.</summary>
    public static IReadOnlyList<string> Sqlite { get; } =
    [
        Shared + """
        CREATE TABLE counters (name text PRIMARY KEY, value bigint NOT NULL) WITHOUT ROWID;
        INSERT INTO counters VALUES ('requests', 0), ('network', 0), ('changes', 0);
        CREATE TABLE requests (
          id integer PRIMARY KEY, time bigint NOT NULL, outcome smallint NOT NULL,
          namespace bigint NOT NULL, pod bigint NOT NULL, namespace_pod bigint NOT NULL, host bigint NOT NULL, namespace_host bigint NOT NULL,
          record blob NOT NULL);
        CREATE INDEX requests_all ON requests (outcome, time);
        CREATE INDEX requests_namespace ON requests (namespace, outcome, time);
        CREATE INDEX requests_pod ON requests (pod, outcome, time);
        CREATE INDEX requests_namespace_pod ON requests (namespace_pod, outcome, time);
        CREATE INDEX requests_host ON requests (host, outcome, time);
        CREATE INDEX requests_namespace_host ON requests (namespace_host, outcome, time);
        CREATE TABLE request_uses (
          namespace_secret bigint NOT NULL, outcome smallint NOT NULL, time bigint NOT NULL, id bigint NOT NULL, secret bigint NOT NULL,
          PRIMARY KEY (namespace_secret, outcome, time, id)) WITHOUT ROWID;
        CREATE INDEX request_uses_secret ON request_uses (secret, outcome, time, id);
        CREATE TABLE network (
          id integer PRIMARY KEY, time bigint NOT NULL, outcome smallint NOT NULL,
          namespace bigint NOT NULL, pod bigint NOT NULL, namespace_pod bigint NOT NULL, host bigint NOT NULL, namespace_host bigint NOT NULL,
          record blob NOT NULL);
        CREATE INDEX network_all ON network (outcome, time);
        CREATE INDEX network_namespace ON network (namespace, outcome, time);
        CREATE INDEX network_pod ON network (pod, outcome, time);
        CREATE INDEX network_namespace_pod ON network (namespace_pod, outcome, time);
        CREATE INDEX network_host ON network (host, outcome, time);
        CREATE INDEX network_namespace_host ON network (namespace_host, outcome, time);
        """,
    ];

    /// <summary>PostgreSQL's. Space is to be used again soon after rows are deleted, and pages known as visible to all, for walks through indexes alone.</summary>
    public static IReadOnlyList<string> Postgres { get; } =
    [
        Shared + """
        CREATE SEQUENCE requests_ids;
        CREATE SEQUENCE network_ids;
        CREATE TABLE requests (
          id bigint NOT NULL, time bigint NOT NULL,
          namespace bigint NOT NULL, pod bigint NOT NULL, namespace_pod bigint NOT NULL, host bigint NOT NULL, namespace_host bigint NOT NULL,
          outcome smallint NOT NULL, record bytea NOT NULL,
          PRIMARY KEY (id)) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
        CREATE INDEX requests_all ON requests (outcome, time, id);
        CREATE INDEX requests_namespace ON requests (namespace, outcome, time, id);
        CREATE INDEX requests_pod ON requests (pod, outcome, time, id);
        CREATE INDEX requests_namespace_pod ON requests (namespace_pod, outcome, time, id);
        CREATE INDEX requests_host ON requests (host, outcome, time, id);
        CREATE INDEX requests_namespace_host ON requests (namespace_host, outcome, time, id);
        CREATE TABLE request_uses (
          namespace_secret bigint NOT NULL, secret bigint NOT NULL, time bigint NOT NULL, id bigint NOT NULL, outcome smallint NOT NULL,
          PRIMARY KEY (namespace_secret, outcome, time, id)) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
        CREATE INDEX request_uses_secret ON request_uses (secret, outcome, time, id);
        CREATE TABLE network (
          id bigint NOT NULL, time bigint NOT NULL,
          namespace bigint NOT NULL, pod bigint NOT NULL, namespace_pod bigint NOT NULL, host bigint NOT NULL, namespace_host bigint NOT NULL,
          outcome smallint NOT NULL, record bytea NOT NULL,
          PRIMARY KEY (id)) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
        CREATE INDEX network_all ON network (outcome, time, id);
        CREATE INDEX network_namespace ON network (namespace, outcome, time, id);
        CREATE INDEX network_pod ON network (pod, outcome, time, id);
        CREATE INDEX network_namespace_pod ON network (namespace_pod, outcome, time, id);
        CREATE INDEX network_host ON network (host, outcome, time, id);
        CREATE INDEX network_namespace_host ON network (namespace_host, outcome, time, id);
        """,
    ];

    /// <summary>Applies what is missing, in a transaction that keeps other replicas out.</summary>
    /// <exception cref="SchemaException">A newer version has been here.</exception>
    public static async Task ApplyAsync(DbConnection connection, IReadOnlyList<string> steps, string? lockStatement, CancellationToken cancellationToken)
    {
        await using DbTransaction transaction = await connection.BeginTransactionAsync(cancellationToken);
        if (lockStatement is not null) await RunAsync(lockStatement);
        await RunAsync("CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY)");
        await using DbCommand ask = connection.CreateCommand();
        ask.CommandText = "SELECT coalesce(max(number), 0) FROM migrations";
        int applied = Convert.ToInt32(await ask.ExecuteScalarAsync(cancellationToken), CultureInfo.InvariantCulture);
        if (applied > steps.Count)
            throw new SchemaException($"the database has the schema {applied} of a newer version, and this one knows {steps.Count}: run the newer version, or give this one another database");
        for (int number = applied + 1; number <= steps.Count; number++)
        {
            await RunAsync(steps[number - 1]);
            await RunAsync(string.Create(CultureInfo.InvariantCulture, $"INSERT INTO migrations (number) VALUES ({number})"));
        }

        await transaction.CommitAsync(cancellationToken);

        async Task RunAsync(string text)
        {
            await using DbCommand command = connection.CreateCommand();
            command.CommandText = text;
            // A later step may have to go through millions of rows.
            command.CommandTimeout = 0;
            await command.ExecuteNonQueryAsync(cancellationToken);
        }
    }
}
