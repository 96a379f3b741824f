using System.Globalization;
using System.Runtime.InteropServices;

namespace Superserve.Sidecar.Commands;

/// <summary>
/// Settings that libraries below take from the environment or from a call alone, made ahead of all else. For a process that
/// starts no others: they would inherit some.
/// </summary>
internal static partial class ProcessSettings
{
    // <malloc.h>
    private const int ArenaMax = -8;
    private const int TrimThreshold = -1;

    private const long StartMemory = 32 * 1024 * 1024;

    public static void Apply()
    {
        // What follows a read runs on the thread that polls the sockets: handed to another thread, a request costs half as much
        // again. SocketStream and Tunnel see to it that nobody keeps such a thread. Services and sandbox need processors too.
        Environment.SetEnvironmentVariable("DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS", "1");
        Environment.SetEnvironmentVariable("DOTNET_SYSTEM_NET_SOCKETS_THREAD_COUNT", Math.Max(1, Environment.ProcessorCount / 2).ToString(CultureInfo.InvariantCulture));

        // The roots that services are verified by are PublicRoots' own. The platform would read all of the system's once more for
        // the first certificate that is minted, which takes longer than everything else about it.
        _ = setenv("SSL_CERT_FILE", "/dev/null", overwrite: 1);
        _ = setenv("SSL_CERT_DIR", "/dev/null", overwrite: 1);

        // OpenSSL's buffers come and go with connections; in many arenas each keeps what the most of them ever took.
        _ = mallopt(ArenaMax, 2);
        _ = mallopt(TrimThreshold, 128 * 1024);

        // The start makes some 20 MB that a collection on the way would only hold up; it ends this, and IdleMemory has them soon.
        GC.TryStartNoGCRegion(StartMemory);
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int setenv(string name, string value, int overwrite);

    [LibraryImport("libc")]
    private static partial int mallopt(int parameter, int value);
}
