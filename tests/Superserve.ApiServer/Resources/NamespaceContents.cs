using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Resources;

/// <summary>What controllers put into every new namespace: the default service account, and the cluster's CA.</summary>
internal sealed class NamespaceContents(ObjectStore store, string authorityPem, TimeProvider time)
{
    public void OnChange(Change change)
    {
        if (change is not { Type: ChangeType.Added, Key.Resource: "/namespaces" }) return;
        Add(BuiltInTypes.Get("", "serviceaccounts"), change.Key.Name, "default", []);
        Add(BuiltInTypes.Get("", "configmaps"), change.Key.Name, "kube-root-ca.crt", new JsonObject { ["data"] = new JsonObject { ["ca.crt"] = authorityPem } });
    }

    private void Add(ResourceType type, string inNamespace, string name, JsonObject content)
    {
        content["apiVersion"] = type.ApiVersion;
        content["kind"] = type.Kind;
        content["metadata"] = new JsonObject
        {
            ["name"] = name,
            ["namespace"] = inNamespace,
            ["uid"] = Guid.NewGuid().ToString(),
            ["creationTimestamp"] = time.GetUtcNow().ToTimestamp(),
        };
        store.Create(type.Key(inNamespace, name), content);
    }
}
