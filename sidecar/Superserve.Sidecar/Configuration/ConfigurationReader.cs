using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Superserve.Core.Events;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Core.StandIns;
using Superserve.Sidecar.Capture;

namespace Superserve.Sidecar.Configuration;

/// <summary>Reads and checks the file of local mode. Every mistake is reported at once, with the path of its field.</summary>
internal static partial class ConfigurationReader
{
    private const int MaxFileLength = 1024 * 1024;
    private const int MaxSecrets = 64;
    private const int MaxPassthrough = 256;
    private const int MaxPorts = 64;
    private const int MaxTimeoutSeconds = 24 * 60 * 60;

    /// <summary>Reads a file; on failure <paramref name="errors"/> says what to change.</summary>
    public static bool TryRead(string file, [NotNullWhen(true)] out LocalConfiguration? configuration, out IReadOnlyList<SpecError> errors)
    {
        List<SpecError> found = [];
        errors = found;
        configuration = null;
        byte[] json;
        try
        {
            if (FileStamp.Of(file).IsSpecial)
            {
                found.Add(new("", $"{file} is a directory, a pipe or a device; name a regular file"));
                return false;
            }

            FileInfo info = new(file);
            if (info.Length > MaxFileLength)
            {
                found.Add(new("", $"{file} has {info.Length} bytes; at most {MaxFileLength} are read"));
                return false;
            }

            json = File.ReadAllBytes(file);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            found.Add(new("", $"{file} cannot be read ({exception.Message}); name a file that exists, with --config FILE"));
            return false;
        }

        return TryParse(json, Path.GetDirectoryName(Path.GetFullPath(file)) ?? "/", found, out configuration);
    }

