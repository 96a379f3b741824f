using Superserve.Core.Swapping;

namespace Superserve.Sidecar.Http1;

/// <summary>The body of one message after another on a connection, without its framing, read in the pieces it comes in.</summary>
internal sealed class MessageBody(MessageInput input)
{
    /// <summary>Of a chunk's extensions, which mean nothing to anybody.</summary>
    private const int MaxChunkLineLength = 4 * 1024;

    private const int MaxTrailersLength = 32 * 1024;

    private enum State
    {
        Data,
        ChunkLine,
        ChunkEnd,
        Trailers,
        Complete,
    }

    private State _state = State.Complete;
    private long _left;

    public BodyFraming Framing { get; private set; }

    /// <summary>Of <see cref="BodyFraming.Length"/>.</summary>
    public long Length { get; private set; }

    /// <summary>Whether all of it has been read, trailers included.</summary>
    public bool IsComplete => _state == State.Complete;

    /// <summary>The fields behind the last chunk.</summary>
    public List<HeaderField> Trailers { get; } = [];

    public void Start(BodyFraming framing, long length)
    {
        Framing = framing;
        Length = framing == BodyFraming.Length ? length : 0;
        Trailers.Clear();
        (_state, _left) = framing switch
        {
            BodyFraming.Length when length > 0 => (State.Data, length),
            BodyFraming.Chunked => (State.ChunkLine, 0),
            BodyFraming.UntilClose => (State.Data, long.MaxValue),
            _ => (State.Complete, 0L),
        };
    }

    /// <summary>A piece, of which what is used is to be said to <see cref="Advance"/>; empty at the end.</summary>
    /// <exception cref="Http1FormatException">The framing is broken.</exception>
    /// <exception cref="EndOfStreamException">The connection ended first.</exception>
    public async ValueTask<ReadOnlyMemory<byte>> ReadAsync()
    {
        while (true)
        {
            if (TryRead(out ReadOnlyMemory<byte> piece)) return piece;
            if (await input.FillAsync() > 0) continue;
            if (Framing != BodyFraming.UntilClose) throw new EndOfStreamException("The connection ended in the middle of a body.");
            _state = State.Complete;
        }
    }

    /// <summary>The same of what has come already; false where more is needed.</summary>
    public bool TryRead(out ReadOnlyMemory<byte> piece)
    {
        piece = default;
        while (true)
        {
            ReadOnlyMemory<byte> unread = input.Unread;
            switch (_state)
            {
                case State.Complete:
                    return true;
                case State.Data:
                    if (unread.IsEmpty) return false;
                    piece = _left < unread.Length ? unread[..(int)_left] : unread;
                    return true;
                case State.ChunkLine:
                    if (!TryTakeLine(unread.Span, MaxChunkLineLength, out ReadOnlySpan<byte> line)) return false;
                    _left = MessageFormat.ReadChunkLength(line);
                    input.Consume(line.Length + 2);
                    _state = _left > 0 ? State.Data : State.Trailers;
                    break;
                case State.ChunkEnd:
                    if (unread.Length < 2) return false;
                    if (!unread.Span.StartsWith("\r\n"u8)) throw new Http1FormatException("A chunk is longer than its length.");
                    input.Consume(2);
                    _state = State.ChunkLine;
                    break;
                case State.Trailers:
                    if (!TryReadTrailers(unread.Span)) return false;
                    _state = State.Complete;
                    return true;
            }
        }
    }

    public void Advance(int length)
    {
        input.Consume(length);
        if (Framing == BodyFraming.UntilClose) return;
        _left -= length;
        if (_left == 0) _state = Framing == BodyFraming.Chunked ? State.ChunkEnd : State.Complete;
    }

    private bool TryReadTrailers(ReadOnlySpan<byte> bytes)
    {
        // None: the empty line follows at once.
        int length = bytes.StartsWith("\r\n"u8) ? 2 : bytes.Length < 2 ? 0 : MessageFormat.HeadLength(bytes);
        if (length == 0 && bytes.Length <= MaxTrailersLength) return false;
        if (length is 0 or > MaxTrailersLength) throw new Http1FormatException("The trailers are too long.");
        ReadOnlySpan<byte> lines = bytes[..length];
        while (MessageFormat.TryReadField(ref lines, out ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value))
        {
            if (Trailers.Count == MessageFormat.MaxFields) throw new Http1FormatException("There are too many trailers.");
            Trailers.Add(new HeaderField(MessageFormat.Text(name, null), MessageFormat.Text(value, null)));
        }

        input.Consume(length);
        return true;
    }

    private static bool TryTakeLine(ReadOnlySpan<byte> bytes, int maxLength, out ReadOnlySpan<byte> line)
    {
        int end = bytes.IndexOf((byte)'\n');
        line = default;
        if (end < 0 && bytes.Length <= maxLength) return false;
        if (end is < 0 || end > maxLength) throw new Http1FormatException("A chunk's first line is too long.");
        if (end == 0 || bytes[end - 1] != '\r') throw new Http1FormatException("A chunk's first line ends with LF alone.");
        line = bytes[..(end - 1)];
        return true;
    }
}
