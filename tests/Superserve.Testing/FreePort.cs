using System.Net;
using System.Net.Sockets;

namespace Superserve.Testing;

/// <summary>Ports below the range that outgoing connections take, so that nothing takes one between the look and the use.</summary>
public static class FreePort
{
    private const int First = 20000;
    private const int Count = 12000;

    private static int _next = Environment.ProcessId * 97 % Count;

    public static int Next()
    {
        while (true)
        {
            int port = First + (Interlocked.Increment(ref _next) % Count);
            using Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                socket.Bind(new IPEndPoint(IPAddress.Any, port));
                return port;
            }
            catch (SocketException)
            {
                // Taken: the next one.
            }
        }
    }
}
