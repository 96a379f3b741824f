using Superserve.Audit.Storing;

namespace Superserve.Audit.Tests.Fixture;

/// <summary>One of the two databases, empty, and what a test may do to it.</summary>
internal abstract class Engine : IAsyncDisposable
{
    private readonly List<EventStore> _stores = [];

    /// <summary>The options that name it.</summary>
    public abstract AuditOptions Options { get; }

    /// <summary>An opened store, as one replica has it.</summary>
    public async Task<EventStore> OpenAsync(TimeProvider? time = null, IReadOnlyList<string>? migrations = null)
    {
        EventStore store = Make(time ?? TimeProvider.System, migrations);
        _stores.Add(store);
        await store.OpenAsync(CancellationToken.None);
        return store;
    }

    /// <summary>A store that has not been opened.</summary>
    public abstract EventStore Make(TimeProvider time, IReadOnlyList<string>? migrations = null);

    /// <summary>The schema's steps.</summary>
    public abstract IReadOnlyList<string> Migrations { get; }

    public virtual async ValueTask DisposeAsync()
    {
        foreach (EventStore store in _stores) await store.DisposeAsync();
    }
}

internal sealed class SqliteEngine(long maxBytes = 1L << 30) : Engine
{
    private readonly string _directory = Directory.CreateTempSubdirectory("audit-sqlite-").FullName;

    public override AuditOptions Options => new() { SqliteFile = Path.Combine(_directory, "audit.db"), MaxBytes = maxBytes };

    public override IReadOnlyList<string> Migrations => Storing.Migrations.Sqlite;

    public override EventStore Make(TimeProvider time, IReadOnlyList<string>? migrations = null) => new SqliteStore(Options.SqliteFile!, maxBytes, time, migrations);

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }
}

internal sealed class PostgresEngine(string connectionStringFile) : Engine
{
    public override AuditOptions Options => new() { SqliteFile = null, PostgresConnectionStringFile = connectionStringFile };

    public override IReadOnlyList<string> Migrations => Storing.Migrations.Postgres;

    public override EventStore Make(TimeProvider time, IReadOnlyList<string>? migrations = null) => new PostgresStore(connectionStringFile, time, migrations);
}
