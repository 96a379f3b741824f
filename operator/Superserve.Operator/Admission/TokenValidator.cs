using System.Text.Json;
using Superserve.Operator.Bindings;

namespace Superserve.Operator.Admission;

/// <summary>
/// Judges requests for service account tokens. One for our audience that is bound to a sandbox's pod makes its bearer that pod's
/// sidecar, wherever it is, and the API server gives it to anybody with <c>create</c> on <c>serviceaccounts/token</c>; only the
/// kubelet, which mounts it in the sidecar, may have it. NodeRestriction holds each kubelet to its own pods.
/// </summary>
public sealed class TokenValidator : IAdmissionHandler
{
    /// <summary>Where tokens are judged.</summary>
    public const string Path = "/validate/tokens";

    private const string Nodes = "system:nodes";

    /// <inheritdoc />
    public Task<AdmissionDecision> AdmitAsync(AdmissionRequest request, CancellationToken cancellationToken)
    {
        if (request is not { Operation: "CREATE", Group: "", Resource: "serviceaccounts", SubResource: "token", Object: { } token })
            return Task.FromResult(AdmissionDecision.BadRequest($"{request} is none that this webhook judges; let its rules name CREATE of serviceaccounts/token alone"));
        return Task.FromResult(!IsForSidecars(token) || request.User.Groups.Contains(Nodes)
            ? AdmissionDecision.Allow()
            : AdmissionDecision.Forbid($"a token for the audience {Marks.TokenAudience} makes its bearer a sandbox's sidecar, to which the operator sends credentials, "
                + $"so that only kubelets get one, and {request.User.Name} is none: ask for another audience"));
    }

    private static bool IsForSidecars(JsonElement token) =>
        token.TryGetProperty("spec", out JsonElement spec) && spec.ValueKind == JsonValueKind.Object
        && spec.TryGetProperty("audiences", out JsonElement audiences) && audiences.ValueKind == JsonValueKind.Array
        && audiences.EnumerateArray().Any(audience => audience.ValueKind == JsonValueKind.String && audience.GetString() == Marks.TokenAudience);
}
