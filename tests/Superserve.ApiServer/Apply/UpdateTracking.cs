namespace Superserve.ApiServer.Apply;

/// <summary>Ownership after a write that was no apply: who changes a field owns it.</summary>
internal static class UpdateTracking
{
    public static void Track(JsonObject? before, JsonObject after, Shape shape, Manager manager, string time)
    {
        ManagedFields managers = ManagedFields.Of(after);
        JsonObject from = Bare(before ?? []);
        JsonObject to = Bare(after);
        Comparison difference = before is null ? new Comparison(FieldSets.Of(to, shape), new FieldSet(), new FieldSet()) : FieldSets.Compare(from, to, shape);
        FieldSet touched = difference.Added.Union(difference.Changed);
        managers.Forget(difference.Removed);
        if (!touched.IsEmpty)
        {
            managers.TakeFromOthers(manager, difference.Changed);
            managers.Set(manager, managers.Owned(manager).Union(touched), time);
        }

        managers.WriteTo(after);
    }

    private static JsonObject Bare(JsonObject value)
    {
        JsonObject copy = value.Copy();
        copy.Object("metadata")?.Remove("managedFields");
        copy.Object("metadata")?.Remove("resourceVersion");
        return copy;
    }
}
