namespace Superserve.ApiServer.Apply;

/// <summary>Server-side apply: merge, conflicts, and removal of what the manager applied before and no longer does.</summary>
internal static class ServerSideApply
{
    /// <summary>The object after the apply, with its managed fields.</summary>
    public static JsonObject Apply(JsonObject? live, JsonObject applied, Shape shape, Manager manager, bool force, string time)
    {
        JsonObject before = live?.Copy() ?? new JsonObject { ["apiVersion"] = applied.Text("apiVersion"), ["kind"] = applied.Text("kind") };
        ManagedFields managers = ManagedFields.Of(before);
        before.Object("metadata")?.Remove("managedFields");

        JsonObject merged = (JsonObject)Merging.Merge(before, applied, shape)!;
        Comparison difference = FieldSets.Compare(before, merged, shape);
        FieldSet touched = difference.Added.Union(difference.Changed);
        IReadOnlyList<(Manager Manager, FieldSet Fields)> conflicts = managers.Conflicts(manager, touched);
        if (conflicts.Count > 0 && !force) throw ConflictError(conflicts);
        managers.TakeFromOthers(manager, touched);

        FieldSet owned = FieldSets.Of(applied, shape);
        FieldSet others = managers.OwnedByOthers(manager);
        FieldSet dropped = managers.Owned(manager).Minus(owned);
        Merging.Remove(merged, shape, dropped, owned.Union(others));

        managers.Set(manager, owned, time);
        managers.Forget(FieldSets.Compare(before, merged, shape).Removed);
        managers.WriteTo(merged);
        return merged;
    }

    private static ApiException ConflictError(IReadOnlyList<(Manager Manager, FieldSet Fields)> conflicts)
    {
        JsonArray causes = [];
        List<string> texts = [];
        int count = 0;
        foreach ((Manager manager, FieldSet fields) in conflicts)
        {
            string[] paths = [.. fields.Paths()];
            count += paths.Length;
            texts.Add(paths.Length == 1
                ? $"conflict with {manager}: {paths[0]}"
                : $"conflicts with {manager}:\n{string.Join('\n', paths.Select(path => "- " + path))}");
            foreach (string path in paths)
            {
                causes.Add(new JsonObject { ["reason"] = "FieldManagerConflict", ["message"] = $"conflict with {manager}", ["field"] = path });
            }
        }

        string message = $"Apply failed with {count} conflict{(count == 1 ? "" : "s")}: {string.Join('\n', texts)}";
        return new ApiException(409, "Conflict", message, new JsonObject { ["causes"] = causes });
    }
}
