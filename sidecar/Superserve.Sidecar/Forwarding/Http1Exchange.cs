using System.Buffers;
using System.Net.Sockets;
using System.Text;
using Microsoft.AspNetCore.WebUtilities;
using Superserve.Core.Hosts;
using Superserve.Core.Scrubbing;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Http1;
using Superserve.Sidecar.Metrics;
using Superserve.Sidecar.Proxy;

namespace Superserve.Sidecar.Forwarding;

/// <summary>
/// One request on one connection to its service, and what comes back. The head is written from what was judged. The body goes
/// out while the answer comes in, since a service may answer before it has read everything.
/// </summary>
internal sealed class Http1Exchange(Exchange exchange, ClientSession client, ServiceConnection service, ServiceLease lease, SidecarMetrics metrics, TimeProvider time)
{
    private const int MaxInterimAnswers = 32;

    /// <summary>Of a request body that the service has stopped reading.</summary>
    private const long MaxDiscarded = 4 * 1024 * 1024;

    private const int BufferLength = 16 * 1024;

    private readonly AnswerFields _fields = new(exchange);
    private readonly bool _isUpgrade = IsWebSocket(client);
    private bool _hasSomeAnswer;
    private bool _isReusable;
    private volatile bool _isBroken;

    /// <summary>Whether the connection is good for another request.</summary>
    public bool IsReusable => _isReusable;

    /// <summary>Whether the request may be sent a second time: the service may have acted on it already (RFC 9110 section 9.2.2).</summary>
    public bool IsRepeatable => !_hasSomeAnswer && exchange.Method is "GET" or "HEAD" or "OPTIONS" or "PUT" or "DELETE" && client.Body.Framing != BodyFraming.Chunked && client.Body.Length == 0;

    /// <summary>Why the client's body could not be read to its end.</summary>
    public Exception? BodyFailure { get; private set; }

    /// <summary>Sends and receives; a refusal where the answer does not pass and nothing of it was written.</summary>
    public async ValueTask<Refusal?> RunAsync()
    {
        await SendAsync();
        for (int interim = 0; ; interim++)
        {
            int length = await service.ReadHeadAsync();
            client.Touch();
            AnswerHead head = ServiceConnection.Read(service.Input.Unread.Span[..length], client.Method == HttpMethods.Head);
            _hasSomeAnswer = true;
            _fields.Nominated = head.Nominated;
            // Such an answer has no length (RFC 9110 section 8.6), and a client could wait for a body of it.
            _fields.LosesLength = head.Status is < 200 or StatusCodes.Status204NoContent;
            if (head.Status is >= 200 or StatusCodes.Status101SwitchingProtocols)
            {
                Refusal? refusal = await AnswerAsync(head, length);
                if (_fields.WereScrubbed) metrics.ResponseScrubbed();
                return refusal;
            }

            if (interim == MaxInterimAnswers) throw new Http1FormatException("The service sends interim answers without end.");
            if (!client.IsHttp10 && (head.Status != StatusCodes.Status100Continue || client.ExpectsContinue))
            {
                WriteHead(head, length, default);
                await client.Output.FlushAsync();
            }

            service.Input.Consume(length);
        }
    }

    // ---- the request ----------------------------------------------------------------------------------------------------

    private async ValueTask SendAsync()
    {
        WriteRequest();
        exchange.Marks = (time.GetTimestamp(), 0, 0);
        // What has come of the body goes along with the head.
        while (!service.Output.IsFull && TryReadBody(out ReadOnlyMemory<byte> piece) && !piece.IsEmpty) WritePiece(piece);
        if (client.Body.IsComplete)
        {
            EndBody();
            await service.Output.FlushAsync();
            client.Watch();
            return;
        }

        await service.Output.FlushAsync();
        client.Upload = UploadAsync();
    }

    private bool TryReadBody(out ReadOnlyMemory<byte> piece)
    {
        try
        {
            return client.Body.TryRead(out piece);
        }
        catch (Http1FormatException exception)
        {
            BodyFailure = exception;
            throw;
        }
    }

