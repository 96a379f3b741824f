using System.Globalization;

namespace Superserve.Sidecar.Proxy;

/// <summary>
/// Makes what follows a read run on the thread that polls the sockets: handed to another thread, a request costs half as much
/// again. <see cref="SocketStream"/> and <see cref="Tunnel"/> see to it that nobody keeps such a thread.
/// </summary>
internal static class SocketThreads
{
    /// <summary>To be called ahead of the first socket. The runtime knows these settings as variables alone.</summary>
    public static void RunInline()
    {
        Environment.SetEnvironmentVariable("DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS", "1");
        // Services and sandbox need processors too.
        Environment.SetEnvironmentVariable("DOTNET_SYSTEM_NET_SOCKETS_THREAD_COUNT", Math.Max(1, Environment.ProcessorCount / 2).ToString(CultureInfo.InvariantCulture));
    }
}
