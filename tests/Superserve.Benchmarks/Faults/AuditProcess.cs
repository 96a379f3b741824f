using System.Diagnostics;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Grpc.Core;
using Grpc.Net.Client;
using Superserve.Protocol.Audit;
using Superserve.Testing;

namespace Superserve.Benchmarks.Faults;

/// <summary>The audit service as a process, with the certificate that the operator keeps for it, and the operator's way of asking it.</summary>
internal sealed class AuditProcess(BenchCluster cluster, string directory) : IAsyncDisposable
{
    private Process? _process;
    private string _token = "";

    public int Port { get; } = FreePort.Next();

    public int HealthPort { get; } = FreePort.Next();

    public int MetricsPort { get; } = FreePort.Next();

    /// <summary>A small file system that SQLite is on and that this process alone sees, in bytes; null for a folder.</summary>
    public long? VolumeSize { get; init; }

    /// <summary>A PostgreSQL database in place of SQLite.</summary>
    public string? ConnectionStringFile { get; init; }

    public MovableClock? Clock { get; init; }

    /// <summary>Where SQLite's volume is for others, while the process runs.</summary>
    public string Volume => VolumeSize is null ? Store : $"/proc/{_process!.Id}/root{Store}";

    private string Store => Path.Combine(directory, "store");

    private string Config => Path.Combine(directory, "audit.json");

    public async Task PrepareAsync()
    {
        string certificates = Directory.CreateDirectory(Path.Combine(directory, "audit-serving")).FullName;
        Directory.CreateDirectory(Store);
        JsonNode? data = null;
        await BenchCluster.UntilAsync("the operator keeps a certificate for the audit service", async () =>
        {
            Outcome outcome = await cluster.Kubectl.TryAsync("", "get", "secret", "superserve-audit-serving", "-n", "superserve-system", "-o", "json");
            data = outcome.Status == 0 ? JsonNode.Parse(outcome.Output)!["data"] : null;
            return data is not null;
        });
        foreach (string entry in (string[])["tls.crt", "tls.key", "ca.crt"])
            await File.WriteAllBytesAsync(Path.Combine(certificates, entry), Convert.FromBase64String((string)data![entry]!));
        JsonObject options = JsonNode.Parse(await cluster.Kubectl.RunAsync("get", "configmap", "superserve-audit", "-n", "superserve-system", "-o", "jsonpath={.data.audit\\.json}"))!.AsObject();
        options["listenAddress"] = "127.0.0.1";
        options["port"] = Port;
        options["healthPort"] = HealthPort;
        options["metricsPort"] = MetricsPort;
        options["certificateDirectory"] = certificates;
        options["sqliteFile"] = ConnectionStringFile is null ? Path.Combine(Store, "audit.db") : null;
        options["postgresConnectionStringFile"] = ConnectionStringFile;
        await File.WriteAllTextAsync(Config, options.ToJsonString());
        _token = await cluster.Kubectl.RunAsync(
            "create", "token", "superserve-operator", "-n", "superserve-system", "--audience=superserve.ai", "--duration=2h", "--bound-object-kind=Pod", "--bound-object-name=superserve-operator");
    }

    /// <summary>Starts it and waits until it is ready.</summary>
    public Task StartAsync()
    {
        Start();
        return ReadyAsync();
    }

    public void Start()
    {
        string[] program = ["dotnet", "exec", Path.Combine(AppContext.BaseDirectory, "superserve-operator.dll"), "audit", "--config", Config, "--kubeconfig", cluster.Kubeconfig];
        string[] own = VolumeSize is null ? [] : ["unshare", .. Environment.IsPrivilegedProcess ? (string[])[] : ["--map-root-user"], "--mount", "sh", "-c", $"mount -t tmpfs -o size={VolumeSize} tmpfs {Store} && exec \"$@\"", "sh"];
        ProcessStartInfo start = new("sh", ["-c", $"exec \"$@\" >>{Path.Combine(directory, "audit.log")} 2>&1", "sh", .. own, .. program]);
        Clock?.Give(start);
        _process = Process.Start(start)!;
    }

    public Task ReadyAsync() =>
        BenchCluster.UntilAsync("the audit service is ready", () =>
            _process!.HasExited ? throw new InvalidOperationException($"The audit service ended with {_process.ExitCode}:\n{File.ReadAllText(Path.Combine(directory, "audit.log"))}") : Figures.IsReadyAsync(HealthPort));

    /// <summary>SIGKILL.</summary>
    public async Task KillAsync()
    {
        if (_process is null) return;
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        _process = null;
    }

    /// <summary>All rows of a log.</summary>
    public async Task<ListReply> ListAsync(Log log)
    {
        X509ChainPolicy policy = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.ImportFromPemFile(Path.Combine(directory, "audit-serving", "ca.crt"));
        SocketsHttpHandler handler = new() { UseProxy = false, SslOptions = { CertificateChainPolicy = policy } };
        using GrpcChannel channel = GrpcChannel.ForAddress($"https://localhost:{Port}", new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true, MaxReceiveMessageSize = null });
        AuditService.AuditServiceClient client = new(channel);
        ListRequest request = new() { Log = log, Namespace = BenchCluster.Namespace };
        ListReply all = new();
        do
        {
            ListReply page = await client.ListAsync(request, new Metadata { { "authorization", $"Bearer {_token}" } });
            all.Requests.Add(page.Requests);
            all.Network.Add(page.Network);
            request.Continue = page.Continue;
        }
        while (!request.Continue.IsEmpty);
        return all;
    }

    public async ValueTask DisposeAsync() => await KillAsync();
}
