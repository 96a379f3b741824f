using System.Buffers;
using System.Collections.Immutable;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;
using Superserve.Core.Authentication;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Snapshots;
using Superserve.Core.Swapping;

namespace Superserve.Sidecar.Proxy;

/// <summary>One request and its answer on their way: what each step of the data path leaves for the next.</summary>
internal sealed class Exchange(HttpContext context, SandboxConnection connection, Snapshot snapshot, long startedAt, DateTimeOffset wallClock) : IDisposable
{
    private HeaderField[] _headers = [];
    private int _headerCount;

    public HttpContext Context { get; } = context;

    public SandboxConnection Connection { get; } = connection;

    /// <summary>Taken when the head had arrived; the exchange decides by it to its end.</summary>
    public Snapshot Snapshot { get; } = snapshot;

    public long StartedAt { get; } = startedAt;

    public DateTimeOffset Time { get; } = wallClock;

    /// <summary>The checked destination.</summary>
    public Authority Destination { get; set; }

    /// <summary>
    /// The Host that goes out where it is not the destination's own: a name that the resolver's search list completed, or one at an
    /// address that is allowed by itself. TLS asks for it too.
    /// </summary>
    public string? HostHeader { get; set; }

    /// <summary>Path and query, as sent.</summary>
    public string Target { get; set; } = "";

    public NetworkVerdict Network { get; set; }

    public SwapPlan? Plan { get; set; }

    public Refusal? Refusal { get; set; }

    /// <summary>A stand-in in the request's trailers, which come when the head is long gone.</summary>
    public Refusal? BodyRefusal { get; set; }

    public int? UpstreamStatus { get; set; }

    /// <summary>The request describes a body and has none: it goes out with an empty one.</summary>
    public bool HasEmptyBody { get; set; }

    /// <summary>The event log keeps a place for this exchange's event.</summary>
    public bool IsAudited { get; set; }

    /// <summary>The exchange broke off after the answer had begun, or the client left.</summary>
    public bool IsAborted { get; set; }

    public long BytesSent { get; set; }

    public long BytesReceived { get; set; }

    /// <summary>Timestamps: the request is judged and handed on, the answer's head is there, and is written.</summary>
    public (long Forwarded, long Answered, long Written) Marks { get; set; }

    /// <summary>The method as the rules see it: a WebSocket over HTTP/2 (RFC 8441) is the GET that it is over HTTP/1.1.</summary>
    public string Method => Context.Features.Get<IHttpExtendedConnectFeature>() is { IsExtendedConnect: true } ? HttpMethods.Get : Context.Request.Method;

    /// <summary>The header fields to forward, as sent.</summary>
    public ReadOnlySpan<HeaderField> Headers => _headers.AsSpan(0, _headerCount);

    /// <summary>The secrets that the request uses, or tried to.</summary>
    public ImmutableArray<BoundSecret> Secrets => Plan?.Secrets ?? (Refusal?.Secret is { } secret ? [secret] : []);

    /// <summary>What the sidecar took ahead of the answer, without what the service took.</summary>
    public TimeSpan? Added(TimeProvider time)
    {
        (long forwarded, long answered, long written) = Marks;
        return written == 0 ? null : time.GetElapsedTime(StartedAt, forwarded) + time.GetElapsedTime(answered, written);
    }

    /// <summary>
    /// Collects the fields to forward: without those of one hop, those that <c>Connection</c> names, and those that the
    /// forwarder writes itself (Host, Content-Length).
    /// </summary>
    public void ReadHeaders()
    {
        IHeaderDictionary headers = Context.Request.Headers;
        StringValues nominated = headers.Connection;
        _headers = ArrayPool<HeaderField>.Shared.Rent(headers.Count + 8);
        foreach ((string name, StringValues values) in headers)
        {
            if (name.StartsWith(':') || HeaderRules.IsHopByHop(name) || IsOwn(name) || IsNominated(nominated, name)) continue;
            if (values.Count > 1 && name.Equals("Cookie", StringComparison.OrdinalIgnoreCase))
            {
                // HTTP/2 lets a cookie header come in crumbs (RFC 9113 section 8.2.3); HTTP/1.1 has one.
                Add(name, string.Join("; ", values.AsEnumerable()));
                continue;
            }

            foreach (string? value in values) Add(name, value ?? "");
        }
    }

    /// <summary>Whether there is a header that HTTP takes for one of the body's, where there need be no body.</summary>
    public bool DescribesBody
    {
        get
        {
            foreach (HeaderField header in Headers)
                if (header.Name.StartsWith("Content-", StringComparison.OrdinalIgnoreCase) || header.Is("Allow") || header.Is("Expires") || header.Is("Last-Modified")) return true;
            return false;
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        if (_headers.Length > 0) ArrayPool<HeaderField>.Shared.Return(_headers, clearArray: true);
        _headers = [];
        _headerCount = 0;
    }

    private void Add(string name, string value)
    {
        if (_headerCount == _headers.Length)
        {
            HeaderField[] larger = ArrayPool<HeaderField>.Shared.Rent(_headers.Length * 2);
            Headers.CopyTo(larger);
            ArrayPool<HeaderField>.Shared.Return(_headers, clearArray: true);
            _headers = larger;
        }

        _headers[_headerCount++] = new HeaderField(name, value);
    }

    private static bool IsOwn(string name) =>
        name.Equals("Host", StringComparison.OrdinalIgnoreCase) || name.Equals("Content-Length", StringComparison.OrdinalIgnoreCase)
        || name.Equals("X-Content-Length", StringComparison.OrdinalIgnoreCase) || name.Equals("HTTP2-Settings", StringComparison.OrdinalIgnoreCase);

    private static bool IsNominated(StringValues connection, string name)
    {
        foreach (string? value in connection)
        {
            if (value is not null && HeaderRules.Nominates(value, name)) return true;
        }

        return false;
    }
}
