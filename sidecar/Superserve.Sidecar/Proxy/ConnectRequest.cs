using System.Buffers;
using System.Text;
using Superserve.Core.Hosts;

namespace Superserve.Sidecar.Proxy;

/// <summary>How far the head of a CONNECT request has come.</summary>
internal enum ConnectStatus
{
    /// <summary>The bytes are no CONNECT request.</summary>
    Other,

    /// <summary>It is one so far; more bytes are needed.</summary>
    Incomplete,

    /// <summary>The head is complete.</summary>
    Complete,

    /// <summary>It is one, and breaks the protocol.</summary>
    Malformed,
}

/// <summary>The CONNECT method (RFC 9110 section 9.3.6): the way into the proxy for clients that know it.</summary>
internal static class ConnectRequest
{
    private const int MaxHeadLength = 16 * 1024;

    private static ReadOnlySpan<byte> Method => "CONNECT "u8;

    /// <summary>Reads the head of a request. Its headers are the proxy's own and mean nothing here.</summary>
    /// <param name="bytes">What has arrived so far.</param>
    /// <param name="destination">Where to; set when complete.</param>
    /// <param name="length">Of the head; set when complete.</param>
    public static ConnectStatus TryRead(in ReadOnlySequence<byte> bytes, out Authority destination, out int length)
    {
        destination = default;
        length = 0;
        int available = (int)Math.Min(bytes.Length, MaxHeadLength);
        byte[] head = ArrayPool<byte>.Shared.Rent(Math.Max(available, Method.Length));
        try
        {
            bytes.Slice(0, available).CopyTo(head);
            ReadOnlySpan<byte> text = head.AsSpan(0, available);
            int common = Math.Min(available, Method.Length);
            if (!text[..common].SequenceEqual(Method[..common])) return ConnectStatus.Other;

            int blank = text.IndexOf("\r\n\r\n"u8);
            if (blank < 0) return available < MaxHeadLength ? ConnectStatus.Incomplete : ConnectStatus.Malformed;
            if (HasBareLineFeed(text[..(blank + 2)])) return ConnectStatus.Malformed;
            ReadOnlySpan<byte> line = text[Method.Length..text.IndexOf("\r\n"u8)];
            int space = line.IndexOf((byte)' ');
            if (space <= 0 || line[(space + 1)..] is not [(byte)'H', (byte)'T', (byte)'T', (byte)'P', (byte)'/', (byte)'1', (byte)'.', (byte)'0' or (byte)'1']) return ConnectStatus.Malformed;
            // The port is required; a default would be a guess about what the client means to speak.
            if (!Authority.TryParse(Encoding.Latin1.GetString(line[..space]), defaultPort: 0, out destination) || destination.Port == 0) return ConnectStatus.Malformed;
            length = blank + 4;
            return ConnectStatus.Complete;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(head);
        }
    }

    private static bool HasBareLineFeed(ReadOnlySpan<byte> head)
    {
        for (int i = 0; i < head.Length; i++)
            if (head[i] == '\n' && (i == 0 || head[i - 1] != '\r')) return true;
        return false;
    }
}
