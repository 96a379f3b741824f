using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Sidecar.Forwarding;

namespace Superserve.Sidecar.Http1;

/// <summary>Which requests may share a connection to a service.</summary>
/// <param name="Destination">The checked destination.</param>
/// <param name="IsSecure">TLS.</param>
/// <param name="ServerName">The name that TLS asks for.</param>
/// <param name="Rules">Addresses are checked when a connection is opened: under other network rules there are other connections.</param>
internal readonly record struct ServiceKey(Authority Destination, bool IsSecure, string ServerName, NetworkRules Rules);

/// <summary>What the head of an answer says of the message.</summary>
internal record struct AnswerHead
{
    public int Status { get; set; }

    public BodyFraming Framing { get; set; }

    public long Length { get; set; }

    /// <summary>No other request can follow on the connection.</summary>
    public bool Closes { get; set; }

    /// <summary>All of the fields <c>Connection</c>.</summary>
    public string Nominated { get; set; }

    /// <summary>All of the fields <c>Content-Encoding</c>, and transfer codings besides <c>chunked</c>.</summary>
    public string Encoding { get; set; }

    public string? Upgrade { get; set; }
}

/// <summary>A connection to a service that speaks HTTP/1.1.</summary>
internal sealed class ServiceConnection(ServiceKey key, UpstreamSocket socket, Stream stream, long openedAt) : IDisposable
{
    private Task<int>? _filling;

    public ServiceKey Key { get; } = key;

    public UpstreamSocket Socket { get; } = socket;

    public Stream Stream { get; } = stream;

    public long OpenedAt { get; } = openedAt;

    /// <summary>When its last exchange ended.</summary>
    public long ReleasedAt { get; set; }

    /// <summary>Whether it has carried a request before.</summary>
    public bool IsReused { get; set; }

    public MessageInput Input { get; } = new(stream);

    public MessageOutput Output { get; } = new(stream);

    /// <summary>Of the answer that was read last.</summary>
    public MessageBody Body { get; private set; } = null!;

    /// <summary>Whether the service has closed it, or says something that nobody asked for.</summary>
    public bool IsStale
    {
        get
        {
            try
            {
                if (Input.UnreadLength > 0 || Socket.Poll(0, SelectMode.SelectRead)) return true;
                if (!Input.WasFilled) return false;
                // What TLS has decrypted already is there at once. What is not is the next answer.
                _filling = Input.FillAsync().AsTask();
                return _filling.IsCompleted;
            }
            catch (Exception exception) when (exception is ObjectDisposedException or SocketException)
            {
                // New rules have ended it.
                return true;
            }
        }
    }

    /// <summary>Reads an answer's head, which stays in <see cref="Input"/>; its length is to be consumed.</summary>
    /// <exception cref="EndOfStreamException">The service ended the connection first.</exception>
    /// <exception cref="Http1FormatException">It is malformed.</exception>
    public async ValueTask<int> ReadHeadAsync()
    {
        if (_filling is { } filling)
        {
            _filling = null;
            await filling;
        }

        while (true)
        {
            int length = MessageFormat.HeadLength(Input.Unread.Span);
            if (length > 0) return length;
            if (await Input.FillAsync() == 0) throw new EndOfStreamException("The service ended the connection ahead of an answer.");
        }
    }

    /// <summary>What a head says of the message.</summary>
    /// <param name="head">The bytes.</param>
    /// <param name="isHead">The request was HEAD.</param>
    public static AnswerHead Read(ReadOnlySpan<byte> head, bool isHead)
    {
        MessageFormat.ReadStatusLine(head, out int status, out int minorVersion, out ReadOnlySpan<byte> lines);
        AnswerHead answer = new() { Status = status, Nominated = "", Encoding = "", Length = -1 };
        bool isCoded = false, isChunked = false;
        int fields = 0;
        while (MessageFormat.TryReadField(ref lines, out ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value))
        {
            if (++fields > MessageFormat.MaxFields) throw new Http1FormatException("The answer has too many header fields.");
            switch (name.Length)
            {
                case 7 when Ascii.EqualsIgnoreCase(name, "Upgrade"u8):
                    answer.Upgrade = MessageFormat.Text(value, "websocket");
                    break;
                case 10 when Ascii.EqualsIgnoreCase(name, "Connection"u8):
                    answer.Nominated = Joined(answer.Nominated, MessageFormat.Text(value, "keep-alive"));
                    break;
                case 14 when Ascii.EqualsIgnoreCase(name, "Content-Length"u8):
                    if (!MessageFormat.TryReadLength(value, out long length) || (answer.Length >= 0 && answer.Length != length)) throw new Http1FormatException("The answer's Content-Length is no one number.");
                    answer.Length = length;
                    break;
                case 16 when Ascii.EqualsIgnoreCase(name, "Content-Encoding"u8):
                    answer.Encoding = Joined(answer.Encoding, MessageFormat.Text(value, "gzip"));
                    break;
                case 17 when Ascii.EqualsIgnoreCase(name, "Transfer-Encoding"u8):
                    isCoded = true;
                    if (Ascii.EqualsIgnoreCase(value, "chunked"u8) && !isChunked) isChunked = true;
                    else answer.Encoding = Joined(answer.Encoding, "transfer-encoding");
                    break;
            }
        }

        // Both could be a second answer in the eyes of another reader: the chunks count, and nothing follows.
        answer.Closes = minorVersion == 0 || (isCoded && answer.Length >= 0) || Superserve.Core.Authentication.HeaderRules.Nominates(answer.Nominated, "close");
        bool hasNone = isHead || status is < 200 or 204 or 304;
        answer.Framing = hasNone ? BodyFraming.None : isChunked ? BodyFraming.Chunked : isCoded ? BodyFraming.UntilClose : answer.Length >= 0 ? BodyFraming.Length : BodyFraming.UntilClose;
        if (answer.Framing == BodyFraming.UntilClose) answer.Closes = true;
        return answer;
    }

    /// <summary>The head is used; the body follows.</summary>
    public void StartBody(AnswerHead head) => (Body ??= new MessageBody(Input)).Start(head.Framing, head.Length);

    /// <summary>Nothing more is written.</summary>
    public async ValueTask EndSendingAsync()
    {
        if (Stream is SslStream tls) await tls.ShutdownAsync();
        else Socket.Shutdown(SocketShutdown.Send);
    }

    /// <summary>Gives buffers back until the next exchange.</summary>
    public void Release()
    {
        Input.Release();
        Output.Release();
    }

    /// <summary>Closes it, also under an exchange; the buffers are left to that.</summary>
    public void Dispose() => Stream.Dispose();

    private static string Joined(string list, string value) => list.Length == 0 ? value : $"{list}, {value}";
}
