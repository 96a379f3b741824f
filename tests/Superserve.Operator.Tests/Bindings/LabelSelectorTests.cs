using Superserve.Operator.Bindings;
using Superserve.Operator.Resources;

namespace Superserve.Operator.Tests.Bindings;

/// <summary>Selectors as Kubernetes reads them.</summary>
public sealed class LabelSelectorTests
{
    private static readonly Dictionary<string, string> Labels = new() { ["app"] = "agent", ["tier"] = "" };

    [Fact]
    public void An_empty_selector_selects_nothing()
    {
        Assert.False(new LabelSelector().Matches(Labels));
        Assert.False(((LabelSelector?)null).Matches(Labels));
        Assert.False(new LabelSelector { MatchLabels = new Dictionary<string, string>(), MatchExpressions = [] }.Matches(Labels));
    }

    [Theory]
    [InlineData("app", "agent", true)]
    [InlineData("app", "Agent", false)]
    [InlineData("tier", "", true)]
    [InlineData("missing", "", false)]
    public void Labels_are_compared_exactly(string key, string value, bool matches) =>
        Assert.Equal(matches, new LabelSelector { MatchLabels = new Dictionary<string, string> { [key] = value } }.Matches(Labels));

    [Theory]
    [InlineData("app", "In", "agent,other", true)]
    [InlineData("app", "In", "other", false)]
    [InlineData("missing", "In", "x", false)]
    [InlineData("app", "NotIn", "other", true)]
    [InlineData("app", "NotIn", "agent", false)]
    [InlineData("missing", "NotIn", "x", true)]
    [InlineData("app", "Exists", null, true)]
    [InlineData("missing", "Exists", null, false)]
    [InlineData("app", "DoesNotExist", null, false)]
    [InlineData("missing", "DoesNotExist", null, true)]
    [InlineData("app", "Like", "agent", false)]
    public void Expressions_are_read_as_Kubernetes_reads_them(string key, string @operator, string? values, bool matches) =>
        Assert.Equal(matches, Expression(key, @operator, values).Matches(Labels));

    [Fact]
    public void All_parts_have_to_hold()
    {
        LabelSelector selector = Expression("tier", "Exists", null) with { MatchLabels = new Dictionary<string, string> { ["app"] = "other" } };
        Assert.False(selector.Matches(Labels));
        Assert.False(Expression("app", "DoesNotExist", null).Matches(Labels));
        Assert.True(Expression("app", "DoesNotExist", null).Matches(null));
    }

    private static LabelSelector Expression(string key, string @operator, string? values) =>
        new() { MatchExpressions = [new LabelExpression { Key = key, Operator = @operator, Values = values?.Split(',') }] };
}
