using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.AspNetCore.Http.Features;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Http1;
using Superserve.Sidecar.Metrics;
using Superserve.Sidecar.Proxy;
using Yarp.ReverseProxy.Forwarder;

namespace Superserve.Sidecar.Forwarding;

/// <summary>
/// Steps 8 and 9 of the data path for HTTP/2: sends a judged request to its service and the scrubbed answer back. A service
/// that does not speak HTTP/2 is asked in HTTP/1.1.
/// </summary>
internal sealed class Http2Forwarder : IDisposable
{
    /// <summary>Requests of the old rules have handed their connections back by then; what still streams goes on.</summary>
    private static readonly TimeSpan DisposeDelay = TimeSpan.FromMinutes(5);

    private readonly IHttpForwarder _http;
    private readonly UpstreamConnector _connector;
    private readonly SidecarOptions _options;
    private readonly Lock _renewal = new();
    private volatile Pool? _pool;
    private readonly SidecarMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ForwarderRequestConfig _secure;
    private readonly ForwarderRequestConfig _plain;

    public Http2Forwarder(IHttpForwarder http, UpstreamConnector connector, SidecarOptions options, SidecarMetrics metrics, TimeProvider time)
    {
        _http = http;
        _metrics = metrics;
        _time = time;
        _connector = connector;
        _options = options;
        // Only idleness ends an exchange.
        _secure = new ForwarderRequestConfig { ActivityTimeout = options.IdleTimeout, Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionOrLower };
        _plain = _secure with { VersionPolicy = HttpVersionPolicy.RequestVersionExact };
    }

    /// <summary>Forwards; a refusal where no answer of the service's reached the client.</summary>
    public async Task<Refusal?> ForwardAsync(Exchange exchange, HttpContext context)
    {
        bool secure = exchange.Connection.Handling == Handling.Intercepted;
        if (!TryMakeUri(exchange, secure, out Uri? uri))
            return new Refusal(RefusalReason.RequestDenied, "The request's host or path cannot be written as an http address. Send it in its usual form.");

        context.Request.Body = new RequestStream(context.Request.Body, exchange, context);
        // Headers that describe a body go out with a body alone, be it an empty one.
        bool hasEmptyBody = DescribesBody(exchange) && context.Features.Get<IHttpRequestBodyDetectionFeature>() is not { CanHaveBody: true };
        if (hasEmptyBody) context.Features.Set<IHttpRequestBodyDetectionFeature>(EmptyBody.Instance);

        Http2Exchange transformer = new(exchange, uri, hasEmptyBody, _metrics, _time);
        ForwarderError error = await _http.SendAsync(context, secure ? "https://upstream" : "http://upstream", Client(exchange.Snapshot.Network), secure ? _secure : _plain, transformer, CancellationToken.None);
        if (transformer.Refusal is { } refusal) return refusal;
        return error == ForwarderError.None ? null : Explain(exchange, context, error, context.Features.Get<IForwarderErrorFeature>()?.Exception);
    }

    public void Dispose() => _pool?.Client.Dispose();

    /// <summary>Whether there is a header that HTTP takes for one of the body's, where there need be no body.</summary>
    private static bool DescribesBody(Exchange exchange)
    {
        foreach (HeaderField header in exchange.Headers)
            if (header.Name.StartsWith("Content-", StringComparison.OrdinalIgnoreCase) || header.Is("Allow") || header.Is("Expires") || header.Is("Last-Modified")) return true;
        return false;
    }

    /// <summary>
    /// Connections to services are kept for the next request, but addresses are checked when one is opened: under other
    /// network rules there are other connections.
    /// </summary>
    private HttpMessageInvoker Client(NetworkRules rules)
    {
        if (_pool is { } pool && ReferenceEquals(pool.Rules, rules)) return pool.Client;
        lock (_renewal)
        {
            if (_pool is not { } old || !ReferenceEquals(old.Rules, rules))
            {
                if (_pool is { } gone) DisposeLater(gone.Client);
                _pool = new Pool(rules, new HttpMessageInvoker(new FlushingHandler(Handler(_connector, _options))));
            }

            return _pool.Client;
        }
    }