    private void WriteRequest()
    {
        MessageOutput output = service.Output;
        output.Write(exchange.Method);
        output.Write(" "u8);
        output.Write(exchange.Plan?.Target ?? exchange.Target);
        output.Write(" HTTP/1.1\r\n"u8);
        output.WriteField("Host", exchange.HostHeader ?? HostOf(exchange.Destination, exchange.Connection.Handling == Handling.Intercepted ? 443 : 80));
        SwapPlan? plan = exchange.Plan;
        foreach (HeaderField field in exchange.Headers)
            if (!exchange.IsReplaced(field)) output.WriteField(field.Name, field.Value);
        if (plan is not null)
        {
            foreach (HeaderEdit edit in plan.Headers)
                if (edit.Value is not null) output.WriteField(edit.Name, edit.Value);
            // An encoded answer would hide an echoed credential from the scrubber.
            output.Write("Accept-Encoding: identity\r\n"u8);
        }

        if (_isUpgrade) output.Write("Connection: Upgrade\r\nUpgrade: websocket\r\n"u8);
        if (client.Body.Framing == BodyFraming.Chunked) output.Write("Transfer-Encoding: chunked\r\n"u8);
        else if (client.Body.Framing == BodyFraming.Length)
        {
            output.Write("Content-Length: "u8);
            output.WriteNumber(client.Body.Length);
            output.Write("\r\n"u8);
        }

        output.Write("\r\n"u8);
    }

    private void WritePiece(ReadOnlyMemory<byte> piece)
    {
        if (client.Body.Framing == BodyFraming.Chunked)
        {
            service.Output.BeginChunk();
            service.Output.Write(piece.Span);
            service.Output.EndChunk();
        }
        else service.Output.Write(piece.Span);

        exchange.BytesSent += piece.Length;
        client.Body.Advance(piece.Length);
    }

    /// <summary>The body is read: its trailers are looked at, and not forwarded.</summary>
    private void EndBody()
    {
        foreach (HeaderField trailer in client.Body.Trailers)
        {
            if (!exchange.Snapshot.HoldsStandIn(trailer.Value)) continue;
            exchange.BodyRefusal = new Refusal(RefusalReason.CredentialMisplaced, "A stand-in is in a trailer of the request, where it is never swapped. Send it in the request's head.");
            throw new IOException("A stand-in is in a request trailer.");
        }

        if (client.Body.Framing == BodyFraming.Chunked) service.Output.Write("0\r\n\r\n"u8);
    }

    /// <summary>Sends the body as it comes. What goes wrong with it ends the exchange, whose answer is waited for elsewhere.</summary>
    private async Task UploadAsync()
    {
        bool isTaken = true;
        long discarded = 0;
        while (true)
        {
            ReadOnlyMemory<byte> piece;
            try
            {
                if (!TryReadBody(out piece))
                {
                    ValueTask<ReadOnlyMemory<byte>> reading = client.Body.ReadAsync();
                    // Nothing more has come, so nothing is kept.
                    if (isTaken && !reading.IsCompletedSuccessfully) isTaken = await TryFlushAsync();
                    piece = await reading;
                }
            }
            catch (Exception exception) when (exception is IOException or SocketException or ObjectDisposedException or OperationCanceledException)
            {
                BodyFailure = exception;
                lease.End(exception is Http1FormatException ? LeaseEnd.Failed : LeaseEnd.ClientLeft);
                return;
            }

            client.Touch();
            if (piece.IsEmpty) break;
            if (isTaken)
            {
                WritePiece(piece);
                if (service.Output.IsFull) isTaken = await TryFlushAsync();
                continue;
            }

            client.Body.Advance(piece.Length);
            if ((discarded += piece.Length) > MaxDiscarded) return;
        }

        if (!isTaken) return;
        try
        {
            EndBody();
        }
        catch (IOException)
        {
            lease.End(LeaseEnd.Failed);
            return;
        }

        if (await TryFlushAsync()) client.Watch();
    }

    /// <summary>False where the service takes no more: it may have answered all the same, that it does not want the rest.</summary>
    private async ValueTask<bool> TryFlushAsync()
    {
        try
        {
            await service.Output.FlushAsync();
            return true;
        }
        catch (Exception exception) when (exception is IOException or SocketException or ObjectDisposedException)
        {
            _isBroken = true;
            return false;
        }
    }

    // ---- the answer -----------------------------------------------------------------------------------------------------

