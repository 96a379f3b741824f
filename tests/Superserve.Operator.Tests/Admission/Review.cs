using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Superserve.Operator.Admission;
using Superserve.Testing;
using YamlDotNet.Serialization;

namespace Superserve.Operator.Tests.Admission;

/// <summary>Admission requests as the API server writes them.</summary>
internal static class Review
{
    public const string Uid = "705ab4f5-6393-11e8-b7cc-42010a800002";

    /// <summary>A whole AdmissionReview.</summary>
    public static JsonObject Of(JsonNode? value, JsonNode? old = null, string operation = "CREATE", string resource = "secrets", string user = AdmissionCluster.Editor) => new()
    {
        ["kind"] = "AdmissionReview",
        ["apiVersion"] = "admission.k8s.io/v1",
        ["request"] = new JsonObject
        {
            ["uid"] = Uid,
            ["kind"] = new JsonObject { ["group"] = "superserve.ai", ["version"] = "v1alpha1", ["kind"] = (string?)value?["kind"] ?? "" },
            ["resource"] = new JsonObject { ["group"] = "superserve.ai", ["version"] = "v1alpha1", ["resource"] = resource },
            ["name"] = (string?)value?["metadata"]?["name"] ?? "",
            ["namespace"] = AdmissionCluster.Namespace,
            ["operation"] = operation,
            ["userInfo"] = new JsonObject { ["username"] = user, ["groups"] = new JsonArray("system:authenticated") },
            ["object"] = value?.DeepClone(),
            ["oldObject"] = old?.DeepClone(),
            ["dryRun"] = false,
        },
    };

    /// <summary>Its request, as a handler gets it.</summary>
    public static AdmissionRequest Read(JsonObject review)
    {
        using JsonDocument document = AdmissionReview.Parse(Encoding.UTF8.GetBytes(review.ToJsonString()), out string error)
            ?? throw new ArgumentException(error, nameof(review));
        // The copy outlives the document.
        Assert.True(AdmissionReview.TryRead(document.RootElement.Clone(), out AdmissionRequest? request, out error), error);
        return request;
    }

    public static JsonObject FromYaml(string yaml) =>
        JsonSerializer.SerializeToNode(new DeserializerBuilder().WithAttemptingUnquotedStringTypeDeserialization().Build().Deserialize<object>(yaml))!.AsObject();

    public static JsonObject Manifest(string file) => FromYaml(File.ReadAllText(Repository.PathTo($"tests/manifests/{file}")));

    /// <summary>A Superserve Secret.</summary>
    public static JsonObject Secret(string spec) => FromYaml($"{{apiVersion: superserve.ai/v1alpha1, kind: Secret, metadata: {{name: it, namespace: agents}}, spec: {spec}}}");

    /// <summary>A SandboxBinding.</summary>
    public static JsonObject Binding(string spec) => FromYaml($"{{apiVersion: superserve.ai/v1alpha1, kind: SandboxBinding, metadata: {{name: it, namespace: agents}}, spec: {spec}}}");
}
