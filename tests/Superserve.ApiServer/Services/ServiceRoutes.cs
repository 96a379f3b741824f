using System.Collections.Concurrent;
using System.Net;
using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Services;

/// <summary>
/// Where services are that webhook configurations and APIServices name: there is no cluster network to find them in. What is not
/// mapped is looked for in the Endpoints of the service's name.
/// </summary>
public sealed class ServiceRoutes
{
    private static readonly ResourceType Service = BuiltInTypes.Get("", "services");
    private static readonly ResourceType Endpoints = BuiltInTypes.Get("", "endpoints");

    private readonly ObjectStore _store;
    private readonly ConcurrentDictionary<string, EndPoint> _routes = new(StringComparer.Ordinal);

    internal ServiceRoutes(ObjectStore store) => _store = store;

    /// <summary>Sends what is for a service to an address, whichever port is asked for.</summary>
    public void Map(string inNamespace, string name, EndPoint target) => _routes[$"{inNamespace}/{name}"] = target;

    internal EndPoint? Find(string inNamespace, string name, int port) => _routes.GetValueOrDefault($"{inNamespace}/{name}") ?? Endpoint(inNamespace, name, port);

    /// <summary>The port is the service's; the one of the same name in its Endpoints is dialled.</summary>
    private IPEndPoint? Endpoint(string inNamespace, string name, int port)
    {
        string? portName = _store.Get(Service.Key(inNamespace, name)).Objects("spec", "ports").FirstOrDefault(entry => entry.Number("port") == port)?.Text("name");
        return _store.Get(Endpoints.Key(inNamespace, name)).Objects("subsets")
            .SelectMany(subset => subset.Objects("ports").Where(entry => entry.Text("name") == portName).Select(entry => (Address: subset.Objects("addresses").FirstOrDefault()?.Text("ip"), Port: entry.Number("port"))))
            .Where(found => found is { Address: not null, Port: not null })
            .Select(found => new IPEndPoint(IPAddress.Parse(found.Address!), (int)found.Port!))
            .FirstOrDefault();
    }
}
