using System.Net;
using System.Net.Sockets;
using Superserve.Sidecar.Configuration;

namespace Superserve.Sidecar.Tests.Dns;

internal static class TestOptions
{
    /// <summary>Options with all files in one directory.</summary>
    public static SidecarOptions Of(string directory) => new()
    {
        Sandbox = "agents/research-0",
        ProxyAddress = new IPEndPoint(IPAddress.Loopback, 1),
        HealthAddress = new IPEndPoint(IPAddress.Loopback, 2),
        MetricsAddress = new IPEndPoint(IPAddress.Loopback, 3),
        TrustDirectory = Path.Combine(directory, "trust"),
        StateDirectory = directory,
        ResolverFile = Path.Combine(directory, "resolv.conf"),
    };

    /// <summary>Whether the machine has ::1.</summary>
    public static bool HasIPv6Loopback()
    {
        try
        {
            using UdpClient client = new(new IPEndPoint(IPAddress.IPv6Loopback, 0));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
