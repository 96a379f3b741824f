using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Grpc.Core;
using Grpc.Net.Client;
using k8s.Models;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Leadership;
using Superserve.Operator.Certificates;
using Superserve.Operator.Configuration;
using Superserve.Operator.Delivery;
using Superserve.Operator.Tests.Support;
using Superserve.Protocol;
using Superserve.Testing;

namespace Superserve.Operator.Tests;

/// <summary>The operator as a whole, as its pod runs it.</summary>
public sealed class HostTests(TestCluster cluster) : IClassFixture<TestCluster>
{
    private const string OwnNamespace = "superserve-system";

    [Fact]
    public async Task It_is_ready_once_it_knows_the_cluster_and_has_its_certificates_and_answers_until_it_is_drained()
    {
        (WebApplication app, OperatorOptions options) = await BuildAsync();
        await using (app)
        {
            await app.StartAsync();
            await Eventually.True(() => Get($"http://127.0.0.1:{options.HealthPort}/readyz").Status == HttpStatusCode.OK, "the operator is ready");
            Assert.Equal(HttpStatusCode.OK, Get($"http://127.0.0.1:{options.HealthPort}/healthz").Status);

            Task drained = OperatorHost.DrainAsync(app, options);
            (HttpStatusCode status, string text) = Get($"http://127.0.0.1:{options.HealthPort}/readyz");
            Assert.Equal((HttpStatusCode.ServiceUnavailable, "the replica is ending: other replicas answer\n"), (status, text));
            Assert.Equal(HttpStatusCode.OK, Get($"http://127.0.0.1:{options.HealthPort}/healthz").Status);
            await drained;
            await app.StopAsync();
        }
    }

    [Fact]
    public async Task Without_rights_it_says_what_is_missing_and_is_not_ready()
    {
        cluster.Server.AddUser("nobody");
        (WebApplication app, OperatorOptions options) = await BuildAsync("nobody");
        await using (app)
        {
            await app.StartAsync();
            (HttpStatusCode status, string text) = Get($"http://127.0.0.1:{options.HealthPort}/readyz");
            Assert.Equal(HttpStatusCode.ServiceUnavailable, status);
            Assert.Contains("sandboxbindings.superserve.ai have not been listed yet", text, StringComparison.Ordinal);
            Assert.Contains("superserve-stand-in-key", text, StringComparison.Ordinal);
            await app.StopAsync();
        }
    }

    [Fact]
    public async Task Each_port_answers_its_own_paths_alone()
    {
        (WebApplication app, OperatorOptions options) = await BuildAsync();
        await using (app)
        {
            await app.StartAsync();
            await Eventually.True(() => Get($"http://127.0.0.1:{options.HealthPort}/readyz").Status == HttpStatusCode.OK, "the operator is ready");
            Assert.Equal(HttpStatusCode.NotFound, Get($"http://127.0.0.1:{options.HealthPort}/metrics").Status);
            Assert.Equal(HttpStatusCode.NotFound, Get($"http://127.0.0.1:{options.MetricsPort}/readyz").Status);
            Assert.Equal(HttpStatusCode.NotFound, Get($"http://127.0.0.1:{options.HealthPort}/validate/secrets").Status);
            Assert.Equal(HttpStatusCode.NotFound, Get($"https://127.0.0.1:{options.WebhookPort}/metrics").Status);
            string metrics = Get($"http://127.0.0.1:{options.MetricsPort}/metrics").Text;
            Assert.All(
                ["controller_runtime_reconcile_total", "controller_runtime_reconcile_time_seconds_bucket", "workqueue_depth", "workqueue_queue_duration_seconds_bucket", "leader_election_master_status"],
                name => Assert.Contains(name, metrics, StringComparison.Ordinal));
            await app.StopAsync();
        }
    }

