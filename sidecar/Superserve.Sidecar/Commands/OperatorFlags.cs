using System.Collections.Immutable;
using System.CommandLine;
using System.Globalization;
using System.Net;
using Superserve.Core.Hosts;
using Superserve.Core.Snapshots;
using Superserve.Sidecar.Capture;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Delivery;

namespace Superserve.Sidecar.Commands;

/// <summary>The options of <c>run --operator</c>; what admission writes into the pod, and its defaults.</summary>
internal static class OperatorFlags
{
    private const string AuthoritiesVariable = "SUPERSERVE_OPERATOR_CA";

    private static readonly Option<string?> Authorities = new("--operator-ca")
    {
        Description = $"The operator's CA certificates, a PEM file. Without it they are taken from the variable {AuthoritiesVariable}.",
        HelpName = "FILE",
    };

    private static readonly Option<string> TokenFile = Text("--token-file", "FILE", "/var/run/secrets/superserve/token", "The pod's service account token for the audience superserve.ai.");
    private static readonly Option<string> TrustDirectory = Text("--trust-directory", "DIRECTORY", "/var/run/superserve/trust", "Where certificates and stand-ins are written for the sandbox.");
    private static readonly Option<string> StateDirectory = Text("--state-directory", "DIRECTORY", "/var/run/superserve/state", "Where the sidecar keeps what a restarted one has to know; no other container may have it.");
    private static readonly Option<string> ProxyAddress = Text("--proxy-address", "ADDRESS", "localhost:16002", "Where the explicit proxy listens, on loopback alone; localhost means both families.");
    private static readonly Option<string> HealthAddress = Text("--health-address", "ADDRESS", "*:16021", "Where /healthz and /readyz are; * means all interfaces.");
    private static readonly Option<string> MetricsAddress = Text("--metrics-address", "ADDRESS", "*:16090", "Where /metrics is.");
    private static readonly Option<string> Capture = Text("--capture", "MODE", "Explicit", "How the sandbox's connections come to the sidecar: Transparent, by the rules of init-network, to the ports 16001 (TCP) and 16053 (DNS), or Explicit, by the proxy variables.");
    private static readonly Option<string?> MaxSnapshotAge = new("--max-snapshot-age")
    {
        Description = "How long secrets stay usable while the operator is away, as 30m or 24h. Without it, until it is back.",
        HelpName = "DURATION",
    };

    private static readonly Option<string?> AuditService = new("--audit")
    {
        Description = "The audit service that events are sent to, verified and asked as the operator is. Without it, and without --events-file, events go nowhere, and sandboxes whose audit is Required use no secret.",
        HelpName = "HOST:PORT",
    };

    private static readonly Option<string?> EventsFile = new("--events-file") { Description = "JSON lines of events. Without it none are kept.", HelpName = "FILE" };

    private static readonly Option<string?> TrustedRoots = new("--trusted-roots") { Description = "Certificates to trust of services besides the public ones, a PEM file.", HelpName = "FILE" };

    private static readonly Option<string[]> UpstreamHosts = new("--upstream-host")
    {
        Description = "Leads a name to a service of one's own instead of asking DNS; may stand several times.",
        HelpName = "NAME=ADDRESS:PORT",
        DefaultValueFactory = _ => [],
    };

    /// <summary>Where the operator is; says that the other options count.</summary>
    public static Option<string?> Operator { get; } = new("--operator")
    {
        Description = "The operator, from which the sidecar gets its secrets and rules. POD_NAMESPACE, POD_NAME and POD_UID say which pod it is in.",
        HelpName = "HOST:PORT",
    };

    /// <summary>All but <see cref="Operator"/>.</summary>
    public static IReadOnlyList<Option> Others { get; } =
        [Authorities, TokenFile, TrustDirectory, StateDirectory, ProxyAddress, HealthAddress, MetricsAddress, Capture, MaxSnapshotAge, AuditService, EventsFile, TrustedRoots, UpstreamHosts];

