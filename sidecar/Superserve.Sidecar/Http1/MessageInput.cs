using System.Buffers;

namespace Superserve.Sidecar.Http1;

/// <summary>What has come of a stream and is not used yet. It holds a buffer only while there is something, or is waited for.</summary>
internal sealed class MessageInput(Stream stream) : IDisposable
{
    private const int BufferLength = 16 * 1024;

    private byte[] _bytes = [];
    private int _start;
    private int _end;
    private int _used;

    public ReadOnlyMemory<byte> Unread => _bytes.AsMemory(_start, _end - _start);

    public int UnreadLength => _end - _start;

    /// <summary>Whether the last read took all that there was room for, so that the stream may hold more that it has decrypted.</summary>
    public bool WasFilled { get; private set; }

    public void Consume(int length)
    {
        _start += length;
        if (_start == _end) _start = _end = 0;
    }

    /// <summary>Reads more behind what there is; 0 at the end of the stream.</summary>
    public async ValueTask<int> FillAsync()
    {
        if (_end == _bytes.Length) MakeRoom();
        int length = await stream.ReadAsync(_bytes.AsMemory(_end));
        WasFilled = length == _bytes.Length - _end;
        _end += length;
        _used = Math.Max(_used, _end);
        return length;
    }

    /// <summary>Gives the buffer back where nothing is in it.</summary>
    public void Release()
    {
        if (_start != _end || _bytes.Length == 0) return;
        Return();
        _bytes = [];
    }

    public void Dispose()
    {
        _start = _end = 0;
        Release();
    }

    private void MakeRoom()
    {
        int unread = _end - _start;
        if (_start > 0 && unread < _bytes.Length / 2)
        {
            _bytes.AsSpan(_start, unread).CopyTo(_bytes);
        }
        else
        {
            // No caller reads on behind MaxHeadLength.
            byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Max(BufferLength, 2 * unread));
            _bytes.AsSpan(_start, unread).CopyTo(larger);
            if (_bytes.Length > 0) Return();
            _bytes = larger;
            _used = unread;
        }

        (_start, _end) = (0, unread);
    }

    private void Return()
    {
        // A service may have echoed a credential.
        _bytes.AsSpan(0, _used).Clear();
        _used = 0;
        ArrayPool<byte>.Shared.Return(_bytes);
    }
}
