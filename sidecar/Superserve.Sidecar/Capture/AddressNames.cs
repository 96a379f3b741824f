using System.Net;
using Superserve.Sidecar.Dns;

namespace Superserve.Sidecar.Capture;

/// <summary>The names that the sandbox's DNS gave an address for.</summary>
internal sealed class AddressNames(NameMemory memory, ResolverFile resolvers)
{
    /// <summary>The names, newest first.</summary>
    public IReadOnlyList<string> NamesOf(IPAddress address) => memory.NamesOf(address);

    /// <summary>
    /// The whole name where a client names a host as it was before the resolver's search list completed it: <c>web</c> for
    /// <c>web.agents.svc.cluster.local</c>, whose address it dialled.
    /// </summary>
    public string Complete(IPAddress address, string name)
    {
        IReadOnlyList<string> known = memory.NamesOf(address);
        if (known.Contains(name)) return name;
        foreach (string whole in known)
        {
            bool isLonger = whole.Length > name.Length + 1 && whole[name.Length] == '.' && whole.StartsWith(name, StringComparison.Ordinal);
            if (isLonger && resolvers.Current.Search.Contains(whole[(name.Length + 1)..])) return whole;
        }

        return name;
    }
}
