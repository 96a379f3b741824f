using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Superserve.Sidecar.Capture;
using Superserve.Sidecar.Configuration;

namespace Superserve.Sidecar.Proxy;

/// <summary>The listeners of the proxy, explicit and transparent, on Kestrel without any of its hosting.</summary>
internal sealed class ProxyServer(DataPath dataPath, SidecarOptions options, IServiceProvider services) : IHostedService, IDisposable
{
    /// <summary>What a connection may hold of bytes that the other side does not take.</summary>
    private const int BufferLength = 128 * 1024;

    private KestrelServer? _server;
    private int _connections;

    /// <summary>Whether connections are accepted.</summary>
    public bool IsListening { get; private set; }

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        KestrelServerOptions kestrel = new() { ApplicationServices = services, AddServerHeader = false, AllowAlternateSchemes = true };
        // Values are bytes: what came in as Latin-1 goes out as the same bytes.
        kestrel.RequestHeaderEncodingSelector = static _ => Encoding.Latin1;
        kestrel.ResponseHeaderEncodingSelector = static _ => Encoding.Latin1;
        KestrelServerLimits limits = kestrel.Limits;
        // This one counts for each listener by itself; WithinLimitAsync counts for all together.
        limits.MaxConcurrentConnections = FileDescriptors.ProxyConnections;
        limits.MaxConcurrentUpgradedConnections = FileDescriptors.ProxyConnections;
        limits.MaxRequestLineSize = 32 * 1024;
        limits.MaxRequestBufferSize = 2 * BufferLength;
        limits.MaxResponseBufferSize = BufferLength;
        limits.MaxRequestHeadersTotalSize = 128 * 1024;
        limits.MaxRequestHeaderCount = 200;
        limits.MaxRequestBodySize = null;
        limits.MinRequestBodyDataRate = null;
        limits.MinResponseDataRate = null;
        limits.KeepAliveTimeout = options.IdleTimeout;
        limits.Http2.MaxStreamsPerConnection = 256;
        limits.Http2.InitialConnectionWindowSize = 2 * 1024 * 1024;
        limits.Http2.InitialStreamWindowSize = 1024 * 1024;
        if (options.ListensOnBothLoopbacks) kestrel.ListenLocalhost(options.ProxyAddress.Port, ServeExplicit);
        else kestrel.Listen(options.ProxyAddress, ServeExplicit);
        if (options.Capture == CaptureMode.Transparent) kestrel.ListenLocalhost(options.TransparentPort, ServeTransparent);

        // Kestrel's own log quotes what a client sent: it gets none.
        _server = new KestrelServer(Options.Create(kestrel), new SandboxListener.Factory(), NullLoggerFactory.Instance);
        try
        {
            await _server.StartAsync(dataPath, cancellationToken);
        }
        catch (Exception exception) when (exception is IOException or SocketException)
        {
            string message = exception.Message.Contains($":{options.TransparentPort}", StringComparison.Ordinal)
                ? $"Port {options.TransparentPort} of the loopback address is {(IsTaken(exception) ? "taken by another program" : $"not to be had ({(exception.InnerException ?? exception).GetType().Name})")}. "
                    + "The rules of the pod's network lead the sandbox's connections there; take that program out of the pod."
                : Cannot(options.ProxyAddress, "proxyAddress", exception);
            throw new InvalidOperationException(message, exception);
        }

        IsListening = true;

        void ServeExplicit(ListenOptions listener)
        {
            listener.Protocols = HttpProtocols.Http1AndHttp2;
            listener.Use(http => client => WithinLimitAsync(client, () => dataPath.OnExplicitConnectionAsync((ClientConnection)client, http)));
        }

        void ServeTransparent(ListenOptions listener)
        {
            listener.Protocols = HttpProtocols.Http1AndHttp2;
            listener.Use(http => client => WithinLimitAsync(client, () => dataPath.OnTransparentConnectionAsync((ClientConnection)client, http)));
        }
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        IsListening = false;
        if (_server is not null) await _server.StopAsync(cancellationToken);
    }

    public void Dispose() => _server?.Dispose();

    /// <summary>A sandbox that opens more is refused the next, and the ones it has go on.</summary>
    private async Task WithinLimitAsync(ConnectionContext client, Func<Task> handleAsync)
    {
        try
        {
            if (Interlocked.Increment(ref _connections) <= FileDescriptors.ProxyConnections) await handleAsync();
            else client.Abort();
        }
        finally
        {
            Interlocked.Decrement(ref _connections);
        }
    }

    /// <summary>Why an address cannot be listened on, and what to do.</summary>
    internal static string Cannot(IPEndPoint address, string field, Exception exception) =>
        IsTaken(exception)
            ? $"{field}: {address} is taken by another program. Stop it, or set {field} to another port."
            : $"{field}: {address} cannot be listened on ({(exception.InnerException ?? exception).GetType().Name}). Set {field} to an address of this machine.";

    private static bool IsTaken(Exception exception) =>
        exception is IOException { InnerException: AddressInUseException } or AddressInUseException
            || exception is SocketException { SocketErrorCode: SocketError.AddressAlreadyInUse };
}
