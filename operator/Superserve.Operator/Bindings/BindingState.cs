using System.Collections.Immutable;
using k8s.Models;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Secrets;
using Superserve.Operator.Cluster;
using Superserve.Operator.Resources;
using Superserve.Operator.Secrets;

namespace Superserve.Operator.Bindings;

/// <summary>The reasons of a SandboxBinding's Ready condition.</summary>
public static class BindingReasons
{
    /// <summary>Every sandbox that it selects has its secrets.</summary>
    public const string Ready = "Ready";

    /// <summary>All is well, and no pod matches.</summary>
    public const string NoSandboxes = "NoSandboxes";

    /// <summary>The spec breaks a rule that the webhook would have refused.</summary>
    public const string InvalidSpec = "InvalidSpec";

    /// <summary>Its time is over.</summary>
    public const string Expired = "Expired";

    /// <summary>A Superserve Secret that it names is not there.</summary>
    public const string SecretMissing = "SecretMissing";

    /// <summary>A Superserve Secret that it names cannot be used.</summary>
    public const string SecretNotReady = "SecretNotReady";

    /// <summary>Another binding gives a pod the same variable with another secret.</summary>
    public const string Conflict = "Conflict";

    /// <summary>Pods that it selects run without a sidecar.</summary>
    public const string NotInjected = "NotInjected";

    /// <summary>Sidecars are not connected.</summary>
    public const string NotConnected = "NotConnected";
}