    private async ValueTask<Refusal?> AnswerAsync(AnswerHead head, int length)
    {
        long answered = time.GetTimestamp();
        exchange.UpstreamStatus = head.Status;
        if (head.Status == StatusCodes.Status101SwitchingProtocols)
        {
            if (!_isUpgrade || !string.Equals(head.Upgrade, "websocket", StringComparison.OrdinalIgnoreCase)) return UpstreamFailure.NotPassed(exchange, "switched to another protocol unasked");
            exchange.Status = head.Status;
            WriteHead(head, length, "Connection: Upgrade\r\nUpgrade: websocket\r\n"u8);
            service.Input.Consume(length);
            client.KeepsAlive = false;
            await client.Output.FlushAsync();
            exchange.Marks = exchange.Marks with { Answered = answered, Written = time.GetTimestamp() };
            await PassBothWaysAsync();
            return null;
        }

        service.StartBody(head);
        bool hasBody = head.Framing != BodyFraming.None;
        bool scrubs = hasBody && _fields.ScrubsBodies;
        string? encoding = scrubs ? AnswerBody.Encoding(head.Encoding) : null;
        if (!AnswerBody.IsReadable(encoding)) return UpstreamFailure.NotPassed(exchange, AnswerBody.Unreadable);
        if (!scrubs && head.Encoding.Contains("transfer-encoding", StringComparison.Ordinal)) return UpstreamFailure.NotPassed(exchange, "answered in a transfer coding that the request did not ask for");
        (_fields.ChangesBody, _fields.IsDecoded) = (scrubs, encoding is not null);
        if (hasBody) _fields.LosesLength = scrubs || head.Framing != BodyFraming.Length;

        // How the client knows the end of the body.
        bool isChunked = hasBody && _fields.LosesLength && !client.IsHttp10;
        if (!client.Body.IsComplete && client.ExpectsContinue) client.KeepsAlive = false;
        if (!client.MayFollow) client.KeepsAlive = false;
        exchange.Status = head.Status;
        client.HasAnswered = true;
        WriteHead(head, length, (isChunked, client.KeepsAlive) switch
        {
            (true, true) => "Transfer-Encoding: chunked\r\n"u8,
            (true, false) => "Transfer-Encoding: chunked\r\nConnection: close\r\n"u8,
            (false, true) => ""u8,
            (false, false) => "Connection: close\r\n"u8,
        });
        service.Input.Consume(length);
        exchange.Marks = exchange.Marks with { Answered = answered, Written = time.GetTimestamp() };
        if (encoding is not null) await PassDecodedAsync(isChunked, encoding);
        else if (hasBody) await PassAsync(isChunked, scrubs);
        if (isChunked) WriteEnd();
        await client.Output.FlushAsync();
        // Asked once: a body that is complete a moment later is still on its way to the service.
        bool isWhole = client.Body.IsComplete;
        if (isWhole && client.Upload is { } upload) await upload;
        // A service that took a part of the request alone has half of one before it.
        _isReusable = !head.Closes && !_isBroken;
        if (!isWhole)
        {
            // An answer ahead of the request's end: nobody can tell what follows from what was left.
            _isReusable = false;
            client.KeepsAlive = false;
        }

        return null;
    }

    /// <summary>Writes an answer's status line and fields, and those of this hop.</summary>
    private void WriteHead(AnswerHead head, int length, ReadOnlySpan<byte> ofThisHop)
    {
        MessageOutput output = client.Output;
        output.Write("HTTP/1.1 "u8);
        output.WriteNumber(head.Status);
        output.Write(" "u8);
        // The service's own words in the status line are one more place for an echo.
        output.Write(ReasonPhrases.GetReasonPhrase(head.Status));
        output.Write("\r\n"u8);
        MessageFormat.ReadStatusLine(service.Input.Unread.Span[..length], out _, out _, out ReadOnlySpan<byte> lines);
        bool hasLength = false;
        while (MessageFormat.TryReadField(ref lines, out ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value))
        {
            // Twice the same is one; not every client knows.
            if (Ascii.EqualsIgnoreCase(name, "Content-Length"u8))
            {
                if (hasLength) continue;
                hasLength = true;
            }

            _fields.Write(name, value, output);
        }

        output.Write(ofThisHop);
        output.Write("\r\n"u8);
    }

    private async ValueTask PassAsync(bool isChunked, bool scrubs)
    {
        MessageBody body = service.Body;
        BodyScrubber? scrubber = scrubs ? new BodyScrubber(_fields.Patterns!) : null;
        while (true)
        {
            if (!body.TryRead(out ReadOnlyMemory<byte> piece))
            {
                ValueTask<ReadOnlyMemory<byte>> reading = body.ReadAsync();
                // Nothing more has come, so nothing is kept.
                if (!reading.IsCompletedSuccessfully) await client.Output.FlushAsync();
                piece = await reading;
                client.Touch();
            }

            if (piece.IsEmpty) break;
            if (scrubber is null && !isChunked) await PassPieceAsync(piece);
            else WritePiece(piece.Span, isChunked, scrubber);
            body.Advance(piece.Length);
            if (client.Output.IsFull) await client.Output.FlushAsync();
        }

        if (scrubber is not null) EndScrubbing(scrubber, isChunked);
    }

    private ValueTask PassPieceAsync(ReadOnlyMemory<byte> piece)
    {
        exchange.BytesReceived += piece.Length;
        return client.Output.FlushAsync(piece);
    }

    private void WritePiece(ReadOnlySpan<byte> piece, bool isChunked, BodyScrubber? scrubber)
    {
        int start = BeginPiece(isChunked);
        if (scrubber is null) client.Output.Write(piece);
        else scrubber.Write(piece, client.Output);
        EndPiece(start, isChunked, scrubber);
    }

