using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Superserve.ApiServer;
using Superserve.Integration.Tests;
using Superserve.Testing;

[assembly: AssemblyFixture(typeof(TestCluster))]

namespace Superserve.Integration.Tests;

/// <summary>
/// The cluster that the suite runs against, known by its kubeconfig alone: the one that SUPERSERVE_TEST_KUBECONFIG names, or an
/// embedded API server. Where the operator is installed, that one is tried; otherwise the chart is applied without its Deployment,
/// and the operator runs here as a process, with the rights of its service account. The API server then has to reach this
/// machine, at the address that SUPERSERVE_TEST_WEBHOOK_HOST names or that connections to it come from.
/// </summary>
public sealed class TestCluster : IAsyncLifetime
{
    private const string Release = "superserve-test";

    private readonly string _directory = Directory.CreateTempSubdirectory("superserve-integration-").FullName;
    private readonly string _operatorNamespace = $"superserve-test-{Guid.NewGuid():N}"[..30];
    private readonly StringBuilder _log = new();
    private EmbeddedApiServer? _embedded;
    private Process? _operator;
    private AuditService? _audit;
    private IReadOnlyList<string> _ownKinds = [];
    private bool _hadDefinitions;

    /// <summary>kubectl as the cluster's administrator.</summary>
    public Kubectl Kubectl { get; private set; } = null!;

    /// <summary>Whether the API server evaluates the CRDs' CEL rules, so that their messages can be expected.</summary>
    public bool EvaluatesRules => _embedded is null;

    /// <summary>What the operator has logged; empty where it was installed already.</summary>
    public string Log
    {
        get
        {
            lock (_log) return _log.ToString();
        }
    }

    /// <summary>The audit service, and a sidecar's way of telling it something.</summary>
    public AuditService Audit => _audit ?? throw new InvalidOperationException("The operator was installed already, and its audit service is not reached from here: uninstall it, and the tests install their own.");

    /// <summary>Where the operator's metrics are; null where it was installed already.</summary>
    public Uri? Metrics { get; private set; }

    public async ValueTask InitializeAsync()
    {
        string? named = Environment.GetEnvironmentVariable("SUPERSERVE_TEST_KUBECONFIG");
        if (string.IsNullOrEmpty(named)) _embedded = await EmbeddedApiServer.StartAsync();
        // A copy: kubectl writes its caches beside it.
        string kubeconfig = Path.Combine(_directory, "kubeconfig");
        File.Copy(_embedded?.KubeconfigPath ?? named!, kubeconfig);
        Kubectl = new Kubectl(kubeconfig);
        string installed = await Kubectl.RunAsync("get", "deployments", "-A", "-l", "app.kubernetes.io/part-of=superserve", "-o", "name");
        if (installed.Length == 0) await InstallAsync(kubeconfig);
    }

