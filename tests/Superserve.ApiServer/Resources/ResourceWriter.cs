using Superserve.ApiServer.Admission;
using Superserve.ApiServer.Apply;
using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Resources;

/// <summary>
/// Every write of a user: from what was sent to what is stored. The order is the real server's: prune and default, mutating
/// webhooks, identity (a UID, a generated name), validation, validating webhooks, managed fields, storage.
/// </summary>
internal sealed class ResourceWriter(ObjectStore store, AdmissionChain admission, TimeProvider time)
{
    private const int Attempts = 20;

    private static readonly ResourceType Namespaces = BuiltInTypes.Get("", "namespaces");

    private readonly Normalizer _normalizer = new(store);

    public async Task<JsonObject> CreateAsync(WriteRequest request, JsonObject sent, CancellationToken cancellation)
    {
        JsonObject value = ReceivedObject.Read(request, sent);
        JsonObject metadata = value.Metadata();
        if (metadata.Text("resourceVersion") is { Length: > 0 }) throw ApiErrors.BadRequest("resourceVersion should not be set on objects to be created");
        Normalizer.Prune(request, value);
        metadata.Remove("managedFields");
        return await CreateReceivedAsync(request, value, applied: false, cancellation);
    }

    /// <summary>A change of what is there: <paramref name="change"/> makes the new object out of the live one.</summary>
    public async Task<JsonObject> UpdateAsync(WriteRequest request, Func<JsonObject, JsonObject> change, CancellationToken cancellation)
    {
        for (int attempt = 0; attempt < Attempts; attempt++)
        {
            JsonObject live = store.Get(Key(request)) ?? throw ApiErrors.NotFound(request.Type, request.Name);
            JsonObject changed = ReceivedObject.Read(request, change(live));
            if (changed.ResourceVersion() is { Length: > 0 } version && version != live.ResourceVersion()) throw ApiErrors.Modified(request.Type, request.Name);
            Normalizer.Prune(request, changed);
            if (await TryReplaceAsync(request, live, changed, applied: false, cancellation) is { } stored) return stored;
        }

        throw ApiErrors.Modified(request.Type, request.Name);
    }

    /// <summary>Server-side apply. The second value is whether the object is new.</summary>
    public async Task<(JsonObject Value, bool Created)> ApplyAsync(WriteRequest request, JsonObject sent, CancellationToken cancellation)
    {
        JsonObject applied = ReceivedObject.Read(request, sent);
        if (applied.Array("metadata", "managedFields") is { Count: > 0 }) throw ApiErrors.BadRequest("metadata.managedFields must be nil");
        applied.Metadata().Remove("managedFields");
        Normalizer.Prune(request, applied);
        if (request.Subresource == "status") UpdateScope.KeepStatusAlone(applied);
        else if (request.Type.HasStatus) applied.Remove("status");

        Manager manager = new(request.FieldManager, true, request.Type.ApiVersion, request.Subresource);
        Shape shape = ManagedFields.ShapeOf(request.Type);
        for (int attempt = 0; attempt < Attempts; attempt++)
        {
            if (store.Get(Key(request)) is not { } live)
            {
                if (request.Subresource.Length > 0) throw ApiErrors.NotFound(request.Type, request.Name);
                request.BeforeCreate?.Invoke();
                applied.Metadata()["name"] = request.Name;
                JsonObject fresh = ServerSideApply.Apply(null, applied, shape, manager, request.Force, Now());
                try
                {
                    return (await CreateReceivedAsync(request, fresh, applied: true, cancellation), true);
                }
                catch (ApiException exception) when (exception.Reason == "AlreadyExists")
                {
                    continue; // Somebody was faster: it is an update now.
                }
            }

            if (applied.ResourceVersion() is { Length: > 0 } version && version != live.ResourceVersion()) throw ApiErrors.Modified(request.Type, request.Name);
            JsonObject merged = ServerSideApply.Apply(live, applied, shape, manager, request.Force, Now());
            if (await TryReplaceAsync(request, live, merged, applied: true, cancellation) is { } stored) return (stored, false);
        }

        throw ApiErrors.Modified(request.Type, request.Name);
    }

