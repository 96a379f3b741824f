using System.Net.Http.Headers;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;
using Superserve.ApiServer.Authentication;
using Superserve.ApiServer.Services;
using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Aggregation;

/// <summary>
/// Passes requests on to the servers of APIServices. They are authorized here first, and say by X-Remote-* headers who asks;
/// the front-proxy certificate tells the other server that the headers are true.
/// </summary>
internal sealed class AggregatedApis(ObjectStore store, ServiceClients clients)
{
    private const string Resource = "apiregistration.k8s.io/apiservices";

    private static readonly string[] NotPassedOn = ["Authorization", "Host", "Connection", "Transfer-Encoding", "Content-Length", "Content-Type"];

    public IEnumerable<AggregatedApi> All =>
        store.List(Resource).Items.Where(definition => definition.Object("spec", "service") is not null).Select(definition => new AggregatedApi(definition));

    /// <summary>The API that a path belongs to; null where this server answers itself.</summary>
    public AggregatedApi? Find(string path) =>
        path.Split('/', StringSplitOptions.RemoveEmptyEntries) is ["apis", var group, var version, ..] ? All.FirstOrDefault(api => api.Group == group && api.Version == version) : null;

    public async Task ForwardAsync(HttpContext context, AggregatedApi api, UserInfo user)
    {
        HttpRequest asked = context.Request;
        using HttpRequestMessage request = Request(api, new HttpMethod(asked.Method), $"{asked.Path}{asked.QueryString}".TrimStart('/'), user);
        if (asked.ContentLength is > 0 || asked.Headers.TransferEncoding.Count > 0)
        {
            request.Content = new StreamContent(asked.Body);
            if (asked.ContentType is not null) request.Content.Headers.ContentType = MediaTypeHeaderValue.Parse(asked.ContentType);
        }

        foreach ((string name, StringValues values) in asked.Headers)
        {
            bool speaksOfUser = name.StartsWith("X-Remote-", StringComparison.OrdinalIgnoreCase) || name.StartsWith("Impersonate-", StringComparison.OrdinalIgnoreCase);
            if (!speaksOfUser && !NotPassedOn.Contains(name, StringComparer.OrdinalIgnoreCase)) request.Headers.TryAddWithoutValidation(name, values.AsEnumerable());
        }

        HttpResponseMessage answer;
        try
        {
            answer = await clients.For(api.Connection).SendAsync(request, HttpCompletionOption.ResponseHeadersRead, context.RequestAborted);
        }
        catch (HttpRequestException exception)
        {
            throw new ApiException(503, "ServiceUnavailable", $"error trying to reach service: {exception.InnerException?.Message ?? exception.Message}");
        }

        using (answer)
        {
            context.Response.StatusCode = (int)answer.StatusCode;
            foreach ((string name, IEnumerable<string> values) in answer.Headers.NonValidated.Concat(answer.Content.Headers.NonValidated).Select(header => (header.Key, header.Value.AsEnumerable())))
            {
                if (name is not ("Transfer-Encoding" or "Connection" or "Date" or "Server")) context.Response.Headers[name] = values.ToArray();
            }

            await CopyAsync(await answer.Content.ReadAsStreamAsync(context.RequestAborted), context);
        }
    }

    /// <summary>The resources of an API as its server lists them; null where it does not answer.</summary>
    public Task<JsonObject?> DiscoverAsync(AggregatedApi api, CancellationToken cancellation) => GetAsync(api, api.Path, "system:kube-aggregator", cancellation);

    /// <summary>What an API's server says of it under /openapi/v3: the index's entry, or the document; null where it says nothing.</summary>
    public Task<JsonObject?> OpenApiAsync(AggregatedApi api, bool isIndex, CancellationToken cancellation) =>
        GetAsync(api, isIndex ? "openapi/v3" : $"openapi/v3/{api.Path}", "system:aggregator", cancellation);

    private async Task<JsonObject?> GetAsync(AggregatedApi api, string path, string user, CancellationToken cancellation)
    {
        using HttpRequestMessage request = Request(api, HttpMethod.Get, path, new UserInfo(user, "", []));
        request.Headers.Accept.ParseAdd("application/json");
        try
        {
            using HttpResponseMessage answer = await clients.For(api.Connection).SendAsync(request, cancellation);
            return answer.IsSuccessStatusCode ? Json.Parse(await answer.Content.ReadAsByteArrayAsync(cancellation)) as JsonObject : null;
        }
        catch (Exception exception) when (exception is HttpRequestException or System.Text.Json.JsonException)
        {
            return null;
        }
    }

    private static HttpRequestMessage Request(AggregatedApi api, HttpMethod method, string path, UserInfo user)
    {
        HttpRequestMessage request = new(method, new Uri(ServiceClients.AddressOf(api.Service), path));
        request.Headers.ConnectionClose = true; // As HeaderSplitter wants it.
        request.Headers.Add("X-Remote-User", user.Name);
        foreach (string group in user.Groups) request.Headers.TryAddWithoutValidation("X-Remote-Group", group);
        foreach ((string key, IReadOnlyList<string> values) in user.Extra) request.Headers.TryAddWithoutValidation($"X-Remote-Extra-{Uri.EscapeDataString(key)}", values);
        return request;
    }

    /// <summary>Copies as it comes: a watch is a stream.</summary>
    private static async Task CopyAsync(Stream from, HttpContext context)
    {
        byte[] buffer = new byte[16 * 1024];
        while (await from.ReadAsync(buffer, context.RequestAborted) is > 0 and var count)
        {
            await context.Response.Body.WriteAsync(buffer.AsMemory(0, count), context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
        }
    }
}
