using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Text;
using System.Text.Json.Nodes;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Superserve.ApiServer;
using Superserve.Core.Providers;
using Superserve.Core.StandIns;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Writing;
using Superserve.Operator.Bindings;
using Superserve.Operator.Cluster;
using Superserve.Operator.Configuration;
using Superserve.Operator.Delivery;
using Superserve.Operator.Metrics;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Delivery.Fixture;

/// <summary>An API server, the operator's delivery on a port of its own, and short ways to change the cluster.</summary>
public abstract class DeliveryTest : IAsyncLifetime
{
    protected const string Ns = "agents";
    protected const string OperatorNs = "superserve-system";
    protected const string Credential = "real-credential-0123456789-abcdef";

    /// <summary>All that delivery needs to be allowed.</summary>
    private const string Rights = """
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: delivery}
        rules:
        - {apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]}
        - {apiGroups: [""], resources: [pods], verbs: [get, list, watch]}
        - {apiGroups: [""], resources: [pods/status], verbs: [patch]}
        - {apiGroups: [""], resources: [namespaces], verbs: [list, watch]}
        - {apiGroups: [""], resources: [secrets], verbs: [list, watch]}
        - {apiGroups: [superserve.ai], resources: [secrets, sandboxbindings], verbs: [list, watch]}
        - {apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}
        - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create, delete, list, patch]}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata: {name: delivery}
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: delivery}
        subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: operator}]
        """;

    private static readonly SslStreamCertificateContext Certificate = SslStreamCertificateContext.Create(TestAuthority.Issue("127.0.0.1"), null, offline: true);

    private readonly ConcurrentQueue<string> _logs = [];
    private readonly List<IDisposable> _connections = [];
    private WebApplication? _app;
    private HttpClient? _http;
    private Task _background = Task.CompletedTask;
    private readonly CancellationTokenSource _stop = new();
    private int _pods;

    protected EmbeddedApiServer Server { get; private set; } = null!;

    private protected TestParts Parts { get; } = new();

    private protected virtual DeliveryLimits Limits => new();

    protected virtual TimeProvider Time => TimeProvider.System;

    private protected SandboxRegistry Registry => _app!.Services.GetRequiredService<SandboxRegistry>();

    /// <summary>The scope of this operator's meters.</summary>
    protected object Meters => _app!.Services.GetRequiredService<System.Diagnostics.Metrics.IMeterFactory>();

    private protected LostReplicas LostReplicas => _app!.Services.GetRequiredService<LostReplicas>();

    private protected ClusterCache Cluster => _app!.Services.GetRequiredService<ClusterCache>();

    /// <summary>Another replica's sign of life.</summary>
    private protected ReplicaLease LeaseOf(string replica) => ActivatorUtilities.CreateInstance<ReplicaLease>(_app!.Services, replica);

    /// <summary>Everything that was logged.</summary>
    protected string Logs => string.Join('\n', _logs);

    public async ValueTask InitializeAsync()
    {
        Server = await EmbeddedApiServer.StartAsync(new EmbeddedApiServerOptions { Time = Time });
        foreach (string crd in Directory.GetFiles(Repository.PathTo("crds"), "*.yaml")) await Server.ApplyAsync(await File.ReadAllTextAsync(crd));
        await Server.ApplyAsync($"{{apiVersion: v1, kind: Namespace, metadata: {{name: {Ns}}}}}");
        await Server.ApplyAsync("{apiVersion: v1, kind: Namespace, metadata: {name: others}}");
        await Server.ApplyAsync($"{{apiVersion: v1, kind: Namespace, metadata: {{name: {OperatorNs}}}}}");
        _http = Server.Client().CreateHttpClient();
        await StartOperatorAsync();
    }

