using Superserve.Core.Dns;
using Superserve.Testing;

namespace Superserve.Core.Tests.Dns;

public sealed class DnsAnswerTests
{
    private const int Id = 7;
    private const string Name = "api.example.com";

    private static byte[] Message(int type, byte[][] answers, byte[][]? authorities = null, byte[][]? additionals = null, int flags = 0x8180) =>
        DnsWire.Answer(Id, Name, type, answers, authorities, additionals, flags);

    private static DnsAnswer Parse(byte[] message, DnsType type = DnsType.A)
    {
        Assert.True(DnsAnswer.IsFor(message, Id, Name, type));
        Assert.True(DnsAnswer.TryParse(message, Name, type, out DnsAnswer? answer));
        return answer;
    }

    private static void AssertMalformed(byte[] message, DnsType type = DnsType.A) => Assert.False(DnsAnswer.TryParse(message, Name, type, out _));

    private static WireMessage Write(DnsAnswer answer, byte[] query, int maxLength = DnsResponse.MaxLength)
    {
        Assert.True(DnsQuery.TryParse(query, out DnsQuery? parsed));
        byte[] message = DnsResponse.Write(parsed, answer, maxLength);
        Assert.True(message.Length <= maxLength);
        return DnsWire.Read(message);
    }

    [Fact]
    public void Addresses_at_the_end_of_a_chain_are_taken_whatever_their_order()
    {
        DnsAnswer answer = Parse(Message(DnsWire.A, [
            DnsWire.Address("edge.example.net", "192.0.2.2"), DnsWire.Alias("WWW.example.org", "edge.example.net", 30),
            DnsWire.Alias(Name, "www.EXAMPLE.org"), DnsWire.Address("edge.example.net", "192.0.2.1")]));
        Assert.Equal(["192.0.2.2", "192.0.2.1"], answer.Addresses.Select(address => address.ToString()));
        Assert.Equal([Name, "www.example.org", "edge.example.net", "edge.example.net"], answer.Records.Select(record => record.Owner));
        Assert.Equal(30, answer.TimeToLive);
    }

    [Fact]
    public void Records_of_other_names_types_classes_and_sections_are_left_out()
    {
        DnsAnswer answer = Parse(Message(DnsWire.A,
            [DnsWire.Address("victim.example.net", "192.0.2.66"), DnsWire.Record(Name, DnsWire.A, [192, 0, 2, 67], @class: 3), DnsWire.Address(Name, "192.0.2.1"), DnsWire.Address(Name, "2001:db8::1")],
            [DnsWire.Address(Name, "192.0.2.68")],
            [DnsWire.Address(Name, "192.0.2.69")]));
        Assert.Equal(["192.0.2.1"], answer.Addresses.Select(address => address.ToString()));
    }

    public static TheoryData<string, byte[]> Foreign => new()
    {
        { "another id", DnsWire.Answer(Id + 1, Name, DnsWire.A, []) },
        { "another name", DnsWire.Answer(Id, "api.example.org", DnsWire.A, []) },
        { "another type", DnsWire.Answer(Id, Name, DnsWire.Aaaa, []) },
        { "a query", DnsWire.Query(Name, DnsWire.A, Id) },
        { "another opcode", DnsWire.Answer(Id, Name, DnsWire.A, [], flags: 0xa800) },
        { "no question", DnsWire.Header(Id, 0x8180, 0, 0, 0, 0) },
        { "nothing", [] },
    };

    [Theory, MemberData(nameof(Foreign))]
    public void What_is_no_answer_to_the_query_is_told_apart(string what, byte[] message)
    {
        Assert.False(DnsAnswer.IsFor(message, Id, Name, DnsType.A), what);
    }

