using System.Collections.Concurrent;
using System.Net;

namespace Superserve.ApiServer.Services;

/// <summary>Where services are that webhook configurations and APIServices name: there is no cluster network to find them in.</summary>
public sealed class ServiceRoutes
{
    private readonly ConcurrentDictionary<string, EndPoint> _routes = new(StringComparer.Ordinal);

    /// <summary>Sends what is for a service to an address, whichever port is asked for.</summary>
    public void Map(string inNamespace, string name, EndPoint target) => _routes[$"{inNamespace}/{name}"] = target;

    internal EndPoint? Find(string inNamespace, string name) => _routes.GetValueOrDefault($"{inNamespace}/{name}");
}
