using System.Text.Json.Nodes;
using Superserve.Kubernetes.Api;
using Superserve.Protocol.Audit;
using static Superserve.Operator.AuditApi.AuditText;
using Property = Superserve.Operator.AuditApi.AuditResource<Superserve.Protocol.Audit.RequestRow>.Property;

namespace Superserve.Operator.AuditApi;

/// <summary>The audit log: one row for each request that used a secret, tried to, or was refused.</summary>
internal static class SecretRequests
{
    private const int HttpsPort = 443;

    private static readonly (Column Column, Func<RequestRow, JsonNode> Cell)[] Table =
    [
        (new("Time", "string", "date-time", 0, "When the request began."), row => JsonValue.Create(Seconds(row.Record.Time))),
        (new("Sandbox", "string", "", 0, "The pod that the request is of."), row => Cell(row.Origin.Pod)),
        (new("Secret", "string", "", 0, "The Superserve Secrets that it used, or tried to."), row => Cell(string.Join(',', row.Record.Uses.Select(use => use.Secret)))),
        (new("Method", "string", "", 0, "The request's method."), row => Cell(row.Record.Method)),
        (new("Host", "string", "", 0, "The host that it was for, with its port where that is not 443."), row => Cell(HostOf(row.Record))),
        (new("Path", "string", "", 0, "The path without its query."), row => Cell(row.Record.Path)),
        (new("Status", "string", "", 0, "The status that the sandbox was answered."), row => Cell(row.Record.Status)),
        (new("Error", "string", "", 0, "Why it was refused, or broke off."), row => Cell(row.Record.Error)),
        (new("Duration", "string", "", 0, "From its beginning to the answer's end."), row => Duration(row.Record.DurationMicroseconds)),
        (new("Env", "string", "", 1, "The variables that hold the stand-ins."), row => Cell(string.Join(',', row.Record.Uses.Select(use => use.Env)))),
        (new("Verdict", "string", "", 1, "allowed, blocked or failed."), row => Cell(VerdictOf(row.Record.Verdict))),
        (new("Upstream", "string", "", 1, "The status that the service answered."), row => Cell(row.Record.UpstreamStatus)),
        (new("Sent", "integer", "int64", 1, "Bytes to the service."), row => JsonValue.Create(row.Record.BytesSent)),
        (new("Received", "integer", "int64", 1, "Bytes from the service."), row => JsonValue.Create(row.Record.BytesReceived)),
        (new("Protocol", "string", "", 1, "HTTP/1.1 or HTTP/2."), row => Cell(row.Record.Protocol)),
        (new("Count", "integer", "int64", 1, "How many alike the row stands for."), row => Count(row.Record.Count)),
        (new("Name", "string", "name", 1, "The row's name."), row => Cell(row.Origin.Name)),
    ];

    public static AuditResource Resource { get; } = new AuditResource<RequestRow>
    {
        Kind = new ResourceKind(AuditResource.Group, AuditResource.Version, "SecretRequest", "secretrequests"),
        Singular = "secretrequest",
        ShortName = "ssr",
        Log = Log.Requests,
        Description = "SecretRequest is a request of a sandbox that used a Superserve Secret, tried to, or was refused. It is a row of the audit log: it can be read and never changed, and goes when the installation's retention says so.",
        Selectors = new Dictionary<string, Selectable>(StringComparer.Ordinal)
        {
            ["secret"] = new(Field.Secret),
            ["sandbox"] = new(Field.Sandbox),
            ["host"] = new(Field.Host),
            ["statusClass"] = new(Field.StatusClass, ["2xx", "3xx", "4xx", "5xx", "error"]),
            ["verdict"] = new(Field.Verdict, ["allowed", "blocked", "failed"]),
        },
        RowsOf = reply => reply.Requests,
        OriginOf = row => (row.Origin, row.Record.Time),
        Columns = [.. Table.Select(entry => entry.Column)],
        CellsOf = [.. Table.Select(entry => entry.Cell)],
        Properties =
        [
            new Property("time", AuditSchema.Moment("When the request began, to the microsecond."), row => Microseconds(row.Record.Time)),
            new Property("sandbox", AuditSchema.Sandbox(), row => new JsonObject { ["pod"] = row.Origin.Pod, ["uid"] = row.Origin.PodUid }),
            new Property(
                "secrets",
                AuditSchema.List("The Superserve Secrets whose stand-ins the request held.", AuditSchema.Object(
                    "A use of one Superserve Secret.",
                    ("name", AuditSchema.Text("The Superserve Secret's name; it is in the row's namespace.")),
                    ("env", AuditSchema.Text("The environment variable that holds the stand-in.")))),
                row => new JsonArray([.. row.Record.Uses.Select(use => new JsonObject { ["name"] = use.Secret, ["env"] = use.Env })])),
            new Property("method", AuditSchema.Text("The request's method."), row => Text(row.Record.Method)),
            new Property("host", AuditSchema.Text("The host that it was for."), row => Text(row.Record.Host)),
            new Property("port", AuditSchema.Number("The port that it was for."), row => Number(row.Record.Port)),
            new Property("path", AuditSchema.Text("The path, never with its query. A credential in it stands as {{ value }}."), row => Text(row.Record.Path)),
            new Property("status", AuditSchema.Number("The HTTP status that the sandbox was answered; absent where the connection broke ahead of an answer."), row => Number(row.Record.Status)),
            new Property("upstreamStatus", AuditSchema.Number("The HTTP status that the service answered; absent where it was not asked or did not answer."), row => Number(row.Record.UpstreamStatus)),
            new Property("verdict", AuditSchema.Text("allowed; blocked, where a rule refused it; failed, where it was permitted and could not be done or broke off."), row => VerdictOf(row.Record.Verdict)),
            new Property("error", AuditSchema.Text("Why it was refused, as X-Superserve-Proxy-Reason said; aborted or interrupted where it broke off; absent for success."), row => Text(row.Record.Error)),
            new Property("durationMicroseconds", AuditSchema.Number("From its beginning to the answer's end."), row => row.Record.DurationMicroseconds),
            new Property("bytesSent", AuditSchema.Number("Bytes to the service."), row => row.Record.BytesSent),
            new Property("bytesReceived", AuditSchema.Number("Bytes from the service."), row => row.Record.BytesReceived),
            new Property("protocol", AuditSchema.Text("HTTP/1.1 or HTTP/2."), row => Text(row.Record.Protocol)),
            new Property("count", AuditSchema.Number("How many alike the row stands for: refusals that repeat are one row."), row => Count(row.Record.Count)),
        ],
    };

    private static string HostOf(RequestRecord record) => record.Port is 0 or HttpsPort ? record.Host : $"{record.Host}:{record.Port}";
}