    public async ValueTask DisposeAsync()
    {
        foreach (IDisposable connection in _connections) connection.Dispose();
        await _stop.CancelAsync();
        await _background.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (_app is not null)
        {
            using CancellationTokenSource now = new();
            await now.CancelAsync();
            await _app.StopAsync(now.Token);
            await _app.DisposeAsync();
        }

        _http?.Dispose();
        await Server.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    // ---- the cluster ------------------------------------------------------------------------------------------------------

    protected Task ApplyAsync(string yaml) => Server.ApplyAsync(yaml);

    /// <summary>A core Secret and the Superserve Secret that names it.</summary>
    protected async Task SecretAsync(string name, string credential = Credential, string host = "api.service.test", string ns = Ns)
    {
        await CredentialAsync(name, credential, ns);
        await ApplyAsync($$$"""
            apiVersion: superserve.ai/v1alpha1
            kind: Secret
            metadata: {name: {{{name}}}, namespace: {{{ns}}}}
            spec: {valueFrom: {secretKeyRef: {name: {{{name}}}, key: key}}, hosts: [{{{host}}}], auth: {type: bearer}}
            """);
    }

    /// <summary>The core Secret alone.</summary>
    protected Task CredentialAsync(string name, string credential, string ns = Ns) => ApplyAsync(
        $$$"""{apiVersion: v1, kind: Secret, metadata: {name: {{{name}}}, namespace: {{{ns}}}}, data: {key: "{{{Convert.ToBase64String(Encoding.UTF8.GetBytes(credential))}}}"}}""");

    protected Task BindingAsync(string name, string env, string secret, string app = "agent", string more = "", string ns = Ns) => ApplyAsync($$$"""
        apiVersion: superserve.ai/v1alpha1
        kind: SandboxBinding
        metadata: {name: {{{name}}}, namespace: {{{ns}}}}
        spec: {selector: {matchLabels: {app: {{{app}}}}}, secrets: [{env: {{{env}}}, secretName: {{{secret}}}}]{{{more}}}}
        """);

    /// <summary>A pod as admission leaves it, with what <paramref name="recorded"/> names (variable, Superserve Secret, binding).</summary>
    protected async Task<string> PodAsync(string name, string app = "agent", string? sandboxId = null, string ns = Ns, bool isInjected = true, params (string Env, string Secret, string Binding)[] recorded)
    {
        List<RecordedStandIn> records = [];
        foreach ((string env, string secret, string binding) in recorded)
        {
            records.Add(new RecordedStandIn(
                env, secret, await UidAsync($"apis/superserve.ai/v1alpha1/namespaces/{ns}/secrets/{secret}"), binding,
                await UidAsync($"apis/superserve.ai/v1alpha1/namespaces/{ns}/sandboxbindings/{binding}"), TokenShape.Default, null));
        }

        string id = sandboxId ?? SandboxIdOf(Interlocked.Increment(ref _pods));
        string annotations = new JsonObject { [Marks.SandboxIdAnnotation] = id, [Marks.StandInsAnnotation] = RecordedStandIns.Write(records) }.ToJsonString();
        await ApplyAsync($$$"""
            apiVersion: v1
            kind: Pod
            metadata: {name: {{{name}}}, namespace: {{{ns}}}, labels: {app: {{{app}}}}, annotations: {{{(isInjected ? annotations : "{}")}}}}
            spec:
              initContainers: [{name: {{{(isInjected ? Marks.SidecarContainer : "init")}}}, image: x, restartPolicy: Always}]
              containers: [{name: agent, image: x}]
            """);
        return await UidAsync($"api/v1/namespaces/{ns}/pods/{name}");
    }

    protected static string SandboxIdOf(int number) => SandboxId.Create(DateTimeOffset.UnixEpoch, [.. new byte[8], .. BitConverter.GetBytes(number)]);

    protected async Task<JsonNode> GetAsync(string path)
    {
        using HttpResponseMessage answer = await _http!.GetAsync(new Uri(path, UriKind.Relative));
        return JsonNode.Parse(await answer.Content.ReadAsStringAsync())!;
    }

    protected async Task MergeAsync(string path, string json)
    {
        using StringContent content = new(json, Encoding.UTF8, new MediaTypeHeaderValue("application/merge-patch+json"));
        using HttpResponseMessage answer = await _http!.PatchAsync(new Uri(path, UriKind.Relative), content);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
    }

    protected async Task DeleteAsync(string path)
    {
        using HttpRequestMessage request = new(HttpMethod.Delete, new Uri(path, UriKind.Relative)) { Content = new StringContent("""{"gracePeriodSeconds":0}""", Encoding.UTF8, "application/json") };
        using HttpResponseMessage answer = await _http!.SendAsync(request);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
    }

    protected static string PodPath(string name, string ns = Ns) => $"api/v1/namespaces/{ns}/pods/{name}";

    protected static string SecretPath(string name, string ns = Ns) => $"apis/superserve.ai/v1alpha1/namespaces/{ns}/secrets/{name}";

    protected static string BindingPath(string name, string ns = Ns) => $"apis/superserve.ai/v1alpha1/namespaces/{ns}/sandboxbindings/{name}";

    protected async Task<string> UidAsync(string path) => (string?)(await GetAsync(path))["metadata"]?["uid"] ?? throw new InvalidOperationException($"There is no {path}.");

    /// <summary>Waits until the operator knows of everything that was done so far.</summary>
    protected async Task KnownAsync(string path)
    {
        string version = (string)(await GetAsync(path))["metadata"]!["resourceVersion"]!;
        string[] parts = path.Split('/');
        ObjectKey key = new(parts[^3], parts[^1]);
        await Eventually(() => parts[^2] switch
        {
            "pods" => Cluster.Pods.Store.Get(key)?.Metadata.ResourceVersion == version,
            "sandboxbindings" => Cluster.Bindings.Store.Get(key)?.Metadata.ResourceVersion == version,
            _ => Cluster.Secrets.Store.Get(key)?.Metadata.ResourceVersion == version,
        }, $"the operator knows {path}");
    }

    // ---- sidecars ---------------------------------------------------------------------------------------------------------

    protected string Token(string pod, string audience = "superserve.ai", string ns = Ns) => Server.ServiceAccountClient(ns, "default", audience, pod).Token;

    /// <summary>A call with a token, that has said nothing yet.</summary>
    private protected TestSidecar Call(string? token)
    {
        TestSidecar sidecar = TestSidecar.Call(Address, token);
        _connections.Add(sidecar);
        return sidecar;
    }

    /// <summary>A sidecar of a pod that has said Hello.</summary>
    private protected async Task<TestSidecar> ConnectAsync(string pod, string ns = Ns)
    {
        TestSidecar sidecar = Call(Token(pod, ns: ns));
        await sidecar.HelloAsync();
        return sidecar;
    }

    /// <summary>What a call with a token comes to, when it is refused.</summary>
    protected async Task<RpcException> RefusedAsync(string? token)
    {
        using TestSidecar sidecar = TestSidecar.Call(Address, token);
        RpcException refused = await sidecar.EndedAsync(() => sidecar.HelloAsync());
        Assert.DoesNotContain(token is { Length: > 0 } ? token : Credential, Logs, StringComparison.Ordinal);
        Assert.DoesNotContain(token is { Length: > 0 } ? token : Credential, refused.Status.Detail, StringComparison.Ordinal);
        return refused;
    }

    protected static async Task Eventually(Func<bool> holds, string what)
    {
        for (int attempt = 0; attempt < 2000; attempt++)
        {
            if (holds()) return;
            await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System);
        }

        Assert.Fail($"This never came to be: {what}");
    }

