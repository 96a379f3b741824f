using Google.Protobuf;
using Superserve.Audit.Storing;
using Superserve.Protocol.Audit;

namespace Superserve.Audit.Ingest;

/// <summary>The numbering that a batch's sequences are of.</summary>
internal sealed record Numbering(string PodUid, string Boot, Log Log);

/// <summary>
/// A batch that was found to be in order: the sequence of its first row, the rows that it becomes, how many events the sidecar had no
/// room for since its boot, and how many times could not be right.
/// </summary>
internal sealed record TakenBatch(Numbering Numbering, long First, IReadOnlyList<NewRow> Rows, long Overflowed, int Corrected)
{
    public long Last => First + Rows.Count - 1;
}

/// <summary>A row before it has its number: a <see cref="RequestRow"/> or <see cref="NetworkRow"/> without its name, and what it is found by.</summary>
internal sealed record NewRow(IMessage Row, byte[] Bytes, long Time, short Outcome, long Namespace, long Pod, long NamespacePod, long Host, long NamespaceHost, IReadOnlyList<UseKeys> Uses)
{
    public static NewRow Of(RequestRow row) => Make(row, row.Origin, row.Record.Time, Outcomes.Of(row.Record), row.Record.Host, UsesOf(row));

    public static NewRow Of(NetworkRow row) => Make(row, row.Origin, row.Record.Time, Outcomes.Of(row.Record), row.Record.Host, []);

    /// <summary>One for each secret that a request used.</summary>
    public static IReadOnlyList<UseKeys> UsesOf(RequestRow row) =>
        row.Record.Uses.Count == 0 ? [] : [.. row.Record.Uses.Select(use => use.Secret).Distinct()
            .Select(secret => new UseKeys(Keys.Of(Field.Secret, row.Origin.Namespace, secret), Keys.Of(Field.Secret, "", secret)))];

    private static NewRow Make(IMessage row, Origin origin, long time, short outcome, string host, IReadOnlyList<UseKeys> uses) => new(
        row, row.ToByteArray(), time, outcome, Keys.Of(origin.Namespace),
        Keys.Of(Field.Sandbox, "", origin.Pod), Keys.Of(Field.Sandbox, origin.Namespace, origin.Pod),
        Keys.Of(Field.Host, "", host), Keys.Of(Field.Host, origin.Namespace, host), uses);
}

/// <summary>What a request is found by for one of its secrets.</summary>
internal readonly record struct UseKeys(long NamespaceSecret, long Secret);
