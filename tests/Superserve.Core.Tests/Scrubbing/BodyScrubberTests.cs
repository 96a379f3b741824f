using System.Buffers;
using System.Text;
using Superserve.Core.Scrubbing;
using static Superserve.Core.Tests.Scrubbing.ScrubText;

namespace Superserve.Core.Tests.Scrubbing;

public sealed class BodyScrubberTests
{
    private const string Credential = "sk-ant-api03-9fJ2kQx7Lm";
    private const string StandIn = "sk-ant-api03-STANDIN000";

    private static readonly ScrubPatterns One = Patterns(Credential, StandIn, "user");

    [Fact]
    public void A_credential_split_across_chunks_is_replaced() =>
        AssertBody(One, "before " + Credential + " after", "before " + StandIn + " after");

    [Fact]
    public void A_stream_event_without_a_credential_is_not_held_back()
    {
        ArrayBufferWriter<byte> output = new();
        BodyScrubber scrubber = new(One);
        scrubber.Write("data: hello\n\n"u8, output);
        Assert.Equal("data: hello\n\n", Encoding.Latin1.GetString(output.WrittenSpan));
        Assert.False(scrubber.HasPending);
        Assert.Equal(0, scrubber.Comparisons);
    }

    [Fact]
    public void Each_stream_event_is_released_whole_whatever_it_ends_with()
    {
        ArrayBufferWriter<byte> output = new();
        BodyScrubber scrubber = new(One);
        int written = 0;
        string[] ends = ["s", "sk-ant-api03", Credential[..^1], "%", "\\u00", "&#", "\\\"", Base64("user:" + Credential)[..12]];
        foreach (string end in ends)
        {
            string text = "data: {\"text\":\"" + end + "\"}\n\n";
            scrubber.Write(Bytes(text), output);
            written += text.Length;
            Assert.False(scrubber.HasPending);
            Assert.Equal(written, output.WrittenCount);
        }
    }

    [Theory]
    [InlineData("data: {\"text\":\"task", 2)]
    [InlineData("rest s", 1)]
    [InlineData("rest sk-ant", 6)]
    [InlineData("rest %", 1)]
    [InlineData("rest %7", 2)]
    [InlineData("rest %2", 0)]
    [InlineData("rest %73%6", 5)]
    [InlineData("rest %73%7", 2)]
    [InlineData("rest %73%5", 0)]
    [InlineData("rest \\u00", 4)]
    [InlineData("rest \\u00e", 0)]
    [InlineData("rest \\", 1)]
    [InlineData("rest \\n", 0)]
    [InlineData("rest &#11", 4)]
    [InlineData("rest &#19", 0)]
    [InlineData("rest &lt", 0)]
    [InlineData("rest sk-ant-api0x", 0)]
    public void Only_what_may_become_a_form_is_held_back(string text, int held)
    {
        ArrayBufferWriter<byte> output = new();
        BodyScrubber scrubber = new(Patterns(Credential, StandIn));
        scrubber.Write(Bytes(text), output);
        Assert.Equal(held, scrubber.PendingLength);
        Assert.Equal(text[..^held], Encoding.Latin1.GetString(output.WrittenSpan));
        scrubber.Complete(output);
        Assert.Equal(text, Encoding.Latin1.GetString(output.WrittenSpan));
    }

    [Fact]
    public void A_body_that_ends_within_a_form_is_complete() =>
        AssertBody(One, "x " + Credential[..^1], "x " + Credential[..^1]);

    [Fact]
    public void A_body_that_ends_within_an_escape_of_a_credential_that_could_go_on_is_complete()
    {
        AssertBody(Patterns("0123456789abcdef%", StandIn), "0123456789abcdef%", StandIn);
        AssertBody(Patterns("0123456789abcdef%", StandIn), "0123456789abcdef%2", StandIn + "2");
        AssertBody(Patterns("0123456789abcdef\\", StandIn), "0123456789abcdef\\u005", StandIn + "u005");
    }