    [Fact]
    public async Task The_webhooks_get_a_bundle_that_the_served_certificate_verifies_by()
    {
        await cluster.Server.ApplyAsync((await Chart.RenderAsync("superserve", OwnNamespace)).Single(manifest => Chart.IsKind(manifest, "ValidatingWebhookConfiguration")));
        (WebApplication app, OperatorOptions options) = await BuildAsync();
        await using (app)
        {
            await app.StartAsync();
            await Eventually.True(() => Get($"http://127.0.0.1:{options.HealthPort}/readyz").Status == HttpStatusCode.OK, "the operator is ready");
            KubernetesConnection connection = cluster.Connect();
            byte[]? bundle = null;
            await Eventually.True(
                () =>
                {
                    V1ValidatingWebhookConfiguration live = connection.SendAsync<V1ValidatingWebhookConfiguration>(
                        HttpMethod.Get, "apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/superserve").GetAwaiter().GetResult();
                    bundle = live.Webhooks.All(webhook => webhook.ClientConfig.CaBundle is not null) ? live.Webhooks[0].ClientConfig.CaBundle : null;
                    return bundle is not null;
                },
                "the webhooks have a bundle");
            X509Certificate2Collection roots = [];
            roots.ImportFromPem(Encoding.ASCII.GetString(bundle!));
            using SocketsHttpHandler handler = new()
            {
                SslOptions = new SslClientAuthenticationOptions
                {
                    CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck },
                },
            };
            handler.SslOptions.CertificateChainPolicy.CustomTrustStore.AddRange(roots);
            using HttpMessageInvoker client = new(handler);
            using HttpRequestMessage request = new(HttpMethod.Post, $"https://127.0.0.1:{options.WebhookPort}/validate/secrets") { Content = new StringContent("{", Encoding.UTF8, "application/json") };
            // The name that the API server checks.
            request.Headers.Host = $"superserve-operator.{OwnNamespace}.svc";
            using HttpResponseMessage response = await client.SendAsync(request, CancellationToken.None);
            Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
            await app.StopAsync();
        }
    }

    [Fact]
    public async Task Of_two_replicas_one_leads_and_both_answer()
    {
        (WebApplication first, OperatorOptions firstOptions) = await BuildAsync();
        (WebApplication second, OperatorOptions secondOptions) = await BuildAsync();
        await using (first)
        await using (second)
        {
            await Task.WhenAll(first.StartAsync(), second.StartAsync());
            foreach (OperatorOptions options in (OperatorOptions[])[firstOptions, secondOptions])
                await Eventually.True(() => Get($"http://127.0.0.1:{options.HealthPort}/readyz").Status == HttpStatusCode.OK, "the replica is ready");
            await Eventually.True(() => Leads(first) != Leads(second), "one of them leads");
            // Each says that it lives, and the leader looks who does.
            await Eventually.True(() => cluster.Server.Requests.All.Any(request => request is { Resource: "leases", Verb: "list" }), "the leader looks for replicas that are gone");
            await Eventually.True(
                () => cluster.Server.Requests.All.Any(request => request is { Resource: "leases", Verb: "patch" } && request.Name == ReplicaLease.KeyOf(OwnNamespace, Environment.MachineName).Name),
                "a replica's own Lease is there");
            (WebApplication leader, WebApplication follower) = Leads(first) ? (first, second) : (second, first);
            await leader.StopAsync();
            await Eventually.True(() => Leads(follower), "the other one leads");
            await follower.StopAsync();
        }

        static bool Leads(WebApplication app) => app.Services.GetRequiredService<LeaderElection>().IsLeader;
    }

    [Fact]
    public async Task One_address_has_a_bound_on_each_port_that_the_cluster_reaches()
    {
        (WebApplication app, OperatorOptions options) = await BuildAsync();
        await using (app)
        {
            object meters = app.Services.GetRequiredService<IMeterFactory>();
            ConcurrentBag<string> cut = [];
            using MeterListener listener = new();
            listener.InstrumentPublished = (instrument, subscriber) =>
            {
                if (instrument.Name == "superserve.connections.refused" && instrument.Meter.Scope == meters) subscriber.EnableMeasurementEvents(instrument);
            };
            listener.SetMeasurementEventCallback<long>((_, _, labels, _) => cut.Add((string)labels[0].Value!));
            listener.Start();
            await app.StartAsync();
            List<TcpClient> open = [];
            foreach ((int port, int most) in new[] { (options.WebhookPort, 256), (options.DeliveryPort, options.MaxConnectionsPerAddress) })
            {
                for (int i = 0; i <= most; i++)
                {
                    TcpClient client = new(new IPEndPoint(IPAddress.Parse("127.0.0.2"), 0));
                    open.Add(client);
                    try
                    {
                        await client.ConnectAsync(IPAddress.Loopback, port);
                    }
                    catch (SocketException exception) when (i == most && exception.SocketErrorCode == SocketError.ConnectionReset)
                    {
                        // Cut as soon as it was made.
                    }
                }
            }

            await Eventually.True(() => cut.Count == 2, "one connection to each was cut");
            Assert.Equal(["delivery", "webhook"], cut.Order());
            await Eventually.True(() => Get($"http://127.0.0.1:{options.HealthPort}/readyz").Status == HttpStatusCode.OK, "the operator is ready");
            Assert.Equal(HttpStatusCode.NotFound, Get($"https://127.0.0.1:{options.WebhookPort}/metrics").Status);
            foreach (TcpClient client in open) client.Dispose();
            await app.StopAsync();
        }
    }

    [Fact]
    public async Task A_sidecar_goes_to_the_other_replica_and_gets_the_same_stand_in_and_what_has_changed()
    {
        foreach (string manifest in (await Chart.RenderAsync("superserve", OwnNamespace)).Where(manifest => Chart.IsKind(manifest, "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")))
            await cluster.Server.ApplyAsync(manifest);
        (WebApplication first, OperatorOptions firstOptions) = await BuildAsync();
        (WebApplication second, OperatorOptions secondOptions) = await BuildAsync();
        await using (first)
        await using (second)
        {
            await Task.WhenAll(first.StartAsync(), second.StartAsync());
            foreach (OperatorOptions options in (OperatorOptions[])[firstOptions, secondOptions])
                await Eventually.True(() => Get($"http://127.0.0.1:{options.HealthPort}/readyz").Status == HttpStatusCode.OK, "the replica is ready");
            cluster.Server.Services.Map(OwnNamespace, "superserve-operator", new IPEndPoint(IPAddress.Loopback, firstOptions.WebhookPort));
            await ApplyUntilItIsTakenAsync($$"""
                {apiVersion: v1, kind: Namespace, metadata: {name: moving, labels: {superserve.ai/injection: enabled} } }
                ---
                {apiVersion: v1, kind: Secret, metadata: {name: credentials, namespace: moving}, stringData: {token: the-first-credential} }
                ---
                apiVersion: superserve.ai/v1alpha1
                kind: Secret
                metadata: {name: service, namespace: moving}
                spec: {valueFrom: {secretKeyRef: {name: credentials, key: token} }, hosts: [api.example.com], auth: {type: bearer} }
                ---
                apiVersion: superserve.ai/v1alpha1
                kind: SandboxBinding
                metadata: {name: agents, namespace: moving}
                spec: {selector: {matchLabels: {app: agent} }, secrets: [{env: TOKEN, secretName: service}] }
                ---
                apiVersion: v1
                kind: Pod
                metadata: {name: agent, namespace: moving, labels: {app: agent} }
                spec: {containers: [{name: agent, image: agent}] }
                """);
            string bundle = first.Services.GetRequiredService<ServingCertificates>().TrustBundle!;
            Assert.Equal(bundle, second.Services.GetRequiredService<ServingCertificates>().TrustBundle);

            BoundSecret before = await SecretFromAsync(firstOptions, bundle, "the-first-credential");
            // The replica ends; the other one admits and delivers, and hears of the change.
            await first.StopAsync();
            cluster.Server.Services.Map(OwnNamespace, "superserve-operator", new IPEndPoint(IPAddress.Loopback, secondOptions.WebhookPort));
            await cluster.Server.ApplyAsync("{apiVersion: v1, kind: Secret, metadata: {name: credentials, namespace: moving}, stringData: {token: the-second-credential} }");
            BoundSecret after = await SecretFromAsync(secondOptions, bundle, "the-second-credential");
            Assert.Equal(before.StandIn, after.StandIn);
            await cluster.Server.ApplyAsync("{apiVersion: v1, kind: Pod, metadata: {name: another, namespace: moving, labels: {app: agent} }, spec: {containers: [{name: agent, image: agent}] } }");
            await second.StopAsync();
        }
    }

    /// <summary>The webhooks have no bundle before the leader has written it.</summary>
    private async Task ApplyUntilItIsTakenAsync(string yaml)
    {
        Exception? last = null;
        await Eventually.True(
            () =>
            {
                try
                {
                    cluster.Server.ApplyAsync(yaml).GetAwaiter().GetResult();
                    return true;
                }
                catch (Exception exception)
                {
                    last = exception;
                    return false;
                }
            },
            $"the objects are taken ({last?.Message})");
    }

    /// <summary>What the pod's sidecar gets of a replica, once it holds the credential.</summary>
    private async Task<BoundSecret> SecretFromAsync(OperatorOptions replica, string bundle, string credential)
    {
        SocketsHttpHandler handler = new();
        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        handler.SslOptions.CertificateChainPolicy.CustomTrustStore.ImportFromPem(bundle);
        using GrpcChannel channel = GrpcChannel.ForAddress($"https://localhost:{replica.DeliveryPort}", new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true });
        string token = cluster.Server.ServiceAccountClient("moving", "default", "superserve.ai", "agent").Token;
        using AsyncDuplexStreamingCall<SidecarMessage, OperatorMessage> call =
            new Superserve.Protocol.Delivery.DeliveryClient(channel).Connect(new Metadata { { "authorization", $"Bearer {token}" } });
        await call.RequestStream.WriteAsync(new SidecarMessage { Hello = new Hello { Protocol = 1, Version = "0.1.0", Capture = "Explicit" } });
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(30), TimeProvider.System);
        while (await call.ResponseStream.MoveNext(patience.Token))
            if (call.ResponseStream.Current.Snapshot?.Secrets.FirstOrDefault(secret => secret.Available.ToStringUtf8() == credential) is { } found) return found;
        throw new InvalidOperationException("The stream has ended without the credential.");
    }

    private async Task<(WebApplication App, OperatorOptions Options)> BuildAsync(string user = "admin")
    {
        await cluster.Server.ApplyAsync($"{{apiVersion: v1, kind: Namespace, metadata: {{name: {OwnNamespace}}}}}");
        OperatorOptions options = new()
        {
            Namespace = OwnNamespace,
            ListenAddress = "127.0.0.1",
            WebhookPort = FreePort.Next(),
            DeliveryPort = FreePort.Next(),
            HealthPort = FreePort.Next(),
            MetricsPort = FreePort.Next(),
            DrainSeconds = 0,
            MaxConnectionsPerAddress = 16,
        };
        cluster.Connect(user);
        string kubeconfig = Path.Combine(Path.GetDirectoryName(cluster.Server.KubeconfigPath)!, $"kubeconfig-{user}");
        return (OperatorHost.Build(options, kubeconfig, LogLevel.Warning), options);
    }

    private static (HttpStatusCode Status, string Text) Get(string url)
    {
        using SocketsHttpHandler handler = new();
        // Whether its issuer is the right one is the test of the bundle above.
        handler.SslOptions.RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate?.Subject.Contains("superserve", StringComparison.Ordinal) == true;
        using HttpMessageInvoker client = new(handler);
        using HttpRequestMessage request = new(HttpMethod.Get, url);
        try
        {
            using HttpResponseMessage response = client.Send(request, CancellationToken.None);
            using StreamReader reader = new(response.Content.ReadAsStream());
            return (response.StatusCode, reader.ReadToEnd());
        }
        catch (HttpRequestException)
        {
            return (default, "");
        }
    }
}
