using System.Text.Json;
using System.Text.Json.Serialization;
using Superserve.Core.Events;
using Superserve.Core.Network;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Sidecar.Capture;

namespace Superserve.Sidecar.Configuration;

/// <summary>The file of local mode as it is written; <see cref="ConfigurationReader"/> checks it.</summary>
internal sealed record ConfigurationFile
{
    public string? Sandbox { get; init; }

    public CaptureMode Capture { get; init; }

    public string? ProxyAddress { get; init; }

    public string? HealthAddress { get; init; }

    public string? MetricsAddress { get; init; }

    public string? TrustDirectory { get; init; }

    public string? StateDirectory { get; init; }

    public string? EventsFile { get; init; }

    public AuditMode Audit { get; init; }

    public UpstreamSection? Upstream { get; init; }

    public IReadOnlyList<SecretSection>? Secrets { get; init; }

    public NetworkSection? Network { get; init; }

    public Interception? Interception { get; init; }

    public IReadOnlyList<string>? Passthrough { get; init; }
}

internal sealed record UpstreamSection
{
    public string? TrustedRootsFile { get; init; }

    public IReadOnlyDictionary<string, string>? Hosts { get; init; }

    public int? ConnectTimeoutSeconds { get; init; }

    public int? IdleTimeoutSeconds { get; init; }
}

/// <summary>A Superserve Secret's fields, and what in a cluster a core Secret and a binding say.</summary>
internal sealed record SecretSection : SecretSpec
{
    public string? Env { get; init; }

    public string? Name { get; init; }

    public string? ValueFile { get; init; }

    public string? StandIn { get; init; }
}

internal sealed record NetworkSection
{
    public IReadOnlyList<string>? AllowOut { get; init; }

    public IReadOnlyList<string>? DenyOut { get; init; }

    public NetworkMode Mode { get; init; }

    public IReadOnlyList<int>? AllowIn { get; init; }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    AllowDuplicateProperties = false,
    UseStringEnumConverter = true,
    ReadCommentHandling = JsonCommentHandling.Skip,
    AllowTrailingCommas = true)]
[JsonSerializable(typeof(ConfigurationFile))]
internal sealed partial class ConfigurationJson : JsonSerializerContext;
