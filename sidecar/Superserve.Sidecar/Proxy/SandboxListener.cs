using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Superserve.Sidecar.Proxy;

/// <summary>
/// A connection of the sandbox as the server sees it. Nothing reads from its socket by itself, so that whoever has the
/// connection reads and writes without a queue between.
/// </summary>
internal sealed class ClientConnection : DefaultConnectionContext, IConnectionSocketFeature
{
    private static long s_count;

    // Never disposed: it has no timer, and an abort may come when all else is over.
    private readonly CancellationTokenSource _closed = new();

    public ClientConnection(Socket socket)
        : base(Interlocked.Increment(ref s_count).ToString(System.Globalization.CultureInfo.InvariantCulture))
    {
        Socket = socket;
        Stream = new ClientStream(socket);
        LocalEndPoint = socket.LocalEndPoint;
        ConnectionClosed = _closed.Token;
        Features.Set<IConnectionSocketFeature>(this);
    }

    public Socket Socket { get; }

    public ClientStream Stream { get; }

    /// <summary>Ends it so that the client does not take what it has for all there is.</summary>
    public override void Abort(ConnectionAbortedException abortReason)
    {
        Socket.Close(0);
        ThreadPool.UnsafeQueueUserWorkItem(static closed => closed.Cancel(), _closed, preferLocal: false);
    }

    public override async ValueTask DisposeAsync()
    {
        await Stream.DisposeAsync();
        await base.DisposeAsync();
    }
}

/// <summary>Accepts connections for the server.</summary>
internal sealed class SandboxListener(Socket listener) : IConnectionListener
{
    private const int Backlog = 512;

    /// <summary>Where no file descriptor is left, one has to come free first.</summary>
    private static readonly TimeSpan ExhaustedDelay = TimeSpan.FromMilliseconds(100);

    public EndPoint EndPoint { get; } = listener.LocalEndPoint!;

    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
    {
        while (true)
        {
            try
            {
                Socket client = await listener.AcceptAsync(cancellationToken);
                try
                {
                    client.NoDelay = true;
                    return new ClientConnection(client);
                }
                catch (SocketException)
                {
                    // It is gone already.
                    client.Dispose();
                }
            }
            catch (Exception exception) when (exception is ObjectDisposedException or SocketException { SocketErrorCode: SocketError.OperationAborted })
            {
                return null;
            }
            catch (SocketException exception)
            {
                // One that was reset while it waited is none of the others' business.
                if (exception.SocketErrorCode is SocketError.TooManyOpenSockets or SocketError.NoBufferSpaceAvailable) await Task.Delay(ExhaustedDelay, TimeProvider.System, cancellationToken);
            }
        }
    }

    public ValueTask UnbindAsync(CancellationToken cancellationToken = default)
    {
        listener.Dispose();
        return default;
    }

    public ValueTask DisposeAsync() => UnbindAsync();

    /// <summary>Makes listeners.</summary>
    internal sealed class Factory : IConnectionListenerFactory
    {
        public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
        {
            Socket listener = new(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                listener.Bind(endpoint);
                listener.Listen(Backlog);
                return new(new SandboxListener(listener));
            }
            catch (SocketException exception)
            {
                listener.Dispose();
                if (exception.SocketErrorCode == SocketError.AddressAlreadyInUse) throw new AddressInUseException(exception.Message, exception);
                throw;
            }
        }
    }
}
