using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using k8s.Models;
using Superserve.Kubernetes.Api;
using Superserve.Testing;

namespace Superserve.Benchmarks;

/// <summary>An API server and the operator, each a process of its own, and a namespace with a secret and a binding.</summary>
/// <param name="hasAudit">Whether the operator keeps a certificate for an audit service.</param>
internal sealed class BenchCluster(bool hasAudit = false) : IAsyncDisposable
{
    public const string Namespace = "bench";
    public const string UpstreamHost = "api.example.com";

    private readonly string _directory = Directory.CreateTempSubdirectory("superserve-bench-").FullName;
    private readonly List<Process> _processes = [];

    public KubernetesConnection Connection { get; private set; } = null!;

    public string Kubeconfig => Path.Combine(_directory, "kubeconfig");

    public Kubectl Kubectl { get; private set; } = null!;

    public Process Operator { get; private set; } = null!;

    public int WebhookPort { get; } = FreePort.Next();

    public int DeliveryPort { get; } = FreePort.Next();

    public int HealthPort { get; } = FreePort.Next();

    /// <summary>The operator's CAs in PEM.</summary>
    public string Authorities { get; private set; } = "";

    public async Task StartAsync()
    {
        Start("apiserver", Path.Combine(AppContext.BaseDirectory, "Superserve.ApiServer.dll"), "--kubeconfig", Kubeconfig, "--port", FreePort.Next().ToString(CultureInfo.InvariantCulture));
        await UntilAsync("the API server is there", () => Task.FromResult(File.Exists(Kubeconfig)));
        Kubectl kubectl = Kubectl = new Kubectl(Kubeconfig);
        IReadOnlyList<string> manifests = await Chart.RenderAsync(
            "superserve", "superserve-system", $"webhook.url=https://127.0.0.1:{WebhookPort}", $"webhook.port={WebhookPort}", $"delivery.port={DeliveryPort}",
            hasAudit ? $"audit.apiPort={FreePort.Next()}" : "audit.enabled=false");
        await kubectl.RunAsync("create", "namespace", "superserve-system");
        await kubectl.FeedAsync(string.Join("\n---\n", manifests), "apply", "--server-side", "-f", "-");
        // The tokens come from here, and not from a kubelet; the webhook that would refuse them is the last one.
        await kubectl.RunAsync("patch", "validatingwebhookconfiguration", "superserve", "--type=json", "-p", """[{"op": "remove", "path": "/webhooks/4"}]""");
        JsonObject options = JsonNode.Parse(await kubectl.RunAsync("get", "configmap", "superserve-operator", "-n", "superserve-system", "-o", "jsonpath={.data.operator\\.json}"))!.AsObject();
        options["listenAddress"] = "127.0.0.1";
        options["extraServingNames"] = new JsonArray("127.0.0.1");
        options["healthPort"] = HealthPort;
        options["metricsPort"] = FreePort.Next();
        options["drainSeconds"] = 0;
        // All of the sidecars are on one machine.
        options["maxConnectionsPerAddress"] = 20_000;
        string config = Path.Combine(_directory, "operator.json");
        await File.WriteAllTextAsync(config, options.ToJsonString());
        Operator = Start("operator", Path.Combine(AppContext.BaseDirectory, "superserve-operator.dll"), "run", "--config", config, "--kubeconfig", Kubeconfig, "--log-level", "Warning");

        Connection = KubernetesConnection.FromKubeconfig(TimeProvider.System, Kubeconfig);
        await UntilAsync("the webhooks have their CA", async () =>
        {
            if (Operator.HasExited) throw new InvalidOperationException($"The operator ended with {Operator.ExitCode}: {await File.ReadAllTextAsync(Path.Combine(_directory, "operator.log"))}");
            V1MutatingWebhookConfiguration live = await Connection.SendAsync<V1MutatingWebhookConfiguration>(
                HttpMethod.Get, "apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/superserve");
            byte[]? bundle = live.Webhooks[0].ClientConfig.CaBundle;
            if (bundle is not null) Authorities = System.Text.Encoding.ASCII.GetString(bundle);
            return bundle is not null;
        });
        await kubectl.FeedAsync($$"""
            {apiVersion: v1, kind: Namespace, metadata: {name: {{Namespace}}, labels: {superserve.ai/injection: enabled} } }
            ---
            {apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: {{Namespace}} } }
            ---
            {apiVersion: v1, kind: Secret, metadata: {name: credentials, namespace: {{Namespace}} }, stringData: {token: the-first-credential} }
            ---
            apiVersion: superserve.ai/v1alpha1
            kind: Secret
            metadata: {name: service, namespace: {{Namespace}} }
            spec: {valueFrom: {secretKeyRef: {name: credentials, key: token} }, hosts: [{{UpstreamHost}}], auth: {type: bearer} }
            ---
            apiVersion: superserve.ai/v1alpha1
            kind: SandboxBinding
            metadata: {name: agents, namespace: {{Namespace}} }
            spec: {selector: {matchLabels: {app: agent} }, secrets: [{env: TOKEN, secretName: service}] }
            """, "apply", "--server-side", "-f", "-");
    }