    protected static async Task Eventually(Func<Task<bool>> holds, string what)
    {
        for (int attempt = 0; attempt < 1000; attempt++)
        {
            if (await holds()) return;
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System);
        }

        Assert.Fail($"This never came to be: {what}");
    }

    // ---- the operator -----------------------------------------------------------------------------------------------------

    protected Uri Address { get; private set; } = new("https://127.0.0.1/");

    private async Task StartOperatorAsync()
    {
        await ApplyAsync(Rights);
        Server.AddUser("operator");
        string kubeconfig = Path.Combine(Path.GetDirectoryName(Server.KubeconfigPath)!, "operator");
        Server.WriteKubeconfig("operator", kubeconfig);
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Logging.SetMinimumLevel(LogLevel.Trace);
        builder.Logging.AddProvider(new LogLines(_logs));
        builder.WebHost.UseKestrelHttpsConfiguration();
        IServiceCollection services = builder.Services;
        services.AddSingleton(Time);
        services.AddSingleton(KubernetesConnection.FromKubeconfig(Time, kubeconfig));
        services.AddSingleton<KubernetesMetrics>();
        services.AddSingleton<OperatorMetrics>();
        services.AddSingleton<CoreSecretCache>();
        services.AddSingleton<ClusterCache>();
        services.AddSingleton(new OperatorOptions { Namespace = OperatorNs, DrainSeconds = 2 });
        services.AddSingleton(ProviderCatalog.BuiltIn);
        services.AddSingleton(provider => new EventRecorder(
            provider.GetRequiredService<KubernetesConnection>(), "superserve.ai/operator", "replica-1", provider.GetRequiredService<KubernetesMetrics>(), Time,
            provider.GetRequiredService<ILogger<EventRecorder>>()));
        services.AddSingleton<ISandboxGuard>(Parts);
        services.AddSingleton<IStandInKey>(Parts);
        services.AddSingleton<IDeliveryTrust>(Parts);
        services.AddDelivery("replica-1", Limits);
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(
            IPAddress.Loopback, 0, listen => listen.UseDelivery(_ => new(new SslServerAuthenticationOptions { ServerCertificateContext = Certificate }))));
        _app = builder.Build();
        _app.MapDelivery();
        await _app.StartAsync();
        ClusterCache cluster = Cluster;
        await cluster.StartAsync(_stop.Token);
        _background = _app.Services.GetRequiredService<EventRecorder>().RunAsync(_stop.Token);
        foreach ((string _, Task synced) in cluster.FirstLists) await synced.WaitAsync(TimeSpan.FromSeconds(30), TimeProvider.System);
        Address = new Uri(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
    }

    /// <summary>What other parts of the operator give delivery.</summary>
    private protected sealed class TestParts : ISandboxGuard, IStandInKey, IDeliveryTrust
    {
        private readonly byte[] _key = Encoding.ASCII.GetBytes("a key of stand-ins for tests, 32+");

        public event Action? TrustBundleChanged;

        public Func<JsonObject, IReadOnlyList<string>> Problems { get; set; } = _ => [];

        public bool IsReady { get; set; } = true;

        public ReadOnlySpan<byte> Bytes => _key;

        public string? TrustBundle { get; private set; } = "authorities, 1";

        /// <summary>How often a pod was judged.</summary>
        public int Asked;

        public IReadOnlyList<string> ProblemsOf(ObjectKey key, JsonObject pod)
        {
            IReadOnlyList<string> problems = Problems(pod);
            Interlocked.Increment(ref Asked);
            return problems;
        }

        public void Trust(string bundle)
        {
            TrustBundle = bundle;
            TrustBundleChanged?.Invoke();
        }
    }

    private sealed class LogLines(ConcurrentQueue<string> lines) : ILoggerProvider, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            lines.Enqueue($"{logLevel} {eventId.Id} {formatter(state, exception)} {exception}");

        public void Dispose()
        {
        }
    }
}