    public static TheoryData<string, byte[]> Malformed => new()
    {
        { "aliases in a circle", Message(DnsWire.A, [DnsWire.Alias(Name, "b.test"), DnsWire.Alias("b.test", Name)]) },
        { "an alias of itself", Message(DnsWire.A, [DnsWire.Alias(Name, Name)]) },
        { "a long chain", Message(DnsWire.A, [DnsWire.Alias(Name, "n0.test"), .. Enumerable.Range(0, 40).Select(i => DnsWire.Alias($"n{i}.test", $"n{i + 1}.test"))]) },
        { "an alias to what is no name", Message(DnsWire.A, [DnsWire.Alias(Name, "a b.test")]) },
        { "an address of three octets", Message(DnsWire.A, [DnsWire.Record(Name, DnsWire.A, [1, 2, 3])]) },
        { "65,535 records that are not there", [.. DnsWire.Header(Id, 0x8180, 1, 65535, 0, 0), .. DnsWire.Question(Name, DnsWire.A)] },
        { "5,000 records", Message(DnsWire.A, [.. Enumerable.Repeat(DnsWire.Record([0xc0, 12], DnsWire.A, [1, 2, 3, 4]), 2500)]) },
        { "data that is cut off", Message(DnsWire.A, [DnsWire.Address(Name, "192.0.2.1")])[..^1] },
        { "data beyond the end", Message(DnsWire.A, [[.. DnsWire.Name(Name), 0, 1, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 1]]) },
        { "a pointer loop", Message(DnsWire.A, [DnsWire.Record([0xc0, 12 + 21], DnsWire.A, [1, 2, 3, 4])]) },
        { "an alias with more than a name", Message(DnsWire.A, [DnsWire.Record(Name, DnsWire.Cname, [.. DnsWire.Name("b.test"), 0])]) },
    };

    [Theory, MemberData(nameof(Malformed))]
    public void A_malformed_answer_is_no_answer(string what, byte[] message)
    {
        Assert.True(DnsAnswer.IsFor(message, Id, Name, DnsType.A), what);
        Assert.False(DnsAnswer.TryParse(message, Name, DnsType.A, out _), what);
    }

    [Fact]
    public void A_chain_of_pointers_is_followed_for_so_long_alone()
    {
        // Each record's owner is a pointer to the one before: legal by its direction, and work without end by its length.
        List<byte> message = [.. DnsWire.Header(Id, 0x8180, 1, 200, 0, 0), .. DnsWire.Question(Name, DnsWire.A)];
        for (int i = 0, target = 12; i < 200; i++)
        {
            byte[] owner = DnsWire.Word(0xc000 | target);
            target = message.Count;
            message.AddRange(DnsWire.Record(owner, DnsWire.A, [1, 2, 3, 4]));
        }

        AssertMalformed([.. message]);
    }

    [Fact]
    public void A_time_to_live_is_at_most_an_hour_and_never_negative()
    {
        DnsAnswer answer = Parse(Message(DnsWire.A, [DnsWire.Address(Name, "192.0.2.1", 86400), DnsWire.Address(Name, "192.0.2.2", 0x8000_0001), DnsWire.Address(Name, "192.0.2.3", 5)]));
        Assert.Equal([3600, 0, 5], answer.Records.Select(record => record.TimeToLive));
    }

    [Fact]
    public void A_name_without_a_record_keeps_the_SOA_of_its_zone_and_no_other()
    {
        DnsAnswer answer = Parse(Message(DnsWire.A, [], [DnsWire.Zone("victim.test"), DnsWire.Zone("example.com")], flags: 0x8183));
        Assert.Equal((DnsCode.NXDomain, "example.com"), (answer.Code, answer.Authority?.Owner));
        Assert.Empty(answer.Records);
    }

    [Fact]
    public void ech_is_stripped()
    {
        byte[] alpn = [0, 1, 0, 3, 2, (byte)'h', (byte)'2'];
        byte[] hint = [0, 4, 0, 4, 192, 0, 2, 1];
        DnsAnswer answer = Parse(Message(DnsWire.Https, [
            DnsWire.Record(Name, DnsWire.Https, [0, 1, 0, 0, 0, 0, 4, 0, 1, 0, 5, .. alpn, .. hint, 0, 5, 0, 3, 1, 2, 3]),
            DnsWire.Record(Name, DnsWire.Https, [0, 2, 0, 0, 0, 0, 2, 0, 5, 0, 5, 0, 0])]), DnsType.HTTPS);
        Assert.Equal([0, 1, 0, 0, 0, 0, 2, 0, 1, .. alpn, .. hint], answer.Records[0].Data.ToArray());
        Assert.Equal([0, 2, 0], answer.Records[1].Data.ToArray());
    }

