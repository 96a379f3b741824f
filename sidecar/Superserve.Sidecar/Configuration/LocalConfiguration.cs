using System.Collections.Immutable;
using System.Net;
using Superserve.Core.Events;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Core.StandIns;
using Superserve.Sidecar.Capture;

namespace Superserve.Sidecar.Configuration;

/// <summary>What a sidecar is set up with for its whole life; a change needs a restart.</summary>
internal sealed record SidecarOptions
{
    public required string Sandbox { get; init; }

    /// <summary>How the sandbox's connections come to the sidecar.</summary>
    public CaptureMode Capture { get; init; }

    /// <summary>The explicit proxy.</summary>
    public required IPEndPoint ProxyAddress { get; init; }

    /// <summary>Whether the proxy listens on the port of <see cref="ProxyAddress"/> on loopback of both families, as far as the machine has them.</summary>
    public bool ListensOnBothLoopbacks { get; init; }

    /// <summary>Under transparent capture: where redirected connections arrive, on loopback of both families.</summary>
    public int TransparentPort { get; init; } = CapturePorts.Transparent;

    /// <summary>Under transparent capture: where redirected DNS arrives, UDP and TCP, on loopback of both families.</summary>
    public int DnsPort { get; init; } = CapturePorts.Dns;

    /// <summary>The resolvers that names are asked of.</summary>
    public string ResolverFile { get; init; } = "/etc/resolv.conf";

    /// <summary>
    /// Whether that file is read once, and what it said kept in <see cref="StateDirectory"/>: a pod's containers share it, and root in
    /// the sandbox can write it.
    /// </summary>
    public bool KeepsResolvers { get; init; }

    public required IPEndPoint HealthAddress { get; init; }

    public required IPEndPoint MetricsAddress { get; init; }

    /// <summary>What the sandbox's containers may read: certificates and the stand-ins.</summary>
    public required string TrustDirectory { get; init; }

    /// <summary>Where the CA's key is kept, so that a restarted sidecar has the same CA; null for memory alone.</summary>
    public string? StateDirectory { get; init; }

    /// <summary>JSON lines; null for none.</summary>
    public string? EventsFile { get; init; }

    /// <summary>In a pod: the audit service that events go to; null for none.</summary>
    public Authority? AuditService { get; init; }

    public AuditMode Audit { get; init; }

    /// <summary>Whether the CA's key would lie in what the sandbox may read.</summary>
    public bool ExposesState => StateDirectory is { } state && (state + "/").StartsWith(TrustDirectory.TrimEnd('/') + "/", StringComparison.Ordinal);

    /// <summary>PEM certificates to trust besides the system's.</summary>
    public string? TrustedRootsFile { get; init; }

    /// <summary>Names that are not resolved but dialled at a fixed address; that counts as naming the address.</summary>
    public ImmutableDictionary<string, IPEndPoint> PinnedHosts { get; init; } = ImmutableDictionary<string, IPEndPoint>.Empty;

    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Without a byte in either direction. Answers of language models may be silent for many minutes.</summary>
    public TimeSpan IdleTimeout { get; init; } = TimeSpan.FromHours(1);
}

/// <summary>One secret of the file: checked, its credential not yet read.</summary>
internal sealed record LocalSecret(string Env, string Name, string ValueFile, StandIn? StandIn, SecretDefinition Definition);

/// <summary>The checked file.</summary>
internal sealed record LocalConfiguration(
    SidecarOptions Options,
    ImmutableArray<LocalSecret> Secrets,
    NetworkRules Network,
    ImmutableArray<int>? AllowIn,
    Interception Interception,
    ImmutableArray<HostPattern> Passthrough);
