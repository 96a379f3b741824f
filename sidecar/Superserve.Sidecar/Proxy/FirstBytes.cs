using System.Buffers;
using Superserve.Core.Hosts;

namespace Superserve.Sidecar.Proxy;

/// <summary>What a connection's first bytes say it is.</summary>
internal enum FirstBytesKind
{
    /// <summary>More bytes are needed to tell.</summary>
    Undecided,

    /// <summary>A TLS ClientHello; the name may be absent.</summary>
    Tls,

    /// <summary>An HTTP/1 request line.</summary>
    Http1,

    /// <summary>HTTP/2's preface, without TLS.</summary>
    Http2,

    /// <summary>Neither.</summary>
    Opaque,

    /// <summary>It starts as TLS and is not; nothing good comes of passing it on.</summary>
    Malformed,
}

/// <summary>The judgement of first bytes.</summary>
/// <param name="Kind">What they are.</param>
/// <param name="ServerName">TLS: the canonical name that the hello asks for; null where it asks for none.</param>
internal readonly record struct FirstBytes(FirstBytesKind Kind, string? ServerName = null)
{
    /// <summary>A ClientHello with post-quantum key shares has some 1.8 kB; with tickets and padding it stays well below.</summary>
    private const int MaxHelloLength = 64 * 1024;

    private const int MaxRequestLineLength = 16 * 1024;
    private const int MaxBlankLength = 1024;
    private const int RecordHeaderLength = 5;
    private const int MaxRecordLength = 16 * 1024;

    /// <summary>All are looked at again when more bytes come.</summary>
    private const int MaxRecords = 1024;


    private static ReadOnlySpan<byte> Http2Preface => "PRI * HTTP/2.0\r\n"u8;

    /// <summary>Judges what has arrived so far. Reads no more than its bounds and keeps nothing.</summary>
    public static FirstBytes Judge(in ReadOnlySequence<byte> bytes)
    {
        if (bytes.IsEmpty) return new(FirstBytesKind.Undecided);
        byte first = bytes.FirstSpan[0];
        return first switch
        {
            0x16 => JudgeTls(bytes),
            // Other TLS records, and a hello in the form of SSL 2 (its third byte is 1): some servers take them for a beginning.
            0x14 or 0x15 or 0x17 => new(FirstBytesKind.Malformed),
            >= 0x80 => JudgeSsl2(bytes),
            (byte)'\r' or (byte)'\n' or (byte)' ' or (byte)'\t' => JudgeAfterBlanks(bytes),
            _ => JudgeHttp(bytes),
        };
    }

    /// <summary>Judges what a client sent that ended in the middle of a first line or hello, or sent nothing.</summary>
    public static FirstBytes AtEnd(in ReadOnlySequence<byte> bytes)
    {
        if (bytes.IsEmpty) return new(FirstBytesKind.Undecided);
        Span<byte> start = stackalloc byte[(int)Math.Min(bytes.Length, 8)];
        bytes.Slice(0, start.Length).CopyTo(start);
        return new(MayBeTls(bytes) || IsKnownMethod(start) || "PRI "u8.StartsWith(start[..Math.Min(start.Length, 4)]) ? FirstBytesKind.Malformed : FirstBytesKind.Opaque);
    }

    /// <summary>Whether undecided bytes may still become a TLS hello.</summary>
    public static bool MayBeTls(in ReadOnlySequence<byte> bytes) => bytes.FirstSpan is [0x16 or >= 0x80, ..];

    private static FirstBytes JudgeSsl2(in ReadOnlySequence<byte> bytes)
    {
        if (bytes.Length < 3) return new(FirstBytesKind.Undecided);
        Span<byte> start = stackalloc byte[3];
        bytes.Slice(0, 3).CopyTo(start);
        return new(start[2] == 1 ? FirstBytesKind.Malformed : FirstBytesKind.Opaque);
    }

    // Servers skip empty lines ahead of a request (RFC 9112 section 2.2), and some any white space, so it is no other protocol by that.
    private static FirstBytes JudgeAfterBlanks(in ReadOnlySequence<byte> bytes)
    {
        SequenceReader<byte> reader = new(bytes);
        reader.AdvancePastAny((byte)'\r', (byte)'\n', (byte)' ', (byte)'\t');
        if (!reader.End) return JudgeHttp(bytes.Slice(reader.Position));
        return new(reader.Consumed < MaxBlankLength ? FirstBytesKind.Undecided : FirstBytesKind.Malformed);
    }

    private static FirstBytes JudgeTls(in ReadOnlySequence<byte> bytes)
    {
        // Records carry the handshake message in pieces of any size; put together it is the hello.
        byte[] hello = ArrayPool<byte>.Shared.Rent((int)Math.Min(bytes.Length, MaxHelloLength));
        try
        {
            int length = 0, records = 0;
            ReadOnlySequence<byte> rest = bytes;
            Span<byte> header = stackalloc byte[RecordHeaderLength];
            while (rest.Length >= RecordHeaderLength)
            {
                rest.Slice(0, RecordHeaderLength).CopyTo(header);
                int recordLength = (header[3] << 8) | header[4];
                if (header[0] != 0x16 || header[1] != 3 || recordLength is 0 or > MaxRecordLength || ++records > MaxRecords) return new(FirstBytesKind.Malformed);
                rest = rest.Slice(RecordHeaderLength);
                int taken = (int)Math.Min(recordLength, rest.Length);
                if (length + taken > hello.Length) return new(FirstBytesKind.Malformed);
                rest.Slice(0, taken).CopyTo(hello.AsSpan(length));
                length += taken;
                FirstBytes judged = JudgeHello(hello.AsSpan(0, length));
                if (judged.Kind != FirstBytesKind.Undecided) return judged;
                if (taken < recordLength) return judged;
                rest = rest.Slice(taken);
            }

            // Even the first header may be incomplete.
            return bytes.Length >= 2 && Second(bytes) != 3 ? new(FirstBytesKind.Malformed) : new(FirstBytesKind.Undecided);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(hello);
        }
    }

    private static byte Second(in ReadOnlySequence<byte> bytes) => bytes.Slice(1).FirstSpan.Length > 0 ? bytes.Slice(1).FirstSpan[0] : bytes.Slice(1).ToArray()[0];

    // RFC 8446 section 4.1.2.
    private static FirstBytes JudgeHello(ReadOnlySpan<byte> message)
    {
        if (message.Length < 4) return message.Length > 0 && message[0] != 1 ? new(FirstBytesKind.Malformed) : new(FirstBytesKind.Undecided);
        if (message[0] != 1) return new(FirstBytesKind.Malformed);
        int length = (message[1] << 16) | (message[2] << 8) | message[3];
        if (length > MaxHelloLength - 1024) return new(FirstBytesKind.Malformed);
        if (message.Length < 4 + length) return new(FirstBytesKind.Undecided);

        Reader reader = new(message.Slice(4, length));
        bool ok = reader.Skip(2 + 32) && reader.SkipVector8() && reader.SkipVector16() && reader.SkipVector8();
        if (!ok) return new(FirstBytesKind.Malformed);
        if (reader.IsEmpty) return new(FirstBytesKind.Tls);
        if (!reader.TryVector16(out ReadOnlySpan<byte> extensions)) return new(FirstBytesKind.Malformed);

        Reader list = new(extensions);
        FirstBytes? named = null;
        while (!list.IsEmpty)
        {
            if (!list.TryUInt16(out int type) || !list.TryVector16(out ReadOnlySpan<byte> body)) return new(FirstBytesKind.Malformed);
            if (type != 0) continue;
            // Which of several counts depends on who reads them.
            if (named is not null) return new(FirstBytesKind.Malformed);
            named = JudgeServerName(body);
        }

        return named ?? new(FirstBytesKind.Tls);
    }

    // RFC 6066 section 3.
    private static FirstBytes JudgeServerName(ReadOnlySpan<byte> extension)
    {
        Reader reader = new(extension);
        if (!reader.TryVector16(out ReadOnlySpan<byte> names)) return new(FirstBytesKind.Malformed);
        Reader list = new(names);
        if (!list.TryByte(out int type) || type != 0 || !list.TryVector16(out ReadOnlySpan<byte> name) || !list.IsEmpty || name.Length > HostName.MaxLength + 1) return new(FirstBytesKind.Malformed);
        Span<char> text = stackalloc char[name.Length];
        for (int i = 0; i < name.Length; i++) text[i] = (char)name[i];
        return HostName.TryCanonicalize(text, out string? canonical) ? new(FirstBytesKind.Tls, canonical)
            // An address is no server name, but some clients send one: it says nothing.
            : HostName.TryParseAddress(text, out _) ? new(FirstBytesKind.Tls) : new(FirstBytesKind.Malformed);
    }

    private static FirstBytes JudgeHttp(in ReadOnlySequence<byte> bytes)
    {
        int length = (int)Math.Min(bytes.Length, MaxRequestLineLength);
        if (!IsTokenStart(bytes.FirstSpan[0])) return new(FirstBytesKind.Opaque);
        byte[]? rented = bytes.FirstSpan.Length >= length ? null : ArrayPool<byte>.Shared.Rent(length);
        try
        {
            if (rented is not null) bytes.Slice(0, length).CopyTo(rented);
            ReadOnlySpan<byte> text = rented is null ? bytes.FirstSpan[..length] : rented.AsSpan(0, length);
            int common = Math.Min(text.Length, Http2Preface.Length);
            if (text[..common].SequenceEqual(Http2Preface[..common])) return new(common == Http2Preface.Length ? FirstBytesKind.Http2 : FirstBytesKind.Undecided);

            // A request line is METHOD SP target SP HTTP/x.y, and some servers take other blanks; other text protocols have no such word.
            int end = text.IndexOf((byte)'\n');
            ReadOnlySpan<byte> line = (end < 0 ? text : text[..end]).TrimEnd((byte)'\r');
            int blank = line.IndexOfAny((byte)' ', (byte)'\t');
            if ((blank < 0 ? line : line[..blank]).ContainsAnyExcept(TokenBytes)) return new(FirstBytesKind.Opaque);
            if (end < 0 && text.Length < MaxRequestLineLength) return new(FirstBytesKind.Undecided);
            if (blank < 0) return new(FirstBytesKind.Opaque);
            ReadOnlySpan<byte> rest = line[(blank + 1)..];
            bool isRequest = IsKnownMethod(line) || (end < 0 ? rest.StartsWith("/"u8) || rest.StartsWith("http"u8) : rest.IndexOf("HTTP/"u8) >= 0);
            return new(isRequest ? FirstBytesKind.Http1 : FirstBytesKind.Opaque);
        }
        finally
        {
            if (rented is not null) ArrayPool<byte>.Shared.Return(rented);
        }
    }

    private static bool IsTokenStart(byte b) => TokenBytes.Contains(b);

    private static readonly SearchValues<byte> TokenBytes = SearchValues.Create("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"u8);

    private static bool IsKnownMethod(ReadOnlySpan<byte> line)
    {
        int blank = line.IndexOfAny((byte)' ', (byte)'\t');
        if (blank < 0) return false;
        ReadOnlySpan<byte> method = line[..blank];
        return method.SequenceEqual("GET"u8) || method.SequenceEqual("POST"u8) || method.SequenceEqual("PUT"u8) || method.SequenceEqual("HEAD"u8) || method.SequenceEqual("DELETE"u8)
            || method.SequenceEqual("PATCH"u8) || method.SequenceEqual("OPTIONS"u8) || method.SequenceEqual("TRACE"u8) || method.SequenceEqual("CONNECT"u8);
    }

    private ref struct Reader(ReadOnlySpan<byte> bytes)
    {
        private ReadOnlySpan<byte> _rest = bytes;

        public readonly bool IsEmpty => _rest.IsEmpty;

        public bool Skip(int count)
        {
            if (_rest.Length < count) return false;
            _rest = _rest[count..];
            return true;
        }

        public bool TryByte(out int value)
        {
            value = _rest.IsEmpty ? 0 : _rest[0];
            return Skip(1);
        }

        public bool TryUInt16(out int value)
        {
            value = _rest.Length < 2 ? 0 : (_rest[0] << 8) | _rest[1];
            return Skip(2);
        }

        public bool SkipVector8() => TryByte(out int length) && Skip(length);

        public bool SkipVector16() => TryUInt16(out int length) && Skip(length);

        public bool TryVector16(out ReadOnlySpan<byte> vector)
        {
            vector = default;
            if (!TryUInt16(out int length) || _rest.Length < length) return false;
            vector = _rest[..length];
            return Skip(length);
        }
    }
}
