using System.Diagnostics.CodeAnalysis;
using System.Net.Security;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Forwarding;
using Superserve.Sidecar.Proxy;

namespace Superserve.Sidecar.Http1;

/// <summary>The connections to services, kept for the next request.</summary>
internal sealed class ServiceConnections : IDisposable
{
    /// <summary>An idle connection to a service; below what common load balancers keep.</summary>
    internal static readonly TimeSpan IdleTime = TimeSpan.FromSeconds(55);

    /// <summary>After this a service's name is resolved, and its address checked, anew.</summary>
    internal static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(2);

    private static readonly TimeSpan SweepInterval = TimeSpan.FromSeconds(10);

    private static readonly List<SslApplicationProtocol> Protocols = [SslApplicationProtocol.Http11];

    private readonly UpstreamConnector _connector;
    private readonly SidecarOptions _options;
    private readonly TimeProvider _time;
    private readonly ITimer _sweep;
    private readonly Lock _lock = new();
    private readonly Dictionary<ServiceKey, Stack<ServiceConnection>> _idle = [];
    private int _idleCount;
    private bool _isDisposed;

    public ServiceConnections(UpstreamConnector connector, SidecarOptions options, TimeProvider time)
    {
        _connector = connector;
        _options = options;
        _time = time;
        _sweep = time.CreateTimer(_ => Sweep(), null, SweepInterval, SweepInterval);
    }

    /// <summary>A connection for one request: one that was kept, or a new one.</summary>
    /// <param name="key">Where to.</param>
    /// <param name="fresh">None that was kept.</param>
    /// <exception cref="UpstreamException">It cannot be made.</exception>
    /// <exception cref="System.Security.Authentication.AuthenticationException">The service's certificate is not valid, or it does not speak TLS.</exception>
    public ValueTask<ServiceConnection> TakeAsync(ServiceKey key, bool fresh)
    {
        while (!fresh && TryTakeIdle(key, out ServiceConnection? kept))
        {
            if (!kept.IsStale && _time.GetElapsedTime(kept.OpenedAt) < Lifetime) return new(kept);
            kept.Dispose();
        }

        return new(OpenAsync(key));
    }

    /// <summary>An exchange is over, and the connection is as good as new.</summary>
    public void Return(ServiceConnection service)
    {
        service.Release();
        service.IsReused = true;
        service.ReleasedAt = _time.GetTimestamp();
        lock (_lock)
        {
            if (!_isDisposed && _idleCount < FileDescriptors.ProxyConnections / 2)
            {
                if (!_idle.TryGetValue(service.Key, out Stack<ServiceConnection>? stack)) _idle[service.Key] = stack = new Stack<ServiceConnection>();
                stack.Push(service);
                _idleCount++;
                return;
            }
        }

        service.Dispose();
    }

    public void Dispose()
    {
        _sweep.Dispose();
        lock (_lock)
        {
            _isDisposed = true;
            foreach (ServiceConnection service in _idle.Values.SelectMany(stack => stack)) service.Dispose();
            _idle.Clear();
        }
    }

    private bool TryTakeIdle(ServiceKey key, [NotNullWhen(true)] out ServiceConnection? service)
    {
        service = null;
        lock (_lock)
        {
            // The one used last: the others grow old and go.
            if (!_idle.TryGetValue(key, out Stack<ServiceConnection>? stack) || !stack.TryPop(out service)) return false;
            _idleCount--;
            return true;
        }
    }

    private async Task<ServiceConnection> OpenAsync(ServiceKey key)
    {
        using CancellationTokenSource timeout = new(_options.ConnectTimeout * 3, _time);
        UpstreamSocket socket = await _connector.ConnectAsync(key.Destination, timeout.Token);
        SocketStream plain = new(socket);
        if (!key.IsSecure) return new ServiceConnection(key, socket, plain, _time.GetTimestamp());
        SslStream tls = new(plain);
        try
        {
            await tls.AuthenticateAsClientAsync(_connector.ClientAuthentication(key.ServerName, Protocols), timeout.Token);
            return new ServiceConnection(key, socket, tls, _time.GetTimestamp());
        }
        catch
        {
            await tls.DisposeAsync();
            throw;
        }
    }

    private void Sweep()
    {
        List<ServiceConnection> old = [];
        lock (_lock)
        {
            foreach ((ServiceKey key, Stack<ServiceConnection> stack) in _idle.ToArray())
            {
                ServiceConnection[] kept = [.. stack.Where(service => _time.GetElapsedTime(service.ReleasedAt) < IdleTime && _time.GetElapsedTime(service.OpenedAt) < Lifetime)];
                if (kept.Length == stack.Count && kept.Length > 0) continue;
                old.AddRange(stack.Except(kept));
                if (kept.Length == 0) _idle.Remove(key);
                else _idle[key] = new Stack<ServiceConnection>(kept.Reverse());
            }

            _idleCount -= old.Count;
        }

        foreach (ServiceConnection service in old) service.Dispose();
    }
}
