using System.Diagnostics;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using k8s;

namespace Superserve.Benchmarks;

/// <summary>Reviews at a fixed rate, whether or not the ones before are answered, as the API server sends them.</summary>
internal static class AdmissionBench
{
    public static async Task<double[]> RunAsync(BenchCluster cluster, string path, int perSecond, TimeSpan duration)
    {
        X509Certificate2Collection authorities = [];
        authorities.ImportFromPem(cluster.Authorities);
        using SocketsHttpHandler handler = new() { SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck } } };
        handler.SslOptions.CertificateChainPolicy.CustomTrustStore.AddRange(authorities);
        using HttpMessageInvoker client = new(handler);
        Uri url = new($"https://127.0.0.1:{cluster.WebhookPort}{path}");
        // Connections and code are warm in an operator that has been running for a while.
        for (int i = 0; i < 200; i++) await ReviewAsync(client, url, i);

        int count = (int)(perSecond * duration.TotalSeconds);
        Task<double>[] reviews = new Task<double>[count];
        long started = Stopwatch.GetTimestamp();
        for (int i = 0; i < count; i++)
        {
            TimeSpan due = TimeSpan.FromSeconds((double)i / perSecond) - Stopwatch.GetElapsedTime(started);
            if (due > TimeSpan.Zero) await Task.Delay(due, TimeProvider.System);
            reviews[i] = ReviewAsync(client, url, i);
        }

        return [.. (await Task.WhenAll(reviews)).Order()];
    }

    private static async Task<double> ReviewAsync(HttpMessageInvoker client, Uri url, int i)
    {
        object review = new
        {
            apiVersion = "admission.k8s.io/v1",
            kind = "AdmissionReview",
            request = new
            {
                uid = Guid.NewGuid().ToString(),
                kind = new { group = "", version = "v1", kind = "Pod" },
                resource = new { group = "", version = "v1", resource = "pods" },
                name = $"admitted-{i}",
                @namespace = BenchCluster.Namespace,
                operation = "CREATE",
                userInfo = new { username = "system:serviceaccount:kube-system:replicaset-controller", groups = new[] { "system:authenticated" } },
                @object = JsonSerializer.SerializeToElement(BenchCluster.Pod($"admitted-{i}"), KubernetesJsonOptions),
                dryRun = false,
            },
        };
        byte[] body = JsonSerializer.SerializeToUtf8Bytes(review);
        long sent = Stopwatch.GetTimestamp();
        using HttpRequestMessage request = new(HttpMethod.Post, url) { Content = new ByteArrayContent(body) };
        request.Content.Headers.ContentType = new("application/json");
        using HttpResponseMessage response = await client.SendAsync(request, CancellationToken.None);
        string text = await response.Content.ReadAsStringAsync();
        double milliseconds = Stopwatch.GetElapsedTime(sent).TotalMilliseconds;
        if (!text.Contains("\"allowed\":true", StringComparison.Ordinal) || !text.Contains("\"patch\"", StringComparison.Ordinal))
            throw new InvalidOperationException($"A review was answered with {(int)response.StatusCode} {text[..Math.Min(text.Length, 500)]}");
        return milliseconds;
    }

    private static readonly JsonSerializerOptions KubernetesJsonOptions = CreateOptions();

    private static JsonSerializerOptions CreateOptions()
    {
        JsonSerializerOptions? options = null;
        KubernetesJson.AddJsonOptions(found => options = found);
        return options!;
    }
}
