using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http;
using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Watching;

/// <summary>What a watch is to see, and for how long.</summary>
internal sealed record WatchOptions(ResourceType Type, string Namespace, Func<JsonObject, bool> Selects, Func<JsonObject, JsonNode> Present)
{
    /// <summary>Where to begin; null begins with what is there now.</summary>
    public long? After { get; init; }

    public bool Bookmarks { get; init; }

    /// <summary>Marks the end of what was there at the start with a bookmark: a list as a stream.</summary>
    public bool MarksInitialEnd { get; init; }

    public TimeSpan Timeout { get; init; } = TimeSpan.FromMinutes(30);

    public TimeSpan BookmarkInterval { get; init; } = TimeSpan.FromSeconds(5);
}

/// <summary>One open watch: a line of JSON for each event.</summary>
internal sealed class Watch(ObjectStore store, WatchHooks hooks, WatchOptions options, TimeProvider time)
{
    private readonly TaskCompletionSource _expired = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _aborted = new();
    private long _position;

    public void Expire() => _expired.TrySetResult();

    public void Abort() => _aborted.Cancel();

    public async Task RunAsync(HttpContext context)
    {
        context.Response.ContentType = "application/json";
        context.Response.Headers.CacheControl = "no-cache, private";
        using CancellationTokenSource ended = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, _aborted.Token);
        hooks.Add(this);
        try
        {
            await context.Response.StartAsync(ended.Token);
            await context.Response.Body.FlushAsync(ended.Token);
            await StreamAsync(context.Response.Body, ended.Token);
        }
        catch (OperationCanceledException) when (_aborted.IsCancellationRequested)
        {
            context.Abort();
        }
        catch (OperationCanceledException)
        {
            // The client left.
        }
        finally
        {
            hooks.Remove(this);
        }
    }

    private async Task StreamAsync(Stream body, CancellationToken cancellation)
    {
        DateTimeOffset end = time.GetUtcNow() + options.Timeout;
        while (hooks.Frozen is { } frozen) await frozen.WaitAsync(cancellation);
        await SendInitialAsync(body, cancellation);
        DateTimeOffset nextBookmark = time.GetUtcNow() + options.BookmarkInterval;
        while (true)
        {
            while (hooks.Frozen is { } frozen) await frozen.WaitAsync(cancellation);

            if (_expired.Task.IsCompleted)
            {
                await WriteAsync(body, "ERROR", ApiErrors.Expired("The resourceVersion for the provided watch is too old.").ToStatus(), cancellation);
                return;
            }

            if (!await SendChangesAsync(body, cancellation)) return;
            DateTimeOffset now = time.GetUtcNow();
            bool ends = now >= end;
            if (options.Bookmarks && (ends || now >= nextBookmark))
            {
                await WriteAsync(body, "BOOKMARK", Bookmark(initialEnd: false), cancellation);
                nextBookmark = now + options.BookmarkInterval;
            }

            if (ends) return;
            await WaitAsync(options.Bookmarks && nextBookmark < end ? nextBookmark - now : end - now, cancellation);
        }
    }

    private async Task WaitAsync(TimeSpan atMost, CancellationToken cancellation)
    {
        using CancellationTokenSource done = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        await Task.WhenAny(store.WaitForChangeAsync(_position), _expired.Task, Task.Delay(atMost, time, done.Token));
        await done.CancelAsync();
        cancellation.ThrowIfCancellationRequested();
    }

    private async Task SendInitialAsync(Stream body, CancellationToken cancellation)
    {
        if (options.After is { } after)
        {
            _position = after;
            return;
        }

        (IReadOnlyList<JsonObject> items, _position) = store.List(options.Type.StorageResource, options.Namespace);
        foreach (JsonObject item in items.Where(options.Selects)) await WriteAsync(body, "ADDED", options.Present(item), cancellation);
        if (options.MarksInitialEnd) await WriteAsync(body, "BOOKMARK", Bookmark(initialEnd: true), cancellation);
    }

    private async Task<bool> SendChangesAsync(Stream body, CancellationToken cancellation)
    {
        IReadOnlyList<Change>? changes = store.ChangesAfter(_position);
        if (changes is null)
        {
            await WriteAsync(body, "ERROR", ApiErrors.Gone(_position, store.OldestRevision).ToStatus(), cancellation);
            return false;
        }

        foreach (Change change in changes)
        {
            // A freeze takes hold between two events.
            if (hooks.Frozen is not null) return true;
            _position = change.Revision;
            if (change.Key.Resource != options.Type.StorageResource || (options.Namespace.Length > 0 && change.Key.Namespace != options.Namespace)) continue;
            bool before = change.Previous is not null && options.Selects(change.Previous);
            bool after = change.Type != ChangeType.Deleted && options.Selects(change.Object);
            string? type = (before, after) switch
            {
                (false, true) => "ADDED",
                (true, true) => "MODIFIED",
                (true, false) => "DELETED",
                _ => null,
            };
            if (type is not null) await WriteAsync(body, type, options.Present(change.Object), cancellation);
        }

        return true;
    }

    private JsonObject Bookmark(bool initialEnd)
    {
        JsonObject metadata = new() { ["resourceVersion"] = _position.ToString(CultureInfo.InvariantCulture), ["creationTimestamp"] = null };
        if (initialEnd) metadata["annotations"] = new JsonObject { ["k8s.io/initial-events-end"] = "true" };
        return new JsonObject { ["kind"] = options.Type.Kind, ["apiVersion"] = options.Type.ApiVersion, ["metadata"] = metadata };
    }

    private static async Task WriteAsync(Stream body, string type, JsonNode value, CancellationToken cancellation)
    {
        // Stored objects are shared: they get no parent, not even for a moment.
        byte[] line = [.. Encoding.UTF8.GetBytes($"{{\"type\":\"{type}\",\"object\":"), .. value.ToUtf8(), .. "}\n"u8];
        await body.WriteAsync(line, cancellation);
        await body.FlushAsync(cancellation);
    }
}