    private void DisposeLater(HttpMessageInvoker client)
    {
        ITimer? timer = null;
        timer = _time.CreateTimer(_ =>
        {
            client.Dispose();
            timer?.Dispose();
        }, null, DisposeDelay, Timeout.InfiniteTimeSpan);
    }

    private sealed class EmptyBody : IHttpRequestBodyDetectionFeature
    {
        public static EmptyBody Instance { get; } = new();

        public bool CanHaveBody => true;
    }

    private sealed record Pool(NetworkRules Rules, HttpMessageInvoker Client);

    private static SocketsHttpHandler Handler(UpstreamConnector connector, SidecarOptions options) => new()
    {
        ConnectCallback = async (context, cancellationToken) =>
        {
            DnsEndPoint endPoint = context.DnsEndPoint;
            // The handler was given the checked name; it comes back as it went in.
            if (!Authority.TryCreate(endPoint.Host.AsSpan().Trim("[]"), endPoint.Port, out Authority destination)) throw new SocketException((int)SocketError.HostNotFound);
            return new NetworkStream(await connector.ConnectAsync(destination, cancellationToken), ownsSocket: true);
        },
        SslOptions = connector.TlsOptions,
        // For look-up, TCP and TLS together. The connector limits the first two by themselves, and says better what happened.
        ConnectTimeout = options.ConnectTimeout * 3,
        UseProxy = false,
        UseCookies = false,
        AllowAutoRedirect = false,
        AutomaticDecompression = DecompressionMethods.None,
        PreAuthenticate = false,
        // Services learn nothing of traces in the cluster.
        ActivityHeadersPropagator = null,
        EnableMultipleHttp2Connections = true,
        InitialHttp2StreamWindowSize = 1024 * 1024,
        KeepAlivePingDelay = TimeSpan.FromSeconds(60),
        KeepAlivePingTimeout = TimeSpan.FromSeconds(20),
        KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
        PooledConnectionIdleTimeout = ServiceConnections.IdleTime,
        PooledConnectionLifetime = ServiceConnections.Lifetime,
        MaxResponseHeadersLength = 64,
        RequestHeaderEncodingSelector = static (_, _) => Encoding.Latin1,
        ResponseHeaderEncodingSelector = static (_, _) => Encoding.Latin1,
    };

    private static bool TryMakeUri(Exchange exchange, bool secure, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Uri? uri)
    {
        Authority destination = exchange.Destination;
        string host = destination.Host.Contains(':') ? $"[{destination.Host}]" : destination.Host;
        string port = destination.Port == (secure ? 443 : 80) ? "" : string.Create(System.Globalization.CultureInfo.InvariantCulture, $":{destination.Port}");
        string text = string.Concat(secure ? "https://" : "http://", host, port, exchange.Plan?.Target ?? exchange.Target);
        // As sent: rules have judged this spelling of the path, so the service gets no other.
        return Uri.TryCreate(text, new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true }, out uri);
    }

    private static Refusal? Explain(Exchange exchange, HttpContext context, ForwarderError error, Exception? exception)
    {
        if (exchange.BodyRefusal is { } refusal) return refusal;
        if (UpstreamFailure.Find<UpstreamException>(exception) is not null) return UpstreamFailure.Explain(exchange, exception);
        if (IsOfTheClient(error) || context.Response.HasStarted)
        {
            exchange.IsAborted = true;
            return null;
        }

        return error switch
        {
            ForwarderError.RequestCreation => new Refusal(RefusalReason.RequestDenied, "The request has a form that cannot be forwarded. Send it in its usual form.", exchange.Plan?.Secrets[0]),
            ForwarderError.RequestTimedOut => UpstreamFailure.TimedOut(exchange),
            _ => UpstreamFailure.Explain(exchange, exception),
        };
    }

    /// <summary>The sandbox went away, or its body broke off: nobody is there to be told.</summary>
    private static bool IsOfTheClient(ForwarderError error) => error is
        ForwarderError.RequestCanceled or ForwarderError.RequestBodyCanceled or ForwarderError.RequestBodyClient
        or ForwarderError.ResponseBodyCanceled or ForwarderError.ResponseBodyClient or ForwarderError.UpgradeRequestClient
        or ForwarderError.UpgradeResponseClient or ForwarderError.UpgradeRequestCanceled or ForwarderError.UpgradeResponseCanceled;
}
