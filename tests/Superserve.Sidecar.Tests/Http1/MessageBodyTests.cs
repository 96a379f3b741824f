using System.Text;
using Superserve.Sidecar.Http1;

namespace Superserve.Sidecar.Tests.Http1;

public sealed class MessageBodyTests
{
    [Fact]
    public async Task Any_body_in_any_framing_and_in_any_pieces_is_read_as_it_is_and_what_follows_it_is_left()
    {
        Dice dice = new(20_260_102);
        for (int i = 0; i < 1_500; i++)
        {
            byte[] body = new byte[dice.Next(5) switch { 0 => 0, 1 => dice.Next(1, 20), 2 => 16 * 1024, _ => dice.Next(1, 70_000) }];
            dice.NextBytes(body);
            byte[] following = Wire.Bytes("GET /next");
            BodyFraming framing = (BodyFraming)dice.Next(1, 4);
            List<string> trailers = [];
            byte[] framed = framing == BodyFraming.Chunked ? Chunked(dice, body, trailers) : body;
            byte[] all = framing == BodyFraming.UntilClose ? framed : [.. framed, .. following];
            using MessageInput input = new(new PieceStream(dice.Cut(all)));
            MessageBody read = new(input);
            read.Start(framing, body.Length);
            (byte[] data, bool isComplete) = await ReadAsync(dice, read);
            Assert.True(isComplete && data.AsSpan().SequenceEqual(body), $"{i}: {framing}, {body.Length} bytes");
            Assert.Equal(trailers, read.Trailers.Select(trailer => $"{trailer.Name}: {trailer.Value}"));
            if (framing == BodyFraming.UntilClose) continue;
            while (input.UnreadLength < following.Length && await input.FillAsync() > 0)
            {
            }

            Assert.Equal(following, input.Unread.ToArray());
        }
    }

    [Fact]
    public async Task A_body_that_ends_early_is_never_complete()
    {
        Dice dice = new(20_260_103);
        for (int i = 0; i < 1_500; i++)
        {
            byte[] body = new byte[dice.Next(1, 200)];
            dice.NextBytes(body);
            BodyFraming framing = dice.Next(2) == 0 ? BodyFraming.Length : BodyFraming.Chunked;
            byte[] framed = framing == BodyFraming.Chunked ? Chunked(dice, body, []) : body;
            using MessageInput input = new(new PieceStream(dice.Cut(framed[..dice.Next(framed.Length)])));
            MessageBody read = new(input);
            read.Start(framing, body.Length);
            (byte[] data, bool isComplete) = await ReadAsync(dice, read);
            Assert.False(isComplete || read.IsComplete, $"{i}: {Wire.Text(framed)}");
            Assert.True(body.AsSpan().StartsWith(data));
        }
    }

    /// <summary>Against a decoder of whole strings, over chunked bodies with a byte more, fewer or another.</summary>
    [Fact]
    public async Task A_chunked_body_that_is_nearly_right_is_read_as_the_grammar_says()
    {
        Dice dice = new(20_260_104);
        int good = 0, bad = 0;
        for (int i = 0; i < 20_000; i++)
        {
            byte[] body = new byte[dice.Next(12)];
            for (int b = 0; b < body.Length; b++) body[b] = (byte)"ab\r\n0;"[dice.Next(6)];
            List<byte> framed = [.. Chunked(dice, body, [])];
            int at = dice.Next(framed.Count);
            byte strange = (byte)"\r\n\0 ;01aF:x"[dice.Next(11)];
            switch (dice.Next(4))
            {
                case 0: framed.Insert(at, strange); break;
                case 1: framed.RemoveAt(at); break;
                case 2: framed[at] = strange; break;
            }

            byte[] bytes = [.. framed];
            (byte[] Body, int Length)? expected = Naive(bytes);
            using MessageInput input = new(new PieceStream(dice.Cut(bytes)));
            MessageBody read = new(input);
            read.Start(BodyFraming.Chunked, 0);
            (byte[] data, bool isComplete) = await ReadAsync(dice, read);
            Assert.True(isComplete == expected is not null, $"{i}: {System.Text.RegularExpressions.Regex.Escape(Wire.Text(bytes))}");
            if (expected is { } decoded)
            {
                Assert.Equal(decoded.Body, data);
                good++;
            }
            else bad++;
        }

        Assert.True(good > 2_000 && bad > 2_000, $"{good} good and {bad} bad bodies tell little.");
    }