    public async ValueTask DisposeAsync()
    {
        if (_operator is not null)
        {
            using (_operator)
            {
                Process.Start("kill", ["-TERM", _operator.Id.ToString()]).WaitForExit();
                using CancellationTokenSource patience = new(TimeSpan.FromSeconds(60), TimeProvider.System);
                await _operator.WaitForExitAsync(patience.Token);
                if (_audit is not null) await _audit.DisposeAsync();
                if (_operator.ExitCode != 0) throw new InvalidOperationException($"The operator ended with {_operator.ExitCode}:\n{Log}");
            }

            if (_embedded is null)
            {
                await Kubectl.TryAsync("", ["delete", string.Join(',', _ownKinds), "-l", $"app.kubernetes.io/instance={Release}"]);
                await Kubectl.TryAsync("", "delete", "namespace", _operatorNamespace, "--wait=false");
                // With the definitions would go every resource that somebody has.
                if (!_hadDefinitions) await Kubectl.TryAsync("", "delete", "-f", Repository.PathTo("crds"));
            }
        }

        if (_embedded is not null) await _embedded.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    /// <summary>A namespace for one test; it goes with <see cref="TestNamespace.DisposeAsync"/>.</summary>
    public async Task<TestNamespace> NewNamespaceAsync(bool isEnabled = false)
    {
        string name = $"superserve-test-{Guid.NewGuid():N}"[..30];
        await Kubectl.RunAsync("create", "namespace", name);
        if (isEnabled) await Kubectl.RunAsync("label", "namespace", name, "superserve.ai/injection=enabled");
        return new TestNamespace(this, name);
    }

    private async Task InstallAsync(string kubeconfig)
    {
        string server = await Kubectl.RunAsync("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}");
        string host = Environment.GetEnvironmentVariable("SUPERSERVE_TEST_WEBHOOK_HOST") is { Length: > 0 } set ? set : AddressTowards(new Uri(server));
        int webhookPort = FreePort.Next(), healthPort = FreePort.Next(), metricsPort = FreePort.Next(), auditApiPort = FreePort.Next();
        IReadOnlyList<string> manifests = await Chart.RenderAsync(
            Release, _operatorNamespace, $"webhook.url=https://{Bracketed(host)}:{webhookPort}", $"webhook.port={webhookPort}", $"audit.apiPort={auditApiPort}");
        _hadDefinitions = (await Kubectl.TryAsync("", "get", "crd", "secrets.superserve.ai")).Status == 0;
        await Kubectl.RunAsync("create", "namespace", _operatorNamespace);
        string[] webhooks = ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"];
        await ApplyAsync(manifests.Where(manifest => !Chart.IsKind(manifest, ["Deployment", "Service", .. webhooks])));
        await Kubectl.RunAsync("wait", "--for=condition=Established", "--timeout=60s", "crd/secrets.superserve.ai", "crd/sandboxbindings.superserve.ai");
        _ownKinds = ["clusterrole", "clusterrolebinding", "validatingwebhookconfiguration", "mutatingwebhookconfiguration", "apiservice"];
        // The operator is no pod: its Service leads here. The API server knows the audit log's API by it.
        await Kubectl.FeedAsync(
            $$"""
            apiVersion: v1
            kind: Service
            metadata: {name: superserve-operator, namespace: {{_operatorNamespace}}}
            spec: {ports: [{name: audit-api, port: {{auditApiPort}}}]}
            ---
            apiVersion: v1
            kind: Endpoints
            metadata: {name: superserve-operator, namespace: {{_operatorNamespace}}}
            subsets: [{addresses: [{ip: "{{(IPAddress.TryParse(host, out _) ? host : AddressTowards(new Uri(server)))}}"}], ports: [{name: audit-api, port: {{auditApiPort}}}]}]
            """, "apply", "--server-side", "-f", "-");

        string token = await Kubectl.RunAsync("create", "token", "superserve-operator", "-n", _operatorNamespace, "--duration=2h");
        string auditToken = Path.Combine(_directory, "audit.token");
        // A kubelet's tokens are bound to their pod.
        await Kubectl.FeedAsync(
            $$"""
            apiVersion: v1
            kind: Pod
            metadata: {name: superserve-operator, namespace: {{_operatorNamespace}}}
            spec: {serviceAccountName: superserve-operator, containers: [{name: operator, image: registry.k8s.io/pause}]}
            """, "apply", "--server-side", "-f", "-");
        await File.WriteAllTextAsync(auditToken, await Kubectl.RunAsync(
            "create", "token", "superserve-operator", "-n", _operatorNamespace, "--audience=superserve.ai", "--duration=2h", "--bound-object-kind=Pod", "--bound-object-name=superserve-operator"));
        _audit = new AuditService(Kubectl, _operatorNamespace, _directory);
        string operatorKubeconfig = Path.Combine(_directory, "operator.kubeconfig");
        File.Copy(kubeconfig, operatorKubeconfig);
        // After the token, which one of them judges.
        await ApplyAsync(manifests.Where(manifest => Chart.IsKind(manifest, webhooks)));
        Kubectl own = new(operatorKubeconfig);
        await own.RunAsync("config", "set-credentials", "superserve-operator", $"--token={token}");
        await own.RunAsync("config", "set-context", "--current", "--user=superserve-operator");

        JsonObject options = JsonNode.Parse(await Kubectl.RunAsync("get", "configmap", "superserve-operator", "-n", _operatorNamespace, "-o", "jsonpath={.data.operator\\.json}"))!.AsObject();
        options["listenAddress"] = IPAddress.TryParse(host, out _) ? host : "::";
        options["extraServingNames"] = new JsonArray(host);
        options["healthPort"] = healthPort;
        options["metricsPort"] = metricsPort;
        options["drainSeconds"] = 0;
        options["auditAddress"] = $"127.0.0.1:{_audit.Port}";
        options["auditTokenFile"] = auditToken;
        string config = Path.Combine(_directory, "operator.json");
        await File.WriteAllTextAsync(config, options.ToJsonString());
        Start(config, operatorKubeconfig);

        string address = Bracketed(IPAddress.TryParse(host, out _) ? host : "127.0.0.1");
        Metrics = new Uri($"http://{address}:{metricsPort}/metrics");
        await WaitUntilReadyAsync(new Uri($"http://{address}:{healthPort}/readyz"));
        await _audit.StartAsync();
        await Kubectl.RunAsync("wait", "--for=condition=Available", "--timeout=60s", "apiservice/v1alpha1.audit.superserve.ai");
        await Wait.UntilAsync("the webhooks have a caBundle", async () =>
            (await Kubectl.RunAsync("get", "validatingwebhookconfiguration", "superserve", "-o", "jsonpath={.webhooks[*].clientConfig.caBundle}")).Split(' ', StringSplitOptions.RemoveEmptyEntries).Length >= 2);
    }

    private Task<string> ApplyAsync(IEnumerable<string> manifests) => Kubectl.FeedAsync(string.Join("\n---\n", manifests), "apply", "--server-side", "-f", "-");

    private void Start(string config, string kubeconfig)
    {
        ProcessStartInfo start = new("dotnet", ["exec", Path.Combine(AppContext.BaseDirectory, "superserve-operator.dll"), "run", "--config", config, "--kubeconfig", kubeconfig, "--log-level", "Debug"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        _operator = Process.Start(start)!;
        _operator.OutputDataReceived += (_, line) => Append(line.Data);
        _operator.ErrorDataReceived += (_, line) => Append(line.Data);
        _operator.BeginOutputReadLine();
        _operator.BeginErrorReadLine();

        void Append(string? line)
        {
            lock (_log) _log.AppendLine(line);
        }
    }

    private async Task WaitUntilReadyAsync(Uri readyz)
    {
        using HttpMessageInvoker client = new(new SocketsHttpHandler());
        string last = "";
        await Wait.UntilAsync(() => $"the operator is ready ({last})\n{Log}", async () =>
        {
            if (_operator!.HasExited) throw new InvalidOperationException($"The operator ended with {_operator.ExitCode}:\n{Log}");
            try
            {
                using HttpRequestMessage request = new(HttpMethod.Get, readyz);
                using HttpResponseMessage response = await client.SendAsync(request, CancellationToken.None);
                last = await response.Content.ReadAsStringAsync();
                return response.IsSuccessStatusCode;
            }
            catch (HttpRequestException exception)
            {
                last = exception.Message;
                return false;
            }
        });
    }

    private static string Bracketed(string host) => host.Contains(':') ? $"[{host}]" : host;

    /// <summary>The address that connections to the API server come from. Connecting a datagram socket sends nothing.</summary>
    private static string AddressTowards(Uri server)
    {
        using Socket socket = new(SocketType.Dgram, ProtocolType.Udp);
        socket.Connect(server.Host, server.Port);
        IPAddress address = ((IPEndPoint)socket.LocalEndPoint!).Address;
        return (address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address).ToString();
    }
}
