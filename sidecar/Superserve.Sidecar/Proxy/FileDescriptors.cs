using System.Runtime.InteropServices;

namespace Superserve.Sidecar.Proxy;

/// <summary>
/// How many files and sockets the process may have open. The sandbox must not use up the last one: credentials and rules could
/// not be read any more.
/// </summary>
internal static partial class FileDescriptors
{
    /// <summary>What the sidecar needs besides connections: its files, listeners, look-ups, the runtime's own.</summary>
    public const int Own = 256;

    /// <summary>One towards the sandbox and one towards a service.</summary>
    public const int PerConnection = 2;

    private const int OpenFiles = 7;

    /// <summary>The limit in force; the runtime has raised the soft one to the hard one at its start.</summary>
    public static long Limit => getrlimit(OpenFiles, out ResourceLimit limit) == 0 && limit.Current < int.MaxValue ? (long)limit.Current : int.MaxValue;

    [StructLayout(LayoutKind.Sequential)]
    private struct ResourceLimit
    {
        public nuint Current;
        public nuint Maximum;
    }

    [LibraryImport("libc")]
    private static partial int getrlimit(int resource, out ResourceLimit limit);
}
