using System.Collections.Frozen;

namespace Superserve.Operator.Admission.Pods;

/// <summary>Linux capabilities, compared as widely as any container runtime reads them: in any case, with or without <c>CAP_</c>.</summary>
internal static class Capabilities
{
    private const string Prefix = "CAP_";

    /// <summary>What Pod Security's baseline lets a container add.</summary>
    public static FrozenSet<string> Baseline { get; } = FrozenSet.Create(StringComparer.Ordinal,
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT");

    /// <summary>One spelling for each.</summary>
    public static string Normalize(string capability)
    {
        string upper = capability.ToUpperInvariant();
        return upper.StartsWith(Prefix, StringComparison.Ordinal) ? upper[Prefix.Length..] : upper;
    }
}
