using System.Text;
using System.Text.Json.Nodes;
using Superserve.Operator.Delivery;
using Superserve.Operator.Tests.Delivery.Fixture;

namespace Superserve.Operator.Tests.Delivery;

/// <summary>What is made of an API server's answer about a token.</summary>
public sealed class TokenReviewerTests
{
    private const string Good = """
        {"status": {"authenticated": true, "audiences": ["superserve.ai"], "user": {"username": "system:serviceaccount:agents:default",
         "extra": {"authentication.kubernetes.io/pod-name": ["agent"], "authentication.kubernetes.io/pod-uid": ["u1"]}}}}
        """;

    private const string Claims = """{"aud": ["superserve.ai"], "exp": 1800000000, "kubernetes.io": {"namespace": "agents", "pod": {"name": "agent", "uid": "u1"}}}""";

    private static readonly string Token = TokenOf(Claims);

    [Fact]
    public async Task A_good_answer_tells_which_pod_it_is_and_until_when()
    {
        ProvenPod proven = await ReviewAsync(Good, Token);
        Assert.Equal(("agents/agent", "u1", "default", 1800000000), (proven.Pod.ToString(), proven.Uid, proven.ServiceAccount, proven.Until.ToUnixTimeSeconds()));
    }

    [Theory]
    [InlineData("\"authenticated\": true, ", "")]
    [InlineData("\"authenticated\": true", "\"authenticated\": false")]
    // An API server that ignores audiences would let a token for itself pass.
    [InlineData("\"audiences\": [\"superserve.ai\"], ", "")]
    [InlineData("[\"superserve.ai\"]", "[\"https://kubernetes.default.svc\"]")]
    [InlineData("[\"superserve.ai\"]", "[\"superserve.ai.evil.example\"]")]
    [InlineData("\"status\"", "\"other\"")]
    public async Task An_answer_that_does_not_say_yes_is_a_no(string part, string instead) => Assert.Equal("token_refused", await RefusalAsync(Good.Replace(part, instead, StringComparison.Ordinal), Token));

    [Theory]
    [InlineData("system:serviceaccount:agents:default", "system:node:agents")]
    [InlineData("system:serviceaccount:agents:default", "system:serviceaccount::default")]
    [InlineData("system:serviceaccount:agents:default", "system:serviceaccount:agents")]
    [InlineData("\"authentication.kubernetes.io/pod-name\": [\"agent\"], ", "")]
    [InlineData("[\"agent\"]", "[\"agent\", \"another\"]")]
    [InlineData("[\"u1\"]", "[]")]
    [InlineData("[\"u1\"]", "[\"\"]")]
    public async Task A_genuine_token_that_does_not_name_one_pod_is_refused(string part, string instead) => Assert.Equal("token_of_no_pod", await RefusalAsync(Good.Replace(part, instead, StringComparison.Ordinal), Token));

    [Theory]
    [InlineData("\"exp\": 1800000000, ", "")]
    [InlineData("1800000000", "\"soon\"")]
    [InlineData("1800000000", "1e400")]
    [InlineData("1800000000", "999999999999999")]
    [InlineData("\"aud\": [\"superserve.ai\"], ", "")]
    [InlineData("[\"superserve.ai\"]", "[\"https://kubernetes.default.svc\"]")]
    [InlineData("[\"superserve.ai\"]", "\"superserve.ai.evil.example\"")]
    [InlineData("[\"superserve.ai\"]", "[]")]
    [InlineData("[\"superserve.ai\"]", "[1]")]
    [InlineData("\"pod\"", "\"secret\"")]
    [InlineData("{\"name\": \"agent\", \"uid\": \"u1\"}", "\"agent\"")]
    [InlineData("\"name\": \"agent\", ", "")]
    [InlineData("\"uid\": \"u1\"", "\"uid\": \"\"")]
    [InlineData("\"uid\": \"u1\"", "\"uid\": 1")]
    [InlineData("\"kubernetes.io\"", "\"kubernetes\"")]
    public async Task A_token_that_does_not_claim_to_be_a_pods_and_for_us_is_refused_without_asking(string part, string instead) =>
        await AssertNotAskedAsync(TokenOf(Claims.Replace(part, instead, StringComparison.Ordinal)));

    [Theory]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("no json")]
    public async Task So_is_one_whose_claims_are_no_object(string claims) => await AssertNotAskedAsync(TokenOf(claims));

    [Theory]
    [InlineData("opaque")]
    [InlineData("a.b")]
    [InlineData("a.%%%.c")]
    public async Task So_is_one_that_is_no_JWT(string token) => await AssertNotAskedAsync(token);

    [Fact]
    public async Task So_is_one_with_a_part_that_is_empty_or_not_in_base64url()
    {
        string[] parts = Token.Split('.');
        await AssertNotAskedAsync($".{parts[1]}.{parts[2]}");
        await AssertNotAskedAsync($"{parts[0]}.{parts[1]}.");
        await AssertNotAskedAsync($"{parts[0]}.{parts[1]}.a+b/");
        await AssertNotAskedAsync($"{Token}.{parts[2]}");
    }

    [Theory]
    [InlineData("[\"vault\", \"superserve.ai\"]")]
    [InlineData("\"superserve.ai\"")]
    public async Task An_audience_in_either_form_of_a_JWT_is_asked_about_once(string audience)
    {
        await using FakeReviews reviews = await FakeReviews.StartAsync(JsonNode.Parse(Good)!);
        await reviews.ReviewAsync(TokenOf(Claims.Replace("[\"superserve.ai\"]", audience, StringComparison.Ordinal)));
        Assert.Equal(1, reviews.Asked);
    }

    private static async Task AssertNotAskedAsync(string token)
    {
        await using FakeReviews reviews = await FakeReviews.StartAsync(JsonNode.Parse(Good)!);
        Assert.Equal("token_refused", (await Assert.ThrowsAsync<EndingException>(() => reviews.ReviewAsync(token))).Ending.Reason);
        Assert.Equal(0, reviews.Asked);
    }

    private static async Task<string> RefusalAsync(string answer, string token) =>
        (await Assert.ThrowsAsync<EndingException>(() => ReviewAsync(answer, token))).Ending.Reason;

    private static async Task<ProvenPod> ReviewAsync(string answer, string token)
    {
        await using FakeReviews reviews = await FakeReviews.StartAsync(JsonNode.Parse(answer)!);
        return await reviews.ReviewAsync(token);
    }

    private static string TokenOf(string claims) => $"e30.{System.Buffers.Text.Base64Url.EncodeToString(Encoding.UTF8.GetBytes(claims))}.c2ln";
}
