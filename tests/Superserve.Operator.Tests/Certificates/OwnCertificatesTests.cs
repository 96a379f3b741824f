using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Superserve.Operator.Certificates;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Certificates;

public sealed class OwnCertificatesTests : CertificatesTest
{
    private const string Name = OwnCertificates.SecretName;

    [Fact]
    public async Task Replicas_that_start_at_once_agree_on_one_CA()
    {
        Replica[] replicas = [.. Enumerable.Range(0, 4).Select(_ => new Replica(Server))];
        try
        {
            await Task.WhenAll(replicas.Select(replica => replica.Own.StartAsync(CancellationToken.None)));
            await Eventually.True(() => replicas.All(replica => replica.Serving.IsReady), "all serve");
            string bundle = Assert.Single(replicas.Select(replica => replica.Serving.TrustBundle!).Distinct());
            Assert.Equal(Entry(Name, "ca.crt") + Entry(Name, "next.crt"), bundle);
            foreach (Replica replica in replicas) Assert.Equal("", Chains.Problem(Leaf(replica), bundle, TimeProvider.System.GetUtcNow()));
            Assert.Equal(4, replicas.Select(replica => Leaf(replica).SerialNumber).Distinct().Count());
        }
        finally
        {
            foreach (Replica replica in replicas) await replica.DisposeAsync();
        }
    }

    [Fact]
    public async Task The_Secret_says_whose_it_is()
    {
        await using Replica replica = await Replica.ServingAsync(Server);
        Assert.Equal("Opaque", (string?)Secret(Name)!["type"]);
        Assert.Equal(
            """{"app.kubernetes.io/part-of":"superserve","app.kubernetes.io/managed-by":"superserve-operator"}""", Secret(Name)!["metadata"]!["labels"]!.ToJsonString());
    }

    [Fact]
    public async Task A_restarted_replica_takes_the_CA_that_is_there()
    {
        string? bundle;
        await using (Replica first = await Replica.ServingAsync(Server)) bundle = first.Serving.TrustBundle;
        await using Replica second = await Replica.ServingAsync(Server);
        Assert.Equal(bundle, second.Serving.TrustBundle);
        Assert.Equal(["create"], Writes("secrets"));
    }

    [Fact]
    public async Task A_deleted_Secret_comes_back_with_the_same_CA()
    {
        await using Replica first = await Replica.ServingAsync(Server);
        await using Replica second = await Replica.ServingAsync(Server);
        string? certificate = Entry(Name, "ca.crt"), key = Entry(Name, "next.key");
        await DeleteSecretAsync(Name);
        await Eventually.True(() => Secret(Name) is not null, "the Secret is there again");
        Assert.Equal((certificate, key), (Entry(Name, "ca.crt"), Entry(Name, "next.key")));
    }

    [Theory]
    [InlineData("""{"ca.key": "bm8ga2V5"}""")]
    [InlineData("""{"ca.key": null, "ca.crt": null, "next.key": null, "next.crt": null}""")]
    public async Task A_spoilt_Secret_is_mended_from_memory(string spoilt)
    {
        await using Replica replica = await Replica.ServingAsync(Server);
        SslStreamCertificateContext? served = replica.Serving.Current;
        string? key = Entry(Name, "ca.key");
        await PatchSecretAsync(Name, spoilt);
        await Eventually.True(() => Entry(Name, "ca.key") == key, "the Secret is as it was");
        Assert.Same(served, replica.Serving.Current);
        await Eventually.True(() => replica.Log.Text.Contains("was spoilt by somebody", StringComparison.Ordinal), "it is logged");
    }

    [Fact]
    public async Task A_Secret_that_makes_no_sense_at_the_start_is_reported_and_left_alone()
    {
        await Server.ApplyAsync($"{{apiVersion: v1, kind: Secret, metadata: {{name: {Name}, namespace: {OperatorNamespace}}}, stringData: {{ca.crt: precious}}}}");
        await using Replica replica = new(Server);
        await replica.Own.StartAsync(CancellationToken.None);
        await Eventually.True(() => replica.Serving.Problem?.Contains("ca.crt is not a certificate", StringComparison.Ordinal) == true, "the reason is reported");
        Assert.Contains("superserve-system/superserve-ca", replica.Serving.Problem, StringComparison.Ordinal);
        Assert.Contains("delete it", replica.Serving.Problem, StringComparison.Ordinal);
        Assert.False(replica.Serving.IsReady);
        Assert.Null(replica.Serving.Current);
        Assert.Equal("precious", Entry(Name, "ca.crt"));

        await DeleteSecretAsync(Name);
        await Eventually.True(() => replica.Serving.IsReady && replica.Serving.Problem is null, "it makes its own once the way is free");
    }

