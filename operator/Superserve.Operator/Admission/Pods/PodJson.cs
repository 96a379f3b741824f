using System.Text.Json.Nodes;
using Superserve.Operator.Bindings;

namespace Superserve.Operator.Admission.Pods;

/// <summary>
/// Reading and changing a pod as JSON, so that fields that this program does not know survive. What is absent reads as empty.
/// </summary>
internal static class PodJson
{
    /// <summary>A member that is an object.</summary>
    public static JsonObject? Map(this JsonObject? parent, string name) => parent?[name] as JsonObject;

    /// <summary>A member that is an object, made where there is none.</summary>
    public static JsonObject MapOrNew(this JsonObject parent, string name)
    {
        if (parent[name] is JsonObject map) return map;
        JsonObject made = [];
        parent[name] = made;
        return made;
    }

    /// <summary>A member that is a list, made where there is none.</summary>
    public static JsonArray ListOrNew(this JsonObject parent, string name)
    {
        if (parent[name] is JsonArray list) return list;
        JsonArray made = [];
        parent[name] = made;
        return made;
    }

    /// <summary>The objects of a member that is a list.</summary>
    public static IEnumerable<JsonObject> Items(this JsonObject? parent, string name) => (parent?[name] as JsonArray)?.OfType<JsonObject>() ?? [];

    /// <summary>The texts of a member that is a list.</summary>
    public static IEnumerable<string> Texts(this JsonObject? parent, string name) => (parent?[name] as JsonArray)?.Select(AsText).OfType<string>() ?? [];

    /// <summary>A member that is a text.</summary>
    public static string? Text(this JsonObject? parent, string name) => AsText(parent?[name]);

    /// <summary>Whether a member is true.</summary>
    public static bool IsTrue(this JsonObject? parent, string name) => parent?[name] is JsonValue value && value.TryGetValue(out bool flag) && flag;

    /// <summary>A map of texts, as labels and annotations are.</summary>
    public static Dictionary<string, string> TextMap(this JsonObject? parent, string name) =>
        parent.Map(name)?.Where(pair => AsText(pair.Value) is not null).ToDictionary(pair => pair.Key, pair => AsText(pair.Value)!, StringComparer.Ordinal) ?? [];

    /// <summary>An annotation.</summary>
    public static string? Annotation(this JsonObject pod, string name) => pod.Map("metadata").Map("annotations").Text(name);

    /// <summary>The pod's labels.</summary>
    public static Dictionary<string, string> Labels(this JsonObject pod) => pod.Map("metadata").TextMap("labels");

    /// <summary>Whether it is a container of ours.</summary>
    public static bool IsOurs(this JsonObject container) => container.Text("name") is Marks.InitContainer or Marks.SidecarContainer;

    /// <summary>The user's containers, init containers included, with their paths. Containers for debugging are not among them.</summary>
    public static IEnumerable<(string Path, JsonObject Container)> UserContainers(this JsonObject pod) =>
        Containers(pod, "containers").Concat(Containers(pod, "initContainers").Where(item => !item.Container.IsOurs()));

    /// <summary>One of the lists of containers, with their paths.</summary>
    public static IEnumerable<(string Path, JsonObject Container)> Containers(this JsonObject pod, string list) =>
        pod.Map("spec").Items(list).Select((container, i) => ($"spec.{list}[{i}]", container));

    /// <summary>Whether anything of ours is in the pod: admission made it a sandbox, it is the copy of one, or it pretends to be one.</summary>
    public static bool IsMarked(this JsonObject pod) =>
        pod.Annotation(Marks.SandboxIdAnnotation) is not null || pod.Annotation(Marks.SealAnnotation) is not null
        || pod.Map("spec").Items("initContainers").Any(IsOurs);

    private static string? AsText(JsonNode? node) => node is JsonValue value && value.TryGetValue(out string? text) ? text : null;
}
