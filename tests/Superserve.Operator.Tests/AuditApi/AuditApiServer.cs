using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;
using Superserve.Kubernetes.Api;
using Superserve.Operator.Admission;
using Superserve.Operator.AuditApi;
using Superserve.Operator.Certificates;
using Superserve.Operator.Configuration;
using Superserve.Operator.Metrics;
using Superserve.Operator.Tests.Certificates;
using Superserve.Operator.Tests.Support;
using Superserve.Testing;

namespace Superserve.Operator.Tests.AuditApi;

/// <summary>The audit log's API on a loopback port, its front proxy's CA, and a fake audit service behind it.</summary>
public sealed class AuditApiServer : IAsyncLifetime
{
    public const string Root = "/apis/audit.superserve.ai/v1alpha1";
    private const string User = "ann";

    private readonly TestCluster _cluster = new();
    private readonly string _directory = Directory.CreateTempSubdirectory("superserve-audit-").FullName;
    private WebApplication _app = null!;
    private FrontProxy _frontProxy = null!;
    private AuditApiEndpoint _endpoint = null!;
    private AuditClient _client = null!;
    private OperatorMetrics _metrics = null!;

    internal FakeAuditService Service { get; } = new();

    internal RecordedLog Log { get; } = new();

    internal ClientAuthority Authority { get; } = new("front-proxy-ca");

    /// <summary>Time as the API sees it.</summary>
    public FakeTimeProvider Time { get; } = new(TimeProvider.System.GetUtcNow());

    public string Token { get; } = "a-token-of-the-operators";

    internal X509Certificate2 ServiceCertificate { get; } = TestAuthority.Issue("superserve-audit.superserve-system.svc");

    public Uri Address { get; private set; } = null!;

    internal AuditClient Client => _client;

