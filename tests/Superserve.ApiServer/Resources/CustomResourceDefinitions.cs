using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Resources;

/// <summary>Serves what CRDs define, from the moment that they are stored.</summary>
internal sealed class CustomResourceDefinitions(ObjectStore store, ResourceRegistry registry, TimeProvider time)
{
    private static readonly ResourceType Definitions = BuiltInTypes.Get("apiextensions.k8s.io", "customresourcedefinitions");

    public void OnChange(Change change)
    {
        if (change.Key.Resource != Definitions.StorageResource) return;
        JsonObject crd = change.Object;
        string group = crd.Text("spec", "group") ?? "";
        string plural = crd.Text("spec", "names", "plural") ?? "";
        registry.Register(group, plural, change.Type == ChangeType.Deleted ? [] : TypesOf(crd));
        if (change.Type != ChangeType.Deleted && !crd.IsBeingDeleted()) Establish(crd);
    }

    private static IEnumerable<ResourceType> TypesOf(JsonObject crd)
    {
        JsonObject names = crd.Object("spec", "names") ?? [];
        string kind = names.Text("kind") ?? "";
        foreach (JsonObject version in crd.Objects("spec", "versions").Where(version => version.Flag("served") == true).OrderByDescending(version => version.Flag("storage") == true))
        {
            JsonObject? subresources = version.Object("subresources");
            yield return new ResourceType(crd.Text("spec", "group") ?? "", version.Text("name") ?? "", names.Text("plural") ?? "", kind, crd.Text("spec", "scope") == "Namespaced")
            {
                Singular = names.Text("singular") ?? kind.ToLowerInvariant(),
                ListKind = names.Text("listKind") ?? kind + "List",
                ShortNames = names.Texts("shortNames"),
                Categories = names.Texts("categories"),
                Subresources = [.. new[] { "status", "scale" }.Where(name => subresources.At(name) is not null)],
                TracksGeneration = true,
                Custom = CustomResource.Of(crd, version),
            };
        }
    }

    private void Establish(JsonObject crd)
    {
        JsonObject updated = crd.Copy();
        JsonObject status = updated.Child("status");
        DateTimeOffset now = time.GetUtcNow();
        ObjectMeta.SetCondition(status, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now);
        ObjectMeta.SetCondition(status, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now);
        status["acceptedNames"] = updated.At("spec", "names")?.DeepClone();
        status["storedVersions"] = Json.ToArray(updated.Objects("spec", "versions").Where(version => version.Flag("storage") == true).Select(version => version.Text("name") ?? ""));
        if (!updated.Texts("metadata", "finalizers").Contains(Janitor.CustomResourceCleanup))
        {
            updated.Metadata()["finalizers"] = Json.ToArray(updated.Texts("metadata", "finalizers").Append(Janitor.CustomResourceCleanup));
        }

        if (!Json.Same(crd, updated)) store.Replace(Definitions.Key("", crd.Name()), crd, updated);
    }
}
