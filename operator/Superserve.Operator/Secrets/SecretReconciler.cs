using System.Collections.Concurrent;
using k8s.Models;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Controllers;
using Superserve.Kubernetes.Writing;
using Superserve.Operator.Bindings;
using Superserve.Operator.Cluster;
using Superserve.Operator.Resources;

namespace Superserve.Operator.Secrets;

/// <summary>Says of a Superserve Secret whether sandboxes can use it, which hosts it is for, and when its credential last changed.</summary>
public sealed class SecretReconciler(
    ClusterCache cluster, ProviderCatalog catalog, StatusWriter<SecretResource> statuses, EventRecorder events, SecretUses uses, TimeProvider time)
{
    /// <summary>What no event tells of, as an API server that comes back, is seen by looking again.</summary>
    private static readonly TimeSpan Resync = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan PendingRetry = TimeSpan.FromSeconds(1);
    private const int MaxHosts = 64;

    /// <summary>The credentials as this process last saw them, to tell a rotation from an edit that changes nothing.</summary>
    private readonly ConcurrentDictionary<ObjectKey, (string Uid, Credential Credential)> _seen = new();

    /// <summary>Brings one Superserve Secret's status up to date.</summary>
    public async Task<Result> ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        if (cluster.Secrets.Store.Get(key) is not { } cached)
        {
            statuses.Forget(key);
            _seen.TryRemove(key, out _);
            return Result.Done;
        }

        SecretResource secret = statuses.Latest(cached);
        CoreSecretLookup lookup = cluster.CoreSecretOf(secret);
        SecretState state = SecretState.Of(secret, lookup, catalog);
        DateTimeOffset? rotated = RotationOf(key, secret, lookup, state, out bool isRotation);
        ResourceCondition ready = Conditions.Next(
            secret.Status?.Conditions, Conditions.ReadyType, StatusOf(state), state.Reason, state.Message, secret.Metadata.Generation, time.GetUtcNow());
        IReadOnlyList<string>? hosts = state.Definition?.Hosts.Select(host => host.Pattern.ToString()).Take(MaxHosts).ToList();
        SecretResourceStatus status = new()
        {
            Conditions = [ready],
            ObservedGeneration = secret.Metadata.Generation,
            AuthType = state.Definition?.AuthType,
            Hosts = hosts,
            HostSummary = hosts is null ? null : Summary.Of(hosts, 2),
            BoundSandboxes = BoundSandboxes(key),
            LastRotatedAt = rotated,
        };
        status = WithUse(status, secret.Status, uses.Of(key));
        await statuses.WriteAsync(cached, status, cancellationToken);

        // After the write: what was told but not written would be told again.
        if (isRotation) events.Normal(secret, "CredentialRotated", "Rotate", "the credential has changed; the next requests carry the new one");
        Tell(secret, ready);
        return Result.Again(state.Reason == SecretReasons.Pending ? PendingRetry : Resync);
    }

    /// <summary>With what is known of use; while nothing is, as after a start with the audit service away, what stood there stays.</summary>
    private static SecretResourceStatus WithUse(SecretResourceStatus status, SecretResourceStatus? before, UseSoFar? use) => status with
    {
        // Never back, also where the audit log began anew.
        LastUsedAt = use?.LastUsedAt is { } at && !(before?.LastUsedAt > at) ? at : before?.LastUsedAt,
        UsedCount = use?.Used ?? before?.UsedCount,
        RefusedCount = use?.Refused ?? before?.RefusedCount,
    };

    private static string StatusOf(SecretState state) => state.Reason switch
    {
        SecretReasons.Ready => "True",
        SecretReasons.Pending => "Unknown",
        _ => "False",
    };

    /// <summary>
    /// When the credential last changed. A change that this process saw is certain; one from before it started is known from the
    /// API server's managedFields.
    /// </summary>
    private DateTimeOffset? RotationOf(ObjectKey key, SecretResource secret, CoreSecretLookup lookup, SecretState state, out bool isRotation)
    {
        isRotation = false;
        DateTimeOffset? known = secret.Status?.LastRotatedAt;
        if (state.Credential is not CredentialState.Available { Credential: var credential } || lookup is not CoreSecretLookup.Found { Secret: var found }) return known;
        bool hadOne = _seen.TryGetValue(key, out (string Uid, Credential Credential) seen) && seen.Uid == secret.Metadata.Uid;
        _seen[key] = (secret.Metadata.Uid, credential);
        if (hadOne && seen.Credential.Bytes.Span.SequenceEqual(credential.Bytes.Span)) return known;
        DateTimeOffset changed = Conditions.Seconds(found.ChangedAt.GetValueOrDefault(secret.Spec!.ValueFrom!.SecretKeyRef!.Key!));
        isRotation = hadOne || (known is not null && changed > known);
        if (isRotation || known is null) return known is null || changed > known ? changed : Conditions.Seconds(time.GetUtcNow());
        return known;
    }

    private int BoundSandboxes(ObjectKey key)
    {
        DateTimeOffset now = time.GetUtcNow();
        List<SandboxBindingResource> bindings = [.. cluster.BindingsOf(key).Where(binding => !binding.HasExpired(now))];
        return bindings.Count == 0 ? 0 : cluster.Pods.Store.InNamespace(key.Namespace).Count(pod =>
            pod.IsInjected() && !pod.IsFinished() && bindings.Any(binding => binding.Spec?.Selector.Matches(pod.Metadata.Labels) == true));
    }

    private void Tell(SecretResource before, ResourceCondition ready)
    {
        ResourceCondition? old = before.Status?.Conditions.Ready();
        if (ready.Status == "Unknown" || (old?.Status == ready.Status && old?.Reason == ready.Reason)) return;
        if (ready.Status == "True") events.Normal(before, ready.Reason!, "Check", ready.Message!);
        else events.Warning(before, ready.Reason!, "Check", ready.Message!);
    }
}