    [Fact]
    public void The_longest_of_the_forms_that_begin_at_a_place_is_replaced()
    {
        ScrubPatterns patterns = ScrubPatterns.Create(
            [Pair("0123456789abcdef", "[short]"), Pair("0123456789abcdef0123456789", "[long]")]);
        AssertBody(patterns, "0123456789abcdef0123456789", "[long]");
        AssertBody(patterns, "0123456789abcdef012345678!", "[short]012345678!");
        AssertBody(patterns, "0123456789abcdef01234567%38%3", "[short]01234567%38%3");
    }

    [Fact]
    public void The_leftmost_of_overlapping_forms_is_replaced_even_if_another_is_longer()
    {
        ScrubPatterns patterns = ScrubPatterns.Create(
            [Pair("abcdefgh01234567", "[left]"), Pair("01234567ABCDEFGHIJKLMNOP", "[right]")]);
        AssertBody(patterns, "abcdefgh01234567ABCDEFGHIJKLMNOP", "[left]ABCDEFGHIJKLMNOP");
        AssertBody(patterns, "abcdefg01234567ABCDEFGHIJKLMNOP", "abcdefg[right]");
    }

    [Fact]
    public void Several_credentials_get_each_its_own_stand_in()
    {
        ScrubPair[] pairs =
            [.. Enumerable.Range(0, 40).Select(i => Pair($"{(char)(' ' + (i * 2))}{i * 7919:x8}-credential", $"<{i}>", "u"))];
        ScrubPatterns patterns = ScrubPatterns.Create(pairs);
        string body = string.Join('\n', pairs.Select(pair => Encoding.Latin1.GetString(pair.Credential.Span)));
        string scrubbed = Body(patterns, out BodyScrubber scrubber, body);
        Assert.Equal(string.Join('\n', Enumerable.Range(0, 40).Select(i => $"<{i}>")), scrubbed);
        Assert.Equal(40, scrubber.Replacements);
    }

    [Fact]
    public void Of_two_pairs_with_one_credential_the_first_counts() =>
        AssertBody(ScrubPatterns.Create([Pair(Credential, "1"), Pair(Credential, "2")]), Credential + " " + Credential, "1 1");

    [Fact]
    public void A_stand_in_that_holds_the_credential_is_written_once() =>
        AssertBody(Patterns(Credential, $"<{Credential}>"), Credential + Credential, $"<{Credential}><{Credential}>");

    [Fact]
    public void Credentials_one_after_the_other_are_all_replaced()
    {
        string body = string.Concat(Enumerable.Repeat(Credential, 50));
        string scrubbed = Body(One, out BodyScrubber scrubber, Chunks(body, 7));
        Assert.Equal(string.Concat(Enumerable.Repeat(StandIn, 50)), scrubbed);
        Assert.Equal(50, scrubber.Replacements);
    }

    [Fact]
    public void A_credential_is_found_at_every_distance_from_a_chunk_s_ends()
    {
        for (int before = 0; before < 70; before++)
        {
            for (int after = 0; after < 40; after += 3)
            {
                (string left, string right) = (new string('.', before), new string('.', after));
                Assert.Equal(left + StandIn + right, Body(One, left + Credential + right));
            }
        }
    }

    [Fact]
    public void A_credential_of_less_than_16_bytes_is_left_in_bodies_and_replaced_in_headers()
    {
        ScrubPatterns patterns = ScrubPatterns.Create(
            [Pair("fifteen-bytes-x", "stand-in", "u"), Pair("sixteen-bytes-xy", "STAND-IN")]);
        Assert.True(patterns.ScrubsBodies);
        Assert.Equal("fifteen-bytes-x STAND-IN", Body(patterns, "fifteen-bytes-x sixteen-bytes-xy"));
        Assert.Equal("stand-in STAND-IN", patterns.ScrubHeader("fifteen-bytes-x sixteen-bytes-xy"));
        Assert.Equal(Base64("u:fifteen-bytes-x"), Body(patterns, Base64("u:fifteen-bytes-x")));
    }

