namespace Superserve.Sidecar.Capture;

/// <summary>How the sandbox's connections come to the sidecar.</summary>
internal enum CaptureMode
{
    /// <summary>By the proxy variables: programs that ignore them go around.</summary>
    Explicit,

    /// <summary>By the rules of <c>init-network</c>: nothing goes around.</summary>
    Transparent,
}