    [Theory]
    [InlineData(new byte[] { 0 })]
    [InlineData(new byte[] { 0, 1 })]
    [InlineData(new byte[] { 0, 1, 0, 0, 1, 0, 9 })]
    [InlineData(new byte[] { 0, 1, 0, 0, 5, 0 })]
    [InlineData(new byte[] { 0, 1, 0, 0, 5, 0, 0, 0, 1, 0, 0 })]
    [InlineData(new byte[] { 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0 })]
    [InlineData(new byte[] { 0, 1, 0, 0, 0, 0, 1, 5 })]
    public void A_service_record_that_cannot_be_read_to_its_end_is_not_passed_on(byte[] data)
    {
        AssertMalformed(Message(DnsWire.Https, [DnsWire.Record(Name, DnsWire.Https, data)]), DnsType.HTTPS);
        AssertMalformed(Message(64, [DnsWire.Record(Name, 64, data)]), DnsType.SVCB);
    }

    [Fact]
    public void Names_within_data_are_written_out()
    {
        // 16 is where "example.com" begins in the question.
        DnsAnswer answer = Parse(Message(DnsWire.Mx, [DnsWire.Record(Name, DnsWire.Mx, [0, 10, 2, (byte)'m', (byte)'x', 0xc0, 16])]), DnsType.MX);
        Assert.Equal([0, 10, .. DnsWire.Name("mx.example.com")], answer.Records[0].Data.ToArray());
    }

    [Fact]
    public void An_answer_is_written_with_the_question_as_it_was_asked()
    {
        DnsAnswer answer = Parse(Message(DnsWire.A, [DnsWire.Alias(Name, "edge.example.net"), DnsWire.Address("edge.example.net", "192.0.2.1"), DnsWire.Address("edge.example.net", "192.0.2.2")], flags: 0x85b0));
        WireMessage written = Write(answer, DnsWire.Query("aPi.eXample.com", DnsWire.A, id: 99));
        Assert.Equal((99, "aPi.eXample.com", DnsWire.A), (written.Id, written.Name, written.Type));
        // QR, RD and RA: neither AA nor AD nor CD of what the server said.
        Assert.Equal(0x8180, written.Flags);
        Assert.Equal(["aPi.eXample.com", "edge.example.net", "edge.example.net"], written.Answers.Select(record => record.Owner));
        Assert.Equal(["192.0.2.1", "192.0.2.2"], written.Addresses);
        Assert.Empty(written.Additionals);
    }

    [Fact]
    public void EDNS_is_answered_to_who_speaks_it_and_without_options()
    {
        WireMessage written = Write(new DnsAnswer(DnsCode.NoError, [], null), DnsWire.Query(Name, DnsWire.A, additionals: DnsWire.Edns(4096, options: [0, 10, 0, 2, 1, 2], flags: 0x8000)));
        WireRecord opt = Assert.Single(written.Additionals);
        Assert.Equal((DnsWire.Opt, DnsQuery.UdpLength, 0u), (opt.Type, opt.Class, opt.TimeToLive));
        Assert.Empty(opt.Data);
    }

    [Theory]
    [InlineData(28, false)]
    [InlineData(32, true)]
    public void What_does_not_fit_is_cut_off_and_says_so(int addresses, bool isTruncated)
    {
        DnsAnswer answer = Parse(Message(DnsWire.A, [.. Enumerable.Range(0, addresses).Select(i => DnsWire.Address(Name, $"192.0.2.{i}"))]));
        WireMessage written = Write(answer, DnsWire.Query(Name, DnsWire.A), DnsQuery.MinUdpLength);
        Assert.Equal((isTruncated, isTruncated ? 0 : addresses), (written.IsTruncated, written.Answers.Count));
    }

    [Fact]
    public void An_answer_that_grows_beyond_a_message_is_cut_off()
    {
        string target = string.Join('.', new string('a', 63), new string('b', 63), new string('c', 63), new string('d', 50));
        byte[] first = DnsWire.Record([0xc0, 12], DnsWire.Mx, [0, 1, .. DnsWire.Name(target)]);
        byte[] next = DnsWire.Record([0xc0, 12], DnsWire.Mx, [0, 1, 0xc0, 12 + 21 + 14]);
        DnsAnswer answer = Parse(Message(DnsWire.Mx, [first, .. Enumerable.Repeat(next, 1000)]), DnsType.MX);
        Assert.True(Write(answer, DnsWire.Query(Name, DnsWire.Mx)).IsTruncated);
    }
}
