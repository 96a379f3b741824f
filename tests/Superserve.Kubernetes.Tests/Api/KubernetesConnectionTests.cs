using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using k8s.Models;
using Microsoft.Extensions.Time.Testing;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Tests.Support;
using Superserve.Testing;

namespace Superserve.Kubernetes.Tests.Api;

public sealed class KubernetesConnectionTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("superserve-").FullName;
    private X509Certificate2 _presented = null!;
    private FakeApiServer _server = null!;

    public async ValueTask InitializeAsync()
    {
        _server = await FakeApiServer.StartAsync(() => _presented);
        _server.On("list", async context =>
        {
            // Each request makes its own connection, and so its own handshake.
            context.Response.Headers.Connection = "close";
            await FakeApiServer.WriteAsync(context, 200, Objects.List(1));
        });
        Write("token", "first\n");
        Write("namespace", "superserve\n");
    }

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task A_rotated_CA_and_token_count_without_a_restart()
    {
        using X509Certificate2 before = Authority("before"), after = Authority("after");
        Write("ca.crt", before.ExportCertificatePem());
        _presented = ServerCertificate(before);
        using KubernetesConnection connection = Connect();
        await ListAsync(connection);
        Assert.Equal("superserve", connection.Namespace);

        _presented = ServerCertificate(after);
        Write("token", "second\n");
        await Assert.ThrowsAsync<HttpRequestException>(() => ListAsync(connection));

        Write("ca.crt", before.ExportCertificatePem() + "\n" + after.ExportCertificatePem());
        await ListAsync(connection);
        Assert.Equal(["Bearer first", "Bearer second"], _server.Requests.Select(request => request.Authorization));

        Write("ca.crt", after.ExportCertificatePem());
        _presented = ServerCertificate(before);
        await Assert.ThrowsAsync<HttpRequestException>(() => ListAsync(connection));
    }

    [Fact]
    public async Task A_certificate_for_another_name_is_refused_whoever_signed_it()
    {
        using X509Certificate2 authority = Authority("cluster");
        Write("ca.crt", authority.ExportCertificatePem());
        _presented = ServerCertificate(authority, IPAddress.Parse("127.0.0.2"));
        using KubernetesConnection connection = Connect();
        await Assert.ThrowsAsync<HttpRequestException>(() => ListAsync(connection));
        Assert.Empty(_server.Requests);
    }

    [Fact]
    public async Task A_clients_certificate_of_the_same_CA_is_no_servers()
    {
        using X509Certificate2 authority = Authority("cluster");
        Write("ca.crt", authority.ExportCertificatePem());
        _presented = ServerCertificate(authority, usage: "1.3.6.1.5.5.7.3.2");
        using KubernetesConnection connection = Connect();
        await Assert.ThrowsAsync<HttpRequestException>(() => ListAsync(connection));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    [InlineData("")]
    public async Task Without_a_readable_CA_nothing_is_trusted_until_there_is_one(string? file)
    {
        using X509Certificate2 authority = Authority("cluster");
        if (file is not null) Write("ca.crt", file);
        _presented = ServerCertificate(authority);
        using KubernetesConnection connection = Connect();
        await Assert.ThrowsAsync<HttpRequestException>(() => ListAsync(connection));
        Write("ca.crt", authority.ExportCertificatePem());
        await ListAsync(connection);
    }

    [Fact]
    public async Task A_kubeconfigs_server_is_checked_by_name_too()
    {
        using X509Certificate2 authority = Authority("cluster");
        Write("config", $$"""
            apiVersion: v1
            kind: Config
            current-context: here
            contexts: [{ name: here, context: { cluster: here, user: me, namespace: agents } }]
            users: [{ name: me, user: { token: mine } }]
            clusters: [{ name: here, cluster: { server: "{{_server.Uri}}", certificate-authority-data: {{Convert.ToBase64String(System.Text.Encoding.ASCII.GetBytes(authority.ExportCertificatePem()))}} } }]
            """);
        using KubernetesConnection connection = KubernetesConnection.FromKubeconfig(TimeProvider.System, Path.Combine(_directory, "config"));
        _presented = ServerCertificate(authority);
        await ListAsync(connection);
        Assert.Equal(("agents", "Bearer mine"), (connection.Namespace, _server.Requests[0].Authorization));
        _presented = ServerCertificate(authority, IPAddress.Parse("127.0.0.2"));
        await Assert.ThrowsAsync<HttpRequestException>(() => ListAsync(connection));
    }

    [Fact]
    public async Task A_request_without_an_answer_ends_in_a_timeout_and_not_as_if_it_were_cancelled()
    {
        await using FakeApiServer server = await FakeApiServer.StartAsync();
        server.On("list", context => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted));
        FakeTimeProvider time = new();
        using KubernetesConnection connection = server.Connect(time);
        Task<V1ConfigMapList> request = ListAsync(connection);
        await Eventually.True(() => request.IsCompleted, "the request ends", time, TimeSpan.FromSeconds(5));
        await Assert.ThrowsAsync<TimeoutException>(() => request);
    }

    [Fact]
    public async Task An_error_says_what_the_server_said_and_nothing_of_the_request()
    {
        await using FakeApiServer server = await FakeApiServer.StartAsync();
        server.On("POST", Objects.Status(422, "Invalid"), 422).On("POST", "<html>", 502);
        using KubernetesConnection connection = server.Connect();
        V1ConfigMap body = new() { Data = new Dictionary<string, string> { ["key"] = "a-credential" } };
        ApiException refused = await Assert.ThrowsAsync<ApiException>(() => connection.SendAsync<V1ConfigMap>(HttpMethod.Post, "api/v1/x", body));
        Assert.Equal("422 Invalid: said the server", refused.Message);
        Assert.DoesNotContain("a-credential", refused.ToString(), StringComparison.Ordinal);
        ApiException proxy = await Assert.ThrowsAsync<ApiException>(() => connection.SendAsync<V1ConfigMap>(HttpMethod.Post, "api/v1/x", body));
        Assert.Equal(HttpStatusCode.BadGateway, proxy.StatusCode);
    }

    private static Task<V1ConfigMapList> ListAsync(KubernetesConnection connection) =>
        connection.SendAsync<V1ConfigMapList>(HttpMethod.Get, "api/v1/configmaps");

    private KubernetesConnection Connect() => KubernetesConnection.InCluster(_server.Uri, _directory, TimeProvider.System);

    private void Write(string name, string text) => File.WriteAllText(Path.Combine(_directory, name), text);

    private static X509Certificate2 Authority(string name)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        return request.CreateSelfSigned(now.AddHours(-1), now.AddDays(1));
    }

    private static X509Certificate2 ServerCertificate(X509Certificate2 authority, IPAddress? address = null, string usage = "1.3.6.1.5.5.7.3.1")
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("CN=kube-apiserver", key, HashAlgorithmName.SHA256);
        SubjectAlternativeNameBuilder names = new();
        names.AddIpAddress(address ?? IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], false));
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        using X509Certificate2 signed = request.Create(authority, now.AddMinutes(-30), now.AddHours(12), RandomNumberGenerator.GetBytes(8));
        return signed.CopyWithPrivateKey(key);
    }
}
