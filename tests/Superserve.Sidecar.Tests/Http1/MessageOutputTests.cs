using Superserve.Sidecar.Http1;

namespace Superserve.Sidecar.Tests.Http1;

public sealed class MessageOutputTests
{
    [Fact]
    public async Task What_is_written_in_chunks_is_read_back_from_them()
    {
        Dice dice = new(20_260_105);
        for (int i = 0; i < 500; i++)
        {
            using MemoryStream wire = new(), body = new();
            using MessageOutput output = new(wire);
            output.Write("HEAD\r\n"u8);
            for (int chunks = dice.Next(20); chunks > 0; chunks--)
            {
                output.BeginChunk();
                // In several writes, some of them empty, some larger than the buffer.
                for (int writes = dice.Next(4); writes > 0; writes--)
                {
                    byte[] piece = new byte[dice.Next(4) switch { 0 => 0, 1 => dice.Next(300), 2 => dice.Next(20_000), _ => 1 }];
                    dice.NextBytes(piece);
                    body.Write(piece);
                    if (dice.Next(2) == 0) output.Write(piece);
                    else
                    {
                        piece.CopyTo(output.GetSpan(piece.Length));
                        output.Advance(piece.Length);
                    }
                }

                output.EndChunk();
                if (dice.Next(3) == 0) await output.FlushAsync();
            }

            output.Write("0\r\n\r\n"u8);
            await output.FlushAsync();
            byte[] written = wire.ToArray();
            Assert.Equal("HEAD\r\n", Wire.Text(written.AsSpan(0, 6)));
            using MessageInput input = new(new PieceStream([written[6..]]));
            MessageBody read = new(input);
            read.Start(BodyFraming.Chunked, 0);
            using MemoryStream back = new();
            while (await read.ReadAsync() is { IsEmpty: false } piece)
            {
                back.Write(piece.Span);
                read.Advance(piece.Length);
            }

            Assert.True(back.ToArray().AsSpan().SequenceEqual(body.ToArray()), i.ToString());
            Assert.Equal(0, input.UnreadLength);
        }
    }

    [Fact]
    public void A_chunk_of_nothing_is_not_written_since_it_would_be_the_last()
    {
        using MemoryStream wire = new();
        using MessageOutput output = new(wire);
        output.Write("a"u8);
        output.BeginChunk();
        output.EndChunk();
        Assert.Equal(1, output.Length);
    }

    [Theory]
    [InlineData("a\r")]
    [InlineData("\nb")]
    [InlineData("a\0b")]
    public void Text_that_would_end_a_line_is_not_written(string text)
    {
        using MemoryStream wire = new();
        using MessageOutput output = new(wire);
        Assert.Throws<InvalidOperationException>(() => output.Write(text));
        Assert.Throws<InvalidOperationException>(() => output.WriteField("Name", text));
        Assert.Throws<InvalidOperationException>(() => output.WriteField(text, "value"));
    }

    [Fact]
    public async Task A_large_piece_goes_out_behind_what_was_written_before_it()
    {
        foreach (int length in (int[])[0, 1, 10_000, 16 * 1024 - 4, 16 * 1024 - 3, 100_000])
        {
            using MemoryStream wire = new();
            using MessageOutput output = new(wire);
            output.WriteNumber(1234);
            await output.FlushAsync(new byte[length]);
            Assert.Equal(4 + length, wire.Length);
            Assert.Equal("1234", Wire.Text(wire.ToArray().AsSpan(0, 4)));
            Assert.Equal(0, output.Length);
        }
    }

    [Fact]
    public async Task What_is_cleared_is_not_written()
    {
        using MemoryStream wire = new();
        using MessageOutput output = new(wire);
        output.Write("first"u8);
        output.Clear();
        output.WriteField("A", "b\u00ff");
        await output.FlushAsync();
        Assert.Equal("A: b\u00ff\r\n", Wire.Text(wire.ToArray()));
    }
}
