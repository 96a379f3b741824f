using Google.Protobuf;
using Superserve.Protocol.Audit;

namespace Superserve.Audit.Export;

/// <summary>An event as names and values, the same for each way out; what is empty is left out.</summary>
internal static class EventFields
{
    /// <summary>When it began.</summary>
    public static DateTimeOffset TimeOf(IMessage row) => DateTimeOffset.UnixEpoch.AddMicroseconds(row is RequestRow request ? request.Record.Time : ((NetworkRow)row).Record.Time);

    /// <summary>Its fields; values are texts, whole numbers, <c>true</c> or a list of texts.</summary>
    public static IEnumerable<KeyValuePair<string, object?>> Of(IMessage row) =>
        (row is RequestRow request ? OfRequest(request) : OfNetwork((NetworkRow)row)).Where(field => field.Value is not ("" or 0L or false or string[] { Length: 0 }));

    private static IEnumerable<KeyValuePair<string, object?>> OfRequest(RequestRow row)
    {
        RequestRecord record = row.Record;
        return
        [
            new("kind", "request"), .. OfOrigin(row.Origin),
            new("secrets", record.Uses.Select(use => use.Secret).ToArray()), new("envs", record.Uses.Select(use => use.Env).ToArray()),
            new("method", record.Method), new("host", record.Host), new("port", (long)record.Port), new("path", record.Path),
            new("status", (long)record.Status), new("upstreamStatus", (long)record.UpstreamStatus), new("protocol", record.Protocol),
            .. OfResult(record.Verdict, record.Error, record.DurationMicroseconds, record.BytesSent, record.BytesReceived, record.Count),
        ];
    }

    private static IEnumerable<KeyValuePair<string, object?>> OfNetwork(NetworkRow row)
    {
        NetworkRecord record = row.Record;
        return
        [
            new("kind", record.Kind), .. OfOrigin(row.Origin),
            new("protocol", record.Protocol), new("host", record.Host), new("address", record.Address), new("port", (long)record.Port),
            new("handling", record.Handling), new("rule", record.Rule), new("logOnly", record.LogOnly),
            new("queryType", record.QueryType), new("response", record.Response),
            .. OfResult(record.Verdict, record.Error, record.DurationMicroseconds, record.BytesSent, record.BytesReceived, record.Count),
        ];
    }

    private static IEnumerable<KeyValuePair<string, object?>> OfOrigin(Origin origin) =>
        [new("name", origin.Name), new("namespace", origin.Namespace), new("pod", origin.Pod), new("podUid", origin.PodUid)];

    private static IEnumerable<KeyValuePair<string, object?>> OfResult(Verdict verdict, string error, long duration, ulong sent, ulong received, ulong count) =>
    [
        new("verdict", verdict switch { Verdict.Allowed => "allowed", Verdict.Blocked => "blocked", _ => "failed" }), new("error", error),
        new("durationMicroseconds", duration), new("bytesSent", (long)sent), new("bytesReceived", (long)received), new("count", (long)Math.Max(count, 1)),
    ];
}
