using System.Net;
using System.Net.Sockets;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Benchmarks.Network;

/// <summary>DNS at the upstream: any name leads to one address.</summary>
internal sealed class NameService : IDisposable
{
    private readonly Socket _socket;

    public NameService(NetworkNamespace upstream, IPAddress address)
    {
        _socket = upstream.Enter(() =>
        {
            Socket socket = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            socket.Bind(new IPEndPoint(PodNetwork.UpstreamV4, 53));
            return socket;
        });
        new Thread(() => Resolve(address)) { IsBackground = true }.Start();
    }

    public void Dispose() => _socket.Dispose();

    private void Resolve(IPAddress address)
    {
        byte[] buffer = new byte[4096];
        EndPoint sender = new IPEndPoint(IPAddress.Any, 0);
        while (true)
        {
            try
            {
                int length = _socket.ReceiveFrom(buffer, ref sender);
                WireMessage query = DnsWire.Read(buffer.AsSpan(0, length).ToArray());
                byte[][] answers = query.Type == DnsWire.A ? [DnsWire.Address(query.Name, address.ToString())] : [];
                _socket.SendTo(DnsWire.Answer(query.Id, query.Name, query.Type, answers), sender);
            }
            catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
            {
                return;
            }
        }
    }
}
