using System.Buffers;
using System.Globalization;
using System.Text.Json;
using k8s;
using k8s.Models;
using Microsoft.Extensions.Logging;
using Superserve.Kubernetes.Api;

namespace Superserve.Kubernetes.Caching;

/// <summary>
/// Keeps a <see cref="Store{T}"/> equal to the API server's objects and tells handlers what changed:
/// list in pages, make the store equal to the list, watch from the list's resource version, resume where the watch ended;
/// list again when the server no longer knows that version.
/// </summary>
public sealed partial class Informer<T>
    where T : class, IKubernetesObject<V1ObjectMeta>
{
    private static readonly TimeSpan MaxRetryAfter = TimeSpan.FromMinutes(1);

    private readonly ResourceKind _kind = ResourceKind.Of<T>();
    private readonly KubernetesConnection _connection;
    private readonly InformerOptions _options;
    private readonly Func<T, T>? _transform;
    private readonly KubernetesMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly List<Action<Change<T>>> _handlers = [];
    private readonly TaskCompletionSource _synced = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _started;
    private int _failures;

    /// <summary>The version that the store has seen everything up to; null when only a list can tell.</summary>
    private string? _resumeAt;

    /// <summary>Runs nothing yet. <paramref name="transform"/> may make an object smaller before it is kept; it sees all <c>managedFields</c>.</summary>
    public Informer(
        KubernetesConnection connection,
        InformerOptions options,
        KubernetesMetrics metrics,
        TimeProvider time,
        ILogger<Informer<T>> logger,
        Func<T, T>? transform = null)
    {
        _connection = connection;
        _options = options;
        _transform = transform;
        _metrics = metrics;
        _time = time;
        _logger = logger;
    }

    /// <summary>What is known. Empty until the first list is in.</summary>
    public Store<T> Store { get; } = new();

    /// <summary>Completes when the first list is in the store and its handlers have run.</summary>
    public Task Synced => _synced.Task;

    /// <summary>Why the server could not be asked, the last time; null since it answered.</summary>
    public Exception? Failure { get; private set; }

    /// <summary>Whether the first list is in.</summary>
    public bool HasSynced => _synced.Task.IsCompleted;

    /// <summary>
    /// Calls <paramref name="handler"/> for every change, one after the other, after the store has it. It must be quick: it adds a
    /// key to a queue and returns.
    /// </summary>
    public void Subscribe(Action<Change<T>> handler)
    {
        if (_started) throw new InvalidOperationException("A handler that comes after the start would miss what is already known.");
        _handlers.Add(handler);
    }

    /// <summary>Runs until cancelled, and then always throws <see cref="OperationCanceledException"/>.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        _started = true;
        while (true)
        {
            TimeSpan? retryAfter = null;
            try
            {
                _resumeAt ??= await ListAsync(cancellationToken);
                _metrics.WatchEnded(_kind.QualifiedName, await WatchAsync(_resumeAt, cancellationToken));
            }
            catch (Exception exception) when (!cancellationToken.IsCancellationRequested)
            {
                // Whatever it was, the answer is to wait and to try again: an informer that gives up is a controller that is blind.
                bool expired = exception is ApiException { IsExpired: true };
                if (!expired) Failure = exception;
                if (expired) _resumeAt = null;
                retryAfter = (exception as ApiException)?.RetryAfter;
                _metrics.WatchEnded(_kind.QualifiedName, expired ? "expired" : "error");
                if (expired) LogExpired(_kind.QualifiedName);
                else LogFailed(_kind.QualifiedName, exception.Message);
            }

            cancellationToken.ThrowIfCancellationRequested();
            TimeSpan wait = _options.Backoff.After(++_failures);
            if (retryAfter > wait) wait = retryAfter.Value < MaxRetryAfter ? retryAfter.Value : MaxRetryAfter;
            await Task.Delay(wait, _time, cancellationToken);
        }
    }

    /// <summary>Makes the store equal to what the server has, and returns the version of that.</summary>
    private async Task<string> ListAsync(CancellationToken cancellationToken)
    {
        Dictionary<ObjectKey, T> listed = [];
        HashSet<ObjectKey> unreadable = [];
        string? next = null;
        int restarts = 0;
        V1ListMeta metadata;
        do
        {
            // No resourceVersion: the list is never older than the store, whichever replica of the API server answers.
            // When even a second list outlives its continue token, all objects come at once.
            string query = Query(("limit", restarts > 1 ? null : Number(_options.PageSize)), ("continue", next));
            try
            {
                ListPage page = await _connection.SendAsync<ListPage>(HttpMethod.Get, query, cancellationToken: cancellationToken);
                metadata = page.Metadata;
                foreach (JsonElement item in page.Items ?? [])
                {
                    if (TryRead(item) is { } value) listed[ObjectKey.Of(value)] = value;
                    else if (KeyOf(item) is { } key) unreadable.Add(key);
                }
            }
            catch (ApiException exception) when (exception.IsExpired && next is not null)
            {
                listed.Clear();
                unreadable.Clear();
                next = null;
                restarts++;
                metadata = new V1ListMeta { ContinueProperty = "again" };
                continue;
            }

            next = metadata.ContinueProperty;
        }
        while (!string.IsNullOrEmpty(metadata.ContinueProperty));

        Failure = null;
        foreach (Change<T> change in Store.Replace(listed, unreadable)) Notify(change);
        if (_synced.TrySetResult()) LogSynced(_options.FieldSelector is null ? LogLevel.Information : LogLevel.Debug, _kind.QualifiedName, listed.Count);
        return metadata.ResourceVersion ?? throw new InvalidDataException("A list without a resourceVersion cannot be watched.");
    }

    /// <summary>Follows one watch to its end and returns why it ended.</summary>
    private async Task<string> WatchAsync(string from, CancellationToken cancellationToken)
    {
        TimeSpan timeout = _options.WatchTimeout * (1 + (Backoff.Fraction() / 2));
        string path = Query(
            ("watch", "true"), ("resourceVersion", from), ("allowWatchBookmarks", "true"), ("timeoutSeconds", Number((int)timeout.TotalSeconds)));

        // A connection can die without a word; then this is what ends the watch.
        using CancellationTokenSource deadline = new(timeout + _options.DeadlineSlack, _time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        long opened = _time.GetTimestamp();
        try
        {
            using HttpResponseMessage response = await _connection.OpenAsync(HttpMethod.Get, path, null, "", either.Token);
            await using Stream stream = await response.Content.ReadAsStreamAsync(either.Token);
            await foreach (ReadOnlySequence<byte> line in WatchLines.ReadAsync(stream, either.Token))
            {
                if (TryTake(line)) continue;
                _resumeAt = null;
                return "unreadable";
            }

            return "closed";
        }
        catch (EndOfStreamException)
        {
            return "truncated";
        }
        catch (OperationCanceledException) when (deadline.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            return "deadline";
        }
        finally
        {
            // A quiet watch that lived for a while is as good as one with events; one that ends at once is not.
            if (_time.GetElapsedTime(opened) > _options.Backoff.Max) _failures = 0;
        }
    }

    /// <summary>Takes one event; false when it makes no sense, so that nothing after it can be trusted.</summary>
    private bool TryTake(ReadOnlySequence<byte> line)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(line);
        }
        catch (JsonException)
        {
            return false;
        }

        using (document)
        {
            if (document.RootElement.ValueKind != JsonValueKind.Object
                || !document.RootElement.TryGetProperty("type", out JsonElement type)
                || !document.RootElement.TryGetProperty("object", out JsonElement item)) return false;
            if (type.ValueEquals("ERROR"))
            {
                // 410 or not, after an error only a list tells for sure what is there.
                _resumeAt = null;
                throw ApiException.From(item.Deserialize<V1Status>(_connection.Json) ?? new V1Status());
            }

            if (VersionOf(item) is not { Length: > 0 } version) return false;
            if (!type.ValueEquals("BOOKMARK") && TryRead(item) is { } value)
                foreach (Change<T> change in type.ValueEquals("DELETED") ? Store.Remove(value) : Store.Set(value)) Notify(change);
            _resumeAt = version;
            _failures = 0;
            Failure = null;
            return true;
        }
    }

    /// <summary>Null for an object that is not of this form. One such object must not blind the informer to all others.</summary>
    private T? TryRead(JsonElement item)
    {
        try
        {
            T? value = item.Deserialize<T>(_connection.Json);
            if (value?.Metadata?.Name is null) return null;
            value.ApiVersion ??= _kind.ApiVersion;
            value.Kind ??= _kind.Kind;
            if (_transform is not null) value = _transform(value);
            value.Metadata.ManagedFields = value.Metadata.ManagedFields?.Where(entry => entry.Manager == _options.FieldManager).ToList();
            if (value.Metadata.ManagedFields?.Count == 0) value.Metadata.ManagedFields = null;
            return value;
        }
        catch (Exception exception) when (exception is JsonException or FormatException or InvalidOperationException or NotSupportedException)
        {
            _metrics.ObjectUnreadable(_kind.QualifiedName);
            LogUnreadable(_kind.QualifiedName, KeyOf(item)?.ToString() ?? "without a name");
            return null;
        }
    }

    private void Notify(Change<T> change)
    {
        foreach (Action<Change<T>> handler in _handlers)
        {
            try
            {
                handler(change);
            }
            catch (Exception exception)
            {
                // One handler's mistake must not cost the others their event, nor the store its watch.
                LogHandlerFailed(exception, _kind.QualifiedName, ObjectKey.Of(change.Object));
            }
        }
    }

    private string Query(params ReadOnlySpan<(string Name, string? Value)> parameters)
    {
        List<string> parts = [];
        (string, string?)[] all = [.. parameters, ("labelSelector", _options.LabelSelector), ("fieldSelector", _options.FieldSelector)];
        foreach ((string name, string? value) in all)
            if (!string.IsNullOrEmpty(value)) parts.Add($"{name}={Uri.EscapeDataString(value)}");
        return $"{_kind.CollectionPath(_options.Namespace)}?{string.Join('&', parts)}";
    }

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static string? VersionOf(JsonElement item) => Metadata(item, "resourceVersion");

    private static ObjectKey? KeyOf(JsonElement item) =>
        Metadata(item, "name") is { } name ? new ObjectKey(Metadata(item, "namespace") ?? "", name) : null;

    private static string? Metadata(JsonElement item, string field) =>
        item.ValueKind == JsonValueKind.Object && item.TryGetProperty("metadata", out JsonElement metadata) && metadata.ValueKind == JsonValueKind.Object
        && metadata.TryGetProperty(field, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    [LoggerMessage(EventId = 100, Message = "The cache of {Kind} is filled with {Count} objects.")]
    private partial void LogSynced(LogLevel level, string kind, int count);

    [LoggerMessage(101, LogLevel.Debug, "The watch of {Kind} is too far behind; it starts again from a new list.")]
    private partial void LogExpired(string kind);

    [LoggerMessage(102, LogLevel.Warning, "Listing or watching {Kind} failed and is tried again; until then the cache may be old. {Error}")]
    private partial void LogFailed(string kind, string error);

    [LoggerMessage(103, LogLevel.Error, "An object of {Kind}, {Key}, cannot be read and is left as it was last known. Compare it with its schema.")]
    private partial void LogUnreadable(string kind, string key);

    [LoggerMessage(104, LogLevel.Error, "A handler of {Kind} failed for {Key}: it missed this change.")]
    private partial void LogHandlerFailed(Exception exception, string kind, ObjectKey key);

    private sealed record ListPage(V1ListMeta Metadata, List<JsonElement>? Items);
}
