using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;

namespace Superserve.ApiServer.Serving;

/// <summary>Bodies as JSON, whether they come as JSON or as YAML.</summary>
internal static class RequestBody
{
    public static string MediaType(HttpRequest request) => (request.ContentType ?? "").Split(';')[0].Trim();

    /// <summary>The body, or null where there is none.</summary>
    public static async Task<JsonNode?> ReadAsync(HttpRequest request)
    {
        using MemoryStream buffer = new();
        await request.Body.CopyToAsync(buffer, request.HttpContext.RequestAborted);
        byte[] bytes = buffer.ToArray();
        if (bytes.Length == 0) return null;
        string type = MediaType(request);
        if (type == ProtobufReader.MediaType) return ProtobufReader.Read(bytes);
        if (type.Contains("protobuf", StringComparison.Ordinal) || type.Contains("cbor", StringComparison.Ordinal)) throw ApiErrors.UnsupportedMediaType(type);
        try
        {
            return type.EndsWith("yaml", StringComparison.Ordinal) ? ReadYaml(bytes) : Json.Parse(bytes);
        }
        catch (Exception exception) when (exception is JsonException or YamlDotNet.Core.YamlException or ArgumentException)
        {
            throw ApiErrors.BadRequest($"the object provided is unrecognized (must be of type {type}): {exception.Message}");
        }
    }

    /// <summary>What is called YAML is mostly JSON, which reads faster as such.</summary>
    private static JsonNode? ReadYaml(byte[] bytes)
    {
        if (bytes[0] == '{')
        {
            try
            {
                return Json.Parse(bytes);
            }
            catch (JsonException)
            {
                // YAML's own braces.
            }
        }

        return Yaml.Read(Encoding.UTF8.GetString(bytes));
    }

    public static async Task<JsonObject> ReadObjectAsync(HttpRequest request) =>
        await ReadAsync(request) as JsonObject ?? throw ApiErrors.BadRequest("the body of the request must be an object");
}
