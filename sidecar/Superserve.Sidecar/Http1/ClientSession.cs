using System.Net.Security;
using System.Net.Sockets;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Proxy;

namespace Superserve.Sidecar.Http1;

/// <summary>
/// The sandbox's end of an HTTP/1.1 connection: its requests, one after another, and what is written back. While a request is
/// with the service it reads on, so that a client that leaves is noticed, and takes the next request along.
/// </summary>
internal sealed class ClientSession : IDisposable
{
    /// <summary>What is read and dropped of a body that nobody takes, so that the client gets to read the answer.</summary>
    private const long MaxDiscarded = 1024 * 1024;

    /// <summary>How long a client has to read its answer while it still sends.</summary>
    private static readonly TimeSpan LingerTime = TimeSpan.FromSeconds(5);

    private readonly ClientConnection _connection;
    private readonly Stream _stream;
    private readonly TimeProvider _time;
    private readonly IdleTimeout _idle;
    private readonly CancellationTokenRegistration _onIdle;
    private readonly CancellationTokenRegistration _onShutdown;
    private HeaderField[] _fields = new HeaderField[16];
    private int _fieldCount;
    private Task<bool>? _ahead;
    private volatile ServiceLease? _lease;
    private volatile bool _isClosing;
    private volatile bool _isWaiting;
    private bool _hasEndedSending;

    /// <summary>A session over a connection's own stream, or over TLS on it.</summary>
    /// <param name="connection">The connection.</param>
    /// <param name="stream">What the requests are read from.</param>
    /// <param name="options">The idle time.</param>
    /// <param name="time">The clock.</param>
    /// <param name="shutdown">The server wants to end: the request under way is the last.</param>
    public ClientSession(ClientConnection connection, Stream stream, SidecarOptions options, TimeProvider time, CancellationToken shutdown)
    {
        _connection = connection;
        _stream = stream;
        _time = time;
        Input = new MessageInput(stream);
        Output = new MessageOutput(stream);
        Body = new MessageBody(Input);
        _idle = new IdleTimeout(options.IdleTimeout, time);
        _onIdle = _idle.Token.UnsafeRegister(static session => ((ClientSession)session!).OnIdle(), this);
        _onShutdown = shutdown.UnsafeRegister(static session => ((ClientSession)session!).OnShutdown(), this);
    }

    public Stream Stream => _stream;

    public MessageInput Input { get; }

    public MessageOutput Output { get; }

    /// <summary>Of the request that was read last.</summary>
    public MessageBody Body { get; }

    public string Method { get; private set; } = "";

    public string Target { get; private set; } = "";

    public ReadOnlySpan<HeaderField> Fields => _fields.AsSpan(0, _fieldCount);

    /// <summary>The field <c>Host</c>; null where there is none.</summary>
    public string? Host { get; private set; }

    /// <summary>The field <c>Upgrade</c>; null where there is none.</summary>
    public string? Upgrade { get; private set; }

    /// <summary>All of the fields <c>Connection</c>.</summary>
    public string Nominated { get; private set; } = "";

    public bool IsHttp10 { get; private set; }

    public string Protocol => IsHttp10 ? "HTTP/1.0" : "HTTP/1.1";

    /// <summary>Whether the client waits for a word ahead of the body.</summary>
    public bool ExpectsContinue { get; private set; }

    /// <summary>Whether another request may follow.</summary>
    public bool KeepsAlive { get; set; }

    /// <summary>Whether the head of an answer is on its way, so that no other can be given.</summary>
    public bool HasAnswered { get; set; }

    /// <summary>Sends the body of the request under way; null where that needed no waiting.</summary>
    public Task? Upload { get; set; }

    /// <summary>Something happened.</summary>
    public void Touch() => _idle.Touch();

    /// <summary>Reads the head of the next request; false where none follows.</summary>
    /// <exception cref="Http1FormatException">It is malformed.</exception>
    public async ValueTask<bool> ReadRequestAsync()
    {
        (HasAnswered, Upload) = (false, null);
        Output.Release();
        while (true)
        {
            // Until the read ahead is done the input is its own; and only then can another one be begun.
            if (_ahead is null)
            {
                Input.Consume(MessageFormat.EmptyLinesLength(Input.Unread.Span));
                int length = MessageFormat.HeadLength(Input.Unread.Span);
                if (length > 0)
                {
                    Read(Input.Unread.Span[..length]);
                    Input.Consume(length);
                    Touch();
                    return true;
                }

                Input.Release();
            }

            _isWaiting = true;
            // Either this sees that it is time to close, or who says so sees that this waits.
            Interlocked.MemoryBarrier();
            if (_isClosing) return false;
            bool more = _ahead is { } ahead ? await ahead : await Input.FillAsync() > 0;
            _isWaiting = false;
            _ahead = null;
            if (!more) return false;
        }
    }

