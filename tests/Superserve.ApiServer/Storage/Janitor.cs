using System.Threading.Channels;
using Superserve.ApiServer.Resources;

namespace Superserve.ApiServer.Storage;

/// <summary>
/// What controllers do in the background of a real cluster: removes dependents of what is gone, the content of deleted
/// namespaces, and the objects of deleted CRDs.
/// </summary>
internal sealed class Janitor : IAsyncDisposable
{
    private const string Foreground = "foregroundDeletion";
    public const string CustomResourceCleanup = "customresourcecleanup.apiextensions.k8s.io";

    private static readonly ResourceType Namespaces = BuiltInTypes.Get("", "namespaces");
    private static readonly ResourceType Definitions = BuiltInTypes.Get("apiextensions.k8s.io", "customresourcedefinitions");

    private readonly ObjectStore _store;
    private readonly ResourceRegistry _registry;
    private readonly TimeProvider _time;
    private readonly Channel<Change> _changes = Channel.CreateUnbounded<Change>();
    private readonly Task _loop;

    public Janitor(ObjectStore store, ResourceRegistry registry, TimeProvider time)
    {
        _store = store;
        _registry = registry;
        _time = time;
        store.Committed += change => _changes.Writer.TryWrite(change);
        _loop = Task.Run(RunAsync);
    }

    public async ValueTask DisposeAsync()
    {
        _changes.Writer.TryComplete();
        await _loop;
    }

    private async Task RunAsync()
    {
        await foreach (Change change in _changes.Reader.ReadAllAsync()) React(change);
    }

    private void React(Change change)
    {
        JsonObject value = change.Object;
        if (change.Type == ChangeType.Deleted)
        {
            DeleteOrphans(value.Uid());
            foreach (JsonObject owner in value.Objects("metadata", "ownerReferences")) FinishForeground(owner.Text("uid") ?? "");
            if (change.Key.Namespace.Length > 0) SweepNamespace(change.Key.Namespace);
            SweepDefinition(change.Key.Resource);
            return;
        }

        if (change.Type == ChangeType.Added && value.Array("metadata", "ownerReferences") is { Count: > 0 }) DeleteIfOrphan(change.Key.Resource, value);
        if (!value.IsBeingDeleted()) return;
        if (change.Key.Resource == Namespaces.StorageResource) SweepNamespace(change.Key.Name);
        else if (change.Key.Resource == Definitions.StorageResource) SweepDefinition($"{value.Text("spec", "group")}/{value.Text("spec", "names", "plural")}");
        if (value.Texts("metadata", "finalizers").Contains(Foreground))
        {
            foreach ((string resource, JsonObject dependent) in DependentsOf(value.Uid())) Delete(resource, dependent);
            FinishForeground(value.Uid());
        }
    }

    private void DeleteOrphans(string uid)
    {
        foreach ((string resource, JsonObject dependent) in DependentsOf(uid)) DeleteIfOrphan(resource, dependent);
    }

    private void DeleteIfOrphan(string resource, JsonObject dependent)
    {
        if (_registry.FindStored(resource) is not { } type) return;

        // Judged by what it is now: it may have been given another owner, or none, since the change that led here.
        while (_store.Get(type.Key(dependent.Namespace(), dependent.Name())) is { } live && live.Uid() == dependent.Uid())
        {
            if (live.Array("metadata", "ownerReferences") is not { Count: > 0 }) return;
            HashSet<string> uids = [.. _store.All().Select(item => item.Value.Uid())];
            if (live.Objects("metadata", "ownerReferences").Any(owner => uids.Contains(owner.Text("uid") ?? ""))) return;
            if (Deletion.Step(_store, type, live, _time.GetUtcNow()) is not null) return;
        }
    }

    private void FinishForeground(string uid)
    {
        foreach ((string resource, JsonObject owner) in _store.All())
        {
            if (owner.Uid() != uid || !owner.IsBeingDeleted() || !owner.Texts("metadata", "finalizers").Contains(Foreground)) continue;
            if (!DependentsOf(uid).Any()) Release(resource, owner, Foreground);
        }
    }

    private void SweepNamespace(string name)
    {
        if (_store.Get(Namespaces.Key("", name)) is not { } swept || !swept.IsBeingDeleted()) return;
        bool empty = true;
        foreach ((string resource, JsonObject value) in _store.All().Where(item => item.Value.Namespace() == name).ToArray())
        {
            empty = false;
            if (!value.IsBeingDeleted()) Delete(resource, value);
        }

        if (!empty || swept.HasFinalizers()) return;
        JsonObject released = swept.Copy();
        released.Object("spec")?.Remove("finalizers");
        _store.Remove(Namespaces.Key("", name), swept, released);
    }

    private void SweepDefinition(string resource)
    {
        string[] parts = resource.Split('/');
        if (_store.Get(Definitions.Key("", $"{parts[1]}.{parts[0]}")) is not { } definition || !definition.IsBeingDeleted()) return;
        IReadOnlyList<JsonObject> items = _store.List(resource).Items;
        foreach (JsonObject item in items.Where(item => !item.IsBeingDeleted())) Delete(resource, item);
        if (items.Count == 0) Release(Definitions.StorageResource, definition, CustomResourceCleanup);
    }

    private void Release(string resource, JsonObject value, string finalizer)
    {
        if (_registry.FindStored(resource) is not { } type) return;
        JsonObject copy = value.Copy();
        JsonArray finalizers = Json.ToArray(copy.Texts("metadata", "finalizers").Where(name => name != finalizer));
        if (finalizers.Count > 0) copy.Metadata()["finalizers"] = finalizers;
        else copy.Metadata().Remove("finalizers");
        ObjectKey key = type.Key(value.Namespace(), value.Name());
        if (Deletion.HoldsOn(type, copy)) _store.Replace(key, value, copy);
        else _store.Remove(key, value, copy);
    }

    private void Delete(string resource, JsonObject value)
    {
        if (_registry.FindStored(resource) is not { } type) return;
        while (_store.Get(type.Key(value.Namespace(), value.Name())) is { } live && live.Uid() == value.Uid())
        {
            if (Deletion.Step(_store, type, live, _time.GetUtcNow()) is not null) return;
        }
    }

    private IEnumerable<(string Resource, JsonObject Value)> DependentsOf(string uid) =>
        _store.All().Where(item => item.Value.Objects("metadata", "ownerReferences").Any(owner => owner.Text("uid") == uid));
}
