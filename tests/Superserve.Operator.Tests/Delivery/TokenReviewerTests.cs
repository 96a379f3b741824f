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

    private static readonly string Token = TokenOf("""{"exp": 1800000000}""");

    [Fact]
    public async Task A_good_answer_tells_which_pod_it_is_and_until_when()
    {
        ProvenPod proven = await ReviewAsync(Good, Token);
        Assert.Equal(("agents/agent", "u1", 1800000000), (proven.Pod.ToString(), proven.Uid, proven.Until.ToUnixTimeSeconds()));
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
    [InlineData("{}")]
    [InlineData("""{"exp": "soon"}""")]
    [InlineData("""{"exp": 1e400}""")]
    [InlineData("""{"exp": 999999999999999}""")]
    [InlineData("[]")]
    [InlineData("no json")]
    public async Task A_token_that_does_not_say_when_it_ends_is_refused(string claims) => Assert.Equal("token_refused", await RefusalAsync(Good, TokenOf(claims)));

    [Theory]
    [InlineData("opaque")]
    [InlineData("a.b")]
    [InlineData("a.%%%.c")]
    public async Task So_is_one_that_is_no_JWT(string token) => Assert.Equal("token_refused", await RefusalAsync(Good, token));

    private static async Task<string> RefusalAsync(string answer, string token) =>
        (await Assert.ThrowsAsync<EndingException>(() => ReviewAsync(answer, token))).Ending.Reason;

    private static async Task<ProvenPod> ReviewAsync(string answer, string token)
    {
        await using FakeReviews reviews = await FakeReviews.StartAsync(JsonNode.Parse(answer)!);
        return await reviews.ReviewAsync(token);
    }

    private static string TokenOf(string claims) => $"e30.{System.Buffers.Text.Base64Url.EncodeToString(Encoding.UTF8.GetBytes(claims))}.c2ln";
}
