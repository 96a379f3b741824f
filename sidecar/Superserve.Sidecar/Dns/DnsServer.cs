using System.Net;
using System.Net.Sockets;
using Superserve.Core.Events;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Metrics;

namespace Superserve.Sidecar.Dns;

/// <summary>
/// Under transparent capture: where the sandbox's DNS is redirected to, UDP and TCP on loopback of both families. What a query is
/// answered is <see cref="DnsQueries"/>' part.
/// </summary>
internal sealed partial class DnsServer(DnsQueries queries, SidecarOptions options, SidecarMetrics metrics, TimeProvider time, ILogger<DnsServer> logger) : IHostedService, IDisposable
{
    /// <summary>The port that the sandbox thinks it asks.</summary>
    public const int StandardPort = 53;

    /// <summary>Longer datagrams are cut, and so are malformed: a query has one name and a few options.</summary>
    private const int MaxDatagramLength = 4096;

    /// <summary>Datagrams beyond are dropped; their senders ask again.</summary>
    private const int MaxUnderWay = 256;

    private const int MaxConnections = 64;
    private const int Backlog = 64;

    private static readonly TimeSpan IdleTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan RetryDelay = TimeSpan.FromMilliseconds(100);

    private readonly List<Socket> _sockets = [];
    private readonly CancellationTokenSource _stopping = new();
    private Task _serving = Task.CompletedTask;
    private int _underWay;
    private int _connections;

    public Task StartAsync(CancellationToken cancellationToken)
    {
        List<Task> serving = [];
        foreach (IPAddress address in (IPAddress[])[IPAddress.Loopback, IPAddress.IPv6Loopback])
        {
            IPEndPoint endPoint = new(address, options.DnsPort);
            try
            {
                if (address.AddressFamily == AddressFamily.InterNetworkV6 && !Socket.OSSupportsIPv6) continue;
                Socket datagrams = Bind(endPoint, SocketType.Dgram, ProtocolType.Udp);
                Socket connections = Bind(endPoint, SocketType.Stream, ProtocolType.Tcp);
                connections.Listen(Backlog);
                serving.Add(ServeDatagramsAsync(datagrams, endPoint));
                serving.Add(ServeConnectionsAsync(connections));
            }
            catch (SocketException exception) when (address.AddressFamily == AddressFamily.InterNetworkV6
                && exception.SocketErrorCode is SocketError.AddressNotAvailable or SocketError.AddressFamilyNotSupported)
            {
                // The kernel knows IPv6, and this machine has none.
            }
            catch (SocketException exception)
            {
                throw new InvalidOperationException(exception.SocketErrorCode == SocketError.AddressAlreadyInUse
                    ? $"DNS: {endPoint} is taken by another program. The sandbox's DNS is redirected there; take that program out of the pod."
                    : $"DNS: {endPoint} cannot be listened on ({exception.SocketErrorCode}). The sandbox's DNS is redirected there, so the sidecar does not start without it.", exception);
            }
        }

        _serving = Task.WhenAll(serving);
        return Task.CompletedTask;
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stopping.CancelAsync();
        await _serving.WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    public void Dispose()
    {
        foreach (Socket socket in _sockets) socket.Dispose();
        _stopping.Dispose();
    }

    private Socket Bind(IPEndPoint endPoint, SocketType type, ProtocolType protocol)
    {
        // Listeners only: they carry no mark, and reach nothing but the loopback device.
        Socket socket = new(endPoint.AddressFamily, type, protocol);
        _sockets.Add(socket);
        socket.Bind(endPoint);
        return socket;
    }

    private async Task ServeDatagramsAsync(Socket socket, IPEndPoint endPoint)
    {
        byte[] buffer = new byte[MaxDatagramLength];
        while (!_stopping.IsCancellationRequested)
        {
            try
            {
                SocketReceiveFromResult received = await socket.ReceiveFromAsync(buffer, SocketFlags.None, endPoint, _stopping.Token);
                if (Interlocked.Increment(ref _underWay) > MaxUnderWay)
                {
                    Interlocked.Decrement(ref _underWay);
                    metrics.NameLookedUp(ConnectionVerdict.Blocked, "DROPPED");
                    continue;
                }

                _ = AnswerDatagramAsync(socket, buffer[..received.ReceivedBytes], received.RemoteEndPoint);
            }
            catch (SocketException)
            {
                await Task.Delay(RetryDelay, time, _stopping.Token);
            }
        }
    }

    private async Task AnswerDatagramAsync(Socket socket, byte[] message, EndPoint sender)
    {
        try
        {
            if (await queries.AnswerAsync(message, isTcp: false, _stopping.Token) is { } answer)
                await socket.SendToAsync(answer, SocketFlags.None, sender, _stopping.Token);
        }
        catch (Exception exception) when (exception is SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // Who asked is gone, or the sidecar ends.
        }
        catch (Exception exception)
        {
            // Whatever one query met, the next one may not.
            LogFailed(exception.GetType().Name);
        }
        finally
        {
            Interlocked.Decrement(ref _underWay);
        }
    }

    private async Task ServeConnectionsAsync(Socket listener)
    {
        while (!_stopping.IsCancellationRequested)
        {
            try
            {
                Socket connection = await listener.AcceptAsync(_stopping.Token);
                if (Interlocked.Increment(ref _connections) > MaxConnections)
                {
                    Interlocked.Decrement(ref _connections);
                    connection.Dispose();
                    metrics.NameLookedUp(ConnectionVerdict.Blocked, "DROPPED");
                    continue;
                }

                _ = ServeConnectionAsync(connection);
            }
            catch (SocketException)
            {
                await Task.Delay(RetryDelay, time, _stopping.Token);
            }
        }
    }

    /// <summary>Answers one query after the other, until the client ends or is idle.</summary>
    private async Task ServeConnectionAsync(Socket connection)
    {
        try
        {
            await using NetworkStream stream = new(connection, ownsSocket: true);
            while (await ReadAsync(stream) is { } message && await queries.AnswerAsync(message, isTcp: true, _stopping.Token) is { } answer)
                await WithinIdleTimeoutAsync(async token =>
                {
                    await DnsFrames.WriteAsync(stream, answer, token);
                    return true;
                });
        }
        catch (Exception exception) when (exception is IOException or OperationCanceledException)
        {
            // The client is gone or idle, or the sidecar ends.
        }
        catch (Exception exception)
        {
            // Whatever one connection met, the next one may not.
            LogFailed(exception.GetType().Name);
        }
        finally
        {
            Interlocked.Decrement(ref _connections);
        }
    }

    private Task<byte[]?> ReadAsync(NetworkStream stream) => WithinIdleTimeoutAsync(token => DnsFrames.ReadAsync(stream, token));

    private async Task<T> WithinIdleTimeoutAsync<T>(Func<CancellationToken, Task<T>> act)
    {
        using CancellationTokenSource idle = new(IdleTimeout, time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(idle.Token, _stopping.Token);
        return await act(either.Token);
    }

    [LoggerMessage(90, LogLevel.Error, "A DNS query failed with {Error}. This is a mistake in the sidecar; please report it.")]
    private partial void LogFailed(string error);
}
