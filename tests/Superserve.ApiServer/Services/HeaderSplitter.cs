using System.Text;

namespace Superserve.ApiServer.Services;

/// <summary>
/// Sends each X-Remote-* value in a line of its own, as Go does and servers read it: HttpClient joins them with commas. For
/// one HTTP/1.1 request in a connection.
/// </summary>
internal sealed class HeaderSplitter(Stream inner) : Stream
{
    private List<byte>? _head = [];

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_head is null)
        {
            await inner.WriteAsync(buffer, cancellationToken);
            return;
        }

        _head.AddRange(buffer.Span);
        byte[] sent = [.. _head];
        int end = sent.AsSpan().IndexOf("\r\n\r\n"u8);
        if (end < 0) return;
        _head = null;
        string[] lines = Encoding.Latin1.GetString(sent, 0, end).Split("\r\n");
        byte[] head = Encoding.Latin1.GetBytes(string.Join("\r\n", lines.SelectMany(Split)));
        await inner.WriteAsync(head, cancellationToken);
        await inner.WriteAsync(sent.AsMemory(end), cancellationToken);
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => inner.ReadAsync(buffer, cancellationToken);

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

    public override void Flush() => inner.Flush();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing) inner.Dispose();
        base.Dispose(disposing);
    }

    private static IEnumerable<string> Split(string line)
    {
        if (!line.StartsWith("X-Remote-", StringComparison.OrdinalIgnoreCase)) return [line];
        int colon = line.IndexOf(": ", StringComparison.Ordinal);
        return line[(colon + 2)..].Split(", ").Select(value => $"{line[..colon]}: {value}");
    }
}
