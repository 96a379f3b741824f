using System.Buffers;
using System.Net.Sockets;

namespace Superserve.Sidecar.Proxy;

/// <summary>
/// The bytes of a connection of the sandbox: what comes first can be looked at and left in place for whoever reads on. What is
/// read and written counts for the connection.
/// </summary>
internal sealed class ClientStream(Socket socket) : SocketStream(socket)
{
    private const int PeekLength = 4 * 1024;

    private readonly Socket _socket = socket;
    private byte[] _bytes = [];
    private int _start;
    private int _end;

    /// <summary>Whose bytes they are.</summary>
    public SandboxConnection? Connection { get; set; }

    /// <summary>What was looked at and not read.</summary>
    public ReadOnlySequence<byte> Peeked => new(_bytes, _start, _end - _start);

    public int PeekedLength => _end - _start;

    /// <summary>Looks at more bytes, behind those already looked at; false at the end. The judges of first bytes bound how many.</summary>
    public async ValueTask<bool> PeekAsync(CancellationToken cancellationToken)
    {
        if (_end == _bytes.Length)
        {
            byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Max(PeekLength, 2 * _end));
            _bytes.AsSpan(_start, PeekedLength).CopyTo(larger);
            Return();
            (_bytes, _start, _end) = (larger, 0, _end - _start);
        }

        int length = await _socket.ReceiveAsync(_bytes.AsMemory(_end), SocketFlags.None, cancellationToken);
        _end += length;
        return length > 0;
    }

    /// <summary>Leaves the first bytes out.</summary>
    public void Skip(int length)
    {
        _start += length;
        if (_start < _end) return;
        Return();
        (_bytes, _start, _end) = ([], 0, 0);
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_start == _end) return base.ReadAsync(buffer, cancellationToken);
        // An empty buffer asks only whether there is something to read.
        int length = Math.Min(PeekedLength, buffer.Length);
        _bytes.AsSpan(_start, length).CopyTo(buffer.Span);
        if (length > 0) Skip(length);
        Connection?.Sent(length);
        return new(length);
    }

    protected override void Received(int length) => Connection?.Sent(length);

    protected override void Sent(int length) => Connection?.Received(length);

    protected override void Dispose(bool disposing)
    {
        if (disposing) Skip(PeekedLength);
        base.Dispose(disposing);
    }

    private void Return()
    {
        if (_bytes.Length > 0) ArrayPool<byte>.Shared.Return(_bytes);
    }
}
