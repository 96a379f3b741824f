using k8s.Models;
using Superserve.Core.Hosts;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Kubernetes.Api;
using Superserve.Operator.Resources;

namespace Superserve.Operator.Admission;

/// <summary>
/// Judges Superserve Secrets: what the CRD's rules cannot say of the spec, and whether its author may read the credential. Whoever
/// writes a spec decides where the credential is sent, to a host of their own if they like, so every change of it needs that
/// right, and not only a change of the reference.
/// </summary>
public sealed class SecretValidator(ProviderCatalog catalog, AccessReviewer access) : IAdmissionHandler
{
    private static readonly ResourceKind CoreSecret = ResourceKind.Of<V1Secret>();

    /// <inheritdoc />
    public async Task<AdmissionDecision> AdmitAsync(AdmissionRequest request, CancellationToken cancellationToken)
    {
        if (ReviewedSpec.Read<SecretResource>(request, "secrets", out AdmissionDecision decision) is not { } secret) return decision;
        SecretResourceSpec spec = secret.Spec ?? new SecretResourceSpec();

        List<SpecError> errors = [];
        if (spec.ValueFrom?.SecretKeyRef is not { Name: { Length: > 0 } coreSecret, Key.Length: > 0 })
        {
            coreSecret = "";
            errors.Add(new("spec.valueFrom", "the place of the credential is missing; write secretKeyRef: {name: my-credentials, key: token}, a core Secret of this namespace and a key in it"));
        }
        else if (ReviewedSpec.CheckName(coreSecret) is { } error) errors.Add(new("spec.valueFrom.secretKeyRef.name", error));
        SecretDefinition.TryCreate(spec, "spec", catalog, PublicSuffixList.Embedded, errors, out _);
        if (errors.Count > 0) return AdmissionDecision.Invalid(errors);

        Access reading = new("get", CoreSecret, coreSecret);
        if ((await access.FindRefusedAsync(request, [reading], cancellationToken)).Count > 0) return AdmissionDecision.Forbid(Refusal(request, reading));
        return spec.AllowSetCookie
            ? AdmissionDecision.Allow("spec.allowSetCookie: a session cookie that the service sets outlives the credential's revocation")
            : decision;
    }

    private static string Refusal(AdmissionRequest request, Access reading) =>
        $"you ({request.User.Name}) may not get the core Secret \"{reading.Name}\" in namespace \"{request.Namespace}\": a Superserve Secret would let you send its credential to hosts that you choose. "
        + $"Ask for a Role with {reading.Role}; the roles admin and edit have it, view has not";
}
