using System.Buffers;
using System.Collections.Immutable;
using Superserve.Core.Authentication;
using Superserve.Core.Events;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Snapshots;
using Superserve.Core.Swapping;

namespace Superserve.Sidecar.Proxy;

/// <summary>One request and its answer on their way: what each step of the data path leaves for the next.</summary>
internal sealed class Exchange(SandboxConnection connection, Snapshot snapshot, long startedAt, DateTimeOffset wallClock) : IDisposable
{
    private HeaderField[] _headers = [];
    private int _headerCount;

    public SandboxConnection Connection { get; } = connection;

    /// <summary>Taken when the head had arrived; the exchange decides by it to its end.</summary>
    public Snapshot Snapshot { get; } = snapshot;

    public long StartedAt { get; } = startedAt;

    public DateTimeOffset Time { get; } = wallClock;

    /// <summary>As the rules see it: a WebSocket over HTTP/2 (RFC 8441) is the GET that it is over HTTP/1.1.</summary>
    public required string Method { get; init; }

    /// <summary>Path and query, or an absolute URI, as sent.</summary>
    public required string SentTarget { get; init; }

    /// <summary>Host or :authority as sent; empty where there is none.</summary>
    public required string SentHost { get; init; }

    /// <summary>The version of HTTP, as <c>HTTP/1.1</c>.</summary>
    public required string Protocol { get; init; }

    /// <summary>What the connection is asked to turn into, be it by the header or by RFC 8441; null for nothing.</summary>
    public string? Upgrade { get; init; }

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

    /// <summary>What the sandbox was answered.</summary>
    public int Status { get; set; }

    public int? UpstreamStatus { get; set; }

    /// <summary>The event of a request that goes on with a credential, as far as it was known then; its place in the log is beside it.</summary>
    public RequestEvent? Begun { get; set; }

    public int Place { get; set; }

    /// <summary>The exchange broke off after the answer had begun, or the client left.</summary>
    public bool IsAborted { get; set; }

    public long BytesSent { get; set; }

    public long BytesReceived { get; set; }

    /// <summary>Timestamps: the request is judged and handed on, the answer's head is there, and is written.</summary>
    public (long Forwarded, long Answered, long Written) Marks { get; set; }

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
    /// <param name="fields">All that were sent.</param>
    /// <param name="nominated">The values of <c>Connection</c>.</param>
    public void ReadHeaders(ReadOnlySpan<HeaderField> fields, string nominated)
    {
        _headers = ArrayPool<HeaderField>.Shared.Rent(fields.Length);
        int cookie = -1;
        foreach (HeaderField field in fields)
        {
            if (HeaderRules.IsHopByHop(field.Name) || IsOwn(field) || (nominated.Length > 0 && HeaderRules.Nominates(nominated, field.Name))) continue;
            if (field.Is("Cookie"))
            {
                // HTTP/2 lets a cookie header come in crumbs (RFC 9113 section 8.2.3); HTTP/1.1 has one.
                if (cookie >= 0)
                {
                    _headers[cookie] = _headers[cookie] with { Value = $"{_headers[cookie].Value}; {field.Value}" };
                    continue;
                }

                cookie = _headerCount;
            }

            _headers[_headerCount++] = field;
        }
    }

    /// <summary>Whether a swapped request goes out without this field: the plan writes it, or leaves it out, and Accept-Encoding is the forwarder's.</summary>
    public bool IsReplaced(HeaderField field)
    {
        if (Plan is null) return false;
        if (field.Is("Accept-Encoding")) return true;
        foreach (HeaderEdit edit in Plan.Headers)
            if (field.Is(edit.Name)) return true;
        return false;
    }

    /// <inheritdoc />
    public void Dispose()
    {
        if (_headers.Length > 0) ArrayPool<HeaderField>.Shared.Return(_headers, clearArray: true);
        _headers = [];
        _headerCount = 0;
    }

    private static bool IsOwn(HeaderField field) => field.Is("Host") || field.Is("Content-Length") || field.Is("HTTP2-Settings");
}