    /// <summary>The object's last state; it may still be there, waiting for its finalizers.</summary>
    public async Task<JsonObject> DeleteAsync(WriteRequest request, JsonObject options, CancellationToken cancellation)
    {
        JsonObject live = store.Get(Key(request)) ?? throw ApiErrors.NotFound(request.Type, request.Name);
        if (options.Text("preconditions", "uid") is { } uid && uid != live.Uid())
        {
            throw ApiErrors.Conflict(request.Type, request.Name, $"Precondition failed: UID in precondition: {uid}, UID in object meta: {live.Uid()}");
        }

        if (options.Text("preconditions", "resourceVersion") is { } version && version != live.ResourceVersion())
        {
            throw ApiErrors.Conflict(request.Type, request.Name, $"Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {live.ResourceVersion()}");
        }

        if (request.Type == Namespaces && request.Name is "default" or "kube-system" or "kube-public") throw ApiErrors.Forbidden(request.Type, request.Name, "this namespace may not be deleted");
        AdmissionAttributes attributes = Attributes(request, "DELETE", "DeleteOptions") with { OldObject = live };
        await admission.MutateAsync(attributes, [], value => value, request.Warnings, cancellation);
        await admission.ValidateAsync(attributes, request.Warnings, cancellation);
        if (request.DryRun) return live;

        string propagation = options.Text("propagationPolicy") ?? (options.Flag("orphanDependents") == true ? "Orphan" : "Background");
        if (propagation == "Orphan") Disown(live.Uid());
        while (true)
        {
            if (Deletion.Step(store, request.Type, live, time.GetUtcNow(), propagation == "Foreground" ? "foregroundDeletion" : null) is { } last) return last;
            live = store.Get(Key(request)) ?? throw ApiErrors.NotFound(request.Type, request.Name);
        }
    }

    private async Task<JsonObject> CreateReceivedAsync(WriteRequest request, JsonObject value, bool applied, CancellationToken cancellation)
    {
        JsonObject metadata = value.Metadata();
        foreach (string name in new[] { "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink", "resourceVersion" }) metadata.Remove(name);
        if (request.Type.HasStatus) value.Remove("status");
        CheckNamespace(request);

        // An applier owns what it applied; defaults are nobody's. What webhooks change on top of them is.
        value = _normalizer.Settle(request, value, isNew: true);
        JsonObject before = value.Copy();
        AdmissionAttributes attributes = Attributes(request, "CREATE", applied ? "PatchOptions" : "CreateOptions") with { Name = value.Name() };
        value = await admission.MutateAsync(attributes, value, changed => _normalizer.Settle(request, changed, isNew: true), request.Warnings, cancellation);

        metadata = value.Metadata();
        if (value.Name().Length == 0 && metadata.Text("generateName") is { Length: > 0 } prefix) metadata["name"] = Names.Generate(prefix);
        metadata["uid"] = Guid.NewGuid().ToString();
        metadata["creationTimestamp"] = Now();
        if (request.Type.Namespaced) metadata["namespace"] = request.Namespace;
        if (request.Type.TracksGeneration) metadata["generation"] = 1;
        if (BuiltInRules.InitialStatus(request.Type, value) is { } status) value["status"] = status;
        if (request.Type == Namespaces) BuiltInRules.Default(request.Type, value);

        Normalizer.Validate(request.Type, value, null);
        await admission.ValidateAsync(attributes with { Object = value, Name = value.Name() }, request.Warnings, cancellation);
        Track(request, applied ? before : null, value);
        if (request.DryRun) return store.Get(request.Type.Key(request.Namespace, value.Name())) is null ? value : throw ApiErrors.AlreadyExists(request.Type, value.Name());
        return store.Create(request.Type.Key(request.Namespace, value.Name()), value) ?? throw ApiErrors.AlreadyExists(request.Type, value.Name());
    }

