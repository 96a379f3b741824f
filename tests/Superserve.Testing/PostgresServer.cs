using System.Diagnostics;

namespace Superserve.Testing;

/// <summary>A PostgreSQL server of the tests' own, from Debian's package, as a user without rights, on loopback.</summary>
public class PostgresServer : IAsyncDisposable
{
    private static readonly string Programs = Directory.GetDirectories("/usr/lib/postgresql").Order(StringComparer.Ordinal).Last() + "/bin";

    private readonly string _directory = Directory.CreateTempSubdirectory("audit-postgres-").FullName;
    private readonly int _port = FreePort.Next();
    private int _databases;

    /// <summary>Settings of the server beside the tests' own, each <c>name=value</c>.</summary>
    public string[] Settings { get; init; } = ["max_wal_size=256MB"];

    /// <summary>How to reach a database of it.</summary>
    public string ConnectionString(string database, string user = "audit", string password = "right") =>
        $"Host=127.0.0.1;Port={_port};Username={user};Password={password};Database={database};Timeout=5";

    public async ValueTask InitializeAsync()
    {
        await RunAsync("/bin/sh", "-c", $"chmod 755 '{_directory}' && mkdir '{_directory}/data' && {(Environment.IsPrivilegedProcess ? $"chown nobody '{_directory}/data'" : "true")}");
        await File.WriteAllTextAsync(Path.Combine(_directory, "password"), "right\n");
        await AsOwnerAsync("initdb", "-D", $"{_directory}/data", "-U", "audit", "--pwfile", $"{_directory}/password", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--no-locale");
        await StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        await StopAsync();
        Directory.Delete(_directory, recursive: true);
    }

    public Task StartAsync() => AsOwnerAsync("pg_ctl", "-D", $"{_directory}/data", "-w", "-t", "60", "-l", $"{_directory}/data/log", "-o",
        $"-p {_port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= {string.Join(' ', Settings.Select(setting => $"-c {setting}"))}", "start");

    public Task StopAsync() => AsOwnerAsync("pg_ctl", "-D", $"{_directory}/data", "-w", "-m", "immediate", "stop");

    /// <summary>An empty database, as a file with its connection string.</summary>
    public async Task<string> CreateAsync()
    {
        string name = $"audit{Interlocked.Increment(ref _databases)}";
        await ExecuteAsync($"CREATE DATABASE {name}");
        string file = Path.Combine(_directory, name);
        await File.WriteAllTextAsync(file, ConnectionString(name) + "\n");
        return file;
    }

    /// <summary>Runs a statement as the owner of everything.</summary>
    public Task ExecuteAsync(string statement, string database = "postgres") =>
        RunAsync("env", "PGPASSWORD=right", $"{Programs}/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", $"{_port}", "-U", "audit", "-d", database, "-c", statement);

    private static Task AsOwnerAsync(string program, params string[] arguments) =>
        Environment.IsPrivilegedProcess
            ? RunAsync("setpriv", ["--reuid=nobody", "--regid=nogroup", "--clear-groups", $"{Programs}/{program}", .. arguments])
            : RunAsync($"{Programs}/{program}", arguments);

    private static async Task RunAsync(string program, params string[] arguments)
    {
        // The server that pg_ctl starts keeps what it is given open: nothing is read from it.
        using Process process = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh", program, .. arguments]) { WorkingDirectory = "/" })!;
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)}: status {process.ExitCode}");
    }
}