    [Theory]
    [InlineData(4_090, true)]
    [InlineData(4_100, false)]
    public async Task A_chunk_s_extensions_have_a_greatest_length(int length, bool passes)
    {
        foreach (bool isWhole in (bool[])[true, false])
        {
            byte[] bytes = Wire.Bytes($"1;{new string('x', length)}" + (isWhole || passes ? "\r\na\r\n0\r\n\r\n" : ""));
            using MessageInput input = new(new PieceStream([bytes]));
            MessageBody read = new(input);
            read.Start(BodyFraming.Chunked, 0);
            if (passes) Assert.Equal(1, (await read.ReadAsync()).Length);
            else await Assert.ThrowsAsync<Http1FormatException>(async () => await read.ReadAsync());
        }
    }

    [Fact]
    public async Task Trailers_have_a_greatest_length_and_number()
    {
        foreach (string trailers in (string[])[$"X: {new string('x', 33_000)}\r\n\r\n", $"X: {new string('x', 33_000)}", string.Concat(Enumerable.Repeat("X: y\r\n", 201)) + "\r\n"])
        {
            using MessageInput input = new(new PieceStream([Wire.Bytes("0\r\n" + trailers)]));
            MessageBody read = new(input);
            read.Start(BodyFraming.Chunked, 0);
            await Assert.ThrowsAsync<Http1FormatException>(async () => await read.ReadAsync());
            Assert.False(read.IsComplete);
        }
    }

    [Fact]
    public void A_body_without_length_is_complete_at_once()
    {
        using MessageInput input = new(new PieceStream([]));
        MessageBody read = new(input);
        Assert.True(read.IsComplete);
        read.Start(BodyFraming.Length, 0);
        Assert.True(read.IsComplete);
        read.Start(BodyFraming.None, -1);
        Assert.True(read.IsComplete);
        Assert.True(read.TryRead(out ReadOnlyMemory<byte> piece));
        Assert.True(piece.IsEmpty);
        read.Start(BodyFraming.UntilClose, -1);
        Assert.False(read.IsComplete);
    }

    /// <summary>Takes pieces whole or in part, and says whether the end was a good one.</summary>
    private static async Task<(byte[] Data, bool IsComplete)> ReadAsync(Dice dice, MessageBody body)
    {
        using MemoryStream data = new();
        try
        {
            while (await body.ReadAsync() is { IsEmpty: false } piece)
            {
                int taken = dice.Next(3) == 0 ? dice.Next(1, piece.Length + 1) : piece.Length;
                data.Write(piece.Span[..taken]);
                body.Advance(taken);
            }

            return (data.ToArray(), body.IsComplete);
        }
        catch (Exception exception) when (exception is Http1FormatException or EndOfStreamException)
        {
            return (data.ToArray(), false);
        }
    }

    private static byte[] Chunked(Dice dice, byte[] body, List<string> trailers)
    {
        using MemoryStream framed = new();
        for (int at = 0; at < body.Length;)
        {
            int length = dice.Next(1, body.Length - at + 1);
            if (dice.Next(2) == 0) length = Math.Min(length, 3);
            framed.Write(Wire.Bytes($"{(dice.Next(2) == 0 ? length.ToString("x") : length.ToString("X5"))}{(dice.Next(8) == 0 ? " ;a=\"b\"" : "")}\r\n"));
            framed.Write(body, at, length);
            framed.Write("\r\n"u8);
            at += length;
        }

        framed.Write("0\r\n"u8);
        if (dice.Next(4) == 0) trailers.Add("X-A: b");
        if (trailers.Count > 0 && dice.Next(2) == 0) trailers.Add("X-A: ");
        framed.Write(Wire.Bytes(string.Concat(trailers.Select(trailer => trailer + "\r\n")) + "\r\n"));
        return framed.ToArray();
    }

    private static (byte[] Body, int Length)? Naive(byte[] bytes)
    {
        string text = Wire.Text(bytes);
        StringBuilder body = new();
        int at = 0;
        while (true)
        {
            System.Text.RegularExpressions.Match line = new System.Text.RegularExpressions.Regex(@"\G([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\r\n\0]*|[ \t]*)\r\n").Match(text, at);
            if (!line.Success) return null;
            int length = (int)Math.Min(Convert.ToInt64(line.Groups[1].Value, 16), int.MaxValue / 2);
            at += line.Length;
            if (length == 0) break;
            if (at + length + 2 > text.Length || text.Substring(at + length, 2) != "\r\n") return null;
            body.Append(text, at, length);
            at += length + 2;
        }

        System.Text.RegularExpressions.Match trailers = new System.Text.RegularExpressions.Regex(@"\G(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*\r\n").Match(text, at);
        return trailers.Success ? (Wire.Bytes(body.ToString()), at + trailers.Length) : null;
    }
}
