namespace Superserve.ApiServer.Resources;

/// <summary>What an update may change: the object without its status, the status alone, or another subresource's part.</summary>
internal static class UpdateScope
{
    private static readonly string[] KeptMetadata = ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "name", "namespace", "generateName"];

    /// <summary>The part of an update that its path may write; the rest stays as it is.</summary>
    public static JsonObject Separate(WriteRequest request, JsonObject live, JsonObject changed)
    {
        switch (request.Subresource)
        {
            case "status":
                return Replacing(live, changed, "status");
            case "ephemeralcontainers":
                JsonObject pod = live.Copy();
                Put(pod.Child("spec"), "ephemeralContainers", changed.At("spec", "ephemeralContainers"));
                return pod;
            case "finalize":
                return Replacing(live, changed, "spec");
            default:
                if (request.Type.Is("", "namespaces")) Put(changed.Child("spec"), "finalizers", live.At("spec", "finalizers"));
                if (request.Type.HasStatus) Put(changed, "status", live["status"]);
                return changed;
        }
    }

    private static JsonObject Replacing(JsonObject live, JsonObject changed, string part)
    {
        JsonObject result = live.Copy();
        Put(result, part, changed[part]);
        Put(result.Metadata(), "managedFields", changed.At("metadata", "managedFields"));
        return result;
    }

    /// <summary>Sets a copy, or removes.</summary>
    public static void Put(JsonObject target, string name, JsonNode? value)
    {
        if (value is null) target.Remove(name);
        else target[name] = value.DeepClone();
    }

    /// <summary>Keeps what no update changes: identity, deletion, and who owns what where the client did not say.</summary>
    public static void CarryOver(JsonObject live, JsonObject value)
    {
        JsonObject from = live.Object("metadata") ?? [];
        JsonObject metadata = value.Metadata();
        foreach (string name in KeptMetadata) Put(metadata, name, from[name]);
        if (!metadata.ContainsKey("managedFields")) Put(metadata, "managedFields", from["managedFields"]);
        metadata.Remove("selfLink");
        foreach (string name in new[] { "labels", "annotations", "finalizers", "ownerReferences" })
        {
            if (metadata[name] is null or JsonObject { Count: 0 } or JsonArray { Count: 0 }) metadata.Remove(name);
        }
    }

    /// <summary>The part of an applied configuration that the status subresource takes.</summary>
    public static void KeepStatusAlone(JsonObject applied)
    {
        foreach (string name in applied.Select(field => field.Key).ToArray())
        {
            if (name is not ("apiVersion" or "kind" or "metadata" or "status")) applied.Remove(name);
        }

        foreach (string name in new[] { "labels", "annotations", "finalizers", "ownerReferences" }) applied.Metadata().Remove(name);
    }
}
