using Superserve.Testing;

namespace Superserve.Audit.Tests.Fixture;

/// <summary>A server that a class of tests shares.</summary>
public sealed class PostgresFixture : PostgresServer, IAsyncLifetime;