    private void EndScrubbing(BodyScrubber scrubber, bool isChunked)
    {
        int start = BeginPiece(isChunked);
        scrubber.Complete(client.Output);
        EndPiece(start, isChunked, scrubber);
    }

    private int BeginPiece(bool isChunked)
    {
        if (isChunked) client.Output.BeginChunk();
        return client.Output.Length;
    }

    private void EndPiece(int start, bool isChunked, BodyScrubber? scrubber)
    {
        exchange.BytesReceived += client.Output.Length - start;
        if (isChunked) client.Output.EndChunk();
        if (scrubber is { Replacements: > 0 }) _fields.WereScrubbed = true;
    }

    private async ValueTask PassDecodedAsync(bool isChunked, string encoding)
    {
        BodyScrubber scrubber = new(_fields.Patterns!);
        await using Stream decoded = AnswerBody.Decode(new MessageBodyStream(service.Body), encoding);
        // Not from the pool: where the client is gone, a read is left that still has it.
        byte[] buffer = new byte[BufferLength];
        while (true)
        {
            ValueTask<int> reading = decoded.ReadAsync(buffer);
            if (!reading.IsCompleted) await client.Output.FlushAsync();
            int length = await reading;
            client.Touch();
            if (length == 0) break;
            WritePiece(buffer.AsSpan(0, length), isChunked, scrubber);
            if (client.Output.IsFull) await client.Output.FlushAsync();
        }

        // What a decoder leaves behind the end of its data is none of the answer's.
        while (await service.Body.ReadAsync() is { IsEmpty: false } rest) service.Body.Advance(rest.Length);
        EndScrubbing(scrubber, isChunked);
    }

    private void WriteEnd()
    {
        client.Output.Write("0\r\n"u8);
        foreach (HeaderField trailer in service.Body.Trailers)
        {
            // A trailer is no place for what frames or routes a message.
            if (!_fields.Passes(trailer.Name) || trailer.Is("Content-Length") || trailer.Is("Host") || trailer.Is("Content-Encoding") || trailer.Is("Set-Cookie") || _fields.IsCredential(trailer.Name)) continue;
            client.Output.WriteField(trailer.Name, _fields.Scrub(trailer.Value));
        }

        client.Output.Write("\r\n"u8);
    }

    // ---- WebSockets -----------------------------------------------------------------------------------------------------

    /// <summary>A handshake has no body: what follows it on the connection is the WebSocket's alone.</summary>
    private static bool IsWebSocket(ClientSession client) => !client.IsHttp10 && client.Body.IsComplete && string.Equals(client.Upgrade, "websocket", StringComparison.OrdinalIgnoreCase)
        && Superserve.Core.Authentication.HeaderRules.Nominates(client.Nominated, "upgrade");

    private async ValueTask PassBothWaysAsync()
    {
        client.HasAnswered = true;
        // From here on the client's end is that of a direction.
        client.Detach();
        Task toService = PassToServiceAsync(), toClient = PassToClientAsync();
        // A direction that ends well leaves the other going; one that breaks ends both.
        Task first = await Task.WhenAny(toService, toClient);
        if (!first.IsCompletedSuccessfully)
        {
            lease.End(LeaseEnd.Failed);
            client.Abort();
        }

        await Task.WhenAll(toService, toClient);
    }

    private async Task PassToServiceAsync()
    {
        await client.StopWatchingAsync();
        await PassOnAsync(client.Input, client.Stream, service.Stream, length => exchange.BytesSent += length);
        await service.EndSendingAsync();
    }

    private async Task PassToClientAsync()
    {
        await PassOnAsync(service.Input, service.Stream, client.Stream, length => exchange.BytesReceived += length);
        await client.EndSendingAsync();
    }

    private async Task PassOnAsync(MessageInput input, Stream from, Stream to, Action<int> count)
    {
        if (!input.Unread.IsEmpty)
        {
            int length = input.UnreadLength;
            await to.WriteAsync(input.Unread);
            input.Consume(length);
            count(length);
        }

        input.Release();
        while (true)
        {
            // Waiting without a buffer keeps idle ones small.
            _ = await from.ReadAsync(Memory<byte>.Empty);
            byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferLength);
            try
            {
                int length = await from.ReadAsync(buffer);
                if (length == 0) break;
                await to.WriteAsync(buffer.AsMemory(0, length));
                count(length);
                client.Touch();
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer, clearArray: true);
            }
        }
    }

    private static string HostOf(Authority destination, int defaultPort)
    {
        if (destination.Port != defaultPort) return destination.ToString();
        return destination.Host.Contains(':') ? $"[{destination.Host}]" : destination.Host;
    }
}