    private async Task<JsonObject?> TryReplaceAsync(WriteRequest request, JsonObject live, JsonObject changed, bool applied, CancellationToken cancellation)
    {
        JsonObject value = UpdateScope.Separate(request, live, changed);
        UpdateScope.CarryOver(live, value);
        value = _normalizer.Settle(request, value, isNew: false);
        JsonObject before = applied ? value.Copy() : live;

        AdmissionAttributes attributes = Attributes(request, "UPDATE", applied ? "PatchOptions" : "UpdateOptions") with { OldObject = live };
        value = await admission.MutateAsync(attributes, value, mutated => _normalizer.Settle(request, mutated, isNew: false), request.Warnings, cancellation);
        UpdateScope.CarryOver(live, value);
        Normalizer.Validate(request.Type, value, live);
        if (live.IsBeingDeleted() && value.Texts("metadata", "finalizers").Except(live.Texts("metadata", "finalizers")).Any())
        {
            throw ApiErrors.Invalid(request.Type, request.Name, [Schema.Violation.Forbidden("metadata.finalizers", "no new finalizers can be added if the object is being deleted")]);
        }

        await admission.ValidateAsync(attributes with { Object = value }, request.Warnings, cancellation);
        Track(request, before, value);
        value.Metadata()["resourceVersion"] = live.ResourceVersion();
        if (Json.Same(live, value)) return live;
        if (request.Type.TracksGeneration && !Json.Same(Desired(request.Type, live), Desired(request.Type, value)))
        {
            value.Metadata()["generation"] = (live.Number("metadata", "generation") ?? 0) + 1;
        }

        if (request.DryRun) return value;
        if (value.IsBeingDeleted() && !Deletion.HoldsOn(request.Type, value)) return store.Remove(Key(request), live, value);
        return store.Replace(Key(request), live, value);
    }

    private static JsonObject Desired(ResourceType type, JsonObject value)
    {
        JsonObject copy = value.Copy();
        copy.Remove("metadata");
        if (type.HasStatus) copy.Remove("status");
        return copy;
    }

    private void Track(WriteRequest request, JsonObject? before, JsonObject after) => UpdateTracking.Track(
        before, after, ManagedFields.ShapeOf(request.Type), new Manager(request.FieldManager, false, request.Type.ApiVersion, request.Subresource), Now());

    private void CheckNamespace(WriteRequest request)
    {
        if (!request.Type.Namespaced) return;
        JsonObject inNamespace = store.Get(Namespaces.Key("", request.Namespace)) ?? throw ApiErrors.NotFound(Namespaces, request.Namespace);
        if (inNamespace.IsBeingDeleted())
        {
            throw ApiErrors.Forbidden(request.Type, request.Name, $"unable to create new content in namespace {request.Namespace} because it is being terminated");
        }
    }

    private void Disown(string uid)
    {
        foreach ((string resource, JsonObject dependent) in store.All())
        {
            JsonObject[] others = [.. dependent.Objects("metadata", "ownerReferences").Where(owner => owner.Text("uid") != uid)];
            if (others.Length == (dependent.Array("metadata", "ownerReferences")?.Count ?? 0)) continue;
            JsonObject copy = dependent.Copy();
            UpdateScope.Put(copy.Metadata(), "ownerReferences", others.Length == 0 ? null : Json.ToArray(others));
            store.Replace(new ObjectKey(resource, dependent.Namespace(), dependent.Name()), dependent, copy);
        }
    }

    private static AdmissionAttributes Attributes(WriteRequest request, string operation, string options) =>
        new(operation, request.Type, request.Subresource, request.Type == Namespaces ? request.Name : request.Namespace, request.Name, request.User, request.DryRun) { Options = request.OptionsOf(options) };

    private static ObjectKey Key(WriteRequest request) => request.Type.Key(request.Namespace, request.Name);

    private string Now() => time.GetUtcNow().ToTimestamp();
}
