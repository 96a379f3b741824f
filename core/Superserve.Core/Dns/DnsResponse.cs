using System.Buffers;
using System.Buffers.Binary;

namespace Superserve.Core.Dns;

/// <summary>Writes what a client is answered: always a message of our own, with the client's question in it as it was asked.</summary>
public static class DnsResponse
{
    /// <summary>A message's longest form, by TCP.</summary>
    public const int MaxLength = ushort.MaxValue;

    // An offset has 14 bits; the name at the message's beginning is the question's.
    private const int MaxPointer = 0x3fff;
    private const int Pointer = 0xc000;
    private const int RecordFields = 10;

    /// <summary>An answer without records.</summary>
    public static byte[] Write(DnsQuery query, DnsCode code) => Write(query, new DnsAnswer(code, [], null), DnsQuery.MinUdpLength);

    /// <summary>An answer; one that does not fit is cut off, and says so.</summary>
    public static byte[] Write(DnsQuery query, DnsAnswer answer, int maxLength)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(maxLength);
        try
        {
            int tail = query.HasEdns ? DnsQuery.OptLength : 0;
            Span<byte> room = buffer.AsSpan(0, maxLength - tail);
            int start = DnsHeader.Length + query.Question.Length;
            query.Question.CopyTo(room[DnsHeader.Length..]);
            bool fits = TryWriteRecords(room, start, query.Name, answer, out int length);
            if (!fits) length = start;
            if (query.HasEdns) DnsQuery.WriteOpt(buffer.AsSpan(length), answer.Code);
            new DnsHeader(
                query.Header.Id,
                (ushort)(DnsHeader.Response | (query.Header.Flags & (DnsHeader.OpcodeMask | DnsHeader.RecursionDesired))
                    | DnsHeader.RecursionAvailable | (fits ? 0 : DnsHeader.Truncated) | ((int)answer.Code & DnsHeader.CodeMask)),
                query.Question.Length > 0 ? 1 : 0,
                fits ? answer.Records.Length : 0,
                fits && answer.Authority is not null ? 1 : 0,
                query.HasEdns ? 1 : 0).Write(buffer);
            return buffer[..(length + tail)];
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static bool TryWriteRecords(Span<byte> room, int start, string? asked, DnsAnswer answer, out int length)
    {
        length = start;
        // Where the names of the chain stand already: each is the question's, or what an alias leads to.
        Dictionary<string, int> known = new(StringComparer.Ordinal);
        if (asked is not null) known[asked] = DnsHeader.Length;
        foreach (DnsRecord record in answer.Records)
        {
            if (!TryWriteRecord(room, ref length, known, record)) return false;
            int data = length - record.Data.Length;
            if (record.Type == DnsType.CNAME && data <= MaxPointer && DnsName.ToText(record.Data.Span) is { } target) known.TryAdd(target, data);
        }

        return answer.Authority is null || TryWriteRecord(room, ref length, known, answer.Authority);
    }

    private static bool TryWriteRecord(Span<byte> room, ref int length, Dictionary<string, int> known, DnsRecord record)
    {
        Span<byte> rest = room[length..];
        int owner = 2;
        if (known.TryGetValue(record.Owner, out int at))
        {
            if (rest.Length < owner) return false;
            BinaryPrimitives.WriteUInt16BigEndian(rest, (ushort)(Pointer | at));
        }
        else if (!DnsName.TryWrite(record.Owner, rest, out owner))
        {
            return false;
        }

        rest = rest[owner..];
        if (record.Data.Length > ushort.MaxValue || rest.Length < RecordFields + record.Data.Length) return false;
        BinaryPrimitives.WriteUInt16BigEndian(rest, (ushort)record.Type);
        BinaryPrimitives.WriteUInt16BigEndian(rest[2..], DnsQuery.ClassIn);
        BinaryPrimitives.WriteInt32BigEndian(rest[4..], record.TimeToLive);
        BinaryPrimitives.WriteUInt16BigEndian(rest[8..], (ushort)record.Data.Length);
        record.Data.Span.CopyTo(rest[RecordFields..]);
        length += owner + RecordFields + record.Data.Length;
        return true;
    }
}
