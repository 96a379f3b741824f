using System.Runtime.InteropServices;

namespace Superserve.Core.Secrets;

/// <summary>Keeps the memory of a process that holds credentials to itself.</summary>
public static partial class ProcessMemory
{
    private const int SetDumpable = 4;
    private const int CoreLimit = 4;

    /// <summary>
    /// No core dump, and no other process of the same user may attach or read <c>/proc/PID/mem</c> or <c>environ</c> (prctl(2),
    /// PR_SET_DUMPABLE). A process with CAP_SYS_PTRACE still may.
    /// </summary>
    public static void Protect()
    {
        ResourceLimit none = default;
        if (prctl(SetDumpable, 0, 0, 0, 0) != 0 || setrlimit(CoreLimit, none) != 0)
            throw new InvalidOperationException("The process cannot be kept from being dumped (prctl and setrlimit were refused). Allow both system calls; the default seccomp profile does.");
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct ResourceLimit
    {
        public nuint Current;
        public nuint Maximum;
    }

    [LibraryImport("libc")]
    private static partial int prctl(int option, nuint a, nuint b, nuint c, nuint d);

    [LibraryImport("libc")]
    private static partial int setrlimit(int resource, in ResourceLimit limit);
}
