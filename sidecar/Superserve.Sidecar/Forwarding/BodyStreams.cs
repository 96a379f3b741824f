using System.Buffers;
using Microsoft.AspNetCore.Http.Features;
using Superserve.Core.Scrubbing;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Http1;
using Superserve.Sidecar.Proxy;

namespace Superserve.Sidecar.Forwarding;

/// <summary>A body that is read once, forwards, without seeking.</summary>
internal abstract class BodyStream : Stream
{
    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public abstract override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default);

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();
}

/// <summary>The request's body, counted; at its end, its trailers are looked at. They are not forwarded.</summary>
internal sealed class RequestStream(Stream inner, Exchange exchange, HttpContext context) : BodyStream
{
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        int length = await inner.ReadAsync(buffer, cancellationToken);
        exchange.BytesSent += length;
        if (length == 0 && buffer.Length > 0) CheckTrailers();
        return length;
    }

    private void CheckTrailers()
    {
        if (context.Features.Get<IHttpRequestTrailersFeature>() is not { Available: true } feature) return;
        foreach ((string name, Microsoft.Extensions.Primitives.StringValues values) in feature.Trailers)
        {
            if (!exchange.Snapshot.HoldsStandIn(values.ToString())) continue;
            exchange.BodyRefusal = new Refusal(RefusalReason.CredentialMisplaced,
                "A stand-in is in a trailer of the request, where it is never swapped. Send it in the request's head.");
            throw new IOException("A stand-in is in a request trailer.");
        }
    }
}

/// <summary>The answer's body: counted, and with credentials replaced by their stand-ins.</summary>
internal sealed class ResponseStream(Stream inner, Exchange exchange, BodyScrubber? scrubber, Action onScrubbed) : BodyStream
{
    private const int ReadLength = 16 * 1024;

    private readonly PooledBuffer _output = new();
    private int _taken;
    private bool _ended;

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        int length = scrubber is null ? await inner.ReadAsync(buffer, cancellationToken) : await ReadScrubbedAsync(buffer, cancellationToken);
        exchange.BytesReceived += length;
        return length;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            inner.Dispose();
            _output.Release();
        }

        base.Dispose(disposing);
    }

    private async ValueTask<int> ReadScrubbedAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        while (_output.Length == _taken)
        {
            _output.Release();
            _taken = 0;
            if (_ended) return 0;
            if (buffer.IsEmpty)
            {
                // Asked only whether there is something to read.
                return await inner.ReadAsync(buffer, cancellationToken);
            }

            byte[] input = ArrayPool<byte>.Shared.Rent(ReadLength);
            try
            {
                int length = await inner.ReadAsync(input, cancellationToken);
                long before = scrubber!.Replacements;
                if (length > 0) scrubber.Write(input.AsSpan(0, length), _output);
                else
                {
                    scrubber.Complete(_output);
                    _ended = true;
                }

                if (scrubber.Replacements > before) onScrubbed();
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(input, clearArray: true);
            }
        }

        int count = Math.Min(buffer.Length, _output.Length - _taken);
        _output.Written.Slice(_taken, count).CopyTo(buffer.Span);
        _taken += count;
        return count;
    }
}
