using System.Text.RegularExpressions;
using Superserve.Sidecar.Http1;

namespace Superserve.Sidecar.Tests.Http1;

public sealed partial class MessageFormatTests
{
    private const string Token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";

    [Theory]
    [InlineData("GET / HTTP/1.1", "GET", "/", 1)]
    [InlineData("OPTIONS * HTTP/1.0", "OPTIONS", "*", 0)]
    [InlineData("X!#$%&'*+-.^_`|~9 http://a/b?c HTTP/1.1", "X!#$%&'*+-.^_`|~9", "http://a/b?c", 1)]
    [InlineData("GET /\u00e9\t\u0001 HTTP/1.1", "GET", "/\u00e9\t\u0001", 1)]
    public void A_request_line_is_read(string line, string method, string target, int minor)
    {
        (string Method, string Target, int Minor, string Fields) read = ReadRequest($"{line}\r\nHost: a\r\n\r\n");
        Assert.Equal((method, target, minor, "Host: a\r\n\r\n"), read);
    }

    [Theory]
    [InlineData("", 400)]
    [InlineData("GET", 400)]
    [InlineData("GET /", 400)]
    [InlineData("GET  HTTP/1.1", 400)]
    [InlineData(" / HTTP/1.1", 400)]
    [InlineData("GET / x HTTP/1.1", 400)]
    [InlineData("GET  / HTTP/1.1", 400)]
    [InlineData("GET /  HTTP/1.1", 400)]
    [InlineData("GET\t/ HTTP/1.1", 400)]
    [InlineData("GE\u00c9 / HTTP/1.1", 400)]
    [InlineData("GET:/ / HTTP/1.1", 400)]
    [InlineData("GET /\r HTTP/1.1", 400)]
    [InlineData("GET /\0 HTTP/1.1", 400)]
    [InlineData("GET /\n HTTP/1.1", 400)]
    [InlineData("GET / HTTP/1.1 ", 400)]
    [InlineData("GET / HTTP/1.1\t", 505)]
    [InlineData("GET / HTTP/1.10", 505)]
    [InlineData("GET / HTTP/01.1", 505)]
    [InlineData("GET / HTTP/1.2", 505)]
    [InlineData("GET / HTTP/2.0", 505)]
    [InlineData("GET / Http/1.1", 505)]
    [InlineData("GET / FTP/1.1", 505)]
    public void What_is_no_request_line_is_refused(string line, int status) =>
        Assert.Equal(status, Assert.Throws<Http1FormatException>(() => ReadRequest($"{line}\r\n\r\n")).Status);

    [Theory]
    [InlineData("HTTP/1.1 200 OK", 200, 1)]
    [InlineData("HTTP/1.0 404 ", 404, 0)]
    [InlineData("HTTP/1.1 999", 999, 1)]
    [InlineData("HTTP/1.1 100 \u00e9 \t words", 100, 1)]
    public void A_status_line_is_read(string line, int status, int minor)
    {
        MessageFormat.ReadStatusLine(Wire.Bytes($"{line}\r\nA: b\r\n\r\n"), out int read, out int readMinor, out ReadOnlySpan<byte> fields);
        Assert.Equal((status, minor, "A: b\r\n\r\n"), (read, readMinor, Wire.Text(fields)));
    }

    [Theory]
    [InlineData("")]
    [InlineData("HTTP/1.1")]
    [InlineData("HTTP/1.1 ")]
    [InlineData("HTTP/1.1 20")]
    [InlineData("HTTP/1.1 099")]
    [InlineData("HTTP/1.1 000 OK")]
    [InlineData("HTTP/1.1 -20 OK")]
    [InlineData("HTTP/1.1 +20 OK")]
    [InlineData("HTTP/1.1 2e1 OK")]
    [InlineData("HTTP/1.1 20  OK")]
    [InlineData("HTTP/1.1  200 OK")]
    [InlineData("HTTP/1.1\t200 OK")]
    [InlineData("HTTP/1.1 200\tOK")]
    [InlineData("HTTP/1.1 2000 OK")]
    [InlineData("HTTP/1.2 200 OK")]
    [InlineData("HTTP/1.1 200 O\rK")]
    [InlineData("HTTP/1.1 200 O\nK")]
    [InlineData("HTTP/1.1 200 O\0K")]
    [InlineData(" HTTP/1.1 200 OK")]
    public void What_is_no_status_line_is_refused(string line) =>
        Assert.Throws<Http1FormatException>(() => MessageFormat.ReadStatusLine(Wire.Bytes($"{line}\r\n\r\n"), out _, out _, out _));

    [Theory]
    [InlineData("A: b", "A", "b")]
    [InlineData("A:b", "A", "b")]
    [InlineData("A:", "A", "")]
    [InlineData("A: \t ", "A", "")]
    [InlineData("A: \tb c\t ", "A", "b c")]
    [InlineData("A: b:c", "A", "b:c")]
    [InlineData("A: \vb\u00ff", "A", "\vb\u00ff")]
    public void A_field_is_read_without_the_blanks_around_its_value(string line, string name, string value) => Assert.Equal([(name, value)], ReadFields($"{line}\r\n\r\n"));

