using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Superserve.Operator.Bindings;

namespace Superserve.Operator.Admission.Pods;

/// <summary>
/// Proof that our containers and volumes, the sandbox id and the record of stand-ins are as admission made them, for this pod: an
/// HMAC-SHA256 under the operator's key in the annotation <see cref="Marks.SealAnnotation"/>. Whoever judges a pod later, an operator
/// of another version included, checks the seal and needs not know what that admission's options were.
/// </summary>
/// <remarks>
/// A pod is the one that it was made for by its namespace and its name, or, where the API server makes names up, by what they begin
/// with; it has no UID when it is sealed. Left out are resources, which LimitRange and resizing change, and the pull policy, which the
/// admission plugin AlwaysPullImages changes. The image is sealed by value beside the HMAC, as an upgrade of sidecars in place
/// changes it.
/// </remarks>
internal static class PodSeal
{
    // The API server's own ServiceAccount admission mounts its token here, in every container of a pod that asks for it.
    private const string ApiTokenDirectory = "/var/run/secrets/kubernetes.io/serviceaccount";

    private static readonly string[] LeftOut = ["image", "imagePullPolicy", "resources", "resizePolicy"];

    /// <summary>Writes the annotation.</summary>
    public static void Set(JsonObject pod, string @namespace, ReadOnlySpan<byte> key, string image) =>
        pod.MapOrNew("metadata").MapOrNew("annotations")[Marks.SealAnnotation] = $"{Compute(pod, @namespace, key, image)} {image}";

    /// <summary>Whether all is as admission made it, except for images.</summary>
    public static bool Holds(JsonObject pod, string @namespace, ReadOnlySpan<byte> key) =>
        pod.Annotation(Marks.SealAnnotation)?.Split(' ') is [string proof, string image]
        && CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(proof), Encoding.UTF8.GetBytes(Compute(pod, @namespace, key, image)));

    /// <summary>The image that admission chose; only as true as the seal.</summary>
    public static string? ImageOf(JsonObject pod) => pod.Annotation(Marks.SealAnnotation)?.Split(' ') is [_, string image] ? image : null;

    private static string Compute(JsonObject pod, string @namespace, ReadOnlySpan<byte> key, string image)
    {
        JsonObject? metadata = pod.Map("metadata");
        StringBuilder text = new();
        // The key derives stand-ins too, from input that begins with a length in four bytes: never like this.
        Append(text, "superserve.ai/seal/v1");
        Append(text, @namespace);
        bool isGenerated = metadata.Text("generateName") is { Length: > 0 };
        Append(text, isGenerated ? "generateName" : "name");
        Append(text, metadata.Text(isGenerated ? "generateName" : "name"));
        Append(text, pod.Annotation(Marks.SandboxIdAnnotation));
        Append(text, pod.Annotation(Marks.StandInsAnnotation));
        Append(text, image);
        foreach (JsonObject container in pod.Map("spec").Items("initContainers").Where(PodJson.IsOurs)) AppendContainer(text, container);
        foreach (JsonObject volume in pod.Map("spec").Items("volumes").Where(volume => SidecarParts.Volumes.Contains(volume.Text("name")))
            .OrderBy(volume => volume.Text("name"), StringComparer.Ordinal)) Append(text, volume);
        return Convert.ToHexStringLower(HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(text.ToString())));
    }

    private static void AppendContainer(StringBuilder text, JsonObject container)
    {
        JsonObject sealedPart = container.DeepClone().AsObject();
        foreach (string name in LeftOut) sealedPart.Remove(name);
        if (sealedPart["volumeMounts"] is JsonArray mounts)
            foreach (JsonObject mount in mounts.OfType<JsonObject>().Where(IsApiToken).ToList()) mounts.Remove(mount);
        // Some versions of Kubernetes write the default down.
        if (sealedPart.Map("securityContext") is { } security && security.Text("procMount") == "Default") security.Remove("procMount");
        Append(text, sealedPart);
    }

    /// <summary>Whether the API server itself added the mount.</summary>
    private static bool IsApiToken(JsonObject mount) =>
        mount.Count == 3 && mount.IsTrue("readOnly") && mount.Text("mountPath") == ApiTokenDirectory && mount.Text("name")?.StartsWith("kube-api-access-", StringComparison.Ordinal) == true;

    // No two values are written alike, and none in two ways, however the JSON was escaped or ordered.
    private static void Append(StringBuilder text, JsonNode? node)
    {
        switch (node)
        {
            case JsonObject map:
                text.Append('{').Append(map.Count);
                foreach ((string name, JsonNode? value) in map.OrderBy(pair => pair.Key, StringComparer.Ordinal))
                {
                    Append(text, name);
                    Append(text, value);
                }

                break;
            case JsonArray list:
                text.Append('[').Append(list.Count);
                foreach (JsonNode? item in list) Append(text, item);
                break;
            case JsonValue value when value.TryGetValue(out string? s):
                Append(text, s);
                break;
            default:
                text.Append('#').Append(node?.ToJsonString() ?? "null").Append(';');
                break;
        }
    }

    private static void Append(StringBuilder text, string? s)
    {
        if (s is null) text.Append('-');
        else text.Append('"').Append(s.Length.ToString(CultureInfo.InvariantCulture)).Append(':').Append(s);
    }
}
