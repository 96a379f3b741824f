namespace Superserve.Sidecar.Capture;

/// <summary>The ports of a sidecar in a pod. The rules of <c>init-network</c> name them, so both sides take them from here.</summary>
internal static class CapturePorts
{
    /// <summary>Where redirected TCP connections arrive.</summary>
    public const int Transparent = 16001;

    /// <summary>The explicit proxy.</summary>
    public const int Explicit = 16002;

    /// <summary>Where redirected DNS arrives, UDP and TCP.</summary>
    public const int Dns = 16053;

    /// <summary>/healthz and /readyz.</summary>
    public const int Health = 16021;

    /// <summary>/metrics.</summary>
    public const int Metrics = 16090;
}
