using System.Collections.Concurrent;
using System.Text.Json;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Secrets;
using Superserve.Core.StandIns;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Operator.Bindings;
using Superserve.Operator.Resources;

namespace Superserve.Operator.Admission;

/// <summary>
/// Judges SandboxBindings: what the CRD's rules cannot say of the spec, and whether its author may use the Superserve Secrets that
/// it names. Whoever writes a spec decides which pods act with them, so every change of it needs that right.
/// </summary>
public sealed class BindingValidator(AccessReviewer access, KubernetesConnection connection, TimeProvider time) : IAdmissionHandler
{
    // The CRD's bound, held here too: each costs an access review.
    private const int MaxSecrets = 64;
    private const int MaxPassthrough = 64;
    private const int MaxConcurrent = 4;
    private const int MaxShown = 64;

    // The API server cuts warnings off after 4 KiB.
    private const int MaxMissingShown = 8;

    private static readonly ResourceKind SuperserveSecret = ResourceKind.Of<SecretResource>();

    /// <inheritdoc />
    public async Task<AdmissionDecision> AdmitAsync(AdmissionRequest request, CancellationToken cancellationToken)
    {
        if (ReviewedSpec.Read<SandboxBindingResource>(request, "sandboxbindings", out AdmissionDecision decision) is not { } binding) return decision;
        SandboxBindingSpec spec = binding.Spec ?? new SandboxBindingSpec();

        List<SpecError> errors = [];
        SelectorSyntax.Check(spec.Selector, "spec.selector", errors);
        if (spec is { Secrets: null, Network: null }) errors.Add(new("spec", "the binding gives nothing: write secrets, network or both"));
        CheckSecrets(spec.Secrets ?? [], errors);
        // The mode, Enforce or LogOnly, makes no difference to what is well written.
        NetworkPolicy.TryParse(spec.Network?.AllowOut, spec.Network?.DenyOut, NetworkMode.Enforce, PublicSuffixList.Embedded, "spec.network", errors, out _);
        CheckPassthrough(spec.Passthrough ?? [], errors);
        if (errors.Count > 0) return AdmissionDecision.Invalid(errors);

        string[] names = [.. (spec.Secrets ?? []).Select(secret => secret.SecretName!).Distinct(StringComparer.Ordinal)];
        IReadOnlyList<Access> refused = await access.FindRefusedAsync(request, [.. names.Select(name => new Access("use", SuperserveSecret, name))], cancellationToken);
        if (refused.Count > 0)
            return AdmissionDecision.Forbid(AdmissionDecision.List($"{refused.Count} Superserve Secrets are refused", [.. refused.Select(use => Refusal(request, use))]));

        return AdmissionDecision.Allow([.. await WarningsAsync(request, binding, spec, names, cancellationToken)]);
    }

    private static void CheckSecrets(IReadOnlyList<SecretBinding> secrets, List<SpecError> errors)
    {
        if (secrets.Count > MaxSecrets) errors.Add(new("spec.secrets", $"{secrets.Count} secrets; at most {MaxSecrets} for one binding, split it"));
        HashSet<string> variables = new(StringComparer.Ordinal);
        for (int i = 0; i < secrets.Count && i < MaxSecrets; i++)
        {
            string path = $"spec.secrets[{i}]";
            if (secrets[i] is not { Env: { Length: > 0 } env, SecretName: { Length: > 0 } name })
                errors.Add(new(path, "env or secretName is missing; write {env: API_KEY, secretName: the-superserve-secret}"));
            else if (ReviewedSpec.CheckName(name) is { } error) errors.Add(new(path + ".secretName", error));
            else if (!IsVariable(env)) errors.Add(new(path + ".env", $"'{(env.Length > MaxShown ? env[..MaxShown] + "…" : env)}' is not the name of an environment variable: letters, digits and '_', not starting with a digit, as API_KEY"));
            else if (ReservedVariables.Holds(env)) errors.Add(new(path + ".env", ReservedVariables.Refusal(env)));
            else if (!variables.Add(env)) errors.Add(new(path + ".env", $"the variable {env} has a secret already; give each variable once"));
        }
    }

    private static bool IsVariable(string name) => !char.IsAsciiDigit(name[0]) && name.All(c => char.IsAsciiLetterOrDigit(c) || c == '_');

    private static void CheckPassthrough(IReadOnlyList<string> names, List<SpecError> errors)
    {
        if (names.Count > MaxPassthrough) errors.Add(new("spec.passthrough", $"{names.Count} names; at most {MaxPassthrough}"));
        for (int i = 0; i < names.Count && i < MaxPassthrough; i++)
            if (!HostPattern.TryParse(names[i], PublicSuffixList.Embedded, out _, out string? error)) errors.Add(new($"spec.passthrough[{i}]", error));
    }

    private async Task<List<string>> WarningsAsync(
        AdmissionRequest request, SandboxBindingResource binding, SandboxBindingSpec spec, string[] names, CancellationToken cancellationToken)
    {
        List<string> warnings = [];
        // On an update it may be how the owner ends the binding.
        if (request.Operation == "CREATE" && binding.HasExpired(time.GetUtcNow()))
            warnings.Add("spec.expiresAt has passed: the binding gives nothing; write a time to come, or remove it");
        if (spec.Passthrough is { Count: > 0 })
            warnings.Add("spec.passthrough: these names are open to fronting, since nobody sees which host is asked for inside their connections");
        string[] missing = await FindMissingAsync(request.Namespace, names, cancellationToken);
        foreach (string name in missing.Take(MaxMissingShown))
            warnings.Add($"the Superserve Secret \"{name}\" does not exist yet: requests that need it are refused (503) until it does");
        if (missing.Length > MaxMissingShown) warnings.Add($"{missing.Length - MaxMissingShown} more of the Superserve Secrets do not exist yet");
        return warnings;
    }

    // After the access reviews: what exists is said only to whom may use it.
    private async Task<string[]> FindMissingAsync(string inNamespace, string[] names, CancellationToken cancellationToken)
    {
        ConcurrentBag<string> missing = [];
        ParallelOptions options = new() { MaxDegreeOfParallelism = MaxConcurrent, CancellationToken = cancellationToken };
        await Parallel.ForEachAsync(names, options, async (name, token) =>
        {
            try
            {
                await connection.SendAsync<SecretResource>(HttpMethod.Get, SuperserveSecret.ObjectPath(new ObjectKey(inNamespace, name)), cancellationToken: token);
            }
            catch (ApiException exception) when (exception.IsNotFound)
            {
                missing.Add(name);
            }
            catch (Exception exception) when (exception is ApiException or HttpRequestException or TimeoutException or JsonException or IOException)
            {
                // Only a warning hangs on it, and the binding's status will say the same.
            }
        });
        return [.. missing.Order(StringComparer.Ordinal)];
    }

    private static string Refusal(AdmissionRequest request, Access use) =>
        $"you ({request.User.Name}) may not use the Superserve Secret \"{use.Name}\" in namespace \"{request.Namespace}\": a binding would let the pods that it selects act with it. "
        + $"Ask for a Role with {use.Role}; the roles admin and edit have it";
}