    [Fact]
    public void With_short_credentials_only_bodies_pass_at_once()
    {
        ScrubPatterns patterns = Patterns("fifteen-bytes-x", "stand-in");
        Assert.False(patterns.ScrubsBodies);
        Assert.Equal(0, patterns.LongestForm);
        ArrayBufferWriter<byte> output = new();
        BodyScrubber scrubber = new(patterns);
        scrubber.Write("fifteen-bytes-"u8, output);
        Assert.Equal(14, output.WrittenCount);
        Assert.False(scrubber.HasPending);
        Assert.False(ScrubPatterns.Create([]).ScrubsBodies);
        Assert.Equal("fifteen", ScrubPatterns.Create([]).ScrubHeader("fifteen"));
    }

    [Fact]
    public void The_longest_credential_fully_escaped_in_small_chunks_is_replaced_within_bounds()
    {
        string credential = string.Concat(Enumerable.Range(0, 8192).Select(i => (char)('!' + (i * 7 + i / 90) % 90)));
        ScrubPatterns patterns = Patterns(credential, StandIn, "user");
        string body = "[" + string.Concat(credential.Select(c => $"\\u{(int)c:x4}")) + "]";
        Assert.Equal("[" + StandIn + "]", Body(patterns, Chunks(body, 4000)));
        // Six characters for a byte of the longest base64 form.
        Assert.InRange(patterns.LongestForm, 6 * 8192, 6 * (8192 + 32) * 4 / 3);
    }

    [Fact]
    public void As_much_as_the_longest_form_but_one_byte_is_held_back_where_it_may_become_that()
    {
        string body = string.Concat(Base64("user:" + Credential).Select(c => $"\\u{(int)c:x4}"));
        Assert.Equal(One.LongestForm, body.Length);
        ArrayBufferWriter<byte> output = new();
        BodyScrubber scrubber = new(One);
        scrubber.Write(Bytes(body[..^1]), output);
        Assert.Equal(One.LongestForm - 1, scrubber.PendingLength);
        scrubber.Write(Bytes(body[^1..]), output);
        Assert.Equal(Base64("user:" + StandIn), Encoding.Latin1.GetString(output.WrittenSpan));
    }

    [Fact]
    public void Repeating_the_beginning_of_a_credential_costs_little_more_than_reading_it()
    {
        string[] pieces =
            [Credential[..^1], "sk-", "s", "%73%6B%2D", "\\u0073", "&#115;", "%7", "%", "\\", "&#", Base64(Credential)[..12]];
        foreach (string repeated in pieces)
        {
            string body = string.Concat(Enumerable.Repeat(repeated, 100_000 / repeated.Length));
            Body(One, out BodyScrubber scrubber, Chunks(body, 4096));
            Assert.InRange(scrubber.Comparisons, 0, 3 * body.Length);
        }
    }

    [Fact]
    public void A_credential_that_repeats_itself_costs_at_most_its_length_for_each_byte()
    {
        const int Length = 200;
        string body = new('a', 50_000);
        string credential = new string('a', Length - 1) + "b";
        // Of its forms only the credential as it is begins with 'a'; of what is held back each chunk is compared again.
        Assert.Equal(body, Body(Patterns(credential, StandIn), out BodyScrubber scrubber, Chunks(body, 4096)));
        Assert.InRange(scrubber.Comparisons, 1, (long)(body.Length + 13 * Length) * Length);
    }

    [Fact]
    public void Nothing_shows_a_credential_in_its_text()
    {
        Assert.Equal("ScrubPair", Pair(Credential, StandIn).ToString());
        Assert.Equal("ScrubPatterns", One.ToString());
        Assert.Equal("BodyScrubber", new BodyScrubber(One).ToString());
    }

    [Fact]
    public void A_credential_has_1_to_8192_bytes_and_a_stand_in_is_not_empty()
    {
        Assert.Throws<ArgumentException>(() => Pair("", StandIn));
        Assert.Throws<ArgumentException>(() => Pair(Credential, ""));
        string tooLong = string.Concat(Enumerable.Repeat("secret!", 1171));
        ArgumentException error = Assert.Throws<ArgumentException>(() => Pair(tooLong, StandIn));
        Assert.DoesNotContain("secret!", error.Message);
        Assert.Equal(8192, Pair(new string('x', 8192), StandIn).Credential.Length);
    }

    private static IEnumerable<string> Chunks(string body, int length) => body.Chunk(length).Select(chunk => new string(chunk));
}
