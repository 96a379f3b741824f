using Superserve.Sidecar.Forwarding;

namespace Superserve.Sidecar.Http1;

/// <summary>A message's body for a decoder to read.</summary>
internal sealed class MessageBodyStream(MessageBody body) : BodyStream
{
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        ReadOnlyMemory<byte> piece = await body.ReadAsync();
        int length = Math.Min(piece.Length, buffer.Length);
        piece.Span[..length].CopyTo(buffer.Span);
        if (length > 0) body.Advance(length);
        return length;
    }
}
