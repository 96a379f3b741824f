using System.Buffers;
using System.Buffers.Text;
using System.Text;

namespace Superserve.Sidecar.Http1;

/// <summary>What is about to be written to a stream: a head, and pieces of a body behind it in the same write.</summary>
internal sealed class MessageOutput(Stream stream) : IBufferWriter<byte>, IDisposable
{
    private const int BufferLength = 16 * 1024;

    /// <summary>A chunk's length in hexadecimal, at most eight digits, and its line's end.</summary>
    private const int ChunkLineLength = 10;

    private static readonly SearchValues<char> NeverInHeads = SearchValues.Create("\0\r\n");

    private byte[] _bytes = [];
    private int _length;
    private int _chunk = -1;

    /// <summary>How much waits for <see cref="FlushAsync()"/>.</summary>
    public int Length => _length;

    /// <summary>Whether it is time to flush.</summary>
    public bool IsFull => _length >= BufferLength;

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _bytes.AsMemory(_length);
    }

    public Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    public void Advance(int count) => _length += count;

    public void Write(ReadOnlySpan<byte> bytes)
    {
        Reserve(bytes.Length);
        bytes.CopyTo(_bytes.AsSpan(_length));
        _length += bytes.Length;
    }

    /// <summary>Text of a head's line, one byte for each character.</summary>
    /// <exception cref="InvalidOperationException">It would end the line.</exception>
    public void Write(string text)
    {
        // Nothing that gets here can hold one: what came in was read by lines, and credentials and names are checked.
        if (text.AsSpan().ContainsAny(NeverInHeads)) throw new InvalidOperationException("A line of a message's head would hold a line's end.");
        Reserve(text.Length);
        _length += Encoding.Latin1.GetBytes(text, _bytes.AsSpan(_length));
    }

    public void WriteNumber(long number)
    {
        Reserve(20);
        Utf8Formatter.TryFormat(number, _bytes.AsSpan(_length), out int written);
        _length += written;
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
        Reserve(ChunkLineLength);
        _chunk = _length;
        _length += ChunkLineLength;
    }

    public void EndChunk()
    {
        int length = _length - _chunk - ChunkLineLength;
        if (length == 0)
        {
            // It would be the last one.
            _length = _chunk;
            return;
        }

        Span<byte> line = stackalloc byte[ChunkLineLength];
        Utf8Formatter.TryFormat(length, line, out int digits, 'x');
        "\r\n"u8.CopyTo(line[digits..]);
        line = line[..(digits + 2)];
        int gap = ChunkLineLength - line.Length;
        Span<byte> written = _bytes.AsSpan(_chunk, ChunkLineLength + length);
        line.CopyTo(written);
        written[ChunkLineLength..].CopyTo(written[line.Length..]);
        _length -= gap;
        Write("\r\n"u8);
    }

    /// <summary>Hands everything to the stream.</summary>
    public async ValueTask FlushAsync()
    {
        if (_length == 0) return;
        await stream.WriteAsync(_bytes.AsMemory(0, _length));
        Clear();
    }

    /// <summary>Hands everything to the stream, and a piece behind it without copying it where it is large.</summary>
    public async ValueTask FlushAsync(ReadOnlyMemory<byte> piece)
    {
        if (_length + piece.Length <= BufferLength)
        {
            Write(piece.Span);
            await FlushAsync();
            return;
        }

        await FlushAsync();
        await stream.WriteAsync(piece);
    }

    /// <summary>Forgets what was not flushed.</summary>
    public void Clear()
    {
        // It may hold a credential.
        _bytes.AsSpan(0, _length).Clear();
        _length = 0;
    }

    /// <summary>Gives the buffer back.</summary>
    public void Release()
    {
        if (_bytes.Length == 0) return;
        Clear();
        ArrayPool<byte>.Shared.Return(_bytes);
        _bytes = [];
    }

    public void Dispose() => Release();

    private void Reserve(int length)
    {
        if (_bytes.Length - _length >= length) return;
        byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Max(BufferLength, Math.Max(2 * _bytes.Length, _length + length)));
        _bytes.AsSpan(0, _length).CopyTo(larger);
        if (_bytes.Length > 0)
        {
            _bytes.AsSpan(0, _length).Clear();
            ArrayPool<byte>.Shared.Return(_bytes);
        }

        _bytes = larger;
    }
}
