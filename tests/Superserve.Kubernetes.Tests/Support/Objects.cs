using k8s;
using k8s.Models;

namespace Superserve.Kubernetes.Tests.Support;

/// <summary>Objects and answers as an API server writes them.</summary>
internal static class Objects
{
    public static string Map(string name, int version, string value = "", string? uid = null, string ns = "agents") =>
        $$$"""{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"{{{name}}}","namespace":"{{{ns}}}","uid":"{{{uid ?? "uid-" + name}}}","resourceVersion":"{{{version}}}","managedFields":[{"manager":"kubectl","operation":"Update"},{"manager":"superserve","operation":"Apply"}]},"data":{"value":"{{{value}}}"}}""";

    public static string List(int version, params string[] items) => Page(version, null, items);

    public static string Page(int version, string? next, params string[] items) =>
        $$$"""{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"{{{version}}}","continue":"{{{next}}}"},"items":[{{{string.Join(',', items)}}}]}""";

    public static string Event(string type, string item) => $$$"""{"type":"{{{type}}}","object":{{{item}}}}""";

    public static string Bookmark(int version) =>
        Event("BOOKMARK", $$$"""{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"{{{version}}}","creationTimestamp":null}}""");

    public static string Status(int code, string reason) =>
        $$$"""{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"said the server","reason":"{{{reason}}}","code":{{{code}}}}""";

    public static T Parse<T>(string json) => KubernetesJson.Deserialize<T>(json);

    public static V1ConfigMap ParseMap(string json) => Parse<V1ConfigMap>(json);
}
