using System.Buffers.Binary;

namespace Superserve.Core.Dns;

/// <summary>A record as it stands in a message. <paramref name="Owner"/> is null for a name that has no canonical form.</summary>
internal readonly record struct RawRecord(string? Owner, DnsType Type, ushort Class, uint TimeToLive, int DataOffset, int DataLength)
{
    private const int FixedLength = 10;

    public static bool TryRead(ReadOnlySpan<byte> message, ref int offset, out RawRecord record)
    {
        record = default;
        Span<byte> name = stackalloc byte[DnsName.MaxLength];
        if (!DnsName.TryRead(message, ref offset, name, out int length) || message.Length - offset < FixedLength) return false;
        ReadOnlySpan<byte> fields = message.Slice(offset, FixedLength);
        record = new RawRecord(
            DnsName.ToText(name[..length]),
            (DnsType)BinaryPrimitives.ReadUInt16BigEndian(fields),
            BinaryPrimitives.ReadUInt16BigEndian(fields[2..]),
            BinaryPrimitives.ReadUInt32BigEndian(fields[4..]),
            offset + FixedLength,
            BinaryPrimitives.ReadUInt16BigEndian(fields[8..]));
        offset = record.DataOffset + record.DataLength;
        return offset <= message.Length;
    }
}
