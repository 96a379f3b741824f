using System.Text.Json.Nodes;
using Superserve.Operator.Bindings;

namespace Superserve.Operator.Admission.Pods;

/// <summary>
/// What admission adds to a pod as a whole: the init container, the sidecar, and their volumes. Every field that the API server would
/// default stands here, so that what is stored is what was sealed (<see cref="PodSeal"/>).
/// </summary>
internal static class SidecarParts
{
    /// <summary>What the sandbox may read; the sidecar alone writes it.</summary>
    public const string TrustVolume = "superserve-trust";

    /// <summary>The pod-local CA's key. In memory, and mounted by the sidecar alone.</summary>
    public const string StateVolume = "superserve-state";

    /// <summary>The token by which the sidecar proves to the operator which pod it is in. Mounted by the sidecar alone.</summary>
    public const string TokenVolume = "superserve-token";

    /// <summary>Where <see cref="TrustVolume"/> is mounted in every container.</summary>
    public const string TrustDirectory = "/var/run/superserve/trust";

    private const string StateDirectory = "/var/run/superserve/state";
    private const string TokenDirectory = "/var/run/secrets/superserve";
    private const string TokenFile = "token";
    private const int HealthPort = 16021;
    private const int MetricsPort = 16090;
    private const int NonRoot = 65532;
    private const int ReadableByAll = 0b110_100_100;

    /// <summary>The names of the volumes.</summary>
    public static string[] Volumes { get; } = [TrustVolume, StateVolume, TokenVolume];

    /// <summary>Our init containers in their order.</summary>
    public static IEnumerable<JsonObject> Containers(InjectionOptions options, CaptureMode capture, JsonObject? resources)
    {
        if (capture == CaptureMode.Transparent) yield return Init(options, resources);
        yield return Sidecar(options, capture, resources);
    }

    /// <summary>Our volumes.</summary>
    public static IEnumerable<JsonObject> VolumesFor(InjectionOptions options) =>
    [
        new() { ["name"] = TrustVolume, ["emptyDir"] = new JsonObject { ["sizeLimit"] = "8Mi" } },
        new() { ["name"] = StateVolume, ["emptyDir"] = new JsonObject { ["medium"] = "Memory", ["sizeLimit"] = "32Mi" } },
        new()
        {
            ["name"] = TokenVolume,
            ["projected"] = new JsonObject
            {
                ["sources"] = new JsonArray(new JsonObject
                {
                    ["serviceAccountToken"] = new JsonObject
                    {
                        ["audience"] = Marks.TokenAudience,
                        ["expirationSeconds"] = (long)options.TokenLifetime.TotalSeconds,
                        ["path"] = TokenFile,
                    },
                }),
                ["defaultMode"] = ReadableByAll,
            },
        },
    ];

    /// <summary>How every container of the user's has the trust volume.</summary>
    public static JsonObject TrustMount() => new() { ["name"] = TrustVolume, ["mountPath"] = TrustDirectory, ["readOnly"] = true };

    private static JsonObject Init(InjectionOptions options, JsonObject? resources)
    {
        JsonObject container = Container(Marks.InitContainer, options, resources, ["init-network"]);
        container["securityContext"] = SecurityContext(0, ["NET_ADMIN"]);
        return container;
    }

