using System.Collections.Concurrent;
using k8s.Models;
using Superserve.Core.Providers;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Controllers;
using Superserve.Kubernetes.Writing;
using Superserve.Operator.Cluster;
using Superserve.Operator.Resources;
using Superserve.Operator.Secrets;

namespace Superserve.Operator.Bindings;

/// <summary>Says of a SandboxBinding which sandboxes it has, and what keeps them from their secrets.</summary>
public sealed class BindingReconciler(
    ClusterCache cluster, ProviderCatalog catalog, StatusWriter<SandboxBindingResource> statuses, EventRecorder events, TimeProvider time)
{
    /// <summary>The most sandboxes that a status lists; the counts tell of all.</summary>
    public const int MaxSandboxes = 50;

    private static readonly TimeSpan Resync = TimeSpan.FromMinutes(5);

    /// <summary>Pods that were told that they run without a sidecar, by binding.</summary>
    private readonly ConcurrentDictionary<ObjectKey, HashSet<string>> _told = new();

    /// <summary>Brings one SandboxBinding's status up to date.</summary>
    public async Task<Result> ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        if (cluster.Bindings.Store.Get(key) is not { } cached)
        {
            statuses.Forget(key);
            _told.TryRemove(key, out _);
            return Result.Done;
        }

        DateTimeOffset now = time.GetUtcNow();
        SandboxBindingResource binding = statuses.Latest(cached);
        BindingState state = BindingState.Of(
            binding, cluster.Bindings.Store.InNamespace(key.Namespace), cluster.Pods.Store.InNamespace(key.Namespace),
            name => StateOf(key.Namespace, name), IsEnabled(key.Namespace), now);
        ResourceCondition ready = Conditions.Next(
            binding.Status?.Conditions, Conditions.ReadyType, state.IsReady ? "True" : "False", state.Reason, state.Message, binding.Metadata.Generation, now);
        await statuses.WriteAsync(cached, StatusOf(binding, state, ready, now), cancellationToken);

        Tell(binding, ready);
        TellUninjected(key, binding, state);
        return Result.Again(binding.Spec?.ExpiresAt is { } end && end > now && end - now < Resync ? end - now : Resync);
    }

    private SecretState? StateOf(string inNamespace, string name) =>
        cluster.Secrets.Store.Get(new ObjectKey(inNamespace, name)) is { } secret ? SecretState.Of(secret, cluster.CoreSecretOf(secret), catalog) : null;

    private bool IsEnabled(string name) =>
        cluster.Namespaces.Store.Get(new ObjectKey("", name))?.Metadata.Labels?.TryGetValue(Marks.InjectionLabel, out string? value) == true && value == Marks.Enabled;

    private SandboxBindingStatus StatusOf(SandboxBindingResource binding, BindingState state, ResourceCondition ready, DateTimeOffset now)
    {
        IReadOnlyList<SecretBinding> secrets = binding.Spec?.Secrets ?? [];
        bool hasExpired = binding.HasExpired(now);
        Enforcement enforcement = Enforcement.Of(state);
        List<BoundSecretStatus> bound = [.. secrets.Select(secret => new BoundSecretStatus
        {
            Env = secret.Env,
            SecretName = secret.SecretName,
            Revoked = hasExpired || cluster.Secrets.Store.Get(new ObjectKey(binding.Metadata.NamespaceProperty, secret.SecretName!)) is null,
        })];
        return new SandboxBindingStatus
        {
            Conditions =
            [
                ready,
                Conditions.Next(
                    binding.Status?.Conditions, Conditions.EnforcedType, enforcement.Status, enforcement.Reason, enforcement.Message, binding.Metadata.Generation, now),
            ],
            ObservedGeneration = binding.Metadata.Generation,
            SandboxCount = state.Sandboxes.Length,
            ConnectedCount = state.Sandboxes.Count(pod => pod.IsConnected()),
            SecretSummary = Summary.Of([.. secrets.Select(secret => secret.SecretName!).Distinct()], 2),
            Sandboxes = [.. state.Sandboxes.Take(MaxSandboxes).Select(pod => new SandboxStatus
            {
                Pod = pod.Metadata.Name, Uid = pod.Metadata.Uid, Connected = pod.IsConnected(), Secrets = bound,
            })],
        };
    }

    private void Tell(SandboxBindingResource before, ResourceCondition ready)
    {
        ResourceCondition? old = before.Status?.Conditions.Ready();
        // Sidecars come and go with their pods: that a new one is not connected yet is news to nobody.
        if (old?.Reason == ready.Reason || ready.Reason is BindingReasons.NotConnected or BindingReasons.NoSandboxes) return;
        if (ready.Status == "True") events.Normal(before, ready.Reason!, "Check", ready.Message!);
        else events.Warning(before, ready.Reason!, "Check", ready.Message!);
    }

    private void TellUninjected(ObjectKey key, SandboxBindingResource binding, BindingState state)
    {
        HashSet<string> before = _told.GetValueOrDefault(key) ?? [];
        foreach (V1Pod pod in state.Uninjected)
            if (!before.Contains(pod.Metadata.Uid))
                events.Warning(pod, BindingReasons.NotInjected, "Bind", $"the SandboxBinding {binding.Metadata.Name} selects this pod, but it runs without a sidecar: it gets no secret, and nothing watches its network. kubectl describe sbb {binding.Metadata.Name} says what to do");
        _told[key] = [.. state.Uninjected.Select(pod => pod.Metadata.Uid)];
    }
}
