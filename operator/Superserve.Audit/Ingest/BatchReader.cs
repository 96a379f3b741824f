using Google.Protobuf;
using Superserve.Audit.Calls;
using Superserve.Protocol;
using Superserve.Protocol.Audit;

namespace Superserve.Audit.Ingest;

/// <summary>A batch that is refused, with words for the sidecar's log that quote nothing of it.</summary>
internal sealed class BadBatchException(string message) : Exception(message);

/// <summary>
/// Checks a batch as if an attacker had written it, since its bytes carry what a sandbox chose. It is taken whole or refused whole; whose
/// it is comes from the token alone.
/// </summary>
/// <remarks>
/// Times are the one thing that is put right instead of refused, because clocks are wrong in good faith: what is later than this clock by
/// more than <see cref="AuditLimits.ClockSkew"/>, or from before there was anything to record, becomes the time at which it came.
/// </remarks>
internal sealed class BatchReader(TimeProvider time)
{
    /// <summary>2020: nothing that can be sent here was recorded before.</summary>
    private const long Earliest = 1_577_836_800_000_000;

    private const long MostEvents = 1L << 40;

    private static readonly HashSet<string> Kinds = ["connection", "dns"];
    private static readonly HashSet<string> Protocols = ["tcp", "udp", "quic", "icmp", "other", "dns"];
    private static readonly HashSet<string> Handlings = ["intercepted", "tunnelled", "http", "dropped", ""];

    /// <exception cref="BadBatchException">Something in it is not as it has to be.</exception>
    public TakenBatch Read(Batch batch, Caller caller)
    {
        if (batch.Boot.Length != AuditLimits.BootBytes) throw Bad($"boot has to be {AuditLimits.BootBytes} bytes");
        if (batch.Log is not (Log.Requests or Log.Network)) throw Bad("log has to be LOG_REQUESTS or LOG_NETWORK");
        if (batch.Log == Log.Requests ? batch.Network.Count > 0 : batch.Requests.Count > 0) throw Bad("it holds records of the other log");
        if (batch.Requests.Count + batch.Network.Count > AuditLimits.BatchRecords) throw Bad($"it has more than {AuditLimits.BatchRecords} records");
        if (batch.FirstSequence is 0 or > long.MaxValue / 2) throw Bad("first_sequence has to be 1 or more, and below 2^62");
        if (batch.Overflowed > MostEvents) throw Bad("overflowed is more than can have happened");

        long now = time.GetUtcNow().ToUnixTimeMilliseconds() * 1000;
        int corrected = 0;
        List<NewRow> rows = new(batch.Requests.Count + batch.Network.Count);
        Origin origin = new() { Namespace = caller.Namespace, Pod = caller.Pod, PodUid = caller.Uid };
        foreach (RequestRecord record in batch.Requests)
        {
            string at = $"record {rows.Count}: ";
            Check(record, at);
            record.Time = Corrected(record.Time);
            rows.Add(NewRow.Of(new RequestRow { Origin = origin, Record = record }));
        }

        foreach (NetworkRecord record in batch.Network)
        {
            string at = $"record {rows.Count}: ";
            Check(record, at);
            record.Time = Corrected(record.Time);
            rows.Add(NewRow.Of(new NetworkRow { Origin = origin, Record = record }));
        }

        return new TakenBatch(new Numbering(caller.Uid, Convert.ToHexStringLower(batch.Boot.Span), batch.Log), (long)batch.FirstSequence, rows, (long)batch.Overflowed, corrected);

        long Corrected(long recorded)
        {
            if (recorded >= Earliest && recorded <= now + (AuditLimits.ClockSkew.Ticks / TimeSpan.TicksPerMicrosecond)) return recorded;
            corrected++;
            return now;
        }
    }

