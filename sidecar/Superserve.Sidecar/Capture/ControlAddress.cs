using System.Net;

namespace Superserve.Sidecar.Capture;

/// <summary>
/// Addresses by which the sidecar, which may not change the rules, speaks to them: a marked UDP datagram to one of these is an
/// order, its port the argument. The rules take it out of the packet path, so nothing ever listens here.
/// </summary>
internal static class ControlAddress
{
    /// <summary>Others may connect to this port, for <see cref="NetworkRuleset.LeaseSeconds"/>.</summary>
    public static readonly IPAddress AllowPort = IPAddress.Parse("127.83.83.1");

    /// <summary>They may no longer.</summary>
    public static readonly IPAddress WithdrawPort = IPAddress.Parse("127.83.83.2");

    /// <summary>Others may connect to every TCP port, for as long.</summary>
    public static readonly IPAddress Open = IPAddress.Parse("127.83.83.3");

    /// <summary>They may no longer.</summary>
    public static readonly IPAddress Restrict = IPAddress.Parse("127.83.83.4");

    /// <summary>Does nothing but show that the rules are there.</summary>
    public static readonly IPAddress Check = IPAddress.Parse("127.83.83.5");

    /// <summary>All of them, as the rules write it.</summary>
    public const string Range = "127.83.83.0/29";
}
