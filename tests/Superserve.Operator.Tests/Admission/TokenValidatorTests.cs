using System.Net;
using System.Text.Json;
using Superserve.Operator.Admission;

namespace Superserve.Operator.Tests.Admission;

/// <summary>Who gets a token that makes a sidecar of its bearer.</summary>
public sealed class TokenValidatorTests
{
    [Fact]
    public async Task Nobody_but_a_kubelet_gets_a_token_for_a_sidecar()
    {
        AdmissionDecision decision = await JudgeAsync("""{"spec":{"audiences":["vault","superserve.ai"],"boundObjectRef":{"kind":"Pod","name":"agent"}}}""", "system:masters", "system:authenticated");
        Assert.Equal((false, HttpStatusCode.Forbidden), (decision.IsAllowed, decision.Code));
        Assert.Contains("only kubelets get one, and dev is none", decision.Message, StringComparison.Ordinal);
        Assert.True((await JudgeAsync("""{"spec":{"audiences":["superserve.ai"]}}""", "system:nodes")).IsAllowed);
    }

    [Theory]
    [InlineData("""{"spec":{"audiences":["vault"]}}""")]
    [InlineData("""{"spec":{"audiences":["SUPERSERVE.AI"]}}""")]
    [InlineData("""{"spec":{"audiences":[]}}""")]
    [InlineData("""{"spec":{"audiences":null}}""")]
    [InlineData("""{"spec":{}}""")]
    [InlineData("{}")]
    public async Task Tokens_for_others_are_nobodys_business(string token) => Assert.True((await JudgeAsync(token, "system:authenticated")).IsAllowed);

    [Fact]
    public async Task Any_other_request_is_a_mistake_in_the_webhooks_rules() =>
        Assert.Equal(HttpStatusCode.BadRequest, (await new TokenValidator().AdmitAsync(Request("{}") with { SubResource = "" }, CancellationToken.None)).Code);

    private static Task<AdmissionDecision> JudgeAsync(string token, params string[] groups) => new TokenValidator().AdmitAsync(Request(token, groups), CancellationToken.None);

    private static AdmissionRequest Request(string token, params string[] groups) => new()
    {
        Uid = "uid",
        Operation = "CREATE",
        Group = "",
        Resource = "serviceaccounts",
        SubResource = "token",
        Namespace = "agents",
        Name = "default",
        User = new Requester("dev", "", groups, new Dictionary<string, IReadOnlyList<string>>()),
        Object = JsonDocument.Parse(token).RootElement.Clone(),
    };
}
