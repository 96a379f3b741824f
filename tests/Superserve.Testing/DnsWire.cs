using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace Superserve.Testing;

/// <summary>A record as a test reads it.</summary>
public sealed record WireRecord(string Owner, int Type, int Class, uint TimeToLive, byte[] Data);

/// <summary>A message as a test reads it.</summary>
public sealed record WireMessage(int Id, int Flags, string Name, int Type, IReadOnlyList<WireRecord> Answers, IReadOnlyList<WireRecord> Authorities, IReadOnlyList<WireRecord> Additionals)
{
    public int Code => Flags & 0xf;

    public bool IsTruncated => (Flags & 0x200) != 0;

    public IEnumerable<string> Addresses => Answers.Where(record => record.Type is DnsWire.A or DnsWire.Aaaa).Select(record => new IPAddress(record.Data).ToString());
}

/// <summary>DNS messages made and read octet by octet, by other code than the sidecar's.</summary>
public static class DnsWire
{
    public const int A = 1;
    public const int Cname = 5;
    public const int Soa = 6;
    public const int Mx = 15;
    public const int Txt = 16;
    public const int Aaaa = 28;
    public const int Opt = 41;
    public const int Https = 65;

    public static byte[] Name(string name)
    {
        List<byte> octets = [];
        foreach (string label in name.Split('.', StringSplitOptions.RemoveEmptyEntries))
        {
            octets.Add((byte)label.Length);
            octets.AddRange(Encoding.Latin1.GetBytes(label));
        }

        return [.. octets, 0];
    }

    public static byte[] Word(int value) => [(byte)(value >> 8), (byte)value];

    public static byte[] Header(int id, int flags, int questions, int answers, int authorities, int additionals) =>
        [.. Word(id), .. Word(flags), .. Word(questions), .. Word(answers), .. Word(authorities), .. Word(additionals)];

    public static byte[] Question(string name, int type, int @class = 1) => [.. Name(name), .. Word(type), .. Word(@class)];

    public static byte[] Query(string name, int type, int id = 0x1234, int flags = 0x0100, int @class = 1, params byte[][] additionals) =>
        [.. Header(id, flags, 1, 0, 0, additionals.Length), .. Question(name, type, @class), .. additionals.SelectMany(octets => octets)];

    public static byte[] Edns(int size, byte version = 0, byte[]? options = null, int flags = 0) =>
        [0, .. Word(Opt), .. Word(size), 0, version, .. Word(flags), .. Word(options?.Length ?? 0), .. options ?? []];

    public static byte[] Record(string owner, int type, byte[] data, uint timeToLive = 60, int @class = 1) => Record(Name(owner), type, data, timeToLive, @class);

    public static byte[] Record(byte[] owner, int type, byte[] data, uint timeToLive = 60, int @class = 1) =>
        [.. owner, .. Word(type), .. Word(@class), .. Word((int)(timeToLive >> 16)), .. Word((int)(timeToLive & 0xffff)), .. Word(data.Length), .. data];

    public static byte[] Address(string owner, string address, uint timeToLive = 60)
    {
        byte[] octets = IPAddress.Parse(address).GetAddressBytes();
        return Record(owner, octets.Length == 4 ? A : Aaaa, octets, timeToLive);
    }

    public static byte[] Alias(string owner, string target, uint timeToLive = 60) => Record(owner, Cname, Name(target), timeToLive);

    public static byte[] Zone(string owner) => Record(owner, Soa, [.. Name("ns." + owner), .. Name("host." + owner), .. new byte[20]]);

    /// <summary>An answer to a question.</summary>
    public static byte[] Answer(int id, string name, int type, byte[][] answers, byte[][]? authorities = null, byte[][]? additionals = null, int flags = 0x8180) =>
        [.. Header(id, flags, 1, answers.Length, authorities?.Length ?? 0, additionals?.Length ?? 0), .. Question(name, type),
            .. answers.SelectMany(octets => octets), .. (authorities ?? []).SelectMany(octets => octets), .. (additionals ?? []).SelectMany(octets => octets)];

    /// <summary>Reads a message that has to be well-formed.</summary>
    public static WireMessage Read(byte[] message)
    {
        int at = 12;
        string name = "";
        int type = 0;
        if (WordAt(message, 4) == 1)
        {
            name = ReadName(message, ref at);
            type = WordAt(message, at);
            at += 4;
        }

        IReadOnlyList<WireRecord> answers = ReadRecords(message, ref at, WordAt(message, 6));
        IReadOnlyList<WireRecord> authorities = ReadRecords(message, ref at, WordAt(message, 8));
        IReadOnlyList<WireRecord> additionals = ReadRecords(message, ref at, WordAt(message, 10));
        Assert.Equal(message.Length, at);
        return new WireMessage(WordAt(message, 0), WordAt(message, 2), name, type, answers, authorities, additionals);
    }

    /// <summary>Reads a name as it is written, its case included.</summary>
    public static string ReadName(byte[] message, ref int at)
    {
        int head = message[at++];
        if (head == 0) return "";
        if (head >= 0xc0)
        {
            int target = ((head & 0x3f) << 8) | message[at++];
            Assert.True(target < at - 2, "a pointer leads forwards");
            return ReadName(message, ref target);
        }

        string label = Encoding.Latin1.GetString(message, at, head);
        at += head;
        string rest = ReadName(message, ref at);
        return rest.Length == 0 ? label : $"{label}.{rest}";
    }

    private static List<WireRecord> ReadRecords(byte[] message, ref int at, int count)
    {
        List<WireRecord> records = [];
        for (int i = 0; i < count; i++)
        {
            string owner = ReadName(message, ref at);
            int length = WordAt(message, at + 8);
            records.Add(new WireRecord(owner, WordAt(message, at), WordAt(message, at + 2), BinaryPrimitives.ReadUInt32BigEndian(message.AsSpan(at + 4)), message[(at + 10)..(at + 10 + length)]));
            at += 10 + length;
        }

        return records;
    }

    private static int WordAt(byte[] message, int at) => BinaryPrimitives.ReadUInt16BigEndian(message.AsSpan(at));
}