    private static void Check(RequestRecord record, string at)
    {
        CheckSize(record, at);
        if (record.Uses.Count > AuditLimits.Uses) throw Bad($"{at}it has more than {AuditLimits.Uses} uses");
        foreach (SecretUse use in record.Uses)
        {
            // Counted by name, in a table that outlives the row.
            if (!IsObjectName(use.Secret)) throw Bad($"{at}secret has to be the name of a Superserve Secret");
            CheckText(use.Env, AuditLimits.Name, "env", at);
        }

        CheckText(record.Method, AuditLimits.Word, "method", at);
        CheckText(record.Host, AuditLimits.Name, "host", at);
        CheckText(record.Path, AuditLimits.Path, "path", at);
        CheckText(record.Protocol, AuditLimits.Word, "protocol", at);
        CheckText(record.Error, AuditLimits.Word, "error", at);
        CheckPort(record.Port, at);
        if (record.Status is > 0 and < 100 or > 999) throw Bad($"{at}status has to be 0 or of three digits");
        if (record.UpstreamStatus is > 0 and < 100 or > 999) throw Bad($"{at}upstream_status has to be 0 or of three digits");
        CheckVerdict(record.Verdict, at);
        CheckAmounts(record.DurationMicroseconds, record.BytesSent, record.BytesReceived, record.Count, at);
    }

    private static void Check(NetworkRecord record, string at)
    {
        CheckSize(record, at);
        CheckOneOf(record.Kind, Kinds, "kind", at);
        CheckOneOf(record.Protocol, Protocols, "protocol", at);
        CheckOneOf(record.Handling, Handlings, "handling", at);
        CheckText(record.Host, AuditLimits.Name, "host", at);
        CheckText(record.Address, AuditLimits.Name, "address", at);
        CheckText(record.Rule, AuditLimits.Name, "rule", at);
        CheckText(record.Error, AuditLimits.Word, "error", at);
        CheckText(record.QueryType, AuditLimits.Word, "query_type", at);
        CheckText(record.Response, AuditLimits.Word, "response", at);
        CheckPort(record.Port, at);
        CheckVerdict(record.Verdict, at);
        CheckAmounts(record.DurationMicroseconds, record.BytesSent, record.BytesReceived, record.Count, at);
    }

    // Fields that this version does not know count here, and are kept.
    private static void CheckSize(IMessage record, string at)
    {
        if (record.CalculateSize() > AuditLimits.RecordBytes) throw Bad($"{at}it is longer than {AuditLimits.RecordBytes} bytes");
    }

    private static void CheckText(string text, int most, string field, string at)
    {
        if (text.Length > most) throw Bad($"{at}{field} is longer than {most} characters");
        foreach (char character in text)
            if (char.IsControl(character) || character is '\u2028' or '\u2029') throw Bad($"{at}{field} holds a control character");
    }

    private static void CheckOneOf(string text, HashSet<string> words, string field, string at)
    {
        if (!words.Contains(text)) throw Bad($"{at}{field} has to be one of: {string.Join(", ", words.Where(word => word.Length > 0))}");
    }

    private static void CheckVerdict(Verdict verdict, string at)
    {
        if (verdict is not (Verdict.Allowed or Verdict.Blocked or Verdict.Failed)) throw Bad($"{at}verdict is none");
    }

    private static void CheckPort(uint port, string at)
    {
        if (port > ushort.MaxValue) throw Bad($"{at}port is none");
    }

    private static void CheckAmounts(long duration, ulong sent, ulong received, ulong count, string at)
    {
        if (duration < 0) throw Bad($"{at}duration_microseconds is below 0");
        if (sent > long.MaxValue || received > long.MaxValue) throw Bad($"{at}bytes_sent or bytes_received is more than can have been");
        if (count > MostEvents) throw Bad($"{at}count is more than can have happened");
    }

    private static bool IsObjectName(string name) =>
        name.Length is > 0 and <= 253 && char.IsAsciiLetterOrDigit(name[0]) && name.All(character => char.IsAsciiDigit(character) || char.IsAsciiLetterLower(character) || character is '-' or '.');

    private static BadBatchException Bad(string what) => new($"the batch cannot be taken: {what}. Nothing of it is stored; this sidecar and the audit service may be too many versions apart");
}
