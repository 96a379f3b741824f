using Superserve.Core.Snapshots;

namespace Superserve.Sidecar.Delivery;

/// <summary>How a sidecar reaches its operator.</summary>
internal sealed record DeliveryOptions
{
    /// <summary>The name that the operator's certificate has to be for.</summary>
    public required string Host { get; init; }

    public required int Port { get; init; }

    /// <summary>The CA's certificates that the operator is verified against, in PEM.</summary>
    public required string Authorities { get; init; }

    /// <summary>The pod's projected service account token; the kubelet replaces it ahead of its end.</summary>
    public required string TokenFile { get; init; }

    /// <summary>The pod.</summary>
    public required SandboxIdentity Sandbox { get; init; }

    /// <summary>How the sandbox's connections come to the sidecar.</summary>
    public string Capture { get; init; } = "Explicit";

    /// <summary>How long secrets stay usable while the operator is not heard; null for as long as it takes.</summary>
    public TimeSpan? MaxSnapshotAge { get; init; }

    public string Address => $"{Host}:{Port}";
}
