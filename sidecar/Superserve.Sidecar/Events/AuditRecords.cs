using Google.Protobuf;
using Superserve.Core.Events;
using Superserve.Protocol.Audit;

namespace Superserve.Sidecar.Events;

/// <summary>Events as bytes of the protocol's records, written into a buffer of the thread's own: what is returned counts until the next call.</summary>
internal static class AuditRecords
{
    private const double MicrosecondsPerMillisecond = 1000;

    [ThreadStatic]
    private static Scratch? _scratch;

    /// <summary>An event of its own.</summary>
    public static ReadOnlySpan<byte> Of(SidecarEvent item) => item switch
    {
        RequestEvent request => OfRequest(request, hasOutcome: true),
        ConnectionEvent connection => OfConnection(connection),
        DnsEvent lookUp => OfLookUp(lookUp),
        _ => throw new ArgumentException("There is no such event.", nameof(item)),
    };

    /// <summary>
    /// What is known of a request when it goes on. Protobuf merges messages that stand one behind the other: this and
    /// <see cref="OfOutcome"/> are the record. Where it would be longer than its slot, the path is cut.
    /// </summary>
    public static ReadOnlySpan<byte> OfBegun(RequestEvent request)
    {
        ReadOnlySpan<byte> bytes = OfRequest(request, hasOutcome: false);
        int excess = bytes.Length - Journal.MaxBegunLength;
        return excess <= 0 ? bytes : OfRequest(request with { Path = string.Concat(request.Path.AsSpan(0, Math.Max(0, request.Path.Length - excess - 3)), "…") }, hasOutcome: false);
    }

    /// <summary>What became of it.</summary>
    public static ReadOnlySpan<byte> OfOutcome(RequestEvent request)
    {
        Scratch scratch = Take();
        Clear(scratch.Request);
        SetOutcome(scratch.Request, request);
        return scratch.Write(scratch.Request);
    }

    /// <summary>The outcome of a request that the process did not see the end of.</summary>
    public static ReadOnlySpan<byte> OfInterruption()
    {
        Scratch scratch = Take();
        Clear(scratch.Request);
        (scratch.Request.Error, scratch.Request.Verdict) = ("interrupted", Verdict.Failed);
        return scratch.Write(scratch.Request);
    }

    private static ReadOnlySpan<byte> OfRequest(RequestEvent request, bool hasOutcome)
    {
        Scratch scratch = Take();
        RequestRecord record = scratch.Request;
        Clear(record);
        record.Time = Microseconds(request.Time);
        if (request is { Secret: { } secrets, Env: { } envs })
        {
            // Names and variables hold no comma.
            if (!secrets.Contains(',')) record.Uses.Add(new SecretUse { Secret = secrets, Env = envs });
            else foreach ((string secret, string env) in secrets.Split(',').Zip(envs.Split(','))) record.Uses.Add(new SecretUse { Secret = secret, Env = env });
        }

        (record.Method, record.Host, record.Port, record.Path, record.Protocol) = (request.Method, request.Host, (uint)request.Port, request.Path, request.Protocol);
        if (hasOutcome) SetOutcome(record, request);
        return scratch.Write(record);
    }

    private static void SetOutcome(RequestRecord record, RequestEvent request)
    {
        (record.Status, record.UpstreamStatus) = ((uint)request.Status, (uint)(request.UpstreamStatus ?? 0));
        (record.DurationMicroseconds, record.BytesSent, record.BytesReceived) = (Duration(request), (ulong)request.BytesSent, (ulong)request.BytesReceived);
        (record.Error, record.Verdict) = (request.Error ?? "", Of(request.Verdict));
        record.Count = Count(request.Count);
    }

    private static void Clear(RequestRecord record)
    {
        record.Uses.Clear();
        record.Time = 0;
        record.Method = record.Host = record.Path = record.Protocol = record.Error = "";
        record.Port = record.Status = record.UpstreamStatus = 0;
        record.DurationMicroseconds = 0;
        record.BytesSent = record.BytesReceived = record.Count = 0;
        record.Verdict = Verdict.Unspecified;
    }

    private static ReadOnlySpan<byte> OfConnection(ConnectionEvent connection)
    {
        Scratch scratch = Take();
        NetworkRecord record = Common(scratch, connection, "connection", connection.Protocol);
        (record.Address, record.Handling) = (connection.Address ?? "", connection.Handling);
        (record.Verdict, record.Rule, record.LogOnly) = (Of(connection.Verdict), connection.Rule, connection.LogOnly);
        record.QueryType = record.Response = "";
        record.Count = Count(connection.Packets ?? connection.Count);
        return scratch.Write(record);
    }

    private static ReadOnlySpan<byte> OfLookUp(DnsEvent lookUp)
    {
        Scratch scratch = Take();
        NetworkRecord record = Common(scratch, lookUp, "dns", "dns");
        record.Address = record.Handling = "";
        (record.Verdict, record.Rule, record.LogOnly) = (Of(lookUp.Verdict), lookUp.Rule, lookUp.LogOnly);
        (record.QueryType, record.Response) = (lookUp.QueryType, lookUp.Response);
        record.Count = Count(lookUp.Count);
        return scratch.Write(record);
    }

    private static NetworkRecord Common(Scratch scratch, SidecarEvent item, string kind, string protocol)
    {
        NetworkRecord record = scratch.Network;
        (record.Time, record.Kind, record.Protocol, record.Host, record.Port) = (Microseconds(item.Time), kind, protocol, item.Host, (uint)item.Port);
        (record.Error, record.DurationMicroseconds) = (item.Error ?? "", Duration(item));
        (record.BytesSent, record.BytesReceived) = ((ulong)item.BytesSent, (ulong)item.BytesReceived);
        return record;
    }

    private static Verdict Of(ConnectionVerdict verdict) => verdict switch
    {
        ConnectionVerdict.Allowed => Verdict.Allowed,
        ConnectionVerdict.Blocked => Verdict.Blocked,
        _ => Verdict.Failed,
    };

    /// <summary>One goes without saying.</summary>
    private static ulong Count(long count) => count == 1 ? 0 : (ulong)count;

    private static long Microseconds(DateTimeOffset time) => (time.UtcTicks - DateTimeOffset.UnixEpoch.Ticks) / TimeSpan.TicksPerMicrosecond;

    private static long Duration(SidecarEvent item) => (long)(item.DurationMilliseconds * MicrosecondsPerMillisecond);

    private static Scratch Take() => _scratch ??= new Scratch();

    private sealed class Scratch
    {
        private byte[] _bytes = new byte[Journal.MaxBegunLength];

        public RequestRecord Request { get; } = new();

        public NetworkRecord Network { get; } = new();

        public ReadOnlySpan<byte> Write(IMessage message)
        {
            int length = message.CalculateSize();
            if (length > _bytes.Length) _bytes = new byte[length];
            message.WriteTo(_bytes.AsSpan(0, length));
            return _bytes.AsSpan(0, length);
        }
    }
}
