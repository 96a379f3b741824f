using Google.Protobuf;
using Grpc.Core;
using Superserve.Audit.Storing;
using Superserve.Audit.Tests.Fixture;
using Superserve.Protocol.Audit;
using Superserve.Testing;

namespace Superserve.Audit.Tests;

/// <summary>PostgreSQL that is stopped, comes back, or does not let the service in.</summary>
public sealed class DatabaseAwayTests
{
    [Fact]
    public async Task While_the_database_is_away_nothing_is_acknowledged_and_afterwards_everything_is_there_once()
    {
        await using PostgresServer server = new();
        await server.InitializeAsync();
        await using Service service = await Service.StartAsync(new AuditOptions { SqliteFile = null, PostgresConnectionStringFile = await server.CreateAsync() });
        AuditService.AuditServiceClient client = service.Client();
        ByteString boot = Some.Boot();
        long now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() * 1000;
        using CancellationTokenSource ends = new();
        ulong acknowledged = 0;
        int failed = 0;
        // A sidecar: it sends the next batch when the one before is acknowledged, and else the same one again.
        Task sending = Task.Run(async () =>
        {
            while (!ends.IsCancellationRequested)
            {
                try
                {
                    Receipt receipt = await client.RecordAsync(Some.Batch(boot, acknowledged + 1, Enumerable.Range(0, 20).Select(_ => Some.Request(now))), Service.Token("agent-1"));
                    Assert.Equal(acknowledged + 20, receipt.StoredSequence);
                    acknowledged = receipt.StoredSequence;
                }
                catch (RpcException exception)
                {
                    Assert.Equal(StatusCode.Unavailable, exception.StatusCode);
                    failed++;
                }
            }
        });
        await Eventually.True(() => acknowledged >= 200, "events are stored");
        await server.StopAsync();
        await Eventually.True(() => failed >= 3, "calls fail");
        ulong before = acknowledged;
        await Eventually.True(() => service.Get(service.Options.HealthPort, "/readyz").StartsWith("503 PostgreSQL", StringComparison.Ordinal), "the service says so");
        Assert.Equal(before, acknowledged);
        await server.StartAsync();
        await Eventually.True(() => acknowledged >= before + 200, "events are stored again");
        await Eventually.True(() => service.Get(service.Options.HealthPort, "/readyz") == "200 ok\n", "the service is ready again");
        await ends.CancelAsync();
        await sending;
        UsageReply usage = await client.UsageAsync(new UsageRequest(), Service.Token("operator"));
        Assert.Equal(acknowledged, Assert.Single(usage.Secrets).Used);
    }

    [Fact]
    public async Task A_service_that_starts_before_its_database_becomes_ready_with_it()
    {
        await using PostgresServer server = new();
        await server.InitializeAsync();
        string file = await server.CreateAsync();
        await server.StopAsync();
        await using Service service = await Service.StartAsync(new AuditOptions { SqliteFile = null, PostgresConnectionStringFile = file }, waits: false);
        await Eventually.True(() => service.Get(service.Options.HealthPort, "/readyz").Contains("PostgreSQL cannot be reached", StringComparison.Ordinal), "the service says what is missing");
        await server.StartAsync();
        await Eventually.True(() => service.Get(service.Options.HealthPort, "/readyz") == "200 ok\n", "the service is ready");
    }

    [Fact]
    public async Task A_changed_password_is_read_again()
    {
        await using PostgresServer server = new();
        await server.InitializeAsync();
        string file = await server.CreateAsync();
        string right = await File.ReadAllTextAsync(file);
        await File.WriteAllTextAsync(file, right.Replace("Password=right", "Password=wrong-word", StringComparison.Ordinal));
        await using PostgresStore store = new(file, TimeProvider.System);
        Npgsql.NpgsqlException refused = await Assert.ThrowsAnyAsync<Npgsql.NpgsqlException>(() => store.OpenAsync(default));
        Assert.Contains("28P01", EventStore.Describe(refused), StringComparison.Ordinal);
        Assert.DoesNotContain("wrong-word", EventStore.Describe(refused), StringComparison.Ordinal);
        await File.WriteAllTextAsync(file, right);
        await store.OpenAsync(default);

        await File.WriteAllTextAsync(file, "Host=;;Passphrase=wrong-word");
        await using PostgresStore unreadable = new(file, TimeProvider.System);
        SchemaException bad = await Assert.ThrowsAsync<SchemaException>(() => unreadable.OpenAsync(default));
        Assert.Contains("holds no connection string", bad.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("wrong-word", bad.ToString(), StringComparison.Ordinal);
    }
}
