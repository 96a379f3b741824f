using System.Buffers.Binary;
using System.Net.Security;
using System.Text;

namespace Superserve.Sidecar.Tests.Fixture;

/// <summary>An answer over HTTP/2; the header block is not decoded beyond the status, but holds its texts as they are.</summary>
internal sealed record Http2Response(int Status, string HeaderBlock, string Body, bool IsReset)
{
    public void AssertRefused(int status, string reason)
    {
        Assert.False(IsReset, "The stream was reset.");
        Assert.Contains(reason, HeaderBlock, StringComparison.Ordinal);
        Assert.Equal(status, Status);
        Refusals.AssertProblem(Body, status, reason);
    }
}

/// <summary>Sends HTTP/2 frames as a test writes them: what a well-behaved client library would not.</summary>
internal sealed class RawHttp2(RawClient client)
{
    private const byte Data = 0, Headers = 1, Reset = 3, Settings = 4, GoAway = 7, WindowUpdate = 8;

    private static ReadOnlySpan<byte> Preface => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8;

    /// <summary>CONNECT, TLS with h2, and the preface.</summary>
    public static async Task<(RawHttp2 Http2, RawClient Client)> OpenAsync(TestSidecar sidecar, string host)
    {
        RawClient client = await sidecar.OpenAsync();
        await client.ConnectAsync($"{host}:443");
        SslStream tls = await client.StartTlsAsync(host, SslApplicationProtocol.Http2);
        Assert.Equal(SslApplicationProtocol.Http2, tls.NegotiatedApplicationProtocol);
        RawHttp2 http2 = new(client);
        await http2.StartAsync();
        return (http2, client);
    }

    public async Task StartAsync()
    {
        await client.SendAsync(Preface.ToArray());
        // HEADER_TABLE_SIZE 0: the answers' texts stand in every block.
        await SendAsync(Settings, 0, 0, [0, 1, 0, 0, 0, 0]);
        await SendAsync(WindowUpdate, 0, 0, [0, 0x0f, 0xff, 0xff]);
    }

    public Task SendHeadersAsync(int stream, bool endStream, params (string Name, string Value)[] fields)
    {
        using MemoryStream block = new();
        foreach ((string name, string value) in fields)
        {
            // Literal without indexing, a new name, no Huffman coding (RFC 7541 section 6.2.2).
            block.WriteByte(0);
            Write(block, name);
            Write(block, value);
        }

        return SendAsync(Headers, (byte)(4 | (endStream ? 1 : 0)), stream, block.ToArray());
    }

    public Task SendDataAsync(int stream, bool endStream, string latin1) => SendAsync(Data, (byte)(endStream ? 1 : 0), stream, Encoding.Latin1.GetBytes(latin1));

    public async Task<Http2Response> ReadResponseAsync(int stream)
    {
        int status = 0;
        StringBuilder block = new(), body = new();
        while (true)
        {
            string head = await client.ReadAsync(9);
            int length = (head[0] << 16) | (head[1] << 8) | head[2];
            (int type, int flags) = (head[3], head[4]);
            int on = BinaryPrimitives.ReadInt32BigEndian(Encoding.Latin1.GetBytes(head[5..9]));
            string payload = await client.ReadAsync(length);
            if (type == Settings && (flags & 1) == 0) await SendAsync(Settings, 1, 0, []);
            if (type == GoAway) return new Http2Response(0, "", "", IsReset: true);
            if (on != stream) continue;
            if (type == Reset) return new Http2Response(status, block.ToString(), body.ToString(), IsReset: true);
            if (type == Headers)
            {
                if (status == 0) status = StatusOf(payload);
                block.Append(payload);
            }

            if (type == Data) body.Append(payload);
            if (type is Headers or Data && (flags & 1) != 0) return new Http2Response(status, block.ToString(), body.ToString(), IsReset: false);
        }
    }

    private static int StatusOf(string block)
    {
        // An indexed status of the static table, or a literal with that name; table size updates (001xxxxx) may come first.
        int at = 0;
        while ((block[at] & 0xe0) == 0x20) at++;
        if ((block[at] & 0x80) != 0) return (block[at] & 0x7f) switch { 8 => 200, 9 => 204, 10 => 206, 11 => 304, 12 => 400, 13 => 404, _ => 500 };
        int text = block.IndexOf('\x03', at);
        return int.Parse(block.AsSpan(text + 1, 3));
    }

    private static void Write(MemoryStream block, string text)
    {
        byte[] bytes = Encoding.Latin1.GetBytes(text);
        if (bytes.Length < 127) block.WriteByte((byte)bytes.Length);
        else
        {
            block.WriteByte(127);
            int rest = bytes.Length - 127;
            for (; rest >= 128; rest >>= 7) block.WriteByte((byte)(rest | 128));
            block.WriteByte((byte)rest);
        }

        block.Write(bytes);
    }

    private Task SendAsync(byte type, byte flags, int stream, byte[] payload)
    {
        byte[] frame = new byte[9 + payload.Length];
        frame[0] = (byte)(payload.Length >> 16);
        frame[1] = (byte)(payload.Length >> 8);
        frame[2] = (byte)payload.Length;
        frame[3] = type;
        frame[4] = flags;
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(5), stream);
        payload.CopyTo(frame, 9);
        return client.SendAsync(frame);
    }
}
