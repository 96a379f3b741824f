using System.Net;

namespace Superserve.Sidecar.Capture;

/// <summary>The names that the sandbox's DNS gave an address for.</summary>
internal sealed class AddressNames
{
    private readonly string[] _none = [];

    /// <summary>The names, newest first.</summary>
    public IReadOnlyList<string> NamesOf(IPAddress address) => _none;

    /// <summary>
    /// The whole name where a client names a host as it was before the resolver's search list completed it: <c>web</c> for
    /// <c>web.agents.svc.cluster.local</c>, whose address it dialled.
    /// </summary>
    public string Complete(IPAddress address, string name) => NamesOf(address).FirstOrDefault(known => known == name) ?? name;
}