    [Theory]
    [InlineData(": b")]
    [InlineData("A")]
    [InlineData("A : b")]
    [InlineData(" A: b")]
    [InlineData("\tA: b")]
    [InlineData("A\u00e9: b")]
    [InlineData("A(: b")]
    [InlineData("A: b\rc")]
    [InlineData("A: b\r")]
    [InlineData("A: b\nc: d")]
    [InlineData("A: b\0")]
    [InlineData("A\0: b")]
    public void What_is_no_field_is_refused(string line) => Assert.Throws<Http1FormatException>(() => ReadFields($"X: y\r\n{line}\r\n\r\n"));

    [Theory]
    [InlineData("0", 0L)]
    [InlineData("007", 7L)]
    [InlineData("999999999999999999", 999999999999999999)]
    [InlineData("", null)]
    [InlineData("1234567890123456789", null)]
    [InlineData("+1", null)]
    [InlineData("-1", null)]
    [InlineData("1 ", null)]
    [InlineData("1,1", null)]
    [InlineData("0x1", null)]
    [InlineData("1.0", null)]
    [InlineData("1e3", null)]
    [InlineData("\u0661", null)]
    public void A_length_is_digits(string text, long? length) => Assert.Equal(length, MessageFormat.TryReadLength(Wire.Bytes(text), out long read) ? read : null);

    [Theory]
    [InlineData("0", 0L)]
    [InlineData("1a", 26)]
    [InlineData("1A;", 26)]
    [InlineData("a;x=y", 10)]
    [InlineData("a \t;x=\"y;z\"", 10)]
    [InlineData("000000000000005", 5)]
    [InlineData("fffffffffffffff", 0xfffffffffffffff)]
    public void A_chunk_s_length_is_read(string line, long length) => Assert.Equal(length, MessageFormat.ReadChunkLength(Wire.Bytes(line)));

    [Theory]
    [InlineData("")]
    [InlineData(";x")]
    [InlineData(" 1")]
    [InlineData("-1")]
    [InlineData("+1")]
    [InlineData("0x1")]
    [InlineData("1x")]
    [InlineData("1 2")]
    [InlineData("g")]
    [InlineData("1\r")]
    [InlineData("1;\rx")]
    [InlineData("1;\0")]
    [InlineData("1;\nx")]
    [InlineData("0000000000000001")]
    [InlineData("ffffffffffffffff")]
    public void What_is_no_chunk_s_length_is_refused(string line) => Assert.Throws<Http1FormatException>(() => MessageFormat.ReadChunkLength(Wire.Bytes(line)));

    [Theory]
    [InlineData("close", true)]
    [InlineData("Keep-Alive , CLOSE\t", true)]
    [InlineData(",,close,", true)]
    [InlineData("closed", false)]
    [InlineData("not close", false)]
    [InlineData("", false)]
    public void A_list_is_looked_through_by_whole_tokens(string list, bool holds) => Assert.Equal(holds, MessageFormat.HoldsToken(Wire.Bytes(list), "close"u8));

    [Fact]
    public void A_head_ends_with_its_first_empty_line()
    {
        Assert.Equal(0, MessageFormat.HeadLength("A: b\r\n\r"u8));
        Assert.Equal(8, MessageFormat.HeadLength("A: b\r\n\r\n"u8));
        Assert.Equal(8, MessageFormat.HeadLength("A: b\r\n\r\nbody\nwith LF\r\n\r\n"u8));
        Assert.Throws<Http1FormatException>(() => MessageFormat.HeadLength("A: b\n\n"u8));
        Assert.Throws<Http1FormatException>(() => MessageFormat.HeadLength("\n"u8));
    }

    [Theory]
    [InlineData(MessageFormat.MaxHeadLength, false)]
    [InlineData(MessageFormat.MaxHeadLength + 1, true)]
    public void A_head_has_a_greatest_length_whether_its_end_is_there_or_not(int length, bool isTooLong)
    {
        byte[] head = Wire.Bytes("A: ".PadRight(length - 4, 'x') + "\r\n\r\n");
        if (!isTooLong) Assert.Equal(length, MessageFormat.HeadLength(head));
        else Assert.Equal(431, Assert.Throws<Http1FormatException>(() => MessageFormat.HeadLength(head)).Status);
        byte[] open = Wire.Bytes("A: ".PadRight(length, 'x'));
        if (!isTooLong) Assert.Equal(0, MessageFormat.HeadLength(open));
        else Assert.Equal(431, Assert.Throws<Http1FormatException>(() => MessageFormat.HeadLength(open)).Status);
    }

