using FsCheck.Xunit;
using Superserve.Operator.Bindings;
using Superserve.Operator.Resources;
using Superserve.Operator.Tests.Support;

namespace Superserve.Operator.Tests.Bindings;

/// <summary>What the bindings of a namespace make of a pod.</summary>
public sealed class PodBindingsTests
{
    private static readonly Dictionary<string, string> Agent = new() { ["app"] = "agent" };

    [Fact]
    public void A_pod_that_no_binding_selects_is_no_sandbox() => Assert.False(Of(Some.Binding("other", app: "other", secrets: Some.Variable())).IsSandbox);

    [Fact]
    public void Variables_of_several_bindings_come_together()
    {
        PodBindings bindings = Of(Some.Binding("b", secrets: Some.Variable("B")), Some.Binding("a", secrets: Some.Variable("A")));
        Assert.Equal(["a", "b"], bindings.Bindings.Select(binding => binding.Metadata.Name));
        Assert.Equal(["A", "B"], bindings.Variables.Select(variable => variable.Env).Order());
        Assert.Empty(bindings.Conflicts);
    }

    [Fact]
    public void A_variable_with_two_secrets_is_given_by_nobody()
    {
        PodBindings bindings = Of(Some.Binding("a", secrets: Some.Variable()), Some.Binding("b", secrets: [Some.Variable(secret: "another"), Some.Variable("OTHER")]));
        Assert.Equal("OTHER", Assert.Single(bindings.Variables).Env);
        string message = Assert.Single(bindings.Conflicts).ToString();
        Assert.All(["TOKEN", "service", "another", " a ", " b"], word => Assert.Contains(word, message, StringComparison.Ordinal));
    }

    [Fact]
    public void A_third_binding_does_not_heal_a_conflict()
    {
        PodBindings bindings = Of(
            Some.Binding("a", secrets: Some.Variable()), Some.Binding("b", secrets: Some.Variable(secret: "another")), Some.Binding("c", secrets: Some.Variable()));
        Assert.Empty(bindings.Variables);
        Assert.Single(bindings.Conflicts);
    }

    [Fact]
    public void The_same_secret_goes_to_the_containers_of_both()
    {
        BoundVariable some = Assert.Single(Of(Some.Binding("a", secrets: Some.Variable(containers: "one")), Some.Binding("b", secrets: Some.Variable(containers: "two"))).Variables);
        Assert.True(some.IsFor("one") && some.IsFor("two"));
        Assert.False(some.IsFor("three"));
        BoundVariable all = Assert.Single(Of(Some.Binding("a", secrets: Some.Variable(containers: "one")), Some.Binding("b", secrets: Some.Variable())).Variables);
        Assert.True(all.IsFor("three"));
    }

    [Fact]
    public void An_expired_binding_gives_nothing() => Assert.False(Of(Some.Binding("a", expiresAt: Some.Now, secrets: Some.Variable())).IsSandbox);

    [Fact]
    public void A_binding_gives_until_the_moment_that_it_expires() => Assert.True(Of(Some.Binding("a", expiresAt: Some.Now.AddTicks(1), secrets: Some.Variable())).IsSandbox);

    /// <summary>Whichever way the bindings come, the result is the same: admission and delivery must agree.</summary>
    [Property]
    public void The_order_of_bindings_makes_no_difference(byte[] secrets)
    {
        SandboxBindingResource[] bindings = [.. secrets.Take(6).Select((secret, i) =>
            Some.Binding($"binding-{i}", secrets: [Some.Variable($"V{secret % 3}", $"secret-{secret / 3 % 2}")]))];
        PodBindings one = Of(bindings);
        PodBindings other = Of([.. bindings.Reverse()]);
        Assert.Equal(one.Variables.Select(Text), other.Variables.Select(Text));
        Assert.Equal(one.Conflicts.Select(conflict => conflict.ToString()), other.Conflicts.Select(conflict => conflict.ToString()));
        Assert.Empty(one.Variables.Select(variable => variable.Env).Intersect(one.Conflicts.Select(conflict => conflict.Env)));

        static string Text(BoundVariable variable) => $"{variable.Env}={variable.SecretName} of {variable.Binding.Metadata.Name}";
    }

    private static PodBindings Of(params SandboxBindingResource[] bindings) => PodBindings.Of(Agent, bindings, Some.Now);
}
