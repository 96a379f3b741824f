using Microsoft.AspNetCore.Http;

namespace Superserve.ApiServer.Serving;

/// <summary>Writes JSON answers (YAML where that alone is accepted), with warnings as headers.</summary>
internal static class Responses
{
    public static async Task WriteAsync(HttpContext context, int code, JsonNode value, IEnumerable<string>? warnings = null, string contentType = "application/json")
    {
        context.Response.StatusCode = code;
        foreach (string warning in (warnings ?? []).Distinct())
        {
            string text = warning.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).ReplaceLineEndings(" ");
            context.Response.Headers.Append("Warning", $"299 - \"{text}\"");
        }

        if (context.Request.Headers.Accept.ToString() == "application/yaml")
        {
            context.Response.ContentType = "application/yaml";
            await context.Response.WriteAsync(Yaml.Write(value));
            return;
        }

        context.Response.ContentType = contentType;
        byte[] bytes = value.ToUtf8();
        context.Response.ContentLength = bytes.Length;
        await context.Response.Body.WriteAsync(bytes, context.RequestAborted);
    }

    public static Task WriteAsync(HttpContext context, ApiException exception, IEnumerable<string>? warnings = null) =>
        WriteAsync(context, exception.Code, exception.ToStatus(), warnings);
}
