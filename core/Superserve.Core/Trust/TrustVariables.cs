using Superserve.Core.StandIns;

namespace Superserve.Core.Trust;

/// <summary>
/// The files that make a sandbox's programs trust the sidecar, and the environment variables by which they find these and it. The
/// sidecar writes the files, admission and <c>exec</c> set the variables.
/// </summary>
public static class TrustVariables
{
    /// <summary>The CA alone, in PEM.</summary>
    public const string AuthorityFile = "ca.crt";

    /// <summary>The public roots and the CA, in PEM.</summary>
    public const string BundleFile = "ca-bundle.crt";

    /// <summary>The same for Java.</summary>
    public const string JavaTrustStoreFile = "truststore.p12";

    /// <summary>Settings for wget, which has no variable for certificates; they come in the place of /etc/wgetrc, and a user's come behind.</summary>
    public const string WgetFile = "wgetrc";

    /// <summary>The stand-ins as they are now, lines of NAME=value.</summary>
    public const string StandInsFile = "env";

    /// <summary>Java reads no truststore without a password by default; the content is public.</summary>
    public const string JavaPassword = "changeit";

    /// <summary>What Java takes options from; ours are appended to the user's.</summary>
    public const string JavaToolOptions = "JAVA_TOOL_OPTIONS";

    /// <summary>By which programs find an explicit proxy.</summary>
    public static IReadOnlyList<string> ProxyNames { get; } = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

    /// <summary>Node's fetch heeds the proxy variables only when this is 1.</summary>
    public const string NodeUseProxy = "NODE_USE_ENV_PROXY";

    /// <summary>Which variable names which file; each is set only where the user has not.</summary>
    public static IReadOnlyList<(string Name, string Value)> In(string directory) =>
        [.. ReservedVariables.Trust.Select(name => (name, $"{directory}/{FileOf(name)}"))];

    /// <summary>What <see cref="WgetFile"/> says.</summary>
    public static string WgetSettings(string directory) => $"ca_certificate = {directory}/{BundleFile}\n";

    /// <summary>The options that make Java use the truststore.</summary>
    public static string JavaOptions(string directory) =>
        $"-Djavax.net.ssl.trustStore={directory}/{JavaTrustStoreFile} -Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword={JavaPassword}";

    private static string FileOf(string name) => name switch
    {
        // These add the file to their own roots; the others take it for all of them.
        "NODE_EXTRA_CA_CERTS" or "DENO_CERT" => AuthorityFile,
        "SYSTEM_WGETRC" => WgetFile,
        _ => BundleFile,
    };
}
