using Superserve.ApiServer.Schema;

namespace Superserve.ApiServer.Resources;

/// <summary>Defaults of pods, what of them may change, and what the service account admission adds.</summary>
internal static class PodRules
{
    private const string TokenPath = "/var/run/secrets/kubernetes.io/serviceaccount";

    private static readonly string[] ContainerLists = ["initContainers", "containers", "ephemeralContainers"];

    public static void Default(JsonObject pod)
    {
        JsonObject spec = pod.Child("spec");
        spec.Default("restartPolicy", "Always");
        spec.Default("dnsPolicy", "ClusterFirst");
        spec.Default("schedulerName", "default-scheduler");
        spec.Default("terminationGracePeriodSeconds", 30);
        spec.Default("securityContext", new JsonObject());
        spec.Default("enableServiceLinks", true);
        foreach (string list in ContainerLists)
        {
            foreach (JsonObject container in spec.Objects(list))
            {
                string image = container.Text("image") ?? "";
                string tag = image[(image.LastIndexOf('/') + 1)..];
                container.Default("imagePullPolicy", !tag.Contains(':') || tag.EndsWith(":latest", StringComparison.Ordinal) ? "Always" : "IfNotPresent");
                container.Default("resources", new JsonObject());
                container.Default("terminationMessagePath", "/dev/termination-log");
                container.Default("terminationMessagePolicy", "File");
                foreach (JsonObject port in container.Objects("ports")) port.Default("protocol", "TCP");
            }
        }

        foreach (JsonObject volume in spec.Objects("volumes"))
        {
            foreach (string source in new[] { "secret", "configMap", "projected", "downwardAPI" }) volume.Object(source)?.Default("defaultMode", 420);
        }
    }

    /// <summary>The service account admission: the account's name, and its token for every container that does not mount one.</summary>
    public static void AdmitServiceAccount(JsonObject pod, JsonObject? account)
    {
        JsonObject spec = pod.Child("spec");
        spec.Default("serviceAccountName", "default");
        spec["serviceAccount"] = spec.Text("serviceAccountName");
        if ((spec.Flag("automountServiceAccountToken") ?? account?.Flag("automountServiceAccountToken")) == false) return;
        JsonObject[] without =
        [
            .. new[] { "initContainers", "containers" }.SelectMany(list => spec.Objects(list))
                .Where(container => !container.Objects("volumeMounts").Any(mount => mount.Text("mountPath") == TokenPath)),
        ];
        if (without.Length == 0) return;

        string? name = spec.Objects("volumes").Select(volume => volume.Text("name")).FirstOrDefault(volume => volume?.StartsWith("kube-api-access-", StringComparison.Ordinal) == true);
        if (name is null)
        {
            name = Names.Generate("kube-api-access-");
            if (spec["volumes"] is not JsonArray volumes) spec["volumes"] = volumes = [];
            volumes.Add(TokenVolume(name));
        }

        foreach (JsonObject container in without)
        {
            if (container["volumeMounts"] is not JsonArray mounts) container["volumeMounts"] = mounts = [];
            mounts.Add(new JsonObject { ["name"] = name, ["readOnly"] = true, ["mountPath"] = TokenPath });
        }
    }

    public static IEnumerable<Violation> Validate(JsonObject pod, JsonObject? old)
    {
        JsonObject spec = pod.Child("spec");
        if (spec.Array("containers") is not { Count: > 0 }) yield return Violation.Required("spec.containers");
        HashSet<string> names = new(StringComparer.Ordinal);
        foreach (string list in ContainerLists)
        {
            int index = 0;
            foreach (JsonObject container in spec.Objects(list))
            {
                string path = $"spec.{list}[{index++}]";
                if (container.Text("name") is not { Length: > 0 } name) yield return Violation.Required($"{path}.name");
                else if (!names.Add(name)) yield return Violation.Duplicate($"{path}.name", name);
                if (container.Text("image") is not { Length: > 0 } && old is null) yield return Violation.Required($"{path}.image");
                foreach (JsonObject mount in container.Objects("volumeMounts"))
                {
                    if (spec.Objects("volumes").Any(volume => volume.Text("name") == mount.Text("name"))) continue;
                    yield return new Violation($"{path}.volumeMounts", "FieldValueNotFound", $"Not found: {mount["name"].ToText()}");
                }
            }
        }

        if (old is not null && !Json.Same(Fixed(pod), Fixed(old)))
        {
            yield return Violation.Forbidden("spec",
                "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
                + "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)");
        }
    }

    public static string QosClass(JsonObject pod)
    {
        JsonObject[] resources = [.. ContainerLists.SelectMany(list => pod.Objects("spec", list)).Select(container => container.Object("resources") ?? [])];
        if (resources.All(item => item.Object("limits") is not { Count: > 0 } && item.Object("requests") is not { Count: > 0 })) return "BestEffort";
        bool guaranteed = resources.All(item => item.Object("limits") is { } limits && limits.ContainsKey("cpu") && limits.ContainsKey("memory")
            && (item.Object("requests") is not { } requests || Json.Same(requests, limits)));
        return guaranteed ? "Guaranteed" : "Burstable";
    }

    /// <summary>The part of a pod's spec that an update may not change. Ephemeral containers have a subresource of their own.</summary>
    private static JsonObject Fixed(JsonObject pod)
    {
        JsonObject spec = pod.Object("spec")!.Copy();
        foreach (string name in new[] { "activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "ephemeralContainers", "schedulingGates", "nodeName" }) spec.Remove(name);
        foreach (JsonObject container in spec.Objects("containers").Concat(spec.Objects("initContainers"))) container.Remove("image");
        return spec;
    }

    private static JsonObject TokenVolume(string name)
    {
        JsonObject volume = (JsonObject)Json.Parse("""
            {"projected":{"defaultMode":420,"sources":[
            {"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},
            {"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},
            {"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}]}}
            """)!;
        volume["name"] = name;
        return volume;
    }
}
