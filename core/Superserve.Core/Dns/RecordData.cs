using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace Superserve.Core.Dns;

/// <summary>
/// A record's data without pointers, so that it can stand in another message. <c>ech</c> goes: with an encrypted hello the
/// sidecar would not see which name a connection is for.
/// </summary>
internal static class RecordData
{
    private const int MandatoryKey = 0;   // RFC 9460 section 8
    private const int EchKey = 5;
    private const int SoaNumbers = 20;

    /// <summary>Reads the data; false where it is not what its type has.</summary>
    public static bool TryRead(ReadOnlySpan<byte> message, in RawRecord record, [NotNullWhen(true)] out byte[]? data)
    {
        data = null;
        ReadOnlySpan<byte> raw = message.Slice(record.DataOffset, record.DataLength);
        switch (record.Type)
        {
            case DnsType.A when raw.Length != 4:
            case DnsType.AAAA when raw.Length != 16:
                return false;
            case DnsType.CNAME or DnsType.NS or DnsType.PTR:
                return TryReadNames(message, record, 0, 1, 0, out data);
            case DnsType.MX:
                return TryReadNames(message, record, 2, 1, 0, out data);
            case DnsType.SRV:
                return TryReadNames(message, record, 6, 1, 0, out data);
            case DnsType.SOA:
                return TryReadNames(message, record, 0, 2, SoaNumbers, out data);
            case DnsType.NAPTR:
                return TryReadNames(message, record, NaptrPrefix(raw), 1, 0, out data);
            case DnsType.SVCB or DnsType.HTTPS:
                return TryReadService(message, record, out data);
            default:
                data = raw.ToArray();
                return true;
        }
    }

    /// <summary>Octets, then names, then octets, and nothing more.</summary>
    private static bool TryReadNames(ReadOnlySpan<byte> message, in RawRecord record, int before, int names, int after, [NotNullWhen(true)] out byte[]? data)
    {
        data = null;
        if (before + after > record.DataLength) return false;
        Span<byte> read = stackalloc byte[2 * DnsName.MaxLength];
        int length = 0;
        int offset = record.DataOffset + before;
        for (int i = 0; i < names; i++)
        {
            if (!DnsName.TryRead(message, ref offset, read[length..], out int added)) return false;
            length += added;
        }

        int end = record.DataOffset + record.DataLength;
        if (offset + after != end) return false;
        data = [.. message.Slice(record.DataOffset, before), .. read[..length], .. message[offset..end]];
        return true;
    }

    /// <summary>RFC 3403 section 4.1: order and preference, then three texts with their lengths.</summary>
    private static int NaptrPrefix(ReadOnlySpan<byte> raw)
    {
        int at = 4;
        for (int i = 0; i < 3 && at < raw.Length; i++) at += 1 + raw[at];
        return at;
    }

    /// <summary>RFC 9460 section 2.2: priority, target, and parameters in the order of their keys.</summary>
    private static bool TryReadService(ReadOnlySpan<byte> message, in RawRecord record, [NotNullWhen(true)] out byte[]? data)
    {
        data = null;
        int offset = record.DataOffset + 2;
        int end = record.DataOffset + record.DataLength;
        Span<byte> target = stackalloc byte[DnsName.MaxLength];
        if (offset > end || !DnsName.TryRead(message, ref offset, target, out int length) || offset > end) return false;
        ArrayBufferWriter<byte> kept = new(record.DataLength + DnsName.MaxLength);
        kept.Write(message.Slice(record.DataOffset, 2));
        kept.Write(target[..length]);
        ReadOnlySpan<byte> rest = message[offset..end];
        for (int last = -1; !rest.IsEmpty;)
        {
            if (rest.Length < 4) return false;
            int key = BinaryPrimitives.ReadUInt16BigEndian(rest);
            int valueLength = BinaryPrimitives.ReadUInt16BigEndian(rest[2..]);
            if (key <= last || rest.Length < 4 + valueLength) return false;
            last = key;
            ReadOnlySpan<byte> value = rest.Slice(4, valueLength);
            if (key == MandatoryKey)
            {
                if (valueLength % 2 != 0) return false;
                WriteParameter(kept, key, WithoutEch(value), isKeptEmpty: false);
            }
            else if (key != EchKey)
            {
                WriteParameter(kept, key, value, isKeptEmpty: true);
            }

            rest = rest[(4 + valueLength)..];
        }

        data = kept.WrittenSpan.ToArray();
        return true;
    }

    private static byte[] WithoutEch(ReadOnlySpan<byte> keys)
    {
        List<byte> kept = new(keys.Length);
        for (int i = 0; i < keys.Length; i += 2)
            if (BinaryPrimitives.ReadUInt16BigEndian(keys[i..]) != EchKey) kept.AddRange(keys.Slice(i, 2));
        return [.. kept];
    }

    private static void WriteParameter(ArrayBufferWriter<byte> to, int key, ReadOnlySpan<byte> value, bool isKeptEmpty)
    {
        if (value.IsEmpty && !isKeptEmpty) return;
        Span<byte> head = stackalloc byte[4];
        BinaryPrimitives.WriteUInt16BigEndian(head, (ushort)key);
        BinaryPrimitives.WriteUInt16BigEndian(head[2..], (ushort)value.Length);
        to.Write(head);
        to.Write(value);
    }
}
