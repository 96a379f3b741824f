using System.Net;
using Superserve.Core.Events;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Swapping;

namespace Superserve.Sidecar.Proxy;

/// <summary>How a connection of the sandbox is handled.</summary>
internal enum Handling
{
    /// <summary>Absolute-form HTTP to the explicit proxy: each request names its own destination.</summary>
    Proxied,

    /// <summary>Plain HTTP to a known destination.</summary>
    Http,

    /// <summary>TLS, terminated here.</summary>
    Intercepted,

    /// <summary>Bytes are passed on untouched.</summary>
    Tunnelled,
}

/// <summary>What is known of one connection of the sandbox; the requests on it find it among their features.</summary>
internal sealed class SandboxConnection(long startedAt)
{
    private long _sent;
    private long _received;

    /// <summary>A timestamp of the time provider.</summary>
    public long StartedAt { get; } = startedAt;

    /// <summary>Where it goes: the checked name, or an address. Unset for <see cref="Handling.Proxied"/>.</summary>
    public Authority Destination { get; set; }

    /// <summary>Transparent capture: the address that the sandbox dialled. Its word for an address is never taken for a name's.</summary>
    public IPAddress? Dialled { get; init; }

    /// <summary>Completes a name as the sandbox's resolver did (<see cref="Capture.AddressNames.Complete"/>); as it is under explicit capture.</summary>
    public Func<string, string> Complete { get; init; } = static name => name;

    /// <summary>
    /// Where <see cref="Destination"/> is an address: the name that the rules allowed it by, one that the sandbox's DNS gave the
    /// address for, or that its plain requests named.
    /// </summary>
    public string? Name { get; set; }

    /// <summary>How it is handled.</summary>
    public Handling Handling { get; set; } = Handling.Proxied;

    /// <summary>The name that the TLS hello asked for, where it is another than the destination's: every request is refused.</summary>
    public string? MismatchedServerName { get; set; }

    /// <summary>
    /// The name that the TLS hello asked for, where the client dialled an address. The resolver's search list may have completed
    /// it to <see cref="Destination"/>'s.
    /// </summary>
    public string? ServerName { get; set; }

    /// <summary>What became of it.</summary>
    public ConnectionVerdict Verdict { get; set; }

    /// <summary>The network rules' word on it.</summary>
    public NetworkVerdict Network { get; set; }

    /// <summary>Why it was refused or failed.</summary>
    public RefusalReason? Error { get; set; }

    /// <summary>Bytes from the sandbox.</summary>
    public long BytesSent => Interlocked.Read(ref _sent);

    /// <summary>Bytes to the sandbox.</summary>
    public long BytesReceived => Interlocked.Read(ref _received);

    public void Sent(long bytes) => Interlocked.Add(ref _sent, bytes);

    public void Received(long bytes) => Interlocked.Add(ref _received, bytes);
}
