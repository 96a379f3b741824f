using System.Collections.Immutable;
using Superserve.Operator.Resources;

namespace Superserve.Operator.Bindings;

/// <summary>One variable that a binding gives to a pod's containers; to all of them where <paramref name="Containers"/> is null.</summary>
public sealed record BoundVariable(string Env, string SecretName, ImmutableArray<string>? Containers, SandboxBindingResource Binding)
{
    /// <summary>Whether the container gets it.</summary>
    public bool IsFor(string container) => Containers is not { } names || names.Contains(container);
}

/// <summary>Two bindings that give one variable of one pod different secrets.</summary>
public sealed record VariableConflict(string Env, BoundVariable First, BoundVariable Second)
{
    /// <summary>What is wrong and what to change.</summary>
    public override string ToString() =>
        $"the variable {Env} gets the secret {First.SecretName} from the SandboxBinding {First.Binding.Metadata.Name} and {Second.SecretName} from {Second.Binding.Metadata.Name}: "
        + "rename one of the variables, or let the bindings select different pods";
}

/// <summary>What the bindings of its namespace make of a pod. The same for admission, delivery and status.</summary>
/// <param name="Bindings">Those that select the pod and have not expired, by name.</param>
/// <param name="Variables">No two have one name.</param>
/// <param name="Conflicts">Variables that are given different secrets; they are not in <paramref name="Variables"/>.</param>
public sealed record PodBindings(
    ImmutableArray<SandboxBindingResource> Bindings, ImmutableArray<BoundVariable> Variables, ImmutableArray<VariableConflict> Conflicts)
{
    /// <summary>Whether any binding selects the pod.</summary>
    public bool IsSandbox => Bindings.Length > 0;

    /// <summary>Looks which of a namespace's bindings select a pod with these labels, and what they give it together.</summary>
    public static PodBindings Of(
        IEnumerable<KeyValuePair<string, string>>? labels, IEnumerable<SandboxBindingResource> bindingsOfNamespace, DateTimeOffset now)
    {
        ImmutableArray<SandboxBindingResource> bindings =
            [.. bindingsOfNamespace.Where(binding => !binding.HasExpired(now) && binding.Spec?.Selector.Matches(labels) == true)
                .OrderBy(binding => binding.Metadata.Name, StringComparer.Ordinal)];
        Dictionary<string, BoundVariable> variables = new(StringComparer.Ordinal);
        Dictionary<string, VariableConflict> conflicts = new(StringComparer.Ordinal);
        foreach (SandboxBindingResource binding in bindings)
            foreach (SecretBinding secret in binding.Spec?.Secrets ?? [])
            {
                if (secret is not { Env: { } env, SecretName: { } name }) continue;
                BoundVariable variable = new(env, name, secret.Containers is { } containers ? [.. containers] : null, binding);
                if (variables.TryAdd(env, variable)) continue;
                BoundVariable first = variables[env];
                if (first.SecretName != name) conflicts.TryAdd(env, new VariableConflict(env, first, variable));
                // The same secret from both: every container gets it that either names.
                else variables[env] = first with { Containers = first.Containers is { } a && variable.Containers is { } b ? [.. a.Union(b)] : null };
            }

        foreach (string env in conflicts.Keys) variables.Remove(env);
        return new PodBindings(bindings, [.. variables.Values], [.. conflicts.Values]);
    }
}

/// <summary>Expiry.</summary>
public static class BindingExpiry
{
    /// <summary>Whether its time is over.</summary>
    public static bool HasExpired(this SandboxBindingResource binding, DateTimeOffset now) => binding.Spec?.ExpiresAt is { } end && end <= now;
}