    public async ValueTask InitializeAsync()
    {
        await _cluster.InitializeAsync();
        await Service.StartAsync(ServiceCertificate, FreePort.Next());
        string tokenFile = Path.Combine(_directory, "token");
        await File.WriteAllTextAsync(tokenFile, Token + "\n");
        OperatorOptions options = new() { AuditAddress = $"127.0.0.1:{Service.Port}", AuditTokenFile = tokenFile };
        ServingCertificates certificates = new(TimeProvider.System);
        certificates.Serve(System.Net.Security.SslStreamCertificateContext.Create(TestAuthority.Issue("localhost"), null, offline: true), TestAuthority.Pem);
        KubernetesConnection connection = _cluster.Connect();
        _metrics = new OperatorMetrics(_cluster.Meters);
        _client = new AuditClient(options, certificates, TimeProvider.System);
        _frontProxy = new FrontProxy(connection, _cluster.Metrics, Time, Log);
        _endpoint = new AuditApiEndpoint(_frontProxy, new AccessReviewer(connection), _client, _metrics, Time, new Logger<AuditApiEndpoint>(Log));

        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(_metrics);
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.UseAuditApi(certificates.OnConnection)));
        _app = builder.Build();
        _app.Run(_endpoint.HandleAsync);
        await _app.StartAsync();
        Address = new Uri(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        await TrustAsync(Authority);
        await _cluster.Server.ApplyAsync($$"""
            apiVersion: rbac.authorization.k8s.io/v1
            kind: ClusterRole
            metadata: {name: auditors}
            rules: [{apiGroups: [audit.superserve.ai], resources: [secretrequests, networkevents], verbs: [get, list]}]
            ---
            apiVersion: rbac.authorization.k8s.io/v1
            kind: ClusterRoleBinding
            metadata: {name: auditors}
            roleRef: {kind: ClusterRole, name: auditors, apiGroup: rbac.authorization.k8s.io}
            subjects: [{kind: User, name: {{User}}, apiGroup: rbac.authorization.k8s.io}, {kind: Group, name: "team:a,b", apiGroup: rbac.authorization.k8s.io}]
            ---
            apiVersion: rbac.authorization.k8s.io/v1
            kind: RoleBinding
            metadata: {name: auditors, namespace: {{Some.Namespace}}}
            roleRef: {kind: ClusterRole, name: auditors, apiGroup: rbac.authorization.k8s.io}
            subjects: [{kind: User, name: ben, apiGroup: rbac.authorization.k8s.io}]
            """);
    }

    public async ValueTask DisposeAsync()
    {
        await _frontProxy.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        _frontProxy.Dispose();
        _endpoint.Dispose();
        _client.Dispose();
        _metrics.Dispose();
        await Service.DisposeAsync();
        Authority.Dispose();
        ServiceCertificate.Dispose();
        await _cluster.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    /// <summary>Starts reading whom to believe, which a test of its absence does not want yet.</summary>
    public async Task StartReadingAsync()
    {
        if (_frontProxy.ExecuteTask is null) await _frontProxy.StartAsync(CancellationToken.None);
        await Eventually.True(() => SendAsync(Root).GetAwaiter().GetResult().Code == HttpStatusCode.OK, "the API server is believed");
    }

    /// <summary>Writes the ConfigMap as the API server does.</summary>
    internal Task TrustAsync(ClientAuthority authority, string allowedNames = """["front-proxy-client"]""") => _cluster.Server.ApplyAsync(
        new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "ConfigMap",
            ["metadata"] = new JsonObject { ["name"] = "extension-apiserver-authentication", ["namespace"] = "kube-system" },
            ["data"] = new JsonObject
            {
                ["requestheader-allowed-names"] = allowedNames,
                ["requestheader-client-ca-file"] = authority.Pem,
                ["requestheader-extra-headers-prefix"] = """["X-Remote-Extra-"]""",
                ["requestheader-group-headers"] = """["X-Remote-Group"]""",
                ["requestheader-username-headers"] = """["X-Remote-User"]""",
            },
        }.ToJsonString());

    public async Task<JsonObject> ListAsync(string resource, string query = "", string inNamespace = Some.Namespace)
    {
        (HttpStatusCode code, JsonObject body, string[] _) = await SendAsync($"{Root}/namespaces/{inNamespace}/{resource}?{query}");
        Assert.True(code == HttpStatusCode.OK, body.ToJsonString());
        return body;
    }

    /// <summary>Sends a request as the front proxy does.</summary>
    public Task<(HttpStatusCode Code, JsonObject Body, string[] Warnings)> SendAsync(string path, string user = User, string? accept = null, HttpMethod? method = null, params (string Name, string Value)[] headers) =>
        SendAsync(path, Authority.Issue("front-proxy-client"), user, accept, method, headers);

    public async Task<(HttpStatusCode Code, JsonObject Body, string[] Warnings)> SendAsync(
        string path, X509Certificate2? certificate, string user, string? accept = null, HttpMethod? method = null, params (string Name, string Value)[] headers)
    {
        using SocketsHttpHandler handler = new() { UseProxy = false };
        handler.SslOptions.RemoteCertificateValidationCallback = (_, server, _, _) => server is not null;
        if (certificate is not null) handler.SslOptions.ClientCertificates = [certificate];
        using HttpMessageInvoker client = new(handler);
        using HttpRequestMessage request = new(method ?? HttpMethod.Get, new Uri(Address, path)) { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        if (user.Length > 0) request.Headers.TryAddWithoutValidation("X-Remote-User", user);
        if (accept is not null) request.Headers.TryAddWithoutValidation("Accept", accept);
        foreach ((string name, string value) in headers) request.Headers.TryAddWithoutValidation(name, value);
        using HttpResponseMessage response = await client.SendAsync(request, CancellationToken.None);
        string text = await response.Content.ReadAsStringAsync();
        return (response.StatusCode, JsonNode.Parse(text)!.AsObject(), [.. response.Headers.TryGetValues("Warning", out IEnumerable<string>? warnings) ? warnings : []]);
    }
}

/// <summary>A CA for client certificates.</summary>
public sealed class ClientAuthority : IDisposable
{
    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    public ClientAuthority(string name)
    {
        CertificateRequest request = new($"CN={name}", _key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        Certificate = request.CreateSelfSigned(now.AddDays(-30), now.AddDays(30));
    }

    /// <summary>The CA itself, with its key.</summary>
    public X509Certificate2 Certificate { get; }

    public string Pem => Certificate.ExportCertificatePem() + "\n";

    /// <summary>A certificate with a whole subject, valid from now on for so many days; a negative number is one that is over.</summary>
    public X509Certificate2 Issue(string name, string usage = "1.3.6.1.5.5.7.3.2", int days = 1, string? subject = null)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new(subject ?? $"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], false));
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        using X509Certificate2 certificate = request.Create(
            Certificate.SubjectName, X509SignatureGenerator.CreateForECDsa(_key), now.AddDays(-20), now.AddDays(days), RandomNumberGenerator.GetBytes(8));
        using X509Certificate2 paired = certificate.CopyWithPrivateKey(key);
        // As a file would give it: a key that TLS can use on every platform.
        return X509CertificateLoader.LoadPkcs12(paired.Export(X509ContentType.Pkcs12), null);
    }

    public void Dispose()
    {
        Certificate.Dispose();
        _key.Dispose();
    }
}