/// <summary>What a SandboxBinding achieves now.</summary>
/// <param name="IsReady">Whether every sandbox has what the binding gives.</param>
/// <param name="Reason">One of <see cref="BindingReasons"/>.</param>
/// <param name="Message">For the owner: what it means and what to do.</param>
/// <param name="Sandboxes">The injected pods that it selects, by name.</param>
/// <param name="Uninjected">The pods that it selects and that run without a sidecar, by name.</param>
public sealed record BindingState(
    bool IsReady, string Reason, string Message, ImmutableArray<V1Pod> Sandboxes, ImmutableArray<V1Pod> Uninjected)
{
    private const int Named = 3;

    /// <summary>Judges a binding by what is around it; what matters most to its owner comes first.</summary>
    /// <param name="binding">The binding.</param>
    /// <param name="bindings">All bindings of the namespace.</param>
    /// <param name="pods">All pods of the namespace.</param>
    /// <param name="secret">The state of a Superserve Secret of the namespace; null where there is none.</param>
    /// <param name="isNamespaceEnabled">Whether the namespace's label lets admission look at its pods.</param>
    /// <param name="now">The time.</param>
    public static BindingState Of(
        SandboxBindingResource binding,
        IReadOnlyList<SandboxBindingResource> bindings,
        IReadOnlyList<V1Pod> pods,
        Func<string, SecretState?> secret,
        bool isNamespaceEnabled,
        DateTimeOffset now)
    {
        V1Pod[] selected = [.. pods.Where(pod => !pod.IsFinished() && binding.Spec?.Selector.Matches(pod.Metadata.Labels) == true)
            .OrderBy(pod => pod.Metadata.Name, StringComparer.Ordinal)];
        ImmutableArray<V1Pod> sandboxes = [.. selected.Where(pod => pod.IsInjected())];
        ImmutableArray<V1Pod> uninjected = [.. selected.Where(pod => !pod.IsInjected())];
        (string reason, string message) = Judge(binding, bindings, sandboxes, uninjected, secret, isNamespaceEnabled, now);
        return new BindingState(reason is BindingReasons.Ready or BindingReasons.NoSandboxes, reason, message, sandboxes, uninjected);
    }

    private static (string Reason, string Message) Judge(
        SandboxBindingResource binding,
        IReadOnlyList<SandboxBindingResource> bindings,
        ImmutableArray<V1Pod> sandboxes,
        ImmutableArray<V1Pod> uninjected,
        Func<string, SecretState?> secret,
        bool isNamespaceEnabled,
        DateTimeOffset now)
    {
        if (SpecErrors(binding) is { Count: > 0 } errors) return (BindingReasons.InvalidSpec, string.Join("; ", errors));
        if (binding.HasExpired(now))
            return (BindingReasons.Expired, $"it ended at {binding.Spec!.ExpiresAt!.Value.UtcDateTime:yyyy-MM-dd'T'HH:mm:ss'Z'}: its stand-ins are refused; set a later spec.expiresAt, or delete it");

        (string Name, SecretState? State)[] secrets = [.. (binding.Spec?.Secrets ?? []).Select(bound => bound.SecretName!).Distinct().Select(name => (name, secret(name)))];
        string[] missing = [.. secrets.Where(entry => entry.State is null).Select(entry => entry.Name)];
        if (missing.Length > 0)
            return (BindingReasons.SecretMissing, $"there is no Superserve Secret {Summary.Of(missing, Named)}: create it, or correct spec.secrets (kubectl get ssec lists what there is)");

        if (uninjected.Length > 0)
            return (BindingReasons.NotInjected, $"{(uninjected.Length == 1 ? "1 selected pod runs" : $"{uninjected.Length} selected pods run")} without a sidecar and {(uninjected.Length == 1 ? "gets" : "get")} no secret ({Names(uninjected)}): {WhatToDo(isNamespaceEnabled)}");

        string[] conflicts = !MayConflict(binding, bindings) ? [] : [.. sandboxes.SelectMany(pod => PodBindings.Of(pod.Metadata.Labels, bindings, now).Conflicts)
            .Where(conflict => conflict.First.Binding.Metadata.Name == binding.Metadata.Name || conflict.Second.Binding.Metadata.Name == binding.Metadata.Name)
            .Select(conflict => conflict.ToString()).Distinct()];
        if (conflicts.Length > 0) return (BindingReasons.Conflict, Summary.Of(conflicts, 1));

        if (secrets.FirstOrDefault(entry => entry.State is { IsReady: false }) is { State: { } broken, Name: var name })
            return (BindingReasons.SecretNotReady, $"the Superserve Secret {name} is not ready ({broken.Reason}): {broken.Message}");

        V1Pod[] lost = [.. sandboxes.Where(pod => !pod.IsConnected())];
        if (lost.Length > 0)
            return (BindingReasons.NotConnected, $"{lost.Length} of {Count(sandboxes.Length, "sandbox", "sandboxes")} not connected ({Names(lost)}): a sidecar that starts connects within seconds; of one that does not, kubectl logs POD -c {Marks.SidecarContainer} says why");
        return sandboxes.Length == 0
            ? (BindingReasons.NoSandboxes, "no pod matches spec.selector yet; pods that start from now on are made sandboxes" + (isNamespaceEnabled ? "" : $", once the namespace has the label {Marks.InjectionLabel}={Marks.Enabled}"))
            : (BindingReasons.Ready, $"{Count(sandboxes.Length, "sandbox", "sandboxes")} connected");
    }

    /// <summary>Whether pods have to be looked at: hardly ever does another binding use the same variable for another secret.</summary>
    private static bool MayConflict(SandboxBindingResource binding, IReadOnlyList<SandboxBindingResource> bindings)
    {
        Dictionary<string, string> own = (binding.Spec?.Secrets ?? []).ToDictionary(secret => secret.Env!, secret => secret.SecretName!);
        return bindings.Any(other => other.Metadata.Name != binding.Metadata.Name
            && (other.Spec?.Secrets ?? []).Any(secret => own.TryGetValue(secret.Env!, out string? name) && name != secret.SecretName));
    }

    private static List<SpecError> SpecErrors(SandboxBindingResource binding)
    {
        List<SpecError> errors = [];
        NetworkSpec? network = binding.Spec?.Network;
        NetworkPolicy.TryParse(network?.AllowOut, network?.DenyOut, NetworkMode.Enforce, PublicSuffixList.Embedded, "spec.network", errors, out _);
        if (binding.Spec?.Selector is not ({ MatchLabels.Count: > 0 } or { MatchExpressions.Count: > 0 })) errors.Add(new("spec.selector", "it selects nothing: write matchLabels or matchExpressions"));
        return errors;
    }

    private static string WhatToDo(bool isNamespaceEnabled) => isNamespaceEnabled
        ? "they were started before the binding; delete them, so that their controller starts them anew (kubectl rollout restart), and check that the webhook is reachable if that does not help"
        : $"their namespace is not looked at; kubectl label namespace NAMESPACE {Marks.InjectionLabel}={Marks.Enabled}, then start the pods anew (kubectl rollout restart)";

    private static string Count(int count, string one, string? many = null) => count == 1 ? $"1 {one} is" : $"{count} {many ?? one + "s"} are";

    private static string Names(IReadOnlyList<V1Pod> pods) => Summary.Of([.. pods.Select(pod => pod.Metadata.Name)], Named);
}
