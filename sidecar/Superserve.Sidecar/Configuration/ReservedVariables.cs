namespace Superserve.Sidecar.Configuration;

/// <summary>
/// Environment variables that no secret may have: those by which the sandbox's programs find the sidecar and trust it, and those
/// by which a system finds and loads programs.
/// </summary>
internal static class ReservedVariables
{
    private static readonly HashSet<string> Names = new(StringComparer.OrdinalIgnoreCase)
    {
        "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "NODE_USE_ENV_PROXY", "JAVA_TOOL_OPTIONS",
        "PATH", "HOME", "SHELL", "USER", "PWD", "TMPDIR", "LANG", "IFS", "ENV", "BASH_ENV", "NODE_OPTIONS", "PYTHONPATH",
    };

    /// <summary>Whether a name is one of them.</summary>
    public static bool Holds(string name) =>
        Names.Contains(name) || name.StartsWith("LD_", StringComparison.Ordinal) || Array.IndexOf(Trust.TrustDirectory.VariableNames, name) >= 0;
}
