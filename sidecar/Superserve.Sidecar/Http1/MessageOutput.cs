using System.Buffers;
using System.Buffers.Text;
using System.Text;

namespace Superserve.Sidecar.Http1;

/// <summary>What is about to be written to a stream: a head, and pieces of a body behind it in the same write.</summary>
internal sealed class MessageOutput(Stream stream) : PooledBuffer
{
    /// <summary>A chunk's length in hexadecimal, at most eight digits, and its line's end.</summary>
    private const int ChunkLineLength = 10;

    private static readonly SearchValues<char> NeverInHeads = SearchValues.Create("\0\r\n");

    private int _chunk = -1;

    /// <summary>Whether it is time to flush.</summary>
    public bool IsFull => Length >= BufferLength;

    /// <summary>Text of a head's line, one byte for each character.</summary>
    /// <exception cref="InvalidOperationException">It would end the line.</exception>
    public void Write(string text)
    {
        // Nothing that gets here can hold one: what came in was read by lines, and credentials and names are checked.
        if (text.AsSpan().ContainsAny(NeverInHeads)) throw new InvalidOperationException("A line of a message's head would hold a line's end.");
        Advance(Encoding.Latin1.GetBytes(text, GetSpan(text.Length)));
    }

    public void WriteNumber(long number)
    {
        Utf8Formatter.TryFormat(number, GetSpan(20), out int written);
        Advance(written);
    }

    public void WriteField(string name, string value)
    {
        Write(name);
        Write(": "u8);
        Write(value);
        Write("\r\n"u8);
    }

    /// <summary>What is written from here to <see cref="EndChunk"/> is a chunk's data.</summary>
    public void BeginChunk()
    {
        _chunk = Length;
        GetSpan(ChunkLineLength);
        Advance(ChunkLineLength);
    }

    public void EndChunk()
    {
        int length = Length - _chunk - ChunkLineLength;
        if (length == 0)
        {
            // It would be the last one.
            Advance(-ChunkLineLength);
            return;
        }

        Span<byte> line = stackalloc byte[ChunkLineLength];
        Utf8Formatter.TryFormat(length, line, out int digits, 'x');
        "\r\n"u8.CopyTo(line[digits..]);
        line = line[..(digits + 2)];
        Span<byte> written = Written[_chunk..];
        line.CopyTo(written);
        written[ChunkLineLength..].CopyTo(written[line.Length..]);
        Advance(line.Length - ChunkLineLength);
        Write("\r\n"u8);
    }

    /// <summary>Hands everything to the stream.</summary>
    public async ValueTask FlushAsync()
    {
        if (Length == 0) return;
        await stream.WriteAsync(WrittenMemory);
        Clear();
    }

    /// <summary>Hands everything to the stream, and a piece behind it without copying it where it is large.</summary>
    public async ValueTask FlushAsync(ReadOnlyMemory<byte> piece)
    {
        if (Length + piece.Length <= BufferLength)
        {
            Write(piece.Span);
            await FlushAsync();
            return;
        }

        await FlushAsync();
        await stream.WriteAsync(piece);
    }
}
