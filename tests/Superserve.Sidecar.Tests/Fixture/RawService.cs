using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests.Fixture;

/// <summary>
/// A service that keeps the bytes of each request as they came and answers with bytes of the test's. It reads strictly: what is
/// not one well-formed HTTP/1.1 request after the other shows in <see cref="Malformed"/>.
/// </summary>
internal sealed class RawService : IAsyncDisposable
{
    private const string Ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    private readonly TcpListener _listener = new(IPAddress.Loopback, FreePort.Next());
    private readonly CancellationTokenSource _end = new();
    private readonly X509Certificate2? _certificate;
    private readonly ConcurrentQueue<string> _requests = new();
    private readonly ConcurrentQueue<string> _malformed = new();
    private readonly Func<string, Stream, Task> _answer;
    private int _connections;

    private RawService(X509Certificate2? certificate, Func<string, Stream, Task>? answer)
    {
        _certificate = certificate;
        _answer = answer ?? ((_, stream) => stream.WriteAsync(Encoding.Latin1.GetBytes(Ok)).AsTask());
        _listener.Start();
        _ = AcceptAsync();
    }

    public IPEndPoint Address => (IPEndPoint)_listener.LocalEndpoint;

    /// <summary>Head and body of each request, one character for one byte.</summary>
    public IReadOnlyList<string> Requests => [.. _requests];

    public IReadOnlyList<string> Malformed => [.. _malformed];

    /// <summary>How many connections were made.</summary>
    public int Connections => Volatile.Read(ref _connections);

    public static RawService Start(X509Certificate2 certificate, Func<string, Stream, Task>? answer = null) => new(certificate, answer);

    public static RawService Start(X509Certificate2 certificate, string answer) => Start(certificate, (_, stream) => stream.WriteAsync(Encoding.Latin1.GetBytes(answer)).AsTask());

    public static RawService StartPlain(Func<string, Stream, Task>? answer = null) => new(null, answer);

    public async ValueTask DisposeAsync()
    {
        if (_end.IsCancellationRequested) return;
        await _end.CancelAsync();
        _listener.Stop();
        _certificate?.Dispose();
        _end.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true) _ = ServeAsync(await _listener.AcceptSocketAsync(_end.Token));
        }
        catch (Exception exception) when (exception is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        Interlocked.Increment(ref _connections);
        try
        {
            await using NetworkStream network = new(socket, ownsSocket: true);
            Stream stream = network;
            if (_certificate is not null)
            {
                SslStream tls = new(network);
                stream = tls;
                await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions { ServerCertificate = _certificate, ApplicationProtocols = [SslApplicationProtocol.Http11] }, _end.Token);
            }

            ByteReader reader = new(stream);
            while (await reader.ReadHeadAsync() is { Length: > 0 } head)
            {
                string? problem = HeadProblem(head);
                if (problem is not null)
                {
                    _malformed.Enqueue($"{problem}: {head}");
                    return;
                }

                string body = Field(head, "Transfer-Encoding") is not null ? await reader.ReadChunkedAsync()
                    : await reader.ReadAsync(int.Parse(Field(head, "Content-Length") ?? "0"));
                _requests.Enqueue(head + body);
                await _answer(head + body, stream);
                await stream.FlushAsync();
            }
        }
        catch (Exception exception) when (exception is IOException or OperationCanceledException or ObjectDisposedException or TimeoutException or System.Security.Authentication.AuthenticationException)
        {
            // The sidecar closed the connection.
        }
    }

    private static string? HeadProblem(string head)
    {
        string[] lines = head[..^4].Split("\r\n");
        if (lines[0].Split(' ') is not [_, ['/' or '*', ..], "HTTP/1.1"]) return "request line";
        if (head.Replace("\r\n", "", StringComparison.Ordinal).AsSpan().IndexOfAny('\r', '\n', '\0') >= 0) return "bare CR, LF or NUL";
        string[] names = [.. lines[1..].Select(line => line.Split(':')[0])];
        if (Array.Exists(lines[1..], line => !line.Contains(':') || line.StartsWith(' ') || line.StartsWith('\t'))) return "no field";
        if (Array.Exists(names, name => name.Length == 0 || name.AsSpan().IndexOfAny(" \t") >= 0)) return "field name";
        int Count(string name) => names.Count(other => other.Equals(name, StringComparison.OrdinalIgnoreCase));
        return Count("Host") != 1 ? "Host" : Count("Content-Length") + Count("Transfer-Encoding") > 1 ? "framing" : null;
    }

    public static string? Field(string head, string name)
    {
        foreach (string line in head.Split("\r\n").TakeWhile((line, i) => i == 0 || line.Length > 0))
            if (line.StartsWith(name + ":", StringComparison.OrdinalIgnoreCase)) return line[(name.Length + 1)..].Trim();
        return null;
    }
}

/// <summary>Reads HTTP/1.1 messages from a stream, one character for one byte.</summary>
internal sealed class ByteReader(Stream stream)
{
    /// <summary>A test that waits for what never comes fails, and does not hang.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly StringBuilder _pending = new();
    private readonly byte[] _buffer = new byte[64 * 1024];

    /// <summary>Up to and with the empty line; empty at the end of the stream.</summary>
    public async Task<string> ReadHeadAsync()
    {
        while (true)
        {
            int end = _pending.ToString().IndexOf("\r\n\r\n", StringComparison.Ordinal);
            if (end >= 0) return Take(end + 4);
            if (!await FillAsync()) return Take(_pending.Length) is { Length: > 0 } rest ? throw new IOException($"The stream ended within a head: {rest}") : "";
        }
    }

    public async Task<string> ReadAsync(int length)
    {
        while (_pending.Length < length)
            if (!await FillAsync()) throw new IOException($"The stream ended {length - _pending.Length} bytes early.");
        return Take(length);
    }

    /// <summary>What arrives next, at least one byte; empty at the end.</summary>
    public async Task<string> ReadSomeAsync()
    {
        if (_pending.Length == 0) await FillAsync();
        return Take(_pending.Length);
    }

    public async Task<string> ReadToEndAsync()
    {
        while (await FillAsync())
        {
        }

        return Take(_pending.Length);
    }

    /// <summary>A chunked body as it came, with its framing and trailers.</summary>
    public async Task<string> ReadChunkedAsync()
    {
        StringBuilder body = new();
        while (true)
        {
            string line = await ReadLineAsync();
            body.Append(line);
            int length = Convert.ToInt32(line.Split(';', '\r')[0], 16);
            if (length == 0) break;
            body.Append(await ReadAsync(length + 2));
        }

        string trailer;
        do body.Append(trailer = await ReadLineAsync());
        while (trailer != "\r\n");
        return body.ToString();
    }

    public async Task<string> ReadLineAsync()
    {
        while (true)
        {
            int end = _pending.ToString().IndexOf("\r\n", StringComparison.Ordinal);
            if (end >= 0) return Take(end + 2);
            if (!await FillAsync()) throw new IOException("The stream ended within a line.");
        }
    }

    private async Task<bool> FillAsync()
    {
        int length = await stream.ReadAsync(_buffer).AsTask().WaitAsync(Patience, TimeProvider.System);
        _pending.Append(Encoding.Latin1.GetString(_buffer, 0, length));
        return length > 0;
    }

    private string Take(int length)
    {
        string text = _pending.ToString(0, length);
        _pending.Remove(0, length);
        return text;
    }
}
