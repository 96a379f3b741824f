using System.Buffers;

namespace Superserve.Sidecar.Http1;

/// <summary>Bytes that are gathered in an array of the shared pool, which gets it back without them: there may be a credential among them.</summary>
internal class PooledBuffer : IBufferWriter<byte>, IDisposable
{
    /// <summary>The first array's length.</summary>
    protected const int BufferLength = 16 * 1024;

    private byte[] _bytes = [];

    public int Length { get; private set; }

    public Span<byte> Written => _bytes.AsSpan(0, Length);

    public ReadOnlyMemory<byte> WrittenMemory => _bytes.AsMemory(0, Length);

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _bytes.AsMemory(Length);
    }

    public Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    /// <inheritdoc />
    /// <remarks>A negative count takes back what was written last.</remarks>
    public void Advance(int count) => Length += count;

    public void Write(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(GetSpan(bytes.Length));
        Length += bytes.Length;
    }

    /// <summary>Forgets what was written.</summary>
    public void Clear()
    {
        Written.Clear();
        Length = 0;
    }

    /// <summary>Gives the array back.</summary>
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
        if (_bytes.Length - Length >= length) return;
        byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Max(BufferLength, Math.Max(2 * _bytes.Length, Length + length)));
        Written.CopyTo(larger);
        int written = Length;
        Release();
        (_bytes, Length) = (larger, written);
    }
}
