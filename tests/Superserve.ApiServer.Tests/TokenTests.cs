using System.Text.Json.Nodes;
using Microsoft.Extensions.Time.Testing;

namespace Superserve.ApiServer.Tests;

/// <summary>Tokens of service accounts, and what reviews say of them.</summary>
public class TokenTests : ServerTest
{
    private readonly FakeTimeProvider _time = new(TimeProvider.System.GetUtcNow());

    protected override EmbeddedApiServerOptions Options => new() { Time = _time };

    [Fact]
    public async Task A_bound_token_tells_which_pod_it_is_for()
    {
        await Server.ApplyAsync(Samples.Pod());
        string uid = (string)(await GetAsync($"{Pods}/web"))["metadata"]!["uid"]!;
        (int code, JsonNode issued) = await PostAsync("api/v1/namespaces/default/serviceaccounts/default/token",
            $"spec: {{audiences: [superserve.ai], expirationSeconds: 600, boundObjectRef: {{kind: Pod, apiVersion: v1, name: web, uid: {uid}}}}}");
        Assert.Equal(201, code);
        string token = (string)issued["status"]!["token"]!;

        JsonNode status = await ReviewAsync(token, "superserve.ai");
        Assert.True((bool?)status["authenticated"]);
        Assert.Equal("system:serviceaccount:default:default", (string?)status["user"]!["username"]);
        Assert.Equal("""["web"]""", status["user"]!["extra"]!["authentication.kubernetes.io/pod-name"]!.ToJsonString());
        Assert.Equal($"[\"{uid}\"]", status["user"]!["extra"]!["authentication.kubernetes.io/pod-uid"]!.ToJsonString());
        Assert.Equal("""["superserve.ai"]""", status["audiences"]!.ToJsonString());
        Assert.Contains("system:serviceaccounts:default", status["user"]!["groups"]!.AsArray().Select(group => (string?)group));

        Assert.Null((await ReviewAsync(token, "another"))["authenticated"]);
        Assert.Null((await ReviewAsync(token[..^4] + "AAAA", "superserve.ai"))["authenticated"]);
        await DeleteAsync($"{Pods}/web");
        Assert.Null((await ReviewAsync(token, "superserve.ai"))["authenticated"]);
    }

    [Fact]
    public async Task A_token_expires()
    {
        string token = Server.ServiceAccountClient("default", "default", "x").Token;
        Assert.True((bool?)(await ReviewAsync(token, "x"))["authenticated"]);
        _time.Advance(TimeSpan.FromHours(2));
        Assert.Null((await ReviewAsync(token, "x"))["authenticated"]);
    }

    [Fact]
    public async Task A_token_is_not_issued_for_a_pod_of_another_account()
    {
        await Server.ApplyAsync("{apiVersion: v1, kind: ServiceAccount, metadata: {name: other}}");
        await Server.ApplyAsync(Samples.Pod());
        (int code, _) = await PostAsync("api/v1/namespaces/default/serviceaccounts/other/token", "spec: {boundObjectRef: {kind: Pod, apiVersion: v1, name: web}}");
        Assert.Equal(400, code);
    }

    private async Task<JsonNode> ReviewAsync(string token, string audience)
    {
        (int code, JsonNode review) = await PostAsync("apis/authentication.k8s.io/v1/tokenreviews", $"spec: {{token: \"{token}\", audiences: [{audience}]}}");
        Assert.Equal(201, code);
        return review["status"]!;
    }
}
