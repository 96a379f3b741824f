using System.Buffers;
using System.IO.Pipelines;

namespace Superserve.Sidecar.Proxy;

/// <summary>A connection's pipes as a stream for <c>SslStream</c>, counting the bytes.</summary>
internal sealed class TransportStream(IDuplexPipe transport, SandboxConnection connection) : Stream
{
    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        ReadResult result = await transport.Input.ReadAsync(cancellationToken);
        ReadOnlySequence<byte> bytes = result.Buffer;
        if (result.IsCanceled) throw new OperationCanceledException();
        // An empty buffer asks only whether there is something to read.
        int length = (int)Math.Min(bytes.Length, buffer.Length);
        bytes.Slice(0, length).CopyTo(buffer.Span);
        transport.Input.AdvanceTo(bytes.GetPosition(length));
        connection.Sent(length);
        return length;
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        connection.Received(buffer.Length);
        FlushResult result = await transport.Output.WriteAsync(buffer, cancellationToken);
        if (result.IsCanceled) throw new OperationCanceledException();
    }

    public override Task FlushAsync(CancellationToken cancellationToken) => transport.Output.FlushAsync(cancellationToken).AsTask();

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    // SslStream's asynchronous methods call nothing below.
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();
}
