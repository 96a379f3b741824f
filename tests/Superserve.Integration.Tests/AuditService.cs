using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Superserve.Protocol.Audit;
using Superserve.Testing;
using Client = Superserve.Protocol.Audit.AuditService.AuditServiceClient;

namespace Superserve.Integration.Tests;

/// <summary>
/// The audit service that the operator of the tests asks, with the certificate that the operator keeps for it, and a sidecar's way of
/// telling it something: the program itself, with the rights of its service account.
/// </summary>
public sealed class AuditService(Kubectl kubectl, string operatorNamespace, string directory) : IAsyncDisposable
{
    private Process? _process;

    public int Port { get; } = FreePort.Next();

    /// <summary>Waits for the certificate, and starts.</summary>
    public async Task StartAsync()
    {
        JsonNode? data = null;
        await Wait.UntilAsync("the operator keeps a certificate for the audit service", async () =>
        {
            Outcome outcome = await kubectl.TryAsync("", "get", "secret", "superserve-audit-serving", "-n", operatorNamespace, "-o", "json");
            data = outcome.Status == 0 ? JsonNode.Parse(outcome.Output)!["data"] : null;
            return data is not null;
        });
        string certificates = Directory.CreateDirectory(Path.Combine(directory, "audit-serving")).FullName;
        foreach (string entry in (string[])["tls.crt", "tls.key", "ca.crt"])
            await File.WriteAllBytesAsync(Path.Combine(certificates, entry), Convert.FromBase64String((string)data![entry]!));
        await RunAsync(certificates);
    }

    /// <summary>Stores what a pod's sidecar would tell, as that pod.</summary>
    public async Task RecordAsync(TestNamespace ns, string pod, IEnumerable<RequestRecord> requests, IEnumerable<NetworkRecord>? network = null)
    {
        // As its kubelet: nobody else gets one for this audience.
        string token = await ns.RunAsync("--as=system:node:tests", "--as-group=system:nodes", "--as-group=system:masters", "create", "token", "default", "--audience=superserve.ai", "--bound-object-kind=Pod", $"--bound-object-name={pod}");
        using GrpcChannel channel = Connect();
        Client client = new(channel);
        Metadata headers = new() { { "authorization", $"Bearer {token}" } };
        byte[] boot = Guid.NewGuid().ToByteArray();
        Batch log = new() { Boot = ByteString.CopyFrom(boot), Log = Log.Requests, FirstSequence = 1, Requests = { requests } };
        if (log.Requests.Count > 0) await client.RecordAsync(log, headers);
        Batch events = new() { Boot = ByteString.CopyFrom(boot), Log = Log.Network, FirstSequence = 1, Network = { network ?? [] } };
        if (events.Network.Count > 0) await client.RecordAsync(events, headers);
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is null) return;
        using (_process)
        {
            Process.Start("kill", ["-TERM", _process.Id.ToString(CultureInfo.InvariantCulture)]).WaitForExit();
            using CancellationTokenSource patience = new(TimeSpan.FromSeconds(60), TimeProvider.System);
            await _process.WaitForExitAsync(patience.Token);
        }
    }

    private async Task RunAsync(string certificates)
    {
        int healthPort = FreePort.Next();
        string kubeconfig = Path.Combine(directory, "audit.kubeconfig"), config = Path.Combine(directory, "audit.json");
        File.Copy(Path.Combine(directory, "kubeconfig"), kubeconfig);
        Kubectl own = new(kubeconfig);
        await own.RunAsync("config", "set-credentials", "superserve-audit", $"--token={await kubectl.RunAsync("create", "token", "superserve-audit", "-n", operatorNamespace, "--duration=2h")}");
        await own.RunAsync("config", "set-context", "--current", "--user=superserve-audit");
        JsonObject options = JsonNode.Parse(await kubectl.RunAsync("get", "configmap", "superserve-audit", "-n", operatorNamespace, "-o", "jsonpath={.data.audit\\.json}"))!.AsObject();
        options["listenAddress"] = "127.0.0.1";
        options["port"] = Port;
        options["healthPort"] = healthPort;
        options["metricsPort"] = FreePort.Next();
        options["certificateDirectory"] = certificates;
        options["sqliteFile"] = Path.Combine(directory, "audit.db");
        await File.WriteAllTextAsync(config, options.ToJsonString());
        _process = Process.Start(new ProcessStartInfo("dotnet", ["exec", Path.Combine(AppContext.BaseDirectory, "superserve-operator.dll"), "audit", "--config", config, "--kubeconfig", kubeconfig]))!;
        using HttpMessageInvoker client = new(new SocketsHttpHandler());
        await Wait.UntilAsync("the audit service is ready", async () =>
        {
            if (_process.HasExited) throw new InvalidOperationException($"The audit service ended with {_process.ExitCode}.");
            try
            {
                using HttpRequestMessage request = new(HttpMethod.Get, $"http://127.0.0.1:{healthPort}/readyz");
                using HttpResponseMessage response = await client.SendAsync(request, CancellationToken.None);
                return response.IsSuccessStatusCode;
            }
            catch (HttpRequestException)
            {
                return false;
            }
        });
    }

    /// <summary>As a sidecar connects: it trusts what the operator says.</summary>
    private GrpcChannel Connect()
    {
        // The certificate has the name localhost beside the Service's.
        SocketsHttpHandler handler = new();
        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        handler.SslOptions.CertificateChainPolicy.CustomTrustStore.ImportFromPem(File.ReadAllText(Path.Combine(directory, "audit-serving", "ca.crt"), Encoding.ASCII));
        return GrpcChannel.ForAddress($"https://localhost:{Port}", new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true });
    }
}
