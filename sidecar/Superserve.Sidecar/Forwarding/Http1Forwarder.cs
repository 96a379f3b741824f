using System.Net.Sockets;
using System.Security.Authentication;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Http1;
using Superserve.Sidecar.Metrics;
using Superserve.Sidecar.Proxy;

namespace Superserve.Sidecar.Forwarding;

/// <summary>
/// Steps 8 and 9 of the data path for HTTP/1.1: sends a judged request to its service and the scrubbed answer back, piece by
/// piece, on the threads that the pieces arrive on.
/// </summary>
internal sealed class Http1Forwarder(ServiceConnections services, SidecarMetrics metrics, TimeProvider time)
{
    /// <summary>Forwards; a refusal where no answer of the service's reached the client.</summary>
    public async ValueTask<Refusal?> ForwardAsync(Exchange exchange, ClientSession client)
    {
        bool isSecure = exchange.Connection.Handling == Handling.Intercepted;
        ServiceKey key = new(exchange.Destination, isSecure, ServerName(exchange), exchange.Snapshot.Network);
        for (bool fresh = false; ; fresh = true)
        {
            ServiceConnection service;
            try
            {
                service = await services.TakeAsync(key, fresh);
            }
            catch (OperationCanceledException)
            {
                return UpstreamFailure.TimedOut(exchange);
            }
            catch (Exception exception) when (IsFailure(exception))
            {
                return UpstreamFailure.Explain(exchange, exception);
            }

            ServiceLease lease = new(service);
            Http1Exchange attempt = new(exchange, client, service, lease, metrics, time);
            try
            {
                client.Attach(lease);
                Refusal? refusal = await attempt.RunAsync();
                if (refusal is null && attempt.IsReusable && lease.TryRelease()) services.Return(service);
                return refusal;
            }
            catch (Exception exception) when (IsFailure(exception))
            {
                lease.End(LeaseEnd.Failed);
                // The service may end a connection that it kept in the very moment that a request is on its way.
                if (service.IsReused && !fresh && attempt.IsRepeatable && lease.Ended == LeaseEnd.Failed && service.Socket.EndedBy is null) continue;
                return Explain(exchange, client, attempt, lease, service, exception);
            }
            finally
            {
                // Unless it is over and the connection kept.
                lease.End(LeaseEnd.Failed);
                client.Detach();
            }
        }
    }

    private static Refusal? Explain(Exchange exchange, ClientSession client, Http1Exchange attempt, ServiceLease lease, ServiceConnection service, Exception exception)
    {
        if (exchange.BodyRefusal is { } refusal && !client.HasAnswered) return refusal;
        if (client.HasAnswered || lease.Ended == LeaseEnd.ClientLeft || attempt.BodyFailure is not null)
        {
            exchange.IsAborted = true;
            client.KeepsAlive = false;
            // What breaks the framing of a body can still be said.
            if (!client.HasAnswered && attempt.BodyFailure is Http1FormatException malformed) throw malformed;
            client.Abort();
            return null;
        }

        if (service.Socket.EndedBy is { Reason: { } reason } verdict)
        {
            exchange.Network = verdict;
            return NetworkRefusal.For(exchange.Destination, verdict, reason) with { Secret = exchange.Plan?.Secrets[0] };
        }

        if (lease.Ended == LeaseEnd.Idle) return UpstreamFailure.TimedOut(exchange);
        return exception is Http1FormatException format
            ? UpstreamFailure.NotPassed(exchange, $"answered in a form that is not HTTP/1.1 ({format.Message.TrimEnd('.')})")
            : UpstreamFailure.Explain(exchange, exception);
    }

    /// <summary>What TLS asks for, and the certificate is for.</summary>
    private static string ServerName(Exchange exchange)
    {
        if (exchange.HostHeader is not { } host) return exchange.Destination.Host;
        int port = host.IndexOf(':');
        return port < 0 ? host : host[..port];
    }

    private static bool IsFailure(Exception exception) => exception is IOException or SocketException or ObjectDisposedException or AuthenticationException or OperationCanceledException or InvalidDataException;
}
