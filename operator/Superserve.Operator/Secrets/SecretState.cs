using Superserve.Core.Hosts;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Operator.Cluster;
using Superserve.Operator.Resources;

namespace Superserve.Operator.Secrets;

/// <summary>
/// What a Superserve Secret is worth now: the one judgement that its status shows, that its bindings' status shows, and that
/// sidecars get.
/// </summary>
/// <param name="Reason">One of <see cref="SecretReasons"/>.</param>
/// <param name="Message">For the owner: what it means and what to do. Nothing of the credential.</param>
/// <param name="Definition">Hosts and schemes, where the spec is valid.</param>
/// <param name="Credential">What sidecars get.</param>
public sealed record SecretState(string Reason, string Message, SecretDefinition? Definition, CredentialState Credential)
{
    /// <summary>Whether requests can carry the credential.</summary>
    public bool IsReady => Reason == SecretReasons.Ready;

    /// <summary>Judges a Superserve Secret by its spec and the core Secret that it names.</summary>
    public static SecretState Of(SecretResource secret, CoreSecretLookup lookup, ProviderCatalog catalog)
    {
        List<SpecError> errors = [];
        SecretKeyReference? reference = secret.Spec?.ValueFrom?.SecretKeyRef;
        SecretDefinition? definition = null;
        if (secret.Spec is null) errors.Add(new("spec", "there is none"));
        else SecretDefinition.TryCreate(secret.Spec, "spec", catalog, PublicSuffixList.Embedded, errors, out definition);
        if (reference is not { Name.Length: > 0, Key.Length: > 0 }) errors.Add(new("spec.valueFrom.secretKeyRef", "name and key of a core Secret are missing"));
        if (errors.Count > 0 || definition is null || reference is null)
            return Not(SecretReasons.InvalidSpec, string.Join("; ", errors), null);

        string place = $"core Secret {reference.Name}";
        string ns = secret.Metadata.NamespaceProperty;
        return lookup switch
        {
            CoreSecretLookup.Pending =>
                Not(SecretReasons.Pending, $"the {place} has not been read yet", definition),
            CoreSecretLookup.Unreadable { IsForbidden: true } =>
                Not(SecretReasons.CredentialForbidden, $"the operator may not read the {place}: give its service account get, list and watch on it by a Role in the namespace {ns}, or name the namespace in the chart's values", definition),
            CoreSecretLookup.Unreadable =>
                Not(SecretReasons.Pending, $"the {place} cannot be read: the API server does not answer; the operator goes on trying", definition),
            CoreSecretLookup.TooMany =>
                Not(SecretReasons.TooManyCredentials, $"the Superserve Secrets of the namespace {ns} name more than {CredentialQuota.Max} core Secrets, and the {place} is beyond that: delete Superserve Secrets that nobody uses, keep several credentials as keys of one core Secret, or use another namespace", definition),
            CoreSecretLookup.Missing =>
                Not(SecretReasons.CredentialMissing, $"there is no {place}: create it with kubectl create secret generic {reference.Name} -n {ns} --from-file={reference.Key}=FILE, or correct spec.valueFrom", definition),
            CoreSecretLookup.Found { Secret: var found } => OfValue(found, reference.Key!, place, definition),
            _ => throw new InvalidOperationException("There is no other lookup."),
        };
    }

    private static SecretState OfValue(CoreSecret found, string key, string place, SecretDefinition definition)
    {
        if (found.Data?.TryGetValue(key, out byte[]? value) != true)
        {
            string known = string.Join(", ", (found.Data?.Keys ?? []).Order(StringComparer.Ordinal).Take(8));
            return Not(SecretReasons.CredentialKeyMissing, $"the {place} has no key {key}; {(known.Length == 0 ? "it is empty" : $"it has {known}")}: add the key, or correct spec.valueFrom", definition);
        }

        if (!Core.Secrets.Credential.TryCreate(value, out Credential? credential, out string? error))
            return Not(SecretReasons.CredentialInvalid, $"the key {key} of the {place} cannot be used: {error}", definition);
        string hosts = Summary.Of([.. definition.Hosts.Select(host => host.Pattern.ToString())], 3);
        return new(SecretReasons.Ready, $"the key {key} of the {place} goes to {hosts} ({definition.AuthType})", definition, new CredentialState.Available(credential));
    }

    private static SecretState Not(string reason, string message, SecretDefinition? definition) =>
        new(reason, message, definition, new CredentialState.Unavailable(message));
}

/// <summary>The reasons of a Superserve Secret's Ready condition.</summary>
public static class SecretReasons
{
    /// <summary>Requests can carry the credential.</summary>
    public const string Ready = "Ready";

    /// <summary>The spec breaks a rule that the webhook would have refused.</summary>
    public const string InvalidSpec = "InvalidSpec";

    /// <summary>There is no such core Secret.</summary>
    public const string CredentialMissing = "CredentialMissing";

    /// <summary>The core Secret has no such key.</summary>
    public const string CredentialKeyMissing = "CredentialKeyMissing";

    /// <summary>The value is empty, too long, or holds what no header may hold.</summary>
    public const string CredentialInvalid = "CredentialInvalid";

    /// <summary>The operator lacks the right to read it.</summary>
    public const string CredentialForbidden = "CredentialForbidden";

    /// <summary>The namespace names more core Secrets than are looked at.</summary>
    public const string TooManyCredentials = "TooManyCredentials";

    /// <summary>Not read yet.</summary>
    public const string Pending = "Pending";
}
