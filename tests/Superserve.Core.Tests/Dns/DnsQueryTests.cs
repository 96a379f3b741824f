using Superserve.Core.Dns;
using Superserve.Testing;

namespace Superserve.Core.Tests.Dns;

public sealed class DnsQueryTests
{
    private static DnsQuery Parse(byte[] message)
    {
        Assert.True(DnsQuery.TryParse(message, out DnsQuery? query));
        return query;
    }

    [Fact]
    public void A_query_is_read_with_its_name_in_canonical_form()
    {
        DnsQuery query = Parse(DnsWire.Query("API.Example.COM", DnsWire.Aaaa));
        Assert.Equal((DnsCode.NoError, "api.example.com", DnsType.AAAA), (query.Problem, query.Name, query.Type));
        Assert.False(query.HasEdns);
        Assert.Equal(DnsQuery.MinUdpLength, query.UdpLimit);
    }

    [Theory]
    [InlineData(100, 512)]
    [InlineData(1232, 1232)]
    [InlineData(65535, 4096)]
    public void The_clients_datagram_length_is_taken_within_bounds(int said, int taken)
    {
        DnsQuery query = Parse(DnsWire.Query("a.test", DnsWire.A, additionals: DnsWire.Edns(said, options: [0, 10, 0, 2, 1, 2])));
        Assert.Equal((DnsCode.NoError, true, taken), (query.Problem, query.HasEdns, query.UdpLimit));
    }

    [Fact]
    public void The_root_is_a_name()
    {
        Assert.Equal("", Parse(DnsWire.Query(".", 2)).Name);
    }

    [Theory]
    [InlineData("a b.test")]
    [InlineData("a\0.test")]
    [InlineData("\u00e4.test")]
    [InlineData("a*.test")]
    public void A_name_with_other_octets_has_no_canonical_form(string name)
    {
        DnsQuery query = Parse(DnsWire.Query(name, DnsWire.A));
        Assert.Equal((DnsCode.NoError, null), (query.Problem, query.Name));
    }

    [Fact]
    public void A_dot_within_a_label_is_not_taken_for_two_labels()
    {
        byte[] message = DnsWire.Query("a-b.test", DnsWire.A);
        message[14] = (byte)'.';
        Assert.Null(Parse(message).Name);
    }

    public static TheoryData<string, byte[], DnsCode> Malformed => new()
    {
        { "another opcode", DnsWire.Query("a.test", DnsWire.A, flags: 0x2000), DnsCode.NotImp },
        { "another class", DnsWire.Query("a.test", DnsWire.Txt, @class: 3), DnsCode.NotImp },
        { "no question", DnsWire.Header(1, 0, 0, 0, 0, 0), DnsCode.FormErr },
        { "two questions", [.. DnsWire.Header(1, 0, 2, 0, 0, 0), .. DnsWire.Question("a.test", 1), .. DnsWire.Question("b.test", 1)], DnsCode.FormErr },
        { "an answer in it", [.. DnsWire.Header(1, 0, 1, 1, 0, 0), .. DnsWire.Question("a.test", 1), .. DnsWire.Address("a.test", "192.0.2.1")], DnsCode.FormErr },
        { "a name without an end", [.. DnsWire.Header(1, 0, 1, 0, 0, 0), 3, 1, 2], DnsCode.FormErr },
        { "no type", [.. DnsWire.Header(1, 0, 1, 0, 0, 0), .. DnsWire.Name("a.test")], DnsCode.FormErr },
        { "a pointer to itself", [.. DnsWire.Header(1, 0, 1, 0, 0, 0), 0xc0, 12, 0, 1, 0, 1], DnsCode.FormErr },
        { "a pointer into the header", [.. DnsWire.Header(1, 0, 1, 0, 0, 0), 0xc0, 4, 0, 1, 0, 1], DnsCode.FormErr },
        { "a pointer forwards", [.. DnsWire.Header(1, 0, 1, 0, 0, 0), 0xc0, 18, 0, 1, 0, 1, 0], DnsCode.FormErr },
        { "a reserved label type", [.. DnsWire.Header(1, 0, 1, 0, 0, 0), 0x41, 1, 0, 0, 1, 0, 1], DnsCode.FormErr },
        { "a name of 256 octets", DnsWire.Query(string.Join('.', Enumerable.Repeat(new string('a', 50), 5)), 1), DnsCode.FormErr },
        { "two OPT records", DnsWire.Query("a.test", 1, additionals: [DnsWire.Edns(512), DnsWire.Edns(512)]), DnsCode.FormErr },
        { "an OPT record with an owner", DnsWire.Query("a.test", 1, additionals: DnsWire.Record("a.test", DnsWire.Opt, [])), DnsCode.FormErr },
        { "a record that is cut off", DnsWire.Query("a.test", 1, additionals: DnsWire.Edns(512)[..^1]), DnsCode.FormErr },
        { "another version of EDNS", DnsWire.Query("a.test", 1, additionals: DnsWire.Edns(512, version: 1)), DnsCode.BadVers },
    };

    [Theory, MemberData(nameof(Malformed))]
    public void What_is_no_query_is_answered_with_a_code(string what, byte[] message, DnsCode code)
    {
        DnsQuery query = Parse(message);
        Assert.True(code == query.Problem, what);
        WireMessage answer = DnsWire.Read(DnsResponse.Write(query, query.Problem));
        Assert.Equal((int)code & 0xf, answer.Code);
        Assert.Empty(answer.Answers);
    }

    [Fact]
    public void The_version_of_EDNS_that_is_spoken_is_said()
    {
        WireMessage answer = DnsWire.Read(DnsResponse.Write(Parse(DnsWire.Query("a.test", 1, additionals: DnsWire.Edns(512, version: 9))), DnsCode.BadVers));
        // RFC 6891: the upper bits of the code, then the version.
        Assert.Equal(0x0100_0000u, Assert.Single(answer.Additionals).TimeToLive);
    }

    [Fact]
    public void An_answer_or_a_piece_gets_no_answer()
    {
        Assert.False(DnsQuery.TryParse(DnsWire.Query("a.test", DnsWire.A, flags: 0x8000), out _));
        Assert.False(DnsQuery.TryParse(DnsWire.Query("a.test", DnsWire.A).AsSpan(0, 11), out _));
        Assert.False(DnsQuery.TryParse([], out _));
    }

    [Fact]
    public void A_written_query_holds_a_name_a_type_and_nothing_else()
    {
        byte[] message = new byte[DnsQuery.MaxWrittenLength];
        int length = DnsQuery.Write(message, 0xabcd, "api.example.com", DnsType.HTTPS);
        Assert.Equal(DnsWire.Query("api.example.com", DnsWire.Https, id: 0xabcd, additionals: DnsWire.Edns(DnsQuery.UdpLength)), message[..length]);
    }

    [Fact]
    public void The_longest_name_fits()
    {
        string longest = string.Join('.', new string('a', 63), new string('b', 63), new string('c', 63), new string('d', 61));
        byte[] message = new byte[DnsQuery.MaxWrittenLength];
        Assert.Equal(message.Length, DnsQuery.Write(message, 0, longest, DnsType.A));
        Assert.Equal(longest, Parse(message).Name);
    }

    [Theory]
    [InlineData("Upper.test")]
    [InlineData("a..test")]
    [InlineData("a.test.")]
    [InlineData("a b.test")]
    [InlineData("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test")]
    public void A_name_that_is_not_canonical_is_not_asked_for(string name)
    {
        Assert.Throws<ArgumentException>(() => DnsQuery.Write(new byte[DnsQuery.MaxWrittenLength], 1, name, DnsType.A));
    }
}
