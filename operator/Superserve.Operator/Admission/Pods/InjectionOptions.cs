using Superserve.Operator.Configuration;

namespace Superserve.Operator.Admission.Pods;

/// <summary>How the sidecar gets at a sandbox's connections.</summary>
public enum CaptureMode
{
    /// <summary>By the proxy variables alone: programs that ignore them go around, with a stand-in that is worth nothing.</summary>
    Explicit,

    /// <summary>By nftables in the pod's network: nothing goes around.</summary>
    Transparent,
}

/// <summary>What an installation says of the sidecars that it puts into pods.</summary>
public sealed record InjectionOptions
{
    /// <summary>The image of sidecar and init container.</summary>
    public required string Image { get; init; }

    /// <summary>When the kubelet pulls it.</summary>
    public string ImagePullPolicy { get; init; } = "IfNotPresent";

    /// <summary>The sidecar's resource requests, by resource.</summary>
    public IReadOnlyDictionary<string, string> Requests { get; init; } = new Dictionary<string, string> { ["cpu"] = "10m", ["memory"] = "64Mi" };

    /// <summary>The sidecar's resource limits, by resource.</summary>
    public IReadOnlyDictionary<string, string> Limits { get; init; } = new Dictionary<string, string> { ["memory"] = "256Mi" };

    /// <summary>How connections are captured where the pod's runtime class does not say otherwise.</summary>
    public CaptureMode Capture { get; init; } = CaptureMode.Transparent;

    /// <summary>Runtime classes without nftables, as gVisor's: their pods are captured explicitly.</summary>
    public IReadOnlyList<string> ExplicitRuntimeClasses { get; init; } = [];

    /// <summary>The operator, as host:port.</summary>
    public required string OperatorAddress { get; init; }

    /// <summary>The audit service, as host:port; null without one.</summary>
    public string? AuditAddress { get; init; }

    /// <summary>The certificates, in PEM, that sidecars may trust the operator by: today's and the next.</summary>
    public required string OperatorAuthorities { get; init; }

    /// <summary>How long a sidecar's token lives; it is renewed well before.</summary>
    public TimeSpan TokenLifetime { get; init; } = TimeSpan.FromHours(1);

    /// <summary>What sidecars log.</summary>
    public string LogLevel { get; init; } = "Information";

    /// <summary>How long a sidecar acts on its last snapshot while the operator is away, as 24h; null for as long as it takes.</summary>
    public string? MaxSnapshotAge { get; init; } = "24h";

    /// <summary>Further options of the sidecar's command line.</summary>
    public IReadOnlyList<string> ExtraArgs { get; init; } = [];

    /// <summary>Gives the sidecar NET_ADMIN: before Linux 5.17 NET_RAW is not enough to mark a socket.</summary>
    public bool NetAdmin { get; init; }

    /// <summary>How a pod's connections are captured.</summary>
    public CaptureMode CaptureFor(string? runtimeClass) => runtimeClass is not null && ExplicitRuntimeClasses.Contains(runtimeClass) ? CaptureMode.Explicit : Capture;

    /// <summary>What the installation says, with the CAs of the moment.</summary>
    public static InjectionOptions Of(OperatorOptions options, string operatorAuthorities) => new()
    {
        Image = options.Sidecar.Image,
        ImagePullPolicy = options.Sidecar.ImagePullPolicy,
        Requests = options.Sidecar.Requests,
        Limits = options.Sidecar.Limits,
        Capture = options.Sidecar.Capture,
        ExplicitRuntimeClasses = options.Sidecar.ExplicitRuntimeClasses,
        OperatorAddress = options.Sidecar.OperatorAddress ?? $"{options.ServiceName}.{options.Namespace}.svc.{options.ClusterDomain}:{options.DeliveryPort}",
        AuditAddress = options.Sidecar.AuditAddress,
        OperatorAuthorities = operatorAuthorities,
        LogLevel = options.Sidecar.LogLevel,
        MaxSnapshotAge = options.Sidecar.MaxSnapshotAge,
        NetAdmin = options.Sidecar.NetAdmin,
        ExtraArgs = options.Sidecar.ExtraArgs,
    };
}
