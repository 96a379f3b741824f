using k8s.Models;
using Superserve.Operator.Bindings;
using Superserve.Operator.Cluster;
using Superserve.Operator.Resources;
using Superserve.Operator.Secrets;
using Superserve.Operator.Tests.Support;

namespace Superserve.Operator.Tests.Bindings;

/// <summary>What a SandboxBinding achieves; of several troubles the one that the owner has to mend first.</summary>
public sealed class BindingStateTests
{
    private readonly SandboxBindingResource _binding = Some.Binding("agents", secrets: Some.Variable());

    [Fact]
    public void Connected_sandboxes_make_it_ready()
    {
        BindingState state = Judge([Some.Pod("a", isConnected: true), Some.Pod("b", isConnected: true), Some.Pod("stranger", app: "other")]);
        Assert.True(state.IsReady);
        Assert.Equal(BindingReasons.Ready, state.Reason);
        Assert.Equal(["a", "b"], state.Sandboxes.Select(pod => pod.Metadata.Name));
        Assert.Equal("2 sandboxes are connected", state.Message);
    }

    [Fact]
    public void Without_pods_it_is_ready_and_waits() => Assert.Equal((true, BindingReasons.NoSandboxes), Outcome(Judge([])));

    [Fact]
    public void Without_pods_in_a_namespace_that_is_not_looked_at_it_tells_of_the_label() =>
        Assert.Contains("superserve.ai/injection=enabled", Judge([], isNamespaceEnabled: false).Message, StringComparison.Ordinal);

    [Fact]
    public void A_finished_pod_is_no_sandbox() => Assert.Equal((true, BindingReasons.NoSandboxes), Outcome(Judge([Some.Pod("a", phase: "Succeeded"), Some.Pod("b", phase: "Failed", isInjected: false)])));

    [Fact]
    public void A_sidecar_that_is_not_connected_is_told() => Assert.Equal((false, BindingReasons.NotConnected), Outcome(Judge([Some.Pod("a"), Some.Pod("b", isConnected: true)])));

    [Fact]
    public void A_pod_without_a_sidecar_is_told()
    {
        BindingState state = Judge([Some.Pod("bare", isInjected: false), Some.Pod("a", isConnected: true)]);
        Assert.Equal((false, BindingReasons.NotInjected), Outcome(state));
        Assert.Equal("bare", Assert.Single(state.Uninjected).Metadata.Name);
        Assert.Contains("rollout restart", state.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_pod_with_the_annotation_and_no_sidecar_is_no_sandbox()
    {
        V1Pod pod = Some.Pod("a");
        pod.Spec.InitContainers = null;
        Assert.Equal(BindingReasons.NotInjected, Judge([pod]).Reason);
    }

    [Fact]
    public void A_missing_secret_is_named()
    {
        BindingState state = Judge([Some.Pod("a", isConnected: true)], secret: _ => null);
        Assert.Equal((false, BindingReasons.SecretMissing), Outcome(state));
        Assert.Contains("there is no Superserve Secret service", state.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_secret_that_is_not_ready_is_named_with_its_reason() =>
        Assert.Contains(SecretReasons.CredentialMissing, Judge([], secret: _ => Some.State(new CoreSecretLookup.Missing())).Message, StringComparison.Ordinal);

    [Fact]
    public void An_expired_binding_says_so_whatever_else() =>
        Assert.Equal(BindingReasons.Expired, Judge([Some.Pod("bare", isInjected: false)], Some.Binding("agents", expiresAt: Some.Now, secrets: Some.Variable())).Reason);

    [Fact]
    public void A_network_that_slipped_past_the_webhook_is_told() =>
        Assert.Equal(BindingReasons.InvalidSpec, Judge([], Some.Binding("agents", network: new NetworkSpec { DenyOut = ["10.0.0.1/8"] })).Reason);

    [Fact]
    public void A_conflict_is_told_on_the_pods_where_it_is()
    {
        SandboxBindingResource other = Some.Binding("other", secrets: Some.Variable(secret: "another"));
        BindingState state = Judge([Some.Pod("a", isConnected: true)], others: [other]);
        Assert.Equal(BindingReasons.Conflict, state.Reason);
        Assert.Contains("TOKEN", state.Message, StringComparison.Ordinal);
        // No pod has both.
        Assert.Equal(BindingReasons.NoSandboxes, Judge([Some.Pod("a", app: "elsewhere")], others: [other]).Reason);
    }

    [Fact]
    public void The_same_secret_from_two_bindings_is_no_conflict() =>
        Assert.Equal(BindingReasons.Ready, Judge([Some.Pod("a", isConnected: true)], others: [Some.Binding("other", secrets: Some.Variable())]).Reason);

    private BindingState Judge(
        V1Pod[] pods,
        SandboxBindingResource? binding = null,
        SandboxBindingResource[]? others = null,
        Func<string, SecretState?>? secret = null,
        bool isNamespaceEnabled = true)
    {
        binding ??= _binding;
        return BindingState.Of(binding, [binding, .. others ?? []], pods, secret ?? (_ => Some.Ready), isNamespaceEnabled, Some.Now);
    }

    private static (bool, string) Outcome(BindingState state) => (state.IsReady, state.Reason);
}
