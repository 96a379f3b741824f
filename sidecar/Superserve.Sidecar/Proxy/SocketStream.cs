using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Superserve.Sidecar.Http1;

namespace Superserve.Sidecar.Proxy;

/// <summary>
/// A socket as a stream. What follows a read runs on the thread that polls the sockets, which is quicker than handing it to
/// another one, so that nobody may keep that thread for long: a stream that is never empty steps aside now and then.
/// </summary>
internal class SocketStream(Socket socket) : Stream
{
    /// <summary>Reads in a row that found something at once.</summary>
    private const int MaxStreak = 16;

    /// <summary>What is held at most; more is sent.</summary>
    private const int MaxHeld = 128 * 1024;

    private int _streak;
    private PooledBuffer? _held;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Whether the other side has ended its direction.</summary>
    public bool HasEnded { get; private set; }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (++_streak >= MaxStreak)
        {
            _streak = 0;
            await Task.Yield();
        }

        ValueTask<int> reading = socket.ReceiveAsync(buffer, SocketFlags.None, cancellationToken);
        if (!reading.IsCompleted) _streak = 0;
        int length = await reading;
        if (length == 0 && !buffer.IsEmpty) HasEnded = true;
        Received(length);
        return length;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_held is { } held)
        {
            held.Write(buffer.Span);
            if (held.Length < MaxHeld) return;
            await SendHeldAsync(cancellationToken);
            return;
        }

        int length = buffer.Length;
        while (!buffer.IsEmpty) buffer = buffer[await socket.SendAsync(buffer, SocketFlags.None, cancellationToken)..];
        Sent(length);
    }

    /// <summary>What is written from here on is sent by <see cref="SendHeldAsync"/>.</summary>
    public void Hold() => _held ??= new PooledBuffer();

    /// <summary>Sends what is held in one piece.</summary>
    public async ValueTask SendHeldAsync(CancellationToken cancellationToken)
    {
        if (_held is not { } held) return;
        _held = null;
        try
        {
            if (held.Length > 0) await WriteAsync(held.WrittenMemory, cancellationToken);
        }
        finally
        {
            held.Release();
        }
    }

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    // The asynchronous methods of those who use it call nothing below.
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    /// <summary>Bytes that came.</summary>
    protected virtual void Received(int length)
    {
    }

    /// <summary>Bytes that went.</summary>
    protected virtual void Sent(int length)
    {
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing) socket.Dispose();
        base.Dispose(disposing);
    }
}
