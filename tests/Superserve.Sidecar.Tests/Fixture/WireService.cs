using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests.Fixture;

/// <summary>A service that does with each connection what a test says, byte by byte; where that ends it closes the connection.</summary>
internal sealed class WireService : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, FreePort.Next());
    private readonly CancellationTokenSource _end = new();
    private readonly X509Certificate2? _certificate;
    private readonly Func<WireConnection, Task> _serve;
    private readonly ConcurrentQueue<WireConnection> _connections = new();

    private WireService(X509Certificate2? certificate, Func<WireConnection, Task> serve)
    {
        _certificate = certificate;
        _serve = serve;
        _listener.Start();
        _ = AcceptAsync();
    }

    public IPEndPoint Address => (IPEndPoint)_listener.LocalEndpoint;

    public IReadOnlyList<WireConnection> Connections => [.. _connections];

    public static WireService Start(string host, Func<WireConnection, Task> serve) => new(TestAuthority.Issue(host), serve);

    public static WireService StartPlain(Func<WireConnection, Task> serve) => new(null, serve);

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        _listener.Stop();
        foreach (WireConnection connection in _connections) await connection.Stream.DisposeAsync();
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
        try
        {
            socket.NoDelay = true;
            await using NetworkStream network = new(socket, ownsSocket: true);
            await using Stream stream = _certificate is null ? network : new SslStream(network, leaveInnerStreamOpen: true);
            if (stream is SslStream tls) await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions { ServerCertificate = _certificate, ApplicationProtocols = [SslApplicationProtocol.Http11] }, _end.Token);
            WireConnection connection = new(_connections.Count + 1, socket, stream);
            _connections.Enqueue(connection);
            await _serve(connection);
        }
        catch (Exception exception) when (exception is IOException or SocketException or OperationCanceledException or ObjectDisposedException or TimeoutException or InvalidOperationException or System.Security.Authentication.AuthenticationException)
        {
            // The sidecar closed the connection.
        }
    }
}

/// <summary>One connection to a <see cref="WireService"/>.</summary>
internal sealed class WireConnection(int number, Socket socket, Stream stream)
{
    private readonly ByteReader _reader = new(stream);

    /// <summary>1 for the first.</summary>
    public int Number { get; } = number;

    public Socket Socket { get; } = socket;

    public Stream Stream { get; } = stream;

    public Task<string> ReadHeadAsync() => _reader.ReadHeadAsync();

    public Task<string> ReadAsync(int length) => _reader.ReadAsync(length);

    public Task<string> ReadSomeAsync() => _reader.ReadSomeAsync();

    public async Task SendAsync(string latin1)
    {
        await Stream.WriteAsync(Encoding.Latin1.GetBytes(latin1));
        await Stream.FlushAsync();
    }

    /// <summary>Reads and drops until the sidecar ends the connection, in whatever way.</summary>
    public async Task ReadToEndAsync()
    {
        try
        {
            await _reader.ReadToEndAsync();
        }
        catch (Exception exception) when (exception is IOException or SocketException or ObjectDisposedException)
        {
            // That is an end too.
        }
    }
}
