using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;

namespace Superserve.Sidecar.Capture;

/// <summary>Where a connection was going before the rules redirected it here.</summary>
internal static class OriginalDestination
{
    // <linux/in.h>, <linux/netfilter_ipv4.h>, <linux/netfilter_ipv6/ip6_tables.h>
    private const int SolIp = 0;
    private const int SolIpv6 = 41;
    private const int SoOriginalDst = 80;

    // struct sockaddr_in: family, port, address. struct sockaddr_in6: family, port, flow, address, scope.
    private const int LengthOfIPv4 = 16;
    private const int LengthOfIPv6 = 28;

    /// <summary>Asks the kernel. False for a connection that was made straight to the listener, and where there is no answer.</summary>
    public static bool TryRead(Socket socket, [NotNullWhen(true)] out IPEndPoint? destination)
    {
        destination = null;
        if (socket.LocalEndPoint is not IPEndPoint listener) return false;
        bool isIPv4 = listener.AddressFamily == AddressFamily.InterNetwork;
        Span<byte> address = stackalloc byte[isIPv4 ? LengthOfIPv4 : LengthOfIPv6];
        try
        {
            if (socket.GetRawSocketOption(isIPv4 ? SolIp : SolIpv6, SoOriginalDst, address) != address.Length) return false;
        }
        catch (SocketException)
        {
            // Not tracked: no rules redirected it.
            return false;
        }

        int port = BinaryPrimitives.ReadUInt16BigEndian(address[2..]);
        destination = new IPEndPoint(new IPAddress(isIPv4 ? address[4..8] : address[8..24]), port);
        return port != 0 && !destination.Equals(listener);
    }
}
