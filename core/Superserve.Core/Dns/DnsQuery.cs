using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace Superserve.Core.Dns;

/// <summary>A query as a client sent it, and the one that is sent in its place.</summary>
public sealed class DnsQuery
{
    /// <summary>What fits into a datagram for who says nothing of it, RFC 1035 section 4.2.1.</summary>
    public const int MinUdpLength = 512;

    /// <summary>What is said to fit into a datagram to the sidecar: no path cuts it into fragments (DNS flag day 2020).</summary>
    public const int UdpLength = 1232;

    /// <summary>What a datagram to a client may take, however much more it says: it stays on loopback.</summary>
    private const int MaxUdpLength = 4096;

    /// <summary>The longest query that <see cref="Write"/> makes.</summary>
    public const int MaxWrittenLength = DnsHeader.Length + DnsName.MaxLength + QuestionFields + OptLength;

    internal const int OptLength = 11;
    internal const ushort ClassIn = 1;

    private const int QuestionFields = 4;
    private const int MaxAdditionals = 4;

    private DnsQuery(in DnsHeader header) => Header = header;

    /// <summary>What is wrong with the query, to be answered; <see cref="DnsCode.NoError"/> for nothing.</summary>
    public DnsCode Problem { get; private set; }

    /// <summary>The canonical name; empty for the root, null for a name that has no such form.</summary>
    public string? Name { get; private set; }

    /// <summary>The type that is asked for, known or not.</summary>
    public DnsType Type { get; private set; }

    /// <summary>Whether the client speaks EDNS.</summary>
    public bool HasEdns { get; private set; }

    /// <summary>The longest datagram that the client takes.</summary>
    public int UdpLimit { get; private set; } = MinUdpLength;

    internal DnsHeader Header { get; }

    /// <summary>The question's own octets, which an answer repeats: some clients compare the case of letters.</summary>
    internal byte[] Question { get; private set; } = [];

    /// <summary>Reads a query; false for what gets no answer at all: what is too short, or an answer itself.</summary>
    public static bool TryParse(ReadOnlySpan<byte> message, [NotNullWhen(true)] out DnsQuery? query)
    {
        query = null;
        if (!DnsHeader.TryRead(message, out DnsHeader header) || (header.Flags & DnsHeader.Response) != 0) return false;
        query = new DnsQuery(header);
        query.Problem = query.Read(message);
        return true;
    }

    /// <summary>
    /// Writes a query of the sidecar's own. Nothing is in it but the name and the type: the case of letters, identifiers,
    /// options and padding could each carry what a sandbox wants to say.
    /// </summary>
    /// <exception cref="ArgumentException">The name is not canonical.</exception>
    public static int Write(Span<byte> message, ushort id, string name, DnsType type)
    {
        new DnsHeader(id, DnsHeader.RecursionDesired, 1, 0, 0, 1).Write(message);
        if (!DnsName.TryWrite(name, message[DnsHeader.Length..], out int length)) throw new ArgumentException("The name has no canonical form.", nameof(name));
        int at = DnsHeader.Length + length;
        BinaryPrimitives.WriteUInt16BigEndian(message[at..], (ushort)type);
        BinaryPrimitives.WriteUInt16BigEndian(message[(at + 2)..], ClassIn);
        at += QuestionFields;
        WriteOpt(message[at..], DnsCode.NoError);
        return at + OptLength;
    }

    /// <summary>An OPT record without options.</summary>
    internal static void WriteOpt(Span<byte> destination, DnsCode code)
    {
        destination[..OptLength].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(destination[1..], (ushort)DnsType.OPT);
        BinaryPrimitives.WriteUInt16BigEndian(destination[3..], UdpLength);
        destination[5] = (byte)((int)code >> 4);
    }

    /// <summary>Reads one question; the name is null where it has no canonical form.</summary>
    internal static bool TryReadQuestion(ReadOnlySpan<byte> message, ref int offset, out string? name, out DnsType type, out ushort @class)
    {
        (name, type, @class) = (null, default, 0);
        Span<byte> octets = stackalloc byte[DnsName.MaxLength];
        if (!DnsName.TryRead(message, ref offset, octets, out int length) || message.Length - offset < QuestionFields) return false;
        name = DnsName.ToText(octets[..length]);
        type = (DnsType)BinaryPrimitives.ReadUInt16BigEndian(message[offset..]);
        @class = BinaryPrimitives.ReadUInt16BigEndian(message[(offset + 2)..]);
        offset += QuestionFields;
        return true;
    }

    private DnsCode Read(ReadOnlySpan<byte> message)
    {
        if ((Header.Flags & DnsHeader.OpcodeMask) != 0) return DnsCode.NotImp;
        if (Header is not { Questions: 1, Answers: 0, Authorities: 0, Additionals: <= MaxAdditionals }) return DnsCode.FormErr;
        int offset = DnsHeader.Length;
        if (!TryReadQuestion(message, ref offset, out string? name, out DnsType type, out ushort @class)) return DnsCode.FormErr;
        (Name, Type) = (name, type);
        Question = message[DnsHeader.Length..offset].ToArray();
        byte version = 0;
        for (int i = 0; i < Header.Additionals; i++)
        {
            if (!RawRecord.TryRead(message, ref offset, out RawRecord record)) return DnsCode.FormErr;
            if (record.Type != DnsType.OPT) continue;
            if (HasEdns || record.Owner is not "") return DnsCode.FormErr;
            HasEdns = true;
            // RFC 6891 section 6.1.3: the class is the length, and the time to live has the version in it.
            UdpLimit = Math.Clamp((int)record.Class, MinUdpLength, MaxUdpLength);
            version = (byte)(record.TimeToLive >> 16);
        }

        if (version != 0) return DnsCode.BadVers;
        return @class == ClassIn ? DnsCode.NoError : DnsCode.NotImp;
    }
}
