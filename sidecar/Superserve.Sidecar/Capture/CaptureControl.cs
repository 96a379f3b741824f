using System.Net;
using System.Net.Sockets;

namespace Superserve.Sidecar.Capture;

/// <summary>Speaks to the rules of <c>init-network</c> by marked datagrams, since only NET_ADMIN could change or read them.</summary>
internal sealed class CaptureControl : IDisposable
{
    // IPv4 loopback: it is there in a pod of either family.
    private readonly Socket _socket = EgressSockets.CreateMarked(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);

    /// <summary>
    /// Gives an order. The rules drop the datagram as soon as it is carried out, which the kernel answers with EPERM; without rules it
    /// is simply sent, to nobody.
    /// </summary>
    /// <returns>Whether the rules took it.</returns>
    public bool Send(IPAddress order, int port)
    {
        try
        {
            _socket.SendTo([], new IPEndPoint(order, port));
            return false;
        }
        catch (SocketException exception)
        {
            return exception.SocketErrorCode == SocketError.AccessDenied;
        }
    }

    /// <summary>Whether this network namespace has the rules.</summary>
    public bool RulesAreInForce() => Send(ControlAddress.Check, port: 1);

    public void Dispose() => _socket.Dispose();
}
