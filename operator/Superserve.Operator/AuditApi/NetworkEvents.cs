using System.Text.Json.Nodes;
using Superserve.Kubernetes.Api;
using Superserve.Protocol.Audit;
using static Superserve.Operator.AuditApi.AuditText;
using Property = Superserve.Operator.AuditApi.AuditResource<Superserve.Protocol.Audit.NetworkRow>.Property;

namespace Superserve.Operator.AuditApi;

/// <summary>The network log: one row for each connection and each look-up of a sandbox, whatever became of it.</summary>
internal static class NetworkEvents
{
    private static readonly (Column Column, Func<NetworkRow, JsonNode> Cell)[] Table =
    [
        (new("Time", "string", "date-time", 0, "When it began."), row => JsonValue.Create(Seconds(row.Record.Time))),
        (new("Sandbox", "string", "", 0, "The pod that it is of."), row => Cell(row.Origin.Pod)),
        (new("Kind", "string", "", 0, "connection or dns."), row => Cell(row.Record.Kind)),
        (new("Host", "string", "", 0, "The host, or the address where no name is known."), row => Cell(row.Record.Host.Length > 0 ? row.Record.Host : row.Record.Address)),
        (new("Port", "string", "", 0, "The port."), row => Cell(row.Record.Port)),
        (new("Verdict", "string", "", 0, "allowed, blocked or failed."), row => Cell(VerdictOf(row.Record.Verdict))),
        (new("Rule", "string", "", 0, "The rule that decided."), row => Cell(row.Record.Rule)),
        (new("Error", "string", "", 0, "Why it could not be done."), row => Cell(row.Record.Error)),
        (new("Protocol", "string", "", 1, "tcp, udp, quic, icmp, dns or other."), row => Cell(row.Record.Protocol)),
        (new("Address", "string", "", 1, "The address that was dialled, where it was one."), row => Cell(row.Record.Address)),
        (new("Handling", "string", "", 1, "intercepted, tunnelled, http or dropped."), row => Cell(row.Record.Handling)),
        (new("Log-Only", "boolean", "", 1, "Whether a rule of the mode LogOnly would have refused it."), row => JsonValue.Create(row.Record.LogOnly)),
        (new("Query", "string", "", 1, "Of a look-up: the type of records."), row => Cell(row.Record.QueryType)),
        (new("Response", "string", "", 1, "Of a look-up: what it was answered."), row => Cell(row.Record.Response)),
        (new("Duration", "string", "", 1, "How long it took."), row => Duration(row.Record.DurationMicroseconds)),
        (new("Sent", "integer", "int64", 1, "Bytes that the sandbox sent."), row => JsonValue.Create(row.Record.BytesSent)),
        (new("Received", "integer", "int64", 1, "Bytes that it received."), row => JsonValue.Create(row.Record.BytesReceived)),
        (new("Count", "integer", "int64", 1, "How many alike the row stands for."), row => Count(row.Record.Count)),
        (new("Name", "string", "name", 1, "The row's name."), row => Cell(row.Origin.Name)),
    ];

    public static AuditResource Resource { get; } = new AuditResource<NetworkRow>
    {
        Kind = new ResourceKind(AuditResource.Group, AuditResource.Version, "NetworkEvent", "networkevents"),
        Singular = "networkevent",
        ShortName = "sne",
        Log = Log.Network,
        Description = "NetworkEvent is a connection or a look-up of a name by a sandbox, and what became of it. It is a row of the network log: it can be read and never changed, and goes when the installation's retention says so.",
        Selectors = new Dictionary<string, Selectable>(StringComparer.Ordinal)
        {
            ["sandbox"] = new(Field.Sandbox),
            ["host"] = new(Field.Host),
            ["kind"] = new(Field.Kind, ["connection", "dns"]),
            ["verdict"] = new(Field.Verdict, ["allowed", "blocked", "failed"]),
        },
        RowsOf = reply => reply.Network,
        OriginOf = row => (row.Origin, row.Record.Time),
        Columns = [.. Table.Select(entry => entry.Column)],
        CellsOf = [.. Table.Select(entry => entry.Cell)],
        Properties =
        [
            new Property("time", AuditSchema.Moment("When it began, to the microsecond."), row => Microseconds(row.Record.Time)),
            new Property("sandbox", AuditSchema.Sandbox(), row => new JsonObject { ["pod"] = row.Origin.Pod, ["uid"] = row.Origin.PodUid }),
            new Property("eventKind", AuditSchema.Text("connection or dns; the field selector is kind."), row => Text(row.Record.Kind)),
            new Property("protocol", AuditSchema.Text("tcp, udp, quic, icmp or other; of a look-up dns."), row => Text(row.Record.Protocol)),
            new Property("host", AuditSchema.Text("The host, or the name that was looked up; absent where no name is known."), row => Text(row.Record.Host)),
            new Property("address", AuditSchema.Text("The address that was dialled; absent where a name was."), row => Text(row.Record.Address)),
            new Property("port", AuditSchema.Number("The port; absent for what has none."), row => Number(row.Record.Port)),
            new Property("handling", AuditSchema.Text("intercepted, tunnelled, http or dropped; absent for a look-up."), row => Text(row.Record.Handling)),
            new Property("verdict", AuditSchema.Text("allowed; blocked, where a rule refused it; failed, where it was permitted and could not be done or broke off."), row => VerdictOf(row.Record.Verdict)),
            new Property("rule", AuditSchema.Text("The rule that decided."), row => Text(row.Record.Rule)),
            new Property("logOnly", AuditSchema.Flag("Whether a rule of the mode LogOnly would have refused it."), row => row.Record.LogOnly),
            new Property("error", AuditSchema.Text("Why it could not be done; absent for success."), row => Text(row.Record.Error)),
            new Property("durationMicroseconds", AuditSchema.Number("How long it took."), row => row.Record.DurationMicroseconds),
            new Property("bytesSent", AuditSchema.Number("Bytes that the sandbox sent."), row => row.Record.BytesSent),
            new Property("bytesReceived", AuditSchema.Number("Bytes that it received."), row => row.Record.BytesReceived),
            new Property("queryType", AuditSchema.Text("Of a look-up: the type of records."), row => Text(row.Record.QueryType)),
            new Property("response", AuditSchema.Text("Of a look-up: what it was answered."), row => Text(row.Record.Response)),
            new Property("count", AuditSchema.Number("How many alike the row stands for; of dropped packets, the packets."), row => Count(row.Record.Count)),
        ],
    };
}