    /// <summary>Whether a file that is there can be opened now.</summary>
    public static bool IsReadable(string file)
    {
        if (FileStamp.Of(file) is var stamp && (stamp == default || stamp.IsSpecial)) return true;
        try
        {
            File.OpenRead(file).Dispose();
            return true;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Checks a file's text; relative paths in it are relative to <paramref name="directory"/>.</summary>
    public static bool TryParse(
        ReadOnlySpan<byte> json, string directory, List<SpecError> errors, [NotNullWhen(true)] out LocalConfiguration? configuration)
    {
        configuration = null;
        ConfigurationFile? file = Deserialize(json, errors);
        if (file is null) return false;

        Reader reader = new(directory, errors);
        SidecarOptions options = reader.Options(file);
        ImmutableArray<LocalSecret> secrets = reader.Secrets(file.Secrets);
        NetworkRules network = reader.Network(file.Network);
        ImmutableArray<int>? allowIn = reader.AllowIn(file.Network);
        bool allowList = file.Network?.AllowOut is { Count: > 0 };
        Interception interception = file.Interception ?? (allowList ? Interception.All : Interception.BoundHosts);
        ImmutableArray<HostPattern> passthrough = reader.Passthrough(file.Passthrough, secrets);
        if (errors.Count > 0) return false;
        configuration = new LocalConfiguration(options, secrets, network, allowIn, interception, passthrough);
        return true;
    }

    private static ConfigurationFile? Deserialize(ReadOnlySpan<byte> json, List<SpecError> errors)
    {
        if (json.Trim(" \t\r\n"u8).IsEmpty)
        {
            errors.Add(new("", "the file is empty; docs/local-mode.md shows what it holds"));
            return null;
        }

        try
        {
            ConfigurationFile? file = JsonSerializer.Deserialize(json, ConfigurationJson.Default.ConfigurationFile);
            if (file is null) errors.Add(new("", "the file holds null; write an object"));
            return file;
        }
        catch (JsonException exception)
        {
            errors.Add(Describe(exception));
            return null;
        }
    }

    // The exception's own text can quote the file and is trimmed away in native builds; its path and position say enough.
    private static SpecError Describe(JsonException exception)
    {
        string path = exception.Path is { Length: > 2 } at && at.StartsWith("$.", StringComparison.Ordinal) ? at[2..] : "";
        string where = exception.LineNumber is { } line ? $" (line {line + 1})" : "";
        bool isKnown = path.Length == 0 || KnownPath().IsMatch(path);
        if (Choices(path) is { } choices) return new SpecError(path, $"write one of {choices}{where}");
        return new SpecError(path, isKnown
            ? $"the value has the wrong type or the JSON is broken here, or the field stands twice{where}; compare it with docs/local-mode.md"
            : $"there is no such field{where}; check its spelling, or remove it");
    }

    private static string? Choices(string path) => path switch
    {
        "capture" => $"{nameof(CaptureMode.Explicit)}, {nameof(CaptureMode.Transparent)}",
        "audit" => $"{nameof(AuditMode.BestEffort)}, {nameof(AuditMode.Required)}",
        "interception" => $"{nameof(Interception.BoundHosts)}, {nameof(Interception.All)}",
        "network.mode" => $"{nameof(NetworkMode.Enforce)}, {nameof(NetworkMode.LogOnly)}",
        _ => null,
    };

    // Fields that exist: an error at any other path is a field that does not.
    [GeneratedRegex(
        @"^(sandbox|capture|proxyAddress|healthAddress|metricsAddress|trustDirectory|stateDirectory|eventsFile|audit|interception"
        + @"|upstream(\.(trustedRootsFile|connectTimeoutSeconds|idleTimeoutSeconds|hosts(\..*|\[.*)?))?"
        + @"|passthrough(\[\d+\])?|network(\.(mode|(allowOut|denyOut|allowIn)(\[\d+\])?))?"
        + @"|secrets(\[\d+\](\.(env|name|valueFile|standIn|provider|tenant|allowSetCookie|hosts(\[\d+\])?"
        + @"|rules(\[\d+\](\.(methods|paths)(\[\d+\])?)?)?"
        + @"|auth(\.(perHost(\[\d+\](\.hosts(\[\d+\])?)?)?|perHost\[\d+\]\.(type|header|prefix|username|parameter|headers(\..*|\[.*)?)|type|header|prefix|username|parameter|headers(\..*|\[.*)?))?"
        + @"))?)?)\z")]
    private static partial Regex KnownPath();

    [GeneratedRegex(@"^[A-Za-z_][A-Za-z0-9_]{0,127}\z")]
    private static partial Regex EnvName();

    [GeneratedRegex(@"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\z")]
    private static partial Regex ResourceName();

    private sealed class Reader(string directory, List<SpecError> errors)
    {
        public SidecarOptions Options(ConfigurationFile file)
        {
            if (file.Sandbox is null || !ResourceName().IsMatch(file.Sandbox)) Error("sandbox", "name the sandbox in lower-case letters, digits, '-' and '.', as demo");
            if (string.IsNullOrEmpty(file.TrustDirectory)) Error("trustDirectory", "name the directory that the certificates and the stand-ins are written to, as run/trust");
            SidecarOptions options = new()
            {
                Sandbox = file.Sandbox ?? "",
                Capture = file.Capture,
                // What the sandbox can write is not asked again where it is captured.
                KeepsResolvers = file.Capture == CaptureMode.Transparent,
                ProxyAddress = Loopback(file.ProxyAddress, "proxyAddress", 16002),
                HealthAddress = Address(file.HealthAddress, "healthAddress", 16021),
                MetricsAddress = Address(file.MetricsAddress, "metricsAddress", 16090),
                TrustDirectory = InDirectory(file.TrustDirectory ?? "", "trustDirectory"),
                StateDirectory = file.StateDirectory is null ? null : InDirectory(file.StateDirectory, "stateDirectory"),
                EventsFile = file.EventsFile is null ? null : InDirectory(file.EventsFile, "eventsFile"),
                Audit = file.Audit,
                TrustedRootsFile = file.Upstream?.TrustedRootsFile is { } roots ? InDirectory(roots, "upstream.trustedRootsFile") : null,
                PinnedHosts = Pins(file.Upstream?.Hosts),
            };
            if (File.Exists(options.TrustDirectory)) Error("trustDirectory", $"{options.TrustDirectory} is a file; name a directory");
            if (options.ExposesState) Error("stateDirectory", "the CA's key would lie in what the sandbox may read; name a directory outside of trustDirectory");
            if (options.ProxyAddress.Equals(options.HealthAddress) || options.ProxyAddress.Equals(options.MetricsAddress)) Error("proxyAddress", "another listener has this address too; give the proxy a port of its own");
            if (file.Audit == AuditMode.Required && file.EventsFile is null) Error("audit", "audit Required needs somewhere to keep events; set eventsFile");
            if (file.Upstream?.ConnectTimeoutSeconds is { } connect) options = options with { ConnectTimeout = Seconds(connect, "upstream.connectTimeoutSeconds") };
            if (file.Upstream?.IdleTimeoutSeconds is { } idle) options = options with { IdleTimeout = Seconds(idle, "upstream.idleTimeoutSeconds") };
            return options;
        }

        public ImmutableArray<LocalSecret> Secrets(IReadOnlyList<SecretSection>? sections)
        {
            ImmutableArray<LocalSecret>.Builder secrets = ImmutableArray.CreateBuilder<LocalSecret>();
            if (sections?.Count > MaxSecrets) Error("secrets", $"{sections.Count} secrets; at most {MaxSecrets}");
            HashSet<string> variables = new(StringComparer.Ordinal);
            List<string> standIns = [];
            for (int i = 0; i < sections?.Count && i < MaxSecrets; i++)
            {
                string path = $"secrets[{i}]";
                if (sections[i] is not { } section)
                {
                    Error(path, "there is no secret here, only null; remove it");
                    continue;
                }

                if (section.Env is null || !EnvName().IsMatch(section.Env)) Error(path + ".env", "name the environment variable: letters, digits and '_', not starting with a digit, as API_KEY");
                else if (ReservedVariables.Holds(section.Env)) Error(path + ".env", ReservedVariables.Refusal(section.Env));
                else if (!variables.Add(section.Env)) Error(path + ".env", $"the variable {section.Env} has a secret already; give each variable once");
                if (section.Name is null || !ResourceName().IsMatch(section.Name)) Error(path + ".name", "name the secret in lower-case letters, digits, '-' and '.', as anthropic-prod");
                else if (sections.Take(i).FirstOrDefault(other => other?.Name == section.Name) is { } same && (same.Provider != section.Provider || same.Tenant != section.Tenant || same.ValueFile != section.ValueFile))
                    Error(path + ".name", "another secret has this name and is not the same; events and metrics could not tell them apart");
                if (string.IsNullOrEmpty(section.ValueFile)) Error(path + ".valueFile", "name the file that holds the credential");
                StandIn? standIn = null;
                if (section.StandIn is not null)
                {
                    if (!StandIn.TryCreate(section.StandIn, out standIn, out string? error)) Error(path + ".standIn", error);
                    else if (standIns.Exists(other => other.Contains(standIn.Value, StringComparison.Ordinal) || standIn.Value.Contains(other, StringComparison.Ordinal)))
                        Error(path + ".standIn", "another secret's stand-in is this one, or holds it, or is held by it; each needs its own");
                    else standIns.Add(standIn.Value);
                }

                if (SecretDefinition.TryCreate(section, path, ProviderCatalog.BuiltIn, PublicSuffixList.Embedded, errors, out SecretDefinition? definition))
                    secrets.Add(new LocalSecret(section.Env ?? "", section.Name ?? "", InDirectory(section.ValueFile ?? "", path + ".valueFile"), standIn, definition));
            }

            return secrets.ToImmutable();
        }

        public NetworkRules Network(NetworkSection? section)
        {
            if (section is null) return NetworkRules.Unrestricted(SpecialRanges.Default);
            return NetworkPolicy.TryParse(section.AllowOut, section.DenyOut, section.Mode, PublicSuffixList.Embedded, "network", errors, out NetworkPolicy? policy)
                ? new NetworkRules([policy], SpecialRanges.Default)
                : NetworkRules.Closed;
        }

        public ImmutableArray<int>? AllowIn(NetworkSection? section)
        {
            if (section?.AllowIn is not { } ports) return null;
            if (ports.Count > MaxPorts) Error("network.allowIn", $"{ports.Count} ports; at most {MaxPorts}");
            for (int i = 0; i < ports.Count && i < MaxPorts; i++)
                if (ports[i] is < 1 or > 65535) Error($"network.allowIn[{i}]", $"{ports[i]} is no port; write 1 to 65535");
            return [.. ports.Distinct().Order()];
        }

        public ImmutableArray<HostPattern> Passthrough(IReadOnlyList<string>? texts, ImmutableArray<LocalSecret> secrets)
        {
            ImmutableArray<HostPattern>.Builder patterns = ImmutableArray.CreateBuilder<HostPattern>();
            if (texts?.Count > MaxPassthrough) Error("passthrough", $"{texts.Count} names; at most {MaxPassthrough}");
            for (int i = 0; i < texts?.Count && i < MaxPassthrough; i++)
            {
                string path = $"passthrough[{i}]";
                if (!HostPattern.TryParse(texts[i], PublicSuffixList.Embedded, out HostPattern? pattern, out string? error))
                {
                    Error(path, error);
                    continue;
                }

                patterns.Add(pattern);
                foreach (LocalSecret secret in secrets)
                    foreach (HostAuth host in secret.Definition.Hosts)
                        if (host.Pattern.Overlaps(pattern)) Error(path, $"the secret {secret.Name} is bound to '{host.Pattern}', which has to be inspected; remove one of the two");
            }

            return patterns.ToImmutable();
        }

        private ImmutableDictionary<string, IPEndPoint> Pins(IReadOnlyDictionary<string, string>? hosts)
        {
            ImmutableDictionary<string, IPEndPoint>.Builder pins = ImmutableDictionary.CreateBuilder<string, IPEndPoint>(StringComparer.Ordinal);
            foreach ((string host, string address) in hosts ?? ImmutableDictionary<string, string>.Empty)
            {
                string path = $"upstream.hosts['{host}']";
                if (!HostName.TryCanonicalize(host, out string? name) || name != host) Error(path, "pin a DNS name in lower case, as api.example.com");
                else if (TryEndPoint(address, out IPEndPoint? endPoint)) pins[name] = endPoint;
                else Error(path, "pin the name to an address and a port, as 127.0.0.1:9443");
            }

            return pins.ToImmutable();
        }

        // Who reaches the proxy can use the sandbox's credentials.
        private IPEndPoint Loopback(string? text, string path, int port)
        {
            IPEndPoint endPoint = Address(text, path, port);
            if (!IPAddress.IsLoopback(endPoint.Address)) Error(path, $"the proxy listens on loopback alone, since who reaches it can use the credentials; write 127.0.0.1:{port}");
            return endPoint;
        }

        private IPEndPoint Address(string? text, string path, int port)
        {
            if (text is null) return new IPEndPoint(IPAddress.Loopback, port);
            if (TryEndPoint(text, out IPEndPoint? endPoint)) return endPoint;
            Error(path, $"write an address and a port, as 127.0.0.1:{port}");
            return new IPEndPoint(IPAddress.Loopback, port);
        }

        private static bool TryEndPoint(string? text, [NotNullWhen(true)] out IPEndPoint? endPoint)
        {
            endPoint = null;
            // IPEndPoint.TryParse takes a text without a port for port 0, and odd spellings for addresses.
            return text is not null && Authority.TryParse(text, defaultPort: -1, out Authority authority) && authority.Port > 0
                && authority.Address is { } address && (endPoint = new IPEndPoint(address, authority.Port)) is not null;
        }

        private TimeSpan Seconds(int seconds, string path)
        {
            if (seconds is < 1 or > MaxTimeoutSeconds) Error(path, $"write 1 to {MaxTimeoutSeconds} seconds");
            return TimeSpan.FromSeconds(Math.Clamp(seconds, 1, MaxTimeoutSeconds));
        }

        private string InDirectory(string path, string field)
        {
            if (!path.Contains('\0')) return Path.GetFullPath(path, directory);
            Error(field, "a file's name holds no NUL character");
            return directory;
        }

        private void Error(string path, string message) => errors.Add(new SpecError(path, message));
    }
}
