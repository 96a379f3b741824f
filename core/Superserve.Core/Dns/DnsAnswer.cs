using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Net;

namespace Superserve.Core.Dns;

/// <summary>A record of an answer, its names written out.</summary>
/// <param name="Owner">The canonical name that it belongs to.</param>
/// <param name="Type">Its type.</param>
/// <param name="TimeToLive">In seconds, at most <see cref="DnsAnswer.MaxTimeToLive"/>.</param>
/// <param name="Data">Its data, in a form that can stand in any message.</param>
public sealed record DnsRecord(string Owner, DnsType Type, int TimeToLive, ReadOnlyMemory<byte> Data);

/// <summary>
/// What a server's message says about what it was asked: the aliases from the asked name on, the records of the asked type at
/// their end, and nothing else that may stand in it.
/// </summary>
/// <param name="Code">What the server says of the query.</param>
/// <param name="Records">The aliases in their order, then the records of the asked type.</param>
/// <param name="Authority">The zone's SOA, where there is no record of the asked type.</param>
public sealed record DnsAnswer(DnsCode Code, ImmutableArray<DnsRecord> Records, DnsRecord? Authority)
{
    /// <summary>How long an answer may be kept, whatever it says.</summary>
    public const int MaxTimeToLive = 3600;

    private const int MaxRecords = 1024;
    private const int MaxAliases = 16;

    /// <summary>The addresses in it.</summary>
    public IEnumerable<IPAddress> Addresses =>
        Records.Where(record => record.Type is DnsType.A or DnsType.AAAA).Select(record => new IPAddress(record.Data.Span));

    /// <summary>How long it holds, in seconds; 0 where there is no record.</summary>
    public int TimeToLive => Records.IsEmpty ? 0 : Records.Min(record => record.TimeToLive);

    /// <summary>Whether a message is the answer to this query and no other.</summary>
    public static bool IsFor(ReadOnlySpan<byte> message, ushort id, string name, DnsType type)
    {
        int offset = DnsHeader.Length;
        return DnsHeader.TryRead(message, out DnsHeader header)
            && header.Id == id && (header.Flags & (DnsHeader.Response | DnsHeader.OpcodeMask)) == DnsHeader.Response && header.Questions == 1
            && DnsQuery.TryReadQuestion(message, ref offset, out string? asked, out DnsType askedType, out ushort @class)
            && asked == name && askedType == type && @class == DnsQuery.ClassIn;
    }

    /// <summary>Whether a message that <see cref="IsFor"/> accepts says that it is cut off, to be asked for by TCP.</summary>
    public static bool IsTruncated(ReadOnlySpan<byte> message) =>
        DnsHeader.TryRead(message, out DnsHeader header) && (header.Flags & DnsHeader.Truncated) != 0;

    /// <summary>Reads a message that <see cref="IsFor"/> accepts; false where it is malformed or leads in a circle.</summary>
    public static bool TryParse(ReadOnlySpan<byte> message, string name, DnsType type, [NotNullWhen(true)] out DnsAnswer? answer)
    {
        answer = null;
        int offset = DnsHeader.Length;
        if (!DnsHeader.TryRead(message, out DnsHeader header) || header.Answers + header.Authorities > MaxRecords) return false;
        if (!DnsQuery.TryReadQuestion(message, ref offset, out _, out _, out _)) return false;
        // What stands in the additional section was not asked for: it is not even read.
        if (!TryReadRecords(message, ref offset, header.Answers, out List<RawRecord> answers)
            || !TryReadRecords(message, ref offset, header.Authorities, out List<RawRecord> authorities)) return false;

        ImmutableArray<DnsRecord>.Builder records = ImmutableArray.CreateBuilder<DnsRecord>();
        string end = name;
        while (true)
        {
            int before = records.Count;
            foreach (RawRecord raw in answers)
                if (raw.Owner == end && raw.Type == type && !TryAdd(message, raw, records)) return false;
            bool isFound = records.Count > before;
            RawRecord alias = isFound || type == DnsType.CNAME ? default : answers.Find(raw => raw.Owner == end && raw.Type == DnsType.CNAME);
            if (alias.Owner is null)
            {
                DnsRecord? authority = null;
                if (!isFound && !TryFindAuthority(message, authorities, end, out authority)) return false;
                answer = new DnsAnswer((DnsCode)(header.Flags & DnsHeader.CodeMask), records.ToImmutable(), authority);
                return true;
            }

            if (records.Count == MaxAliases || !TryAdd(message, alias, records)
                || DnsName.ToText(records[^1].Data.Span) is not { } target) return false;
            end = target;
        }
    }

    private static bool TryReadRecords(ReadOnlySpan<byte> message, ref int offset, int count, out List<RawRecord> records)
    {
        records = [];
        for (int i = 0; i < count; i++)
        {
            if (!RawRecord.TryRead(message, ref offset, out RawRecord record)) return false;
            if (record is { Owner: not null, Class: DnsQuery.ClassIn }) records.Add(record);
        }

        return true;
    }

    private static bool TryFindAuthority(ReadOnlySpan<byte> message, List<RawRecord> authorities, string name, out DnsRecord? authority)
    {
        authority = null;
        foreach (RawRecord raw in authorities)
            if (raw.Type == DnsType.SOA && DnsName.IsAtOrBelow(name, raw.Owner!)) return TryCreate(message, raw, out authority);
        return true;
    }

    private static bool TryAdd(ReadOnlySpan<byte> message, in RawRecord raw, ImmutableArray<DnsRecord>.Builder records)
    {
        if (!TryCreate(message, raw, out DnsRecord? record)) return false;
        records.Add(record);
        return true;
    }

    private static bool TryCreate(ReadOnlySpan<byte> message, in RawRecord raw, [NotNullWhen(true)] out DnsRecord? record)
    {
        record = null;
        if (!RecordData.TryRead(message, raw, out byte[]? data)) return false;
        // RFC 2181 section 8: with the highest bit set it is zero.
        int timeToLive = raw.TimeToLive > int.MaxValue ? 0 : (int)Math.Min(raw.TimeToLive, MaxTimeToLive);
        record = new DnsRecord(raw.Owner!, raw.Type, timeToLive, data);
        return true;
    }
}
