using System.Runtime.InteropServices;

namespace Superserve.Sidecar.Proxy;

/// <summary>
/// How many files and sockets the process may have open. The sandbox must not use up the last one: credentials and rules could
/// not be read any more.
/// </summary>
internal static partial class FileDescriptors
{
    /// <summary>What the sidecar needs besides connections: its files, listeners, look-ups and who asks for them, the runtime's own.</summary>
    private const int Own = 384;

    private const int MaxProxyConnections = 8192;
    private const int MaxAdminConnections = 4096;

    private const int OpenFiles = 7;

    /// <summary>
    /// How many connections of the sandbox there may be, at all the proxy's listeners together, and as many to services: three
    /// quarters of what there is.
    /// </summary>
    public static int ProxyConnections { get; } = (int)Math.Clamp((Limit - Own) * 3 / 4 / 2, 16, MaxProxyConnections);

    /// <summary>How many the health and the metrics port may each have: together the last quarter.</summary>
    public static int AdminConnections { get; } = (int)Math.Clamp((Limit - Own) / 4 / 2, 16, MaxAdminConnections);

    /// <summary>The limit in force; the runtime has raised the soft one to the hard one at its start.</summary>
    private static long Limit => getrlimit(OpenFiles, out ResourceLimit limit) == 0 && limit.Current < int.MaxValue ? (long)limit.Current : int.MaxValue;

    [StructLayout(LayoutKind.Sequential)]
    private struct ResourceLimit
    {
        public nuint Current;
        public nuint Maximum;
    }

    [LibraryImport("libc")]
    private static partial int getrlimit(int resource, out ResourceLimit limit);
}
