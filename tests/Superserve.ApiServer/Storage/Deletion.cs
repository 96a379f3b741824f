using Superserve.ApiServer.Resources;

namespace Superserve.ApiServer.Storage;

/// <summary>Deletion in its two steps: a mark while finalizers are there, removal when the last one is gone.</summary>
internal static class Deletion
{
    /// <summary>Marks or removes an object; the result is its last state, or null where somebody was faster.</summary>
    public static JsonObject? Step(ObjectStore store, ResourceType type, JsonObject live, DateTimeOffset now, string? addedFinalizer = null)
    {
        ObjectKey key = type.Key(live.Namespace(), live.Name());
        JsonObject copy = live.Copy();
        if (addedFinalizer is not null && !copy.Texts("metadata", "finalizers").Contains(addedFinalizer))
        {
            JsonArray finalizers = copy.Array("metadata", "finalizers") ?? [];
            finalizers.Add(addedFinalizer);
            if (finalizers.Parent is null) copy.Metadata()["finalizers"] = finalizers;
        }

        if (!HoldsOn(type, copy)) return store.Remove(key, live, copy);
        if (copy.IsBeingDeleted()) return live;
        copy.Metadata()["deletionTimestamp"] = now.ToTimestamp();
        copy.Metadata()["deletionGracePeriodSeconds"] = 0;
        if (copy.Number("metadata", "generation") is { } generation) copy.Metadata()["generation"] = generation + 1;
        if (type.Is("", "namespaces")) copy.Child("status")["phase"] = "Terminating";
        return store.Replace(key, live, copy);
    }

    /// <summary>Whether something has to happen before the object can go.</summary>
    public static bool HoldsOn(ResourceType type, JsonObject value) =>
        value.HasFinalizers() || (type.Is("", "namespaces") && value.Array("spec", "finalizers") is { Count: > 0 });
}