    /// <summary>Reads them.</summary>
    /// <exception cref="UsageException">One cannot be used.</exception>
    public static (SidecarOptions Sidecar, DeliveryOptions Delivery) Read(ParseResult result, Func<string, string?> variable)
    {
        Authority address = Service(Operator, result.GetValue(Operator)!, "superserve-operator.superserve.svc:9443");
        // By name alone: the enumeration's numbers are nobody's to write.
        if (!Enum.TryParse(result.GetRequiredValue(Capture), out CaptureMode capture) || capture.ToString() != result.GetRequiredValue(Capture)) throw new UsageException("--capture: write Transparent or Explicit.");

        string proxy = result.GetRequiredValue(ProxyAddress);
        SandboxIdentity sandbox = new(Required("POD_NAMESPACE", "metadata.namespace"), Required("POD_NAME", "metadata.name"), Required("POD_UID", "metadata.uid"));
        SidecarOptions sidecar = new()
        {
            Sandbox = sandbox.ToString(),
            Capture = capture,
            ProxyAddress = EndPoint(ProxyAddress, proxy, IPAddress.Loopback),
            ListensOnBothLoopbacks = proxy.StartsWith("localhost:", StringComparison.Ordinal),
            HealthAddress = EndPoint(HealthAddress, result.GetRequiredValue(HealthAddress), IPAddress.Loopback),
            MetricsAddress = EndPoint(MetricsAddress, result.GetRequiredValue(MetricsAddress), IPAddress.Loopback),
            TrustDirectory = Path.GetFullPath(result.GetRequiredValue(TrustDirectory)),
            StateDirectory = Path.GetFullPath(result.GetRequiredValue(StateDirectory)),
            AuditService = result.GetValue(AuditService) is { } audit ? Service(AuditService, audit, "superserve-audit.superserve.svc:16446") : null,
            EventsFile = result.GetValue(EventsFile) is { } events ? Path.GetFullPath(events) : null,
            TrustedRootsFile = result.GetValue(TrustedRoots),
            PinnedHosts = Pins(result.GetRequiredValue(UpstreamHosts)),
            KeepsResolvers = true,
        };
        if (sidecar is { AuditService: not null, EventsFile: not null }) throw new UsageException("--audit and --events-file do not go together: events go to one place. Leave one out.");
        // Who reaches the proxy can use the sandbox's credentials.
        if (!IPAddress.IsLoopback(sidecar.ProxyAddress.Address)) throw new UsageException("--proxy-address: the proxy listens on loopback alone, since who reaches it can use the credentials; write localhost:16002.");
        if (sidecar.ExposesState) throw new UsageException("--state-directory: the CA's key would lie in what the sandbox may read; name a directory outside of --trust-directory.");

        return (sidecar, new DeliveryOptions
        {
            Host = address.Host,
            Port = address.Port,
            Authorities = ReadAuthorities(result.GetValue(Authorities), variable),
            TokenFile = result.GetRequiredValue(TokenFile),
            Sandbox = sandbox,
            Capture = capture.ToString(),
            MaxSnapshotAge = result.GetValue(MaxSnapshotAge) is { } age ? Duration(age) : null,
        });

        string Required(string name, string field) => variable(name) is { Length: > 0 } value
            ? value
            : throw new UsageException($"{name} is not set. Admission sets it from the field {field} of the pod; make the pod anew.");
    }

    private static Authority Service(Option<string?> option, string text, string example) =>
        Authority.TryParse(text, defaultPort: -1, out Authority address) && address.Port > 0 ? address : throw new UsageException($"{option.Name}: write a host and a port, as {example}.");

    private static string ReadAuthorities(string? file, Func<string, string?> variable)
    {
        if (file is null)
        {
            return variable(AuthoritiesVariable) is { Length: > 0 } pem
                ? pem
                : throw new UsageException($"There is nothing to verify the operator by. Set {AuthoritiesVariable} to its CA certificates in PEM, or name a file with --operator-ca.");
        }

        try
        {
            return File.ReadAllText(file);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"--operator-ca: {file} cannot be read: {exception.Message}");
        }
    }

    private static ImmutableDictionary<string, IPEndPoint> Pins(string[] texts)
    {
        ImmutableDictionary<string, IPEndPoint>.Builder pins = ImmutableDictionary.CreateBuilder<string, IPEndPoint>(StringComparer.Ordinal);
        foreach (string text in texts)
        {
            int equals = text.IndexOf('=', StringComparison.Ordinal);
            if (equals < 1 || !HostName.TryCanonicalize(text.AsSpan(0, equals), out string? name)
                || !Authority.TryParse(text.AsSpan(equals + 1), defaultPort: -1, out Authority service) || service is not { Address: { } address, Port: > 0 })
                throw new UsageException($"--upstream-host: '{text}' is no name with a service's address; write it as api.example.com=192.0.2.1:443.");
            if (!pins.TryAdd(name, new IPEndPoint(address, service.Port))) throw new UsageException($"--upstream-host: {name} stands twice; lead it to one service.");
        }

        return pins.ToImmutable();
    }

    private static IPEndPoint EndPoint(Option<string> option, string text, IPAddress localhost)
    {
        string host = text[..Math.Max(text.LastIndexOf(':'), 0)];
        // The port is read behind an address that stands for the name.
        if (Authority.TryParse(host is "*" or "localhost" ? $"[::]{text[host.Length..]}" : text, defaultPort: -1, out Authority address)
            && address is { Address: { } parsed, Port: > 0 })
            return new IPEndPoint(host == "localhost" ? localhost : parsed, address.Port);
        throw new UsageException($"{option.Name}: write an address and a port, as {option.GetDefaultValue()}.");
    }

    private static TimeSpan Duration(string text)
    {
        TimeSpan unit = text is [.., char last] ? last switch
        {
            's' => TimeSpan.FromSeconds(1),
            'm' => TimeSpan.FromMinutes(1),
            'h' => TimeSpan.FromHours(1),
            'd' => TimeSpan.FromDays(1),
            _ => default,
        } : default;
        return unit != default && int.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count is > 0 and <= 100_000
            ? count * unit
            : throw new UsageException("--max-snapshot-age: write a number and s, m, h or d, as 24h.");
    }

    private static Option<string> Text(string name, string helpName, string standard, string description) =>
        new(name) { Description = description, HelpName = helpName, DefaultValueFactory = _ => standard };
}
