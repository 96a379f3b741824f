using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;

namespace Superserve.Sidecar.Tests.Fixture;

/// <summary>An answer as it came over the wire, its body without chunk framing.</summary>
internal sealed record RawResponse(int Status, string Head, string Body, string Trailers)
{
    public string? this[string name] => RawService.Field(Head, name);

    /// <summary>Asserts that this is the sidecar's refusal in full: status, headers and a body that says what to do.</summary>
    public JsonElement AssertRefused(int status, string reason)
    {
        Assert.True(this["X-Superserve-Proxy-Reason"] == reason, $"{reason} was expected, but:\n{Head}{Body}");
        Assert.Equal(status, Status);
        Assert.Equal("true", this["X-Superserve-Proxy-Error"]);
        Assert.Equal("application/problem+json", this["Content-Type"]);
        return Refusals.AssertProblem(Body, status, reason);
    }

    public void AssertOk()
    {
        Assert.True(Status == 200, $"200 was expected, but:\n{Head}{Body}");
        Assert.Null(this["X-Superserve-Proxy-Error"]);
    }
}

internal static class Refusals
{
    public static JsonElement AssertProblem(string body, int status, string reason)
    {
        JsonElement problem = JsonDocument.Parse(body).RootElement;
        Assert.Equal(reason, problem.GetProperty("reason").GetString());
        Assert.Equal(status, problem.GetProperty("status").GetInt32());
        Assert.Equal($"urn:superserve:refusal:{reason}", problem.GetProperty("type").GetString());
        Assert.NotEqual("", problem.GetProperty("title").GetString());
        Assert.True(problem.GetProperty("detail").GetString()!.Length > 20);
        return problem;
    }

    public static async Task<JsonElement> AssertRefusedAsync(this HttpResponseMessage response, int status, string reason)
    {
        string body = await response.Content.ReadAsStringAsync();
        string actual = response.Headers.TryGetValues("X-Superserve-Proxy-Reason", out IEnumerable<string>? reasons) ? string.Join(",", reasons) : "none";
        Assert.True(actual == reason, $"{reason} was expected, but: {(int)response.StatusCode} {actual} {body}");
        Assert.Equal(status, (int)response.StatusCode);
        Assert.Equal("true", Assert.Single(response.Headers.GetValues("X-Superserve-Proxy-Error")));
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.ToString());
        return AssertProblem(body, status, reason);
    }
}

/// <summary>A connection to the proxy that sends just the bytes it is told to.</summary>
internal sealed class RawClient : IAsyncDisposable
{
    private readonly Socket _socket;
    private readonly X509Certificate2 _authority;
    private Stream _stream;
    private ByteReader _reader;

    private RawClient(Socket socket, X509Certificate2 authority)
    {
        _socket = socket;
        _authority = authority;
        _stream = new NetworkStream(socket, ownsSocket: true);
        _reader = new ByteReader(_stream);
    }

    public Stream Stream => _stream;

    public static async Task<RawClient> OpenAsync(IPEndPoint proxy, X509Certificate2 authority)
    {
        Socket socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(proxy);
        return new RawClient(socket, authority);
    }

    /// <summary>CONNECT; the head of the answer must say 200.</summary>
    public async Task ConnectAsync(string authority)
    {
        await SendAsync($"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        string head = await _reader.ReadHeadAsync();
        Assert.StartsWith("HTTP/1.1 200", head, StringComparison.Ordinal);
    }

    /// <summary>CONNECT, which is refused.</summary>
    public async Task<RawResponse> ConnectRefusedAsync(string authority)
    {
        await SendAsync($"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        return await ReadResponseAsync();
    }

    /// <summary>The handshake, with the sidecar's authority alone trusted; null sends no name.</summary>
    public async Task<SslStream> StartTlsAsync(string? serverName, params SslApplicationProtocol[] protocols)
    {
        SslStream tls = new(_stream, leaveInnerStreamOpen: false);
        X509ChainPolicy policy = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.Add(_authority);
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = serverName ?? "",
            CertificateChainPolicy = policy,
            ApplicationProtocols = protocols.Length == 0 ? [SslApplicationProtocol.Http11] : [.. protocols],
            RemoteCertificateValidationCallback = serverName is null ? (_, _, _, errors) => (errors & SslPolicyErrors.RemoteCertificateChainErrors) == 0 : null,
        }).WaitAsync(TimeSpan.FromSeconds(20), TimeProvider.System);
        _stream = tls;
        _reader = new ByteReader(_stream);
        return tls;
    }

    public Task SendAsync(string latin1) => SendAsync(Encoding.Latin1.GetBytes(latin1));

    public async Task SendAsync(ReadOnlyMemory<byte> bytes)
    {
        await _stream.WriteAsync(bytes);
        await _stream.FlushAsync();
    }

    /// <summary>Ends the sending direction and leaves the other open.</summary>
    public void EndSending() => _socket.Shutdown(SocketShutdown.Send);

    /// <summary>Ends the connection with a reset.</summary>
    public void Abort() => _socket.Close(0);

    public Task<string> ReadAsync(int length) => _reader.ReadAsync(length);

    public Task<string> ReadSomeAsync() => _reader.ReadSomeAsync();

    /// <summary>Everything up to the end, be it clean or not.</summary>
    public async Task<string> ReadToEndAsync()
    {
        try
        {
            return await _reader.ReadToEndAsync();
        }
        catch (IOException)
        {
            return "";
        }
    }

    public Task<string> ReadHeadAsync() => _reader.ReadHeadAsync();

    /// <summary>A head, or what there is of it where the connection ends first, be it clean or not.</summary>
    public async Task<string> ReadHeadOrEndAsync()
    {
        try
        {
            return await _reader.ReadHeadAsync();
        }
        catch (IOException)
        {
            return "";
        }
    }

    public async Task<RawResponse> ReadResponseAsync(bool hasBody = true)
    {
        string head = await _reader.ReadHeadAsync();
        Assert.StartsWith("HTTP/1.1 ", head, StringComparison.Ordinal);
        int status = int.Parse(head.AsSpan(9, 3));
        if (!hasBody || status is 204 or 304 or 101 or < 200) return new RawResponse(status, head, "", "");
        if (RawService.Field(head, "Transfer-Encoding") is not null)
        {
            (string chunks, string trailers) = Unchunk(await _reader.ReadChunkedAsync());
            return new RawResponse(status, head, chunks, trailers);
        }

        string body = RawService.Field(head, "Content-Length") is { } length ? await _reader.ReadAsync(int.Parse(length)) : await _reader.ReadToEndAsync();
        return new RawResponse(status, head, body, "");
    }

    public ValueTask DisposeAsync() => _stream.DisposeAsync();

    private static (string Body, string Trailers) Unchunk(string chunked)
    {
        StringBuilder body = new();
        int at = 0;
        while (true)
        {
            int end = chunked.IndexOf("\r\n", at, StringComparison.Ordinal);
            int length = Convert.ToInt32(chunked[at..end].Split(';')[0], 16);
            at = end + 2;
            if (length == 0) return (body.ToString(), chunked[at..]);
            body.Append(chunked, at, length);
            at += length + 2;
        }
    }
}