    [Fact]
    public async Task An_owner_can_put_another_CA_there_and_all_replicas_take_it()
    {
        await using Replica first = await Replica.ServingAsync(Server);
        await using Replica second = await Replica.ServingAsync(Server);
        Dictionary<string, byte[]> data = [];
        CertificateAuthority own = CertificateAuthority.Create(TimeProvider.System.GetUtcNow());
        own.Write(data);
        await PatchSecretAsync(Name, System.Text.Json.JsonSerializer.Serialize(data));
        await Eventually.True(() => first.Serving.TrustBundle == own.Bundle && second.Serving.TrustBundle == own.Bundle, "both trust it");
        Assert.Equal("", Chains.Problem(Leaf(first), own.Current.CertificatePem, TimeProvider.System.GetUtcNow()));
        await Eventually.True(() => first.Log.Text.Contains("unrelated", StringComparison.Ordinal), "it is logged");
    }

    [Fact]
    public async Task The_next_CA_takes_over_in_all_replicas_when_its_time_comes()
    {
        FakeTimeProvider time = new(TimeProvider.System.GetUtcNow());
        await using Replica first = await Replica.ServingAsync(Server, time);
        await using Replica second = await Replica.ServingAsync(Server, time);
        string? next = Entry(Name, "next.crt");
        string oldBundle = first.Serving.TrustBundle!;
        int told = 0;
        first.Serving.TrustBundleChanged += () => Interlocked.Increment(ref told);

        time.Advance(SigningAuthority.Lifetime / 3);
        await Eventually.True(() => Entry(Name, "ca.crt") == next, "the Secret is rotated", time, TimeSpan.FromMinutes(10));
        string bundle = Entry(Name, "ca.crt") + Entry(Name, "next.crt");
        await Eventually.True(() => first.Serving.TrustBundle == bundle && second.Serving.TrustBundle == bundle, "both have it", time, TimeSpan.FromMinutes(1));
        await Eventually.True(() => Volatile.Read(ref told) == 1, "who asked is told");
        // Who has heard of nothing since before the rotation still accepts both.
        foreach (Replica replica in (Replica[])[first, second])
        {
            Assert.Equal("", Chains.Problem(Leaf(replica), oldBundle, time.GetUtcNow()));
            Assert.Equal("", Chains.Problem(Leaf(replica), next!, time.GetUtcNow()));
        }
    }