    [Fact]
    public void A_head_of_more_lines_than_fields_are_taken_is_not_waited_for()
    {
        byte[] lines = Wire.Bytes("GET / HTTP/1.1\r\n" + string.Concat(Enumerable.Repeat("a:\r\n", MessageFormat.MaxFields)));
        Assert.Equal(0, MessageFormat.HeadLength(lines));
        Assert.Equal(431, Assert.Throws<Http1FormatException>(() => MessageFormat.HeadLength([.. lines, .. "a:\r\n"u8])).Status);
    }

    /// <summary>Against a reader that knows nothing but the grammar as patterns, over heads that are nearly right.</summary>
    [Fact]
    public void A_head_is_read_as_the_grammar_says_and_the_same_however_it_is_cut()
    {
        Dice dice = new(20_260_101);
        int good = 0, bad = 0;
        for (int i = 0; i < 20_000; i++)
        {
            byte[] bytes = NearlyAHead(dice);
            List<(string, string)>? expected = Naive(bytes), actual = null;
            // Cut anywhere: as a connection reads it.
            int end = 0;
            try
            {
                int have = 0;
                foreach (byte[] piece in dice.Cut(bytes))
                    if ((end = MessageFormat.HeadLength(bytes.AsSpan(0, have += piece.Length))) > 0) break;
                if (end > 0)
                {
                    MessageFormat.ReadRequestLine(bytes.AsSpan(0, end), out ReadOnlySpan<byte> method, out ReadOnlySpan<byte> target, out _, out ReadOnlySpan<byte> fields);
                    List<(string, string)> read = [(Wire.Text(method), Wire.Text(target))];
                    while (MessageFormat.TryReadField(ref fields, out ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value)) read.Add((Wire.Text(name), Wire.Text(value)));
                    Assert.True(fields.IsEmpty);
                    actual = read;
                }
            }
            catch (Http1FormatException)
            {
                actual = null;
            }

            Assert.True(expected is null == actual is null && (expected is null || expected.SequenceEqual(actual!)), $"{i}: {Regex.Escape(Wire.Text(bytes))}");
            if (expected is null) bad++;
            else good++;
        }

        Assert.True(good > 2_000 && bad > 2_000, $"{good} good and {bad} bad heads tell little.");
    }

    private static byte[] NearlyAHead(Dice dice)
    {
        string[] names = ["Host", "X-A", "a", "Content-Length"], values = ["", "b", " c d ", "\tx:y", "\u00ff"];
        string head = $"{(dice.Next(2) == 0 ? "GET" : "X")} /{(dice.Next(2) == 0 ? "" : "p?q")} HTTP/1.{dice.Next(2)}\r\n";
        for (int i = dice.Next(4); i > 0; i--) head += $"{names[dice.Next(names.Length)]}:{values[dice.Next(values.Length)]}\r\n";
        byte[] bytes = Wire.Bytes(head + "\r\nbody\n");
        if (dice.Next(3) == 0) return bytes;
        // One byte more, fewer or another.
        List<byte> changed = [.. bytes];
        byte strange = (byte)"\r\n\0 \t:/H1x\u00ff"[dice.Next(11)];
        int at = dice.Next(head.Length + 1);
        switch (dice.Next(3))
        {
            case 0: changed.Insert(at, strange); break;
            case 1: changed.RemoveAt(at); break;
            default: changed[at] = strange; break;
        }

        return [.. changed];
    }

    private static List<(string, string)>? Naive(byte[] bytes)
    {
        string text = Wire.Text(bytes);
        int end = text.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        if (end < 0) return null;
        string[] lines = text[..end].Split("\r\n");
        Match first = RequestLine().Match(lines[0]);
        if (!first.Success) return null;
        List<(string, string)> read = [(first.Groups[1].Value, first.Groups[2].Value)];
        foreach (string line in lines.Skip(1))
        {
            Match field = Field().Match(line);
            if (!field.Success) return null;
            read.Add((field.Groups[1].Value, field.Groups[2].Value.Trim(' ', '\t')));
        }

        return read;
    }

    private static (string Method, string Target, int Minor, string Fields) ReadRequest(string head)
    {
        MessageFormat.ReadRequestLine(Wire.Bytes(head), out ReadOnlySpan<byte> method, out ReadOnlySpan<byte> target, out int minor, out ReadOnlySpan<byte> fields);
        return (Wire.Text(method), Wire.Text(target), minor, Wire.Text(fields));
    }

    private static List<(string, string)> ReadFields(string text)
    {
        ReadOnlySpan<byte> lines = Wire.Bytes(text);
        List<(string, string)> read = [];
        while (MessageFormat.TryReadField(ref lines, out ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value)) read.Add((Wire.Text(name), Wire.Text(value)));
        return read;
    }

    [GeneratedRegex($@"\A({Token}) ([^ \r\n\0]+) HTTP/1\.[01]\z")]
    private static partial Regex RequestLine();

    [GeneratedRegex($@"\A({Token}):([^\r\n\0]*)\z")]
    private static partial Regex Field();
}
