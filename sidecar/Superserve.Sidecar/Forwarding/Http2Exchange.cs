using System.Net;
using System.Net.Http.Headers;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;
using Superserve.Core.Scrubbing;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Metrics;
using Superserve.Sidecar.Proxy;
using Yarp.ReverseProxy.Forwarder;

namespace Superserve.Sidecar.Forwarding;

/// <summary>
/// What is written of one request, and what of its answer comes back. Headers are written from what was judged, never copied
/// from the request again.
/// </summary>
internal sealed class Http2Exchange(Exchange exchange, Uri uri, bool hasEmptyBody, SidecarMetrics metrics, TimeProvider time) : HttpTransformer
{
    private readonly AnswerFields _fields = new(exchange);

    /// <summary>An answer that cannot be passed on.</summary>
    public Refusal? Refusal { get; private set; }

    public override ValueTask TransformRequestAsync(HttpContext httpContext, HttpRequestMessage proxyRequest, string destinationPrefix, CancellationToken cancellationToken)
    {
        proxyRequest.RequestUri = uri;
        if (exchange.HostHeader is { } host) proxyRequest.Headers.Host = host;
        SwapPlan? plan = exchange.Plan;
        foreach (HeaderField field in exchange.Headers)
            if (!exchange.IsReplaced(field)) Add(proxyRequest, field.Name, field.Value);

        if (plan is not null)
        {
            foreach (HeaderEdit edit in plan.Headers)
                if (edit.Value is not null) Add(proxyRequest, edit.Name, edit.Value);
            // An encoded answer would hide an echoed credential from the scrubber.
            proxyRequest.Headers.TryAddWithoutValidation("Accept-Encoding", "identity");
        }

        if (proxyRequest.Content is not null) proxyRequest.Content.Headers.ContentLength = httpContext.Request.ContentLength ?? (hasEmptyBody ? 0 : null);
        // gRPC asks for trailers this way, hop by hop as the header is.
        if (httpContext.Request.Headers.TE.ToString().Contains("trailers", StringComparison.OrdinalIgnoreCase))
            proxyRequest.Headers.TryAddWithoutValidation("TE", "trailers");
        exchange.Marks = (time.GetTimestamp(), 0, 0);
        return default;
    }

    public override ValueTask<bool> TransformResponseAsync(HttpContext httpContext, HttpResponseMessage? proxyResponse, CancellationToken cancellationToken)
    {
        if (proxyResponse is null) return new(false);
        // The client below takes 0xx; nobody behind this does, the audit service included.
        if ((int)proxyResponse.StatusCode < StatusCodes.Status100Continue) return Refuse(httpContext, "answered with a status that is no number from 100 on");
        exchange.UpstreamStatus = (int)proxyResponse.StatusCode;
        long answered = time.GetTimestamp();
        // The service's own words in the status line are one more place for an echo.
        httpContext.Features.GetRequiredFeature<IHttpResponseFeature>().ReasonPhrase = null;
        HttpRequestMessage request = proxyResponse.RequestMessage!;
        bool isUpgrade = proxyResponse.StatusCode == HttpStatusCode.SwitchingProtocols
            || (proxyResponse.StatusCode == HttpStatusCode.OK && request.Method == HttpMethod.Connect);
        if (proxyResponse.StatusCode == HttpStatusCode.SwitchingProtocols && request.Headers.Upgrade.Count == 0)
            return Refuse(httpContext, "switched to another protocol unasked");
        bool hasBody = !isUpgrade && !HttpMethods.IsHead(httpContext.Request.Method) && proxyResponse.StatusCode is not (HttpStatusCode.NoContent or HttpStatusCode.NotModified);
        bool scrubsBody = hasBody && _fields.ScrubsBodies;
        string? encoding = scrubsBody ? Encoding(proxyResponse) : null;
        if (!AnswerBody.IsReadable(encoding)) return Refuse(httpContext, AnswerBody.Unreadable);

        _fields.Nominated = proxyResponse.Headers.NonValidated.TryGetValues("Connection", out HeaderStringValues nominated) ? nominated.ToString() : "";
        (_fields.ChangesBody, _fields.IsDecoded) = (scrubsBody, encoding is not null);
        Copy(proxyResponse.Headers, httpContext.Response.Headers);
        Copy(proxyResponse.Content.Headers, httpContext.Response.Headers);
        if (hasBody) proxyResponse.Content = new ResponseContent(proxyResponse.Content, content => ReadStream(content, encoding, scrubsBody));
        exchange.Marks = exchange.Marks with { Answered = answered, Written = time.GetTimestamp() };
        return new(true);
    }

    public override ValueTask TransformResponseTrailersAsync(HttpContext httpContext, HttpResponseMessage proxyResponse, CancellationToken cancellationToken)
    {
        if (_fields.WereScrubbed) metrics.ResponseScrubbed();
        IHttpResponseTrailersFeature? trailers = httpContext.Features.Get<IHttpResponseTrailersFeature>();
        (_fields.ChangesBody, _fields.IsDecoded) = (false, false);
        if (trailers is { Trailers.IsReadOnly: false }) Copy(proxyResponse.TrailingHeaders, trailers.Trailers);
        return default;
    }

    private static void Add(HttpRequestMessage request, string name, string value)
    {
        if (!request.Headers.TryAddWithoutValidation(name, value)) request.Content?.Headers.TryAddWithoutValidation(name, value);
    }

    private void Copy(HttpHeaders from, IHeaderDictionary to)
    {
        foreach ((string name, HeaderStringValues values) in from.NonValidated)
        {
            if (!_fields.Passes(name) || _fields.IsCredential(name)) continue;
            string[] texts = new string[values.Count];
            int i = 0;
            foreach (string value in values) texts[i++] = _fields.Scrub(value);
            to.Append(name, texts.Length == 1 ? new StringValues(texts[0]) : new StringValues(texts));
        }
    }

    /// <summary>How the body is encoded; <see cref="AnswerBody.Encoding"/>.</summary>
    private static string? Encoding(HttpResponseMessage response)
    {
        string encoding = response.Content.Headers.NonValidated.TryGetValues("Content-Encoding", out HeaderStringValues content) ? content.ToString() : "";
        // The client below undoes "chunked" and nothing else.
        if (response.Headers.NonValidated.TryGetValues("Transfer-Encoding", out HeaderStringValues transfer) && !Is(transfer.ToString().Trim(), "chunked")) encoding += "," + transfer;
        return AnswerBody.Encoding(encoding);
    }

    private ValueTask<bool> Refuse(HttpContext context, string what)
    {
        Refusal = UpstreamFailure.NotPassed(exchange, what);
        context.Response.StatusCode = StatusCodes.Status502BadGateway;
        return new(false);
    }

    private ResponseStream ReadStream(Stream content, string? encoding, bool scrubsBody) =>
        new(AnswerBody.Decode(content, encoding), exchange, scrubsBody ? new BodyScrubber(_fields.Patterns!) : null, () => _fields.WereScrubbed = true);

    private static bool Is(string name, string other) => string.Equals(name, other, StringComparison.OrdinalIgnoreCase);

    /// <summary>The answer's body, read through a stream of ours.</summary>
    private sealed class ResponseContent(HttpContent inner, Func<Stream, Stream> wrap) : HttpContent
    {
        protected override async Task<Stream> CreateContentReadStreamAsync() => wrap(await inner.ReadAsStreamAsync());

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => throw new NotSupportedException();

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing) inner.Dispose();
            base.Dispose(disposing);
        }
    }
}
