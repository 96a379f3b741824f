using System.Collections.Immutable;

namespace Superserve.Core.StandIns;

/// <summary>
/// Environment variables that no secret may have: those by which the sandbox's programs find the sidecar and trust it, and those
/// by which a system finds and loads programs.
/// </summary>
public static class ReservedVariables
{
    private static readonly HashSet<string> Names = new(StringComparer.OrdinalIgnoreCase)
    {
        "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "NODE_USE_ENV_PROXY", "JAVA_TOOL_OPTIONS",
        "PATH", "HOME", "SHELL", "USER", "PWD", "TMPDIR", "LANG", "IFS", "ENV", "BASH_ENV", "NODE_OPTIONS", "PYTHONPATH",
    };

    /// <summary>Those by which programs find the certificates that they trust.</summary>
    public static ImmutableArray<string> Trust { get; } =
    [
        "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE", "PIP_CERT", "CARGO_HTTP_CAINFO",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "NODE_EXTRA_CA_CERTS", "DENO_CERT", "SYSTEM_WGETRC",
    ];

    /// <summary>Whether a name is one of them.</summary>
    public static bool Holds(string name) =>
        Names.Contains(name) || name.StartsWith("LD_", StringComparison.Ordinal) || Trust.Contains(name);

    /// <summary>Why <paramref name="name"/> is refused, and what to do.</summary>
    public static string Refusal(string name) =>
        $"{name} decides how programs run or reach the sidecar, and cannot hold a stand-in; name another variable";
}