    private static JsonObject Sidecar(InjectionOptions options, CaptureMode capture, JsonObject? resources)
    {
        JsonObject container = Container(Marks.SidecarContainer, options, resources,
        [
            "run",
            "--operator", options.OperatorAddress,
            .. options.AuditAddress is { } audit ? (string[])["--audit", audit] : [],
            "--capture", capture.ToString(),
            "--trust-directory", TrustDirectory,
            "--state-directory", StateDirectory,
            "--token-file", $"{TokenDirectory}/{TokenFile}",
            "--log-level", options.LogLevel,
            .. options.MaxSnapshotAge is { } age ? (string[])["--max-snapshot-age", age] : [],
            .. options.ExtraArgs,
        ]);
        container["restartPolicy"] = "Always";
        container["env"] = new JsonArray(
            new JsonObject { ["name"] = "SUPERSERVE_OPERATOR_CA", ["value"] = options.OperatorAuthorities },
            FromField("POD_NAMESPACE", "metadata.namespace"),
            FromField("POD_NAME", "metadata.name"),
            FromField("POD_UID", "metadata.uid"));
        container["ports"] = new JsonArray(
            new JsonObject { ["name"] = "ss-health", ["containerPort"] = HealthPort, ["protocol"] = "TCP" },
            new JsonObject { ["name"] = "ss-metrics", ["containerPort"] = MetricsPort, ["protocol"] = "TCP" });
        // Ready only with a snapshot: until then nothing of the sandbox starts. Five minutes, and the kubelet starts the sidecar anew.
        container["startupProbe"] = Probe("/readyz", period: 1, failures: 300);
        container["readinessProbe"] = Probe("/readyz", period: 5, failures: 3);
        container["livenessProbe"] = Probe("/healthz", period: 10, failures: 3);
        // Root without capabilities but the one that marks sockets: nothing of the sandbox can get it (ARCHITECTURE.md).
        string[] capabilities = options.NetAdmin ? ["NET_ADMIN", "NET_RAW"] : ["NET_RAW"];
        container["securityContext"] = capture == CaptureMode.Transparent ? SecurityContext(0, capabilities) : SecurityContext(NonRoot, []);
        container["volumeMounts"] = new JsonArray(
            new JsonObject { ["name"] = TrustVolume, ["mountPath"] = TrustDirectory },
            new JsonObject { ["name"] = StateVolume, ["mountPath"] = StateDirectory },
            new JsonObject { ["name"] = TokenVolume, ["mountPath"] = TokenDirectory, ["readOnly"] = true });
        return container;
    }

    private static JsonObject Container(string name, InjectionOptions options, JsonObject? resources, string[] arguments)
    {
        JsonObject container = new()
        {
            ["name"] = name,
            ["image"] = options.Image,
            ["imagePullPolicy"] = options.ImagePullPolicy,
            ["args"] = new JsonArray([.. arguments.Select(argument => JsonValue.Create(argument))]),
            ["terminationMessagePath"] = "/dev/termination-log",
            ["terminationMessagePolicy"] = "FallbackToLogsOnError",
        };
        if (resources is not null) container["resources"] = resources.DeepClone();
        return container;
    }

    private static JsonObject SecurityContext(int user, string[] capabilities)
    {
        JsonObject allowed = new() { ["drop"] = new JsonArray("ALL") };
        if (capabilities.Length > 0) allowed["add"] = new JsonArray([.. capabilities.Select(capability => JsonValue.Create(capability))]);
        return new JsonObject
        {
            ["runAsUser"] = user,
            ["runAsGroup"] = user,
            ["runAsNonRoot"] = user != 0,
            ["privileged"] = false,
            ["allowPrivilegeEscalation"] = false,
            ["readOnlyRootFilesystem"] = true,
            ["capabilities"] = allowed,
            ["seccompProfile"] = new JsonObject { ["type"] = "RuntimeDefault" },
        };
    }

    private static JsonObject Probe(string path, int period, int failures) => new()
    {
        ["httpGet"] = new JsonObject { ["path"] = path, ["port"] = HealthPort, ["scheme"] = "HTTP" },
        ["periodSeconds"] = period,
        ["timeoutSeconds"] = 2,
        ["successThreshold"] = 1,
        ["failureThreshold"] = failures,
    };

    private static JsonObject FromField(string name, string path) => new()
    {
        ["name"] = name,
        ["valueFrom"] = new JsonObject { ["fieldRef"] = new JsonObject { ["apiVersion"] = "v1", ["fieldPath"] = path } },
    };
}
