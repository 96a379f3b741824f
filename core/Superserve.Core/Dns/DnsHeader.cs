using System.Buffers.Binary;

namespace Superserve.Core.Dns;

/// <summary>The twelve octets at a message's beginning, RFC 1035 section 4.1.1.</summary>
internal readonly record struct DnsHeader(ushort Id, ushort Flags, int Questions, int Answers, int Authorities, int Additionals)
{
    public const int Length = 12;

    public const ushort Response = 0x8000;
    public const ushort OpcodeMask = 0x7800;
    public const ushort Truncated = 0x0200;
    public const ushort RecursionDesired = 0x0100;
    public const ushort RecursionAvailable = 0x0080;
    public const ushort CodeMask = 0x000f;

    public static bool TryRead(ReadOnlySpan<byte> message, out DnsHeader header)
    {
        header = default;
        if (message.Length < Length) return false;
        header = new DnsHeader(Word(message, 0), Word(message, 1), Word(message, 2), Word(message, 3), Word(message, 4), Word(message, 5));
        return true;
    }

    public void Write(Span<byte> message)
    {
        ReadOnlySpan<int> words = [Id, Flags, Questions, Answers, Authorities, Additionals];
        for (int i = 0; i < words.Length; i++) BinaryPrimitives.WriteUInt16BigEndian(message[(2 * i)..], (ushort)words[i]);
    }

    private static ushort Word(ReadOnlySpan<byte> message, int index) => BinaryPrimitives.ReadUInt16BigEndian(message[(2 * index)..]);
}
