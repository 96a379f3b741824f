using System.Collections.Immutable;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using Superserve.Core.Dns;
using Superserve.Testing;

namespace Superserve.Core.Tests.Dns;

[Properties(MaxTest = 2000, Arbitrary = [typeof(Messages)])]
public sealed class DnsProperties
{
    private const string Name = "api.example.com";

    /// <summary>A message with some octets changed, cut out or put in.</summary>
    public sealed record Mutated(byte[] Message, DnsType Type);

    public sealed record Canonical(string Text);

    [Property]
    public bool No_octets_break_the_parsers(byte[]? octets) => Exercise(octets ?? [], DnsType.A);

    [Property(MaxTest = 20000)]
    public bool No_mutated_message_breaks_the_parsers(Mutated mutated) => Exercise(mutated.Message, mutated.Type);

    [Property]
    public bool A_name_is_read_as_it_was_written(Canonical name)
    {
        byte[] message = new byte[DnsQuery.MaxWrittenLength];
        int length = DnsQuery.Write(message, 1, name.Text, DnsType.TXT);
        return DnsQuery.TryParse(message.AsSpan(0, length), out DnsQuery? query) && query is { Problem: DnsCode.NoError, Type: DnsType.TXT } && query.Name == name.Text;
    }

    [Property]
    public bool An_answer_that_was_written_is_read_the_same(Mutated mutated)
    {
        if (!DnsAnswer.TryParse(mutated.Message, Name, mutated.Type, out DnsAnswer? answer)) return true;
        byte[] message = new byte[DnsQuery.MaxWrittenLength];
        int length = DnsQuery.Write(message, 1, Name, mutated.Type);
        Assert.True(DnsQuery.TryParse(message.AsSpan(0, length), out DnsQuery? query));
        byte[] written = DnsResponse.Write(query, answer, DnsResponse.MaxLength);
        DnsWire.Read(written);
        return DnsAnswer.TryParse(written, Name, mutated.Type, out DnsAnswer? again) && again.Code == answer.Code
            && again.Records.Select(Shown).SequenceEqual(answer.Records.Select(Shown)) && again.Authority?.Owner == answer.Authority?.Owner;

        static string Shown(DnsRecord record) => $"{record.Owner} {record.Type} {record.TimeToLive} {Convert.ToHexString(record.Data.Span)}";
    }

    [Property]
    public bool No_record_that_is_passed_on_holds_ech(Mutated mutated) =>
        !DnsAnswer.TryParse(mutated.Message, Name, DnsType.HTTPS, out DnsAnswer? answer)
        || answer.Records.Where(record => record.Type == DnsType.HTTPS).All(record => !Keys(record.Data.Span).Contains(5));

    /// <summary>Every parser and writer, at every message: what comes out is within its bounds.</summary>
    private static bool Exercise(byte[] message, DnsType type)
    {
        bool isQuery = DnsQuery.TryParse(message, out DnsQuery? query);
        _ = DnsAnswer.IsFor(message, 1, Name, type);
        _ = DnsAnswer.IsTruncated(message);
        bool isAnswer = DnsAnswer.TryParse(message, Name, type, out DnsAnswer? answer);
        if (isAnswer && answer!.Records.Any(record => record.Data.Length > DnsResponse.MaxLength || record.TimeToLive is < 0 or > DnsAnswer.MaxTimeToLive)) return false;
        if (!isQuery) return true;
        int limit = query!.UdpLimit;
        byte[] written = DnsResponse.Write(query, isAnswer ? answer! : new DnsAnswer(query.Problem, [], null), limit);
        return written.Length <= limit && (query.Name is null || query.Name.Length <= 253);
    }

    private static List<int> Keys(ReadOnlySpan<byte> data)
    {
        int at = 2;
        while (data[at] != 0) at += 1 + data[at];
        List<int> keys = [];
        for (at++; at < data.Length; at += 4 + ((data[at + 2] << 8) | data[at + 3])) keys.Add((data[at] << 8) | data[at + 1]);
        return keys;
    }

    public static class Messages
    {
        private static readonly ImmutableArray<byte[]> Seeds =
        [
            DnsWire.Query(Name, DnsWire.A, additionals: DnsWire.Edns(1232, options: [0, 10, 0, 2, 1, 2])),
            DnsWire.Answer(1, Name, DnsWire.A, [DnsWire.Alias(Name, "b.test"), DnsWire.Record([0xc0, 16], DnsWire.A, [1, 2, 3, 4]), DnsWire.Address("b.test", "192.0.2.1")]),
            DnsWire.Answer(1, Name, DnsWire.Aaaa, [], [DnsWire.Zone("example.com")], [DnsWire.Edns(512)]),
            DnsWire.Answer(1, Name, DnsWire.Mx, [DnsWire.Record([0xc0, 12], DnsWire.Mx, [0, 1, 1, (byte)'m', 0xc0, 16])]),
            DnsWire.Answer(1, Name, 35, [DnsWire.Record([0xc0, 12], 35, [0, 1, 0, 1, 1, (byte)'s', 1, (byte)'t', 0, .. DnsWire.Name("a.test")])]),
            DnsWire.Answer(1, Name, 33, [DnsWire.Record([0xc0, 12], 33, [0, 1, 0, 1, 1, 187, 0xc0, 16])]),
            DnsWire.Answer(1, Name, DnsWire.Https, [DnsWire.Record([0xc0, 12], DnsWire.Https, [0, 1, 0, 0, 0, 0, 4, 0, 1, 0, 5, 0, 1, 0, 3, 2, 104, 50, 0, 4, 0, 4, 1, 2, 3, 4, 0, 5, 0, 3, 1, 2, 3])]),
        ];

        public static Arbitrary<Mutated> AnyMutated() => (
            from seed in Gen.Elements(Seeds.AsEnumerable())
            from count in Gen.Choose(0, 4)
            from changes in Gen.ArrayOf(
                from kind in Gen.Choose(0, 3)
                from at in Gen.Choose(0, 200)
                from value in Gen.OneOf(Gen.Choose(0, 255), Gen.Elements(0, 5, 0xc0, 0xff, 12, 64))
                select (kind, at, (byte)value), count)
            from type in Gen.Elements(DnsType.A, DnsType.AAAA, DnsType.MX, DnsType.NAPTR, DnsType.SRV, DnsType.HTTPS, DnsType.CNAME, DnsType.TXT)
            select new Mutated(changes.Aggregate(seed, Change), type)).ToArbitrary();

        public static Arbitrary<Canonical> AnyCanonical() => (
            from labels in Gen.Choose(0, 5)
            from text in Gen.ArrayOf(Gen.Choose(1, 60).SelectMany(length => Gen.ArrayOf(Gen.Elements("abcz0189-_".ToCharArray()), length)).Select(label => new string(label)), labels)
            let name = string.Join('.', text)
            select new Canonical(name.Length <= 253 ? name : text[0])).ToArbitrary();

        private static byte[] Change(byte[] message, (int Kind, int At, byte Value) change)
        {
            if (message.Length == 0) return message;
            int at = change.At % message.Length;
            switch (change.Kind)
            {
                case 0:
                    return message[..at];
                case 1:
                    return [.. message[..at], .. message[(at + 1)..]];
                case 2:
                    return [.. message[..at], change.Value, .. message[at..]];
                default:
                    byte[] changed = [.. message];
                    changed[at] = change.Value;
                    return changed;
            }
        }
    }
}