    [Fact]
    public async Task A_leaf_is_renewed_at_two_thirds_of_its_life_also_without_an_API_server()
    {
        FakeTimeProvider time = new(TimeProvider.System.GetUtcNow());
        await using Replica replica = await Replica.ServingAsync(Server, time);
        Server.Requests.FailWith(_ => 503);
        SslStreamCertificateContext? served = replica.Serving.Current;
        time.Advance((SigningAuthority.LeafLifetime * 2 / 3) - TimeSpan.FromMinutes(5));
        await Eventually.True(() => replica.Serving.Problem is not null, "the outage is reported");
        Assert.Same(served, replica.Serving.Current);
        time.Advance(TimeSpan.FromMinutes(6));
        await Eventually.True(() => replica.Serving.Current != served, "a new leaf", time, TimeSpan.FromSeconds(30));
        Assert.True(replica.Serving.IsReady);
        Assert.True(Leaf(replica).NotAfter.ToUniversalTime() > time.GetUtcNow() + (SigningAuthority.LeafLifetime * 0.9));

        Server.Requests.FailWith(null);
        await Eventually.True(() => replica.Serving.Problem is null, "the end of the outage", time, TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task The_rights_of_the_chart_are_enough()
    {
        await Server.ApplyAsync($$"""
            apiVersion: v1
            kind: ServiceAccount
            metadata: {name: superserve-operator, namespace: {{OperatorNamespace}}}
            ---
            apiVersion: rbac.authorization.k8s.io/v1
            kind: Role
            metadata: {name: superserve-operator, namespace: {{OperatorNamespace}}}
            rules:
            - {apiGroups: [""], resources: [secrets], verbs: [create]}
            - {apiGroups: [""], resources: [secrets], resourceNames: [superserve-ca, superserve-stand-in-key, superserve-audit-serving], verbs: [get, list, watch, update]}
            ---
            apiVersion: rbac.authorization.k8s.io/v1
            kind: RoleBinding
            metadata: {name: superserve-operator, namespace: {{OperatorNamespace}}}
            roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: superserve-operator}
            subjects: [{kind: ServiceAccount, name: superserve-operator, namespace: {{OperatorNamespace}}}]
            ---
            apiVersion: rbac.authorization.k8s.io/v1
            kind: ClusterRole
            metadata: {name: superserve-operator-webhooks}
            rules:
            - apiGroups: [admissionregistration.k8s.io]
              resources: [validatingwebhookconfigurations, mutatingwebhookconfigurations]
              resourceNames: [superserve]
              verbs: [list, watch, patch]
            - apiGroups: [apiregistration.k8s.io]
              resources: [apiservices]
              resourceNames: [v1alpha1.audit.superserve.ai]
              verbs: [list, watch, patch]
            ---
            apiVersion: rbac.authorization.k8s.io/v1
            kind: ClusterRoleBinding
            metadata: {name: superserve-operator-webhooks}
            roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: superserve-operator-webhooks}
            subjects: [{kind: ServiceAccount, name: superserve-operator, namespace: {{OperatorNamespace}}}]
            """);
        await Server.ApplyAsync(CaBundleControllerTests.Configuration("Validating", "a"));
        string kubeconfig = Server.KubeconfigPath + ".operator";
        Server.WriteKubeconfig(Server.ServiceAccountClient(OperatorNamespace, "superserve-operator"), kubeconfig);
        await using Replica replica = new(Server, kubeconfig: kubeconfig);
        await replica.Own.StartAsync(CancellationToken.None);
        await replica.Key.StartAsync(CancellationToken.None);
        replica.Lead();
        await Eventually.True(() => replica.Serving.IsReady && replica.Key.IsReady && Entry(AuditCertificate.SecretName, "tls.key") is not null, $"all is there: {replica.Serving.Problem} {replica.Key.Problem}");
        await PatchSecretAsync(Name, """{"ca.key": null}""");
        await Eventually.True(() => Entry(Name, "ca.key") is not null, "it may be mended");
        await PatchSecretAsync(AuditCertificate.SecretName, """{"tls.key": null}""");
        await Eventually.True(() => Entry(AuditCertificate.SecretName, "tls.key") is not null, "the audit service's may be mended");
        await Eventually.True(() => Writes("validatingwebhookconfigurations").Count() == 2 && !replica.Log.Text.Contains("403", StringComparison.Ordinal), "nothing was refused");
    }

    [Fact]
    public async Task A_refused_access_is_reported_with_what_to_look_at()
    {
        Server.AddUser("stranger");
        string kubeconfig = Server.KubeconfigPath + ".stranger";
        Server.WriteKubeconfig("stranger", kubeconfig);
        await using Replica replica = new(Server, kubeconfig: kubeconfig);
        await replica.Own.StartAsync(CancellationToken.None);
        await Eventually.True(() => replica.Serving.Problem?.Contains("403", StringComparison.Ordinal) == true, "the refusal is reported");
        Assert.Contains("Role", replica.Serving.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public async Task No_private_key_is_ever_logged()
    {
        await using Replica replica = await Replica.ServingAsync(Server);
        string[] secrets = [.. new[] { "ca.key", "next.key" }.Select(entry => Entry(Name, entry)!.Split('\n')[1])];
        await PatchSecretAsync(Name, $$"""{"ca.crt": "{{Convert.ToBase64String(System.Text.Encoding.ASCII.GetBytes(Entry(Name, "ca.key")!))}}"}""");
        await Eventually.True(() => replica.Log.Text.Contains("was spoilt by somebody", StringComparison.Ordinal), "the key in the wrong place is seen");
        foreach (string secret in secrets) Assert.DoesNotContain(secret, replica.Log.Text + replica.Serving.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_TLS_client_that_trusts_the_bundle_alone_accepts_the_server_and_wrong_names_are_not_it()
    {
        await using Replica replica = new(Server);
        await using WebApplication app = await ListenAsync(replica.Serving);
        int port = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First()).Port;
        await Assert.ThrowsAnyAsync<Exception>(() => HandshakeAsync(port, "localhost", null));

        await replica.Own.StartAsync(CancellationToken.None);
        await Eventually.True(() => replica.Serving.IsReady, "a replica serves");
        Assert.Equal(SslApplicationProtocol.Http2, await HandshakeAsync(port, "superserve-operator.superserve-system.svc", replica.Serving.TrustBundle));
        await Assert.ThrowsAsync<AuthenticationException>(() => HandshakeAsync(port, "another.superserve-system.svc", replica.Serving.TrustBundle));
        await Assert.ThrowsAsync<AuthenticationException>(
            () => HandshakeAsync(port, "superserve-operator.superserve-system.svc", CertificateAuthority.Create(TimeProvider.System.GetUtcNow()).Bundle));
    }

    private static X509Certificate2 Leaf(Replica replica) => replica.Serving.Current!.TargetCertificate;

    private static async Task<WebApplication> ListenAsync(ServingCertificates serving)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.UseHttps(new TlsHandshakeCallbackOptions { OnConnection = serving.OnConnection })));
        WebApplication app = builder.Build();
        await app.StartAsync();
        return app;
    }

    private static async Task<SslApplicationProtocol> HandshakeAsync(int port, string name, string? bundle)
    {
        using TcpClient client = new();
        await client.ConnectAsync(IPAddress.Loopback, port);
        await using SslStream tls = new(client.GetStream());
        X509ChainPolicy policy = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        if (bundle is not null) policy.CustomTrustStore.AddRange(Chains.Parse(bundle));
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = name,
            CertificateChainPolicy = policy,
            ApplicationProtocols = [SslApplicationProtocol.Http2],
        });
        return tls.NegotiatedApplicationProtocol;
    }
}