    /// <summary>A pod, through admission.</summary>
    public Task<V1Pod> CreatePodAsync(string name, string app = "agent") => Connection.SendAsync<V1Pod>(HttpMethod.Post, $"api/v1/namespaces/{Namespace}/pods", Pod(name, app));

    public static V1Pod Pod(string name, string app = "agent") => new()
    {
        ApiVersion = "v1",
        Kind = "Pod",
        Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = Namespace, Labels = new Dictionary<string, string> { ["app"] = app } },
        Spec = new V1PodSpec { Containers = [new V1Container { Name = "agent", Image = "agent" }] },
    };

    /// <summary>A token as the kubelet gets one for the sidecar.</summary>
    public async Task<string> TokenAsync(V1Pod pod)
    {
        Authenticationv1TokenRequest request = new()
        {
            ApiVersion = "authentication.k8s.io/v1",
            Kind = "TokenRequest",
            Spec = new V1TokenRequestSpec
            {
                Audiences = ["superserve.ai"],
                ExpirationSeconds = 3600,
                BoundObjectRef = new V1BoundObjectReference { ApiVersion = "v1", Kind = "Pod", Name = pod.Metadata.Name, Uid = pod.Metadata.Uid },
            },
        };
        return (await Connection.SendAsync<Authenticationv1TokenRequest>(HttpMethod.Post, $"api/v1/namespaces/{Namespace}/serviceaccounts/default/token", request)).Status.Token;
    }

    /// <summary>Writes the credential; returns when the write was sent off.</summary>
    public async Task<long> RotateAsync(string value)
    {
        long sent = Stopwatch.GetTimestamp();
        await Connection.SendAsync<V1Secret>(
            HttpMethod.Patch, $"api/v1/namespaces/{Namespace}/secrets/credentials", new { stringData = new { token = value } }, "application/merge-patch+json");
        return sent;
    }

    /// <summary>Deletes the Superserve Secret; returns when the deletion was sent off.</summary>
    public async Task<long> RevokeAsync()
    {
        long sent = Stopwatch.GetTimestamp();
        await Connection.SendAsync<JsonObject>(HttpMethod.Delete, $"apis/superserve.ai/v1alpha1/namespaces/{Namespace}/secrets/service");
        return sent;
    }

    /// <summary>Resident bytes, and processor time so far.</summary>
    public (long Rss, TimeSpan Cpu) Usage()
    {
        Operator.Refresh();
        return (Operator.WorkingSet64, Operator.TotalProcessorTime);
    }

    public async ValueTask DisposeAsync()
    {
        Connection?.Dispose();
        foreach (Process process in _processes)
        {
            if (!process.HasExited) process.Kill();
            await process.WaitForExitAsync();
            process.Dispose();
        }

        Directory.Delete(_directory, recursive: true);
    }

    public static async Task UntilAsync(string what, Func<Task<bool>> condition)
    {
        long started = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                if (await condition()) return;
            }
            catch (Exception exception) when (exception is HttpRequestException or ApiException)
            {
                // Not yet.
            }

            if (Stopwatch.GetElapsedTime(started) > TimeSpan.FromMinutes(10)) throw new TimeoutException($"It did not come about that {what}.");
            await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System);
        }
    }

    private Process Start(string name, params string[] arguments)
    {
        // Through a shell for the log file, and exec, so that the process is the program itself.
        string log = Path.Combine(_directory, name + ".log");
        Process process = Process.Start(new ProcessStartInfo("sh", ["-c", $"exec dotnet exec \"$@\" >{log} 2>&1", "sh", .. arguments]))!;
        _processes.Add(process);
        return process;
    }
}
