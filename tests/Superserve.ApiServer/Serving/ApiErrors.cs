using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Schema;

namespace Superserve.ApiServer.Serving;

/// <summary>The errors of a Kubernetes API server, in its words: clients and people match on them.</summary>
internal static class ApiErrors
{
    public static ApiException NotFound(ResourceType type, string name) =>
        new(404, "NotFound", $"{Qualified(type)} \"{name}\" not found", Details(type, name));

    public static ApiException NoSuchPath() => new(404, "NotFound", "the server could not find the requested resource", []);

    public static ApiException AlreadyExists(ResourceType type, string name) =>
        new(409, "AlreadyExists", $"{Qualified(type)} \"{name}\" already exists", Details(type, name));

    public static ApiException Modified(ResourceType type, string name) => Conflict(type, name,
        "the object has been modified; please apply your changes to the latest version and try again");

    public static ApiException Conflict(ResourceType type, string name, string why) =>
        new(409, "Conflict", $"Operation cannot be fulfilled on {Qualified(type)} \"{name}\": {why}", Details(type, name));

    public static ApiException BadRequest(string message) => new(400, "BadRequest", message);

    public static ApiException Unauthorized() => new(401, "Unauthorized", "Unauthorized");

    public static ApiException Forbidden(string message) => new(403, "Forbidden", message);

    public static ApiException Forbidden(ResourceType type, string name, string why) =>
        new(403, "Forbidden", $"{Qualified(type)} \"{name}\" is forbidden: {why}", Details(type, name));

    public static ApiException MethodNotAllowed() => new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", []);

    public static ApiException UnsupportedMediaType(string type) =>
        new(415, "UnsupportedMediaType", $"the body of the request was in an unknown format - accepted media types include: application/json, application/yaml (got {type})");

    public static ApiException Expired(string message) => new(410, "Expired", message);

    public static ApiException Gone(long asked, long oldest) => new(410, "Expired", $"too old resource version: {asked} ({oldest})");

    public static ApiException Internal(string message) => new(500, "InternalError", $"Internal error occurred: {message}",
        new JsonObject { ["causes"] = new JsonArray(new JsonObject { ["message"] = message }) });

    /// <summary>422 with every violation as a cause.</summary>
    public static ApiException Invalid(ResourceType type, string name, IReadOnlyList<Violation> violations)
    {
        string list = violations.Count == 1 ? violations[0].ToString() : $"[{string.Join(", ", violations)}]";
        JsonObject details = Details(type, name);
        details["kind"] = type.Kind;
        details["causes"] = new JsonArray([.. violations.Select(violation => new JsonObject
        {
            ["reason"] = violation.Reason,
            ["message"] = violation.Message,
            ["field"] = violation.Field,
        })]);
        string kind = type.Group.Length == 0 ? type.Kind : $"{type.Kind}.{type.Group}";
        return new ApiException(422, "Invalid", $"{kind} \"{name}\" is invalid: {list}", details);
    }

    private static string Qualified(ResourceType type) => type.Group.Length == 0 ? type.Resource : $"{type.Resource}.{type.Group}";

    private static JsonObject Details(ResourceType type, string name)
    {
        JsonObject details = new() { ["name"] = name };
        if (type.Group.Length > 0) details["group"] = type.Group;
        details["kind"] = type.Resource;
        return details;
    }
}
