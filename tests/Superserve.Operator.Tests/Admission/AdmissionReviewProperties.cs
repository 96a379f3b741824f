using System.Text;
using System.Text.Json.Nodes;
using FsCheck;
using FsCheck.Fluent;

namespace Superserve.Operator.Tests.Admission;

/// <summary>No bytes but a whole review that may be allowed are allowed, and none shake the server.</summary>
public sealed class AdmissionReviewProperties(AdmissionReviewProperties.Endpoints endpoints) : IClassFixture<AdmissionReviewProperties.Endpoints>
{
    private static readonly byte[] Valid = Encoding.UTF8.GetBytes(Review.Of(Review.Secret("{hosts: [a.example.com]}"), user: "ü").ToJsonString());

    [Fact]
    public async Task No_truncation_is_allowed()
    {
        for (int length = 0; length < Valid.Length; length++) await AssertRefusedAsync(Valid[..length]);
        Assert.Equal(200, (await endpoints.Server.PostAsync(Valid)).Code);
    }

    [Fact]
    public void No_random_bytes_are_allowed() => Prop.ForAll(
        ArbMap.Default.ArbFor<byte[]>(),
        bytes => AssertRefusedAsync(bytes).GetAwaiter().GetResult()).Check(Config.QuickThrowOnFailure.WithMaxTest(300));

    [Fact]
    public void No_bytes_before_or_after_a_review_are_let_pass() => Prop.ForAll(
        ArbMap.Default.ArbFor<NonEmptyArray<byte>>().Filter(bytes => !bytes.Get.All(b => b is 0x20 or 0x09 or 0x0a or 0x0d)),
        extra =>
        {
            AssertRefusedAsync([.. Valid, .. extra.Get]).GetAwaiter().GetResult();
            AssertRefusedAsync([.. extra.Get, .. Valid]).GetAwaiter().GetResult();
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(150));

    [Fact]
    public void A_review_with_a_changed_byte_is_refused_or_asks_the_handler_the_changed_question() => Prop.ForAll(
        Gen.Zip(Gen.Choose(0, Valid.Length - 1), Gen.Choose(0, 255)).ToArbitrary(),
        change =>
        {
            byte[] changed = [.. Valid];
            changed[change.Item1] = (byte)change.Item2;
            (int code, string text) = endpoints.Server.PostAsync(changed).GetAwaiter().GetResult();
            Assert.True(code is 200 or 400, $"{code} {text}");
            if (code != 200) AssertOurs(text);
            else Assert.Equal((string?)JsonNode.Parse(changed)!["request"]!["uid"], (string?)JsonNode.Parse(text)!["response"]!["uid"]);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(500));

    [Fact]
    public async Task Whatever_stands_in_a_field_of_the_request_the_server_stands()
    {
        JsonObject review = Review.Of(Review.Secret("{}"), Review.Secret("{}"), "UPDATE");
        string[] values = ["null", "true", "-1e999", "\"\"", "\"x\"", "[]", "[null]", "{}", "{\"a\":[[1]]}"];
        List<string> paths = [.. Paths(review["request"]!, "")];
        Assert.True(paths.Count > 20);
        foreach (string path in paths)
            foreach (string value in values)
            {
                JsonObject changed = (JsonObject)review.DeepClone();
                string[] steps = path.Split('/');
                JsonNode parent = steps[..^1].Aggregate(changed["request"]!, (node, step) => node[step]!);
                parent[steps[^1]] = JsonNode.Parse(value);
                (int code, string text) = await endpoints.Server.PostAsync(changed.ToJsonString());
                Assert.True(code is 200 or 400, $"{path}={value}: {code} {text}");
                if (code == 400) AssertOurs(text);
            }
    }

    private static IEnumerable<string> Paths(JsonNode node, string prefix) => node is JsonObject parent
        ? parent.SelectMany(property => (string[])[prefix + property.Key, .. property.Value is null ? [] : Paths(property.Value, $"{prefix}{property.Key}/")])
        : [];

    private async Task AssertRefusedAsync(byte[] body)
    {
        (int code, string text) = await endpoints.Server.PostAsync(body);
        Assert.True(code == 400, $"{code} {text}");
        AssertOurs(text);
    }

    private static void AssertOurs(string text)
    {
        Assert.DoesNotContain("Exception", text, StringComparison.Ordinal);
        Assert.DoesNotContain("BytePosition", text, StringComparison.Ordinal);
        Assert.DoesNotContain("allowed", text, StringComparison.Ordinal);
        Assert.EndsWith("\n", text, StringComparison.Ordinal);
    }

    /// <summary>A server whose handler allows everything.</summary>
    public sealed class Endpoints : IAsyncLifetime
    {
        internal AdmissionServer Server { get; private set; } = null!;

        public async ValueTask InitializeAsync() => Server = await AdmissionServer.StartAsync(Handler.Allowing);

        public ValueTask DisposeAsync() => Server.DisposeAsync();
    }
}
