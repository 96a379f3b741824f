using Microsoft.AspNetCore.Http;
using Superserve.ApiServer.Resources;

namespace Superserve.ApiServer.Serving;

/// <summary>What a path and a method ask for.</summary>
internal sealed record ResourceRequest(string Verb, ResourceType Type, string Namespace, string Name, string Subresource)
{
    /// <summary>Reads /api/v1/… and /apis/GROUP/VERSION/…; null where the path is no resource's.</summary>
    public static ResourceRequest? Parse(HttpRequest request, ResourceRegistry registry)
    {
        if (ResourcePath.Parse(request.Path.Value ?? "") is not { } path) return null;
        ResourceType? type = registry.Find(path.Group, path.Version, path.Resource);
        if (type is null || path.IsTooLong || (!type.Namespaced && path.Namespace.Length > 0)) throw ApiErrors.NoSuchPath();
        if (type.Namespaced && path.Name.Length > 0 && path.Namespace.Length == 0) throw ApiErrors.NoSuchPath();
        if (path.Subresource.Length > 0 && !type.Subresources.Contains(path.Subresource)) throw ApiErrors.NoSuchPath();
        return new ResourceRequest(VerbOf(request, path.Name), type, path.Namespace, path.Name, path.Subresource);
    }

    internal static string VerbOf(HttpRequest request, string name) => request.Method switch
    {
        "GET" or "HEAD" when IsTrue(request.Query["watch"]) && name.Length == 0 => "watch",
        "GET" or "HEAD" => name.Length == 0 ? "list" : "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => name.Length == 0 ? "deletecollection" : "delete",
        _ => throw ApiErrors.MethodNotAllowed(),
    };

    internal static bool IsTrue(string? value) => value is "true" or "1" or "True";
}
