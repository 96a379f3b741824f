using k8s.Models;
using Superserve.Operator.Bindings;
using Superserve.Operator.Cluster;
using Superserve.Operator.Resources;
using Superserve.Operator.Tests.Support;

namespace Superserve.Operator.Tests.Bindings;

/// <summary>Enforced is said only where the sidecars themselves say that nothing goes around them.</summary>
public sealed class EnforcementTests
{
    [Fact]
    public void Sandboxes_that_all_capture_transparently_make_it_True()
    {
        Enforcement enforcement = Judge(Some.Pod("a", isConnected: true), Some.Pod("b", isConnected: true));
        Assert.Equal(("True", "TransparentCapture", "nothing goes around the sidecar: so say 2 connected sandboxes"), (enforcement.Status, enforcement.Reason, enforcement.Message));
    }

    [Fact]
    public void One_that_was_made_under_explicit_capture_makes_it_False_and_is_named()
    {
        Enforcement enforcement = Judge(Some.Pod("a", isConnected: true), Some.Pod("old", isConnected: true, capture: "Explicit"), Some.Pod("c"));
        Assert.Equal(("False", "ExplicitCapture"), (enforcement.Status, enforcement.Reason));
        Assert.StartsWith("1 of 2 connected sandboxes is captured by the proxy variables alone (old): ", enforcement.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Transparentish")]
    [InlineData("transparent")]
    [InlineData("")]
    public void What_is_not_said_to_be_transparent_is_not(string capture) => Assert.Equal("False", Judge(Some.Pod("a", isConnected: true, capture: capture)).Status);

    [Fact]
    public void A_condition_without_a_message_says_nothing_of_capture()
    {
        V1Pod pod = Some.Pod("a", isConnected: true);
        pod.Status.Conditions[0].Message = null;
        Assert.Equal(("False", "ExplicitCapture"), (Judge(pod).Status, Judge(pod).Reason));
    }

    [Fact]
    public void A_pod_without_a_sidecar_makes_it_False_whatever_the_others_say()
    {
        Enforcement enforcement = Judge(Some.Pod("a", isConnected: true), Some.Pod("bare", isInjected: false));
        Assert.Equal(("False", "NotInjected"), (enforcement.Status, enforcement.Reason));
        Assert.Contains("1 selected pod runs without a sidecar (bare)", enforcement.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Before_any_sidecar_has_said_anything_it_is_Unknown()
    {
        Assert.Equal(("Unknown", "NotConnected"), (Judge().Status, Judge().Reason));
        Assert.Equal("Unknown", Judge(Some.Pod("a")).Status);
        // What one said before it left is nothing that it says.
        V1Pod left = Some.Pod("b", isConnected: true);
        left.Status.Conditions[0].Status = "False";
        Assert.False(left.IsTransparent());
        Assert.Equal("Unknown", Judge(left).Status);
    }

    private static Enforcement Judge(params V1Pod[] pods)
    {
        SandboxBindingResource binding = Some.Binding("agents", secrets: Some.Variable());
        return Enforcement.Of(BindingState.Of(binding, [binding], pods, _ => Some.Ready, isNamespaceEnabled: true, Some.Now));
    }
}