    /// <summary>The request is with a service, which is to be left where the client leaves.</summary>
    public void Attach(ServiceLease lease)
    {
        _lease = lease;
        if (Body.IsComplete) Watch();
    }

    /// <summary>The service has no part any more.</summary>
    public void Detach() => _lease = null;

    /// <summary>Reads on; called where the request has come whole.</summary>
    public void Watch()
    {
        if (_ahead is not null) return;
        Input.Consume(MessageFormat.EmptyLinesLength(Input.Unread.Span));
        if (Input.UnreadLength == 0) _ahead = ReadAheadAsync();
    }

    /// <summary>Waits for the read ahead, for whoever reads on by himself.</summary>
    public async ValueTask StopWatchingAsync()
    {
        if (_ahead is null) return;
        await _ahead;
        _ahead = null;
    }

    /// <summary>Ends the connection so that the client does not take what it has for all there is.</summary>
    public void Abort() => _connection.Abort();

    /// <summary>Nothing more is written.</summary>
    public async ValueTask EndSendingAsync()
    {
        if (_hasEndedSending) return;
        _hasEndedSending = true;
        if (_stream is SslStream tls) await tls.ShutdownAsync();
        _connection.Socket.Shutdown(SocketShutdown.Send);
    }

    /// <summary>Answers a request that is not forwarded, or whose service did not answer.</summary>
    public async ValueTask RefuseAsync(Refusal refusal)
    {
        Output.Clear();
        // Asked once: the upload may come to its end now. Where it has, it may be about to read ahead.
        bool isWhole = Body.IsComplete;
        if (isWhole && Upload is not null) await Upload;
        bool takesRest = MayFollow && (isWhole || (Upload is null && !ExpectsContinue && Body.Framing == BodyFraming.Length && Body.Length <= MaxDiscarded));
        KeepsAlive = takesRest;
        RefusalResponse.Write(Output, refusal, hasBody: Method != HttpMethods.Head, closes: !takesRest);
        HasAnswered = true;
        await Output.FlushAsync();
        if (takesRest && !isWhole) KeepsAlive = await DiscardBodyAsync();
    }

    /// <summary>Answers what is no request.</summary>
    public async ValueTask RefuseAsync(Http1FormatException malformed)
    {
        KeepsAlive = false;
        Output.Clear();
        RefusalResponse.Write(Output, malformed);
        await Output.FlushAsync();
    }

    /// <summary>Whether the server lets another request follow.</summary>
    public bool MayFollow => KeepsAlive && !_isClosing;

    /// <summary>Ends a connection whose last answer is written: the client gets to read it, also where it still sends.</summary>
    public async ValueTask CloseAsync()
    {
        Output.Release();
        using CancellationTokenSource timeout = new(LingerTime, _time);
        using CancellationTokenRegistration abort = timeout.Token.UnsafeRegister(static connection => ((ClientConnection)connection!).Abort(), _connection);
        await EndSendingAsync();
        if (_ahead is not null) await _ahead;
        byte[] dropped = new byte[16 * 1024];
        // Bytes that nobody has read would make the kernel take back what it has not delivered yet. How many there are the time bounds.
        while (!_connection.Stream.HasEnded && await _connection.Stream.ReadAsync(dropped) > 0)
        {
        }
    }

    public void Dispose()
    {
        _onIdle.Dispose();
        _onShutdown.Dispose();
        _idle.Dispose();
        Output.Dispose();
        // A read that is pending still has the buffer. The upload is asked first: its last act may be to read ahead.
        if (Upload is null or { IsCompleted: true } && _ahead is null or { IsCompleted: true }) Input.Dispose();
    }

    private async Task<bool> ReadAheadAsync()
    {
        try
        {
            if (await Input.FillAsync() > 0) return true;
            // Over plain HTTP a client may end its direction and listen. So it may over TLS, whose end is not yet the connection's.
            if (_stream != _connection.Stream) _ = EndWithConnectionAsync();
        }
        catch (Exception exception) when (IsGone(exception))
        {
            _lease?.End(LeaseEnd.ClientLeft);
        }

        return false;
    }

    private async Task EndWithConnectionAsync()
    {
        try
        {
            byte[] none = new byte[1];
            if (!_connection.Stream.HasEnded && await _connection.Stream.ReadAsync(none) > 0) return;
        }
        catch (Exception exception) when (IsGone(exception))
        {
            // In one way or another.
        }

        _lease?.End(LeaseEnd.ClientLeft);
    }

