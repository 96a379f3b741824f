using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http;
using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Selectors;
using Superserve.ApiServer.Storage;
using Superserve.ApiServer.Watching;

namespace Superserve.ApiServer.Serving;

/// <summary>Get, list and watch.</summary>
internal sealed class ResourceReader(ObjectStore store, WatchHooks hooks, EmbeddedApiServerOptions options)
{
    public Task GetAsync(HttpContext context, ResourceRequest request)
    {
        JsonObject value = store.Get(request.Type.Key(request.Namespace, request.Name)) ?? throw ApiErrors.NotFound(request.Type, request.Name);
        return Responses.WriteAsync(context, 200, Representation.Of(context.Request, options.Time.GetUtcNow()).One(request.Type, value));
    }

    public Task ListAsync(HttpContext context, ResourceRequest request)
    {
        IQueryCollection query = context.Request.Query;
        Func<JsonObject, bool> selects = Selection(query, request.Type);
        long limit = Number(query["limit"], "limit") ?? 0;
        (IReadOnlyList<JsonObject> items, long revision, string after) = Snapshot(query, request);

        List<JsonObject> page = [];
        JsonObject metadata = new() { ["resourceVersion"] = revision.ToString(CultureInfo.InvariantCulture) };
        foreach (JsonObject item in items.Where(item => string.CompareOrdinal(Path(item), after) > 0).Where(selects))
        {
            if (limit > 0 && page.Count == limit)
            {
                metadata["continue"] = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{revision}:{Path(page[^1])}"));
                metadata["remainingItemCount"] = items.Where(selects).Count(rest => string.CompareOrdinal(Path(rest), Path(page[^1])) > 0);
                break;
            }

            page.Add(item);
        }

        return Responses.WriteAsync(context, 200, Representation.Of(context.Request, options.Time.GetUtcNow()).List(request.Type, page, metadata));
    }

    public Task WatchAsync(HttpContext context, ResourceRequest request)
    {
        if (hooks.TakeRefusal()) throw ApiErrors.Expired("The resourceVersion for the provided watch is too old.");
        IQueryCollection query = context.Request.Query;
        string version = query["resourceVersion"].ToString();
        bool initial = ResourceRequest.IsTrue(query["sendInitialEvents"]);
        Representation representation = Representation.Of(context.Request, options.Time.GetUtcNow());
        WatchOptions watch = new(request.Type, request.Namespace, Selection(query, request.Type), value => representation.One(request.Type, value))
        {
            After = version is "" or "0" || initial ? null : Revision(version),
            Bookmarks = ResourceRequest.IsTrue(query["allowWatchBookmarks"]),
            MarksInitialEnd = initial,
            BookmarkInterval = options.BookmarkInterval,
            Timeout = TimeSpan.FromSeconds(Number(query["timeoutSeconds"], "timeoutSeconds") is > 0 and var seconds ? seconds : 1800),
        };
        return new Watch(store, hooks, watch, options.Time).RunAsync(context);
    }

    /// <summary>What a collection request selects, for deletecollection too.</summary>
    public static Func<JsonObject, bool> Selection(IQueryCollection query, ResourceType type)
    {
        LabelSelector labels = LabelSelector.Parse(query["labelSelector"]);
        FieldSelector fields = FieldSelector.Parse(query["fieldSelector"], type);
        return value => labels.Matches(value) && fields.Matches(value);
    }

    private (IReadOnlyList<JsonObject> Items, long Revision, string After) Snapshot(IQueryCollection query, ResourceRequest request)
    {
        string resource = request.Type.StorageResource;
        if (query["continue"].ToString() is { Length: > 0 } token)
        {
            (long revision, string after) = ParseContinue(token);
            return (store.ListAt(resource, request.Namespace, revision), revision, after);
        }

        string version = query["resourceVersion"].ToString();
        if (version is not ("" or "0"))
        {
            long wanted = Revision(version);
            if (query["resourceVersionMatch"] == "Exact") return (store.ListAt(resource, request.Namespace, wanted), wanted, "");
            if (wanted > store.Revision) throw new ApiException(504, "Timeout", $"Too large resource version: {wanted}, current: {store.Revision}");
        }

        (IReadOnlyList<JsonObject> items, long now) = store.List(resource, request.Namespace);
        return (items, now, "");
    }

    private static (long Revision, string After) ParseContinue(string token)
    {
        try
        {
            string[] parts = Encoding.UTF8.GetString(Convert.FromBase64String(token)).Split(':', 2);
            return (long.Parse(parts[0], CultureInfo.InvariantCulture), parts[1]);
        }
        catch (Exception exception) when (exception is FormatException or IndexOutOfRangeException)
        {
            throw ApiErrors.BadRequest("continue key is not valid");
        }
    }

    private static string Path(JsonObject value) => $"{value.Namespace()}/{value.Name()}";

    private static long Revision(string text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long revision) ? revision : throw ApiErrors.BadRequest($"Invalid value: \"{text}\": invalid resource version");

    private static long? Number(string? text, string name) => string.IsNullOrEmpty(text) ? null
        : long.TryParse(text, CultureInfo.InvariantCulture, out long number) ? number : throw ApiErrors.BadRequest($"{name} must be a number");
}
