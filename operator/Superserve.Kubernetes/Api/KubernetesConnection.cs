using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using k8s;
using k8s.Exceptions;
using Client = k8s.Kubernetes;

namespace Superserve.Kubernetes.Api;

/// <summary>
/// The way to one API server: address, trust, credentials, and requests that end. <see cref="Client"/> is there for the typed
/// calls; the runtime sends its own requests, because the client's watch loses cancellation and its errors carry bodies.
/// </summary>
public sealed class KubernetesConnection : IDisposable
{
    private const string ServiceAccountDirectory = "/var/run/secrets/kubernetes.io/serviceaccount";

    private static readonly TimeSpan RequestTimeout = TimeSpan.FromSeconds(30);

    private readonly Client _client;
    private readonly TimeProvider _time;
    private readonly string? _serverName;

    /// <summary>Connects as <paramref name="configuration"/> says, with a stricter check of the server than the client's own.</summary>
    public KubernetesConnection(KubernetesClientConfiguration configuration, TimeProvider time)
        : this(configuration, configuration.SslCaCerts is { } authorities ? new ClusterTrust(() => authorities) : null, time)
    {
    }

    private KubernetesConnection(KubernetesClientConfiguration configuration, ClusterTrust? trust, TimeProvider time)
    {
        _time = time;
        _serverName = string.IsNullOrWhiteSpace(configuration.TlsServerName) ? null : configuration.TlsServerName;
        Namespace = string.IsNullOrWhiteSpace(configuration.Namespace) ? "default" : configuration.Namespace.Trim();
        Json = configuration.JsonSerializerOptions;

        // With CAs of its own the client replaces the callback that is set below.
        configuration.SslCaCerts = null;
        configuration.FirstMessageHandlerSetup = handler =>
        {
            // Every watch is a stream, and one connection has room for a hundred or two.
            handler.EnableMultipleHttp2Connections = true;
            handler.ConnectTimeout = TimeSpan.FromSeconds(10);
            // A connection that died without a word is found by its missing pong, long before a watch's deadline.
            handler.KeepAlivePingDelay = TimeSpan.FromSeconds(30);
            handler.KeepAlivePingTimeout = TimeSpan.FromSeconds(15);
            // No connection outlives its trust by more than this.
            handler.PooledConnectionLifetime = TimeSpan.FromMinutes(10);
            if (trust is not null)
                handler.SslOptions.RemoteCertificateValidationCallback = (_, certificate, chain, errors) => trust.Accepts(certificate, chain, errors);
        };
        _client = new Client(configuration);
    }

    /// <summary>For typed calls; never for its watches or its leader election. Its exceptions carry bodies: do not log them whole.</summary>
    public IKubernetes Client => _client;

    /// <summary>The pod's own namespace, or the kubeconfig context's.</summary>
    public string Namespace { get; }

    internal JsonSerializerOptions Json { get; }

    /// <summary>In a pod by its service account, elsewhere by the kubeconfig.</summary>
    public static KubernetesConnection Create(TimeProvider time) =>
        KubernetesClientConfiguration.IsInCluster() ? InCluster(time) : FromKubeconfig(time);

    /// <summary>By the service account's files, which are read again as they rotate.</summary>
    public static KubernetesConnection InCluster(TimeProvider time, string directory = ServiceAccountDirectory)
    {
        string? host = Environment.GetEnvironmentVariable("KUBERNETES_SERVICE_HOST");
        string? port = Environment.GetEnvironmentVariable("KUBERNETES_SERVICE_PORT");
        if (string.IsNullOrEmpty(host) || !int.TryParse(port, out int number))
            throw new KubeConfigException("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this process is not in a pod.");
        return InCluster(new UriBuilder("https", host, number).Uri, directory, time);
    }

    /// <summary>By a kubeconfig: the given one, or KUBECONFIG, or ~/.kube/config.</summary>
    public static KubernetesConnection FromKubeconfig(TimeProvider time, string? path = null, string? context = null) =>
        new(KubernetesClientConfiguration.BuildConfigFromConfigFile(path, context), time);

    internal static KubernetesConnection InCluster(Uri server, string directory, TimeProvider time)
    {
        string namespaceFile = Path.Combine(directory, "namespace");
        return new KubernetesConnection(
            new KubernetesClientConfiguration
            {
                Host = server.ToString(),
                TokenProvider = new TokenFile(Path.Combine(directory, "token")),
                Namespace = File.Exists(namespaceFile) ? File.ReadAllText(namespaceFile) : null,
            },
            ClusterTrust.FromFile(Path.Combine(directory, "ca.crt")),
            time);
    }

    /// <summary>Sends one request and reads its answer. A server that takes too long is a <see cref="TimeoutException"/>.</summary>
    public async Task<T> SendAsync<T>(
        HttpMethod method, string path, object? body = null, string mediaType = "application/json", CancellationToken cancellationToken = default)
    {
        using CancellationTokenSource deadline = new(RequestTimeout, _time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            using HttpResponseMessage response = await OpenAsync(method, path, body, mediaType, either.Token);
            await using Stream content = await response.Content.ReadAsStreamAsync(either.Token);
            return await JsonSerializer.DeserializeAsync<T>(content, Json, either.Token)
                ?? throw new JsonException($"The answer to {method} {path} is null.");
        }
        catch (OperationCanceledException) when (deadline.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"{method} {path.Split('?')[0]} took more than {RequestTimeout.TotalSeconds} s.");
        }
    }

    /// <summary>Sends one request; the caller reads the answer, within a deadline of its own.</summary>
    internal async Task<HttpResponseMessage> OpenAsync(
        HttpMethod method, string path, object? body, string mediaType, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = new(method, new Uri(_client.BaseUri, path)) { Version = HttpVersion.Version20 };
        if (body is not null)
        {
            request.Content = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(body, body.GetType(), Json));
            request.Content.Headers.ContentType = new MediaTypeHeaderValue(mediaType);
        }

        if (_client.Credentials is { } credentials) await credentials.ProcessHttpRequestAsync(request, cancellationToken);
        request.Headers.Host = _serverName;
        HttpResponseMessage response = await _client.HttpClient.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        if (response.IsSuccessStatusCode) return response;
        using (response) throw await ApiException.FromAsync(response, Json, cancellationToken);
    }

    /// <inheritdoc />
    public void Dispose() => _client.Dispose();
}