    private static bool IsGone(Exception exception) => exception is IOException or SocketException or ObjectDisposedException or OperationCanceledException;

    private async ValueTask<bool> DiscardBodyAsync()
    {
        while (await Body.ReadAsync() is { IsEmpty: false } piece) Body.Advance(piece.Length);
        return true;
    }

    private void OnIdle()
    {
        // The time runs out once: no other request may follow, which would wait without one.
        _isClosing = true;
        ServiceLease? lease = _lease;
        if (lease is null || HasAnswered) _connection.Abort();
        lease?.End(LeaseEnd.Idle);
    }

    private void OnShutdown()
    {
        _isClosing = true;
        Interlocked.MemoryBarrier();
        if (!_isWaiting) return;
        try
        {
            // It reads as the client's end. Whatever of the last answer is on its way still arrives.
            _connection.Socket.Shutdown(SocketShutdown.Receive);
        }
        catch (Exception exception) when (IsGone(exception))
        {
            // As it should be.
        }
    }

    private void Read(ReadOnlySpan<byte> head)
    {
        MessageFormat.ReadRequestLine(head, out ReadOnlySpan<byte> method, out ReadOnlySpan<byte> target, out int minorVersion, out ReadOnlySpan<byte> lines);
        Method = MessageFormat.Text(method, Method);
        Target = MessageFormat.Text(target, Target);
        IsHttp10 = minorVersion == 0;
        (_fieldCount, Host, Upgrade, Nominated, ExpectsContinue) = (0, null, null, "", false);
        long length = -1;
        string? coding = null;
        while (MessageFormat.TryReadField(ref lines, out ReadOnlySpan<byte> nameBytes, out ReadOnlySpan<byte> valueBytes))
        {
            if (_fieldCount == MessageFormat.MaxFields) throw new Http1FormatException($"The request has more than {MessageFormat.MaxFields} header fields.", StatusCodes.Status431RequestHeaderFieldsTooLarge);
            if (_fieldCount == _fields.Length) Array.Resize(ref _fields, _fields.Length * 2);
            // Clients send the same fields again and again.
            HeaderField last = _fields[_fieldCount];
            HeaderField field = _fields[_fieldCount++] = new HeaderField(MessageFormat.Text(nameBytes, last.Name), MessageFormat.Text(valueBytes, last.Value));
            switch (field.Name.Length)
            {
                case 4 when field.Is("Host"):
                    if (Host is not null) throw new Http1FormatException("The request has more than one Host field.");
                    Host = field.Value;
                    break;
                case 6 when field.Is("Expect"):
                    ExpectsContinue = !IsHttp10 && field.Value.Equals("100-continue", StringComparison.OrdinalIgnoreCase);
                    break;
                case 7 when field.Is("Upgrade"):
                    Upgrade = Upgrade is null ? field.Value : $"{Upgrade}, {field.Value}";
                    break;
                case 10 when field.Is("Connection"):
                    Nominated = Nominated.Length == 0 ? field.Value : $"{Nominated}, {field.Value}";
                    break;
                case 14 when field.Is("Content-Length"):
                    if (length >= 0) throw new Http1FormatException("The request has more than one Content-Length field.");
                    if (!MessageFormat.TryReadLength(valueBytes, out length)) throw new Http1FormatException("The request's Content-Length is no number.");
                    break;
                case 17 when field.Is("Transfer-Encoding"):
                    if (coding is not null) throw new Http1FormatException("The request has more than one Transfer-Encoding field.");
                    coding = field.Value;
                    break;
            }
        }

        if (coding is not null)
        {
            if (length >= 0) throw new Http1FormatException("The request has both Transfer-Encoding and Content-Length. Send one of them.");
            if (IsHttp10) throw new Http1FormatException("HTTP/1.0 has no Transfer-Encoding. Send HTTP/1.1.");
            if (!coding.Equals("chunked", StringComparison.OrdinalIgnoreCase)) throw new Http1FormatException("The request's Transfer-Encoding is not chunked alone.");
        }

        if (Host is null && !IsHttp10) throw new Http1FormatException("The request has no Host field.");
        Body.Start(coding is not null ? BodyFraming.Chunked : length >= 0 ? BodyFraming.Length : BodyFraming.None, length);
        KeepsAlive = !IsHttp10 && !Superserve.Core.Authentication.HeaderRules.Nominates(Nominated, "close");
    }
}
