using System.Text.Json;
using System.Text.RegularExpressions;
using k8s;
using Superserve.Operator.Resources;

namespace Superserve.Operator.Admission;

/// <summary>What the validators of our own resources share: is there a new spec to judge, and how does it read?</summary>
internal static partial class ReviewedSpec
{
    private const int MaxNameLength = 253;

    /// <summary>What is wrong with the name of a Secret; null for nothing. It goes into paths and the log, so it is not left to the CRD alone.</summary>
    public static string? CheckName(string name) => name.Length <= MaxNameLength && ResourceName().IsMatch(name)
        ? null
        : "this is not the name of a Secret; write lower-case letters, digits, '-' and '.', with a letter or digit at both ends";

    /// <summary>
    /// Reads the object where its spec is new. Otherwise there is no object, and <paramref name="decision"/> is the answer: an
    /// update that leaves the spec as it is, such as one of labels or finalizers, needs no right and no valid spec; the spec was
    /// judged when it came, and a stricter rule of today must not keep an old object from being deleted.
    /// </summary>
    public static T? Read<T>(AdmissionRequest request, string plural, out AdmissionDecision decision)
        where T : class
    {
        decision = AdmissionDecision.Allow();
        if (request.Group != ResourceGroup.Name || request.Resource != plural || request.Operation is not ("CREATE" or "UPDATE"))
        {
            decision = AdmissionDecision.BadRequest($"this webhook judges CREATE and UPDATE of {plural}.{ResourceGroup.Name} alone; correct the rules of the webhook configuration");
            return null;
        }

        if (request.Object is not { } value || request.Namespace.Length == 0)
        {
            decision = AdmissionDecision.BadRequest("the request has no object or no namespace");
            return null;
        }

        if (request.Operation == "UPDATE" && HasSameSpec(value, request.OldObject)) return null;
        try
        {
            return KubernetesJson.Deserialize<T>(value);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            string path = (exception as JsonException)?.Path is { Length: > 2 } at ? $" at {at[2..]}" : "";
            decision = AdmissionDecision.Invalid($"the object cannot be read{path}: a value has another type than the CRD says");
            return null;
        }
    }

    [GeneratedRegex(@"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?\z")]
    private static partial Regex ResourceName();

    private static bool HasSameSpec(JsonElement value, JsonElement? old) =>
        old is { } before && before.TryGetProperty("spec", out JsonElement oldSpec) && value.TryGetProperty("spec", out JsonElement spec)
        && JsonElement.DeepEquals(spec, oldSpec);
}
