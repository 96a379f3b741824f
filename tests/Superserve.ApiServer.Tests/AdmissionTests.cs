using Superserve.Testing;
using System.Text.Json.Nodes;

namespace Superserve.ApiServer.Tests;

/// <summary>Webhooks over TLS.</summary>
public class AdmissionTests : ServerTest
{
    private const string AddLabel = """[{"op":"add","path":"/metadata/labels","value":{"touched":"yes"}}]""";

    [Fact]
    public async Task A_mutating_webhook_behind_a_service_changes_a_pod_before_it_has_an_identity()
    {
        await using TestWebhook webhook = await TestWebhook.StartAsync(_ => TestWebhook.Patch(AddLabel), "hooks.system.svc");
        Server.Services.Map("system", "hooks", webhook.EndPoint);
        await Server.ApplyAsync(webhook.Configuration("Mutating", "mutate", client: "service: {name: hooks, namespace: system, path: /mutate}"));
        (int code, JsonNode pod) = await PostAsync(Pods, Samples.Pod());
        Assert.True(code == 201, pod.ToJsonString());
        Assert.Equal("yes", (string?)pod["metadata"]!["labels"]!["touched"]);
        JsonObject asked = Assert.Single(webhook.Asked);
        Assert.Equal(("CREATE", "default", "admin"), ((string?)asked["operation"], (string?)asked["namespace"], (string?)asked["userInfo"]!["username"]));
        Assert.Null(asked["object"]!["metadata"]!["uid"]);
        Assert.Contains(asked["object"]!["spec"]!["volumes"]!.AsArray(), volume => ((string?)volume!["name"])!.StartsWith("kube-api-access-", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_validating_webhook_sees_the_finished_pod_and_can_refuse_it()
    {
        await using TestWebhook webhook = await TestWebhook.StartAsync(_ => TestWebhook.Deny("not this one"));
        await Server.ApplyAsync(webhook.Configuration("Validating", "check"));
        (int code, JsonNode status) = await PostAsync(Pods, Samples.Pod());
        Assert.Equal(403, code);
        Assert.Equal("admission webhook \"check.example.com\" denied the request: not this one", (string?)status["message"]);
        Assert.NotNull(Assert.Single(webhook.Asked)["object"]!["metadata"]!["uid"]);
        Assert.Contains("denied the request: not this one", await Kubectl.FailAsync(Samples.Pod(), "apply", "--server-side", "-f", "-"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_webhook_is_asked_again_after_others_changed_the_object()
    {
        await using TestWebhook first = await TestWebhook.StartAsync(_ => TestWebhook.Allow());
        await using TestWebhook second = await TestWebhook.StartAsync(_ => TestWebhook.Patch(AddLabel));
        await Server.ApplyAsync(first.Configuration("Mutating", "a", "reinvocationPolicy: IfNeeded"));
        await Server.ApplyAsync(second.Configuration("Mutating", "b"));
        await PostAsync(Pods, Samples.Pod());
        Assert.Equal((2, 1), (first.Asked.Count, second.Asked.Count));
    }

    [Theory]
    [InlineData("Fail", 500)]
    [InlineData("Ignore", 201)]
    public async Task A_webhook_that_is_away_counts_by_its_failure_policy(string policy, int expected)
    {
        await using (TestWebhook webhook = await TestWebhook.StartAsync(_ => TestWebhook.Allow()))
        {
            await Server.ApplyAsync(webhook.Configuration("Mutating", "away", $"failurePolicy: {policy}"));
        }

        (int code, JsonNode answer) = await PostAsync(Pods, Samples.Pod());
        Assert.Equal(expected, code);
        if (code == 500) Assert.Contains("failed calling webhook \"away.example.com\"", (string?)answer["message"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_webhook_with_a_certificate_of_another_CA_is_not_trusted()
    {
        await using TestWebhook webhook = await TestWebhook.StartAsync(_ => TestWebhook.Allow());
        await using TestWebhook other = await TestWebhook.StartAsync(_ => TestWebhook.Allow());
        await Server.ApplyAsync(webhook.Configuration("Mutating", "hook").Replace(webhook.CaBundle, other.CaBundle, StringComparison.Ordinal));
        Assert.Equal(500, (await PostAsync(Pods, Samples.Pod())).Code);
        Assert.Empty(webhook.Asked);
    }

    [Fact]
    public async Task Selectors_say_which_objects_are_shown()
    {
        await using TestWebhook webhook = await TestWebhook.StartAsync(_ => TestWebhook.Deny("no"));
        await Server.ApplyAsync(webhook.Configuration("Validating", "check", "namespaceSelector: {matchLabels: {injection: enabled}}\n  objectSelector: {matchLabels: {app: a}}"));
        Assert.Equal(201, (await PostAsync(Pods, Samples.Pod("one", metadata: ", labels: {app: a}"))).Code);
        await MergeAsync("api/v1/namespaces/default", """{"metadata":{"labels":{"injection":"enabled"}}}""");
        Assert.Equal(201, (await PostAsync(Pods, Samples.Pod("two"))).Code);
        Assert.Equal(403, (await PostAsync(Pods, Samples.Pod("three", metadata: ", labels: {app: a}"))).Code);
    }

    [Fact]
    public async Task Connections_to_pods_are_admitted()
    {
        await using TestWebhook webhook = await TestWebhook.StartAsync(asked => (string?)asked["object"]!["container"] == "sidecar" ? TestWebhook.Deny("not into the sidecar") : TestWebhook.Allow());
        await Server.ApplyAsync(webhook.Configuration("Validating", "connect", resources: "pods/exec, pods/attach", operations: "CONNECT"));
        await Server.ApplyAsync(Samples.Pod());
        (int code, JsonNode status) = await AskAsync(Http, HttpMethod.Post, $"{Pods}/web/exec?container=sidecar&command=sh&command=-c&stdin=true");
        Assert.Equal(403, code);
        Assert.Contains("not into the sidecar", (string?)status["message"], StringComparison.Ordinal);
        JsonObject asked = Assert.Single(webhook.Asked);
        Assert.Equal(("PodExecOptions", "exec", "web"), ((string?)asked["kind"]!["kind"], (string?)asked["subResource"], (string?)asked["name"]));
        Assert.Equal("""["sh","-c"]""", asked["object"]!["command"]!.ToJsonString());
        Assert.Equal(501, (await AskAsync(Http, HttpMethod.Post, $"{Pods}/web/exec?container=app")).Code);
        await Server.ApplyAsync(Samples.Pod("two").Replace("name: app", "name: sidecar", StringComparison.Ordinal));
        Assert.Contains("not into the sidecar", await Kubectl.FailAsync("", "exec", "two", "-c", "sidecar", "--", "true"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Ephemeral_containers_are_admitted_and_added()
    {
        await using TestWebhook webhook = await TestWebhook.StartAsync(asked =>
            asked["object"]!["spec"]!["ephemeralContainers"]!.AsArray().Any(container => (string?)container!["image"] == "bad") ? TestWebhook.Deny("no debugging") : TestWebhook.Allow());
        await Server.ApplyAsync(webhook.Configuration("Validating", "debug", resources: "pods/ephemeralcontainers", operations: "UPDATE"));
        await Server.ApplyAsync(Samples.Pod());
        static string Debugger(string image) => $$$"""{"spec":{"ephemeralContainers":[{"name":"debugger","image":"{{{image}}}"}]}}""";
        string path = $"{Pods}/web/ephemeralcontainers";
        Assert.Equal(403, (await AskAsync(Http, HttpMethod.Patch, path, Debugger("bad"), "application/strategic-merge-patch+json")).Code);
        Assert.Equal(200, (await AskAsync(Http, HttpMethod.Patch, path, Debugger("good"), "application/strategic-merge-patch+json")).Code);
        Assert.Equal("debugger", (string?)(await GetAsync($"{Pods}/web"))["spec"]!["ephemeralContainers"]![0]!["name"]);
        Assert.All(webhook.Asked, asked => Assert.NotNull(asked["oldObject"]));
    }

    [Fact]
    public async Task A_dry_run_says_so_to_webhooks()
    {
        await using TestWebhook webhook = await TestWebhook.StartAsync(_ => TestWebhook.Allow());
        await Server.ApplyAsync(webhook.Configuration("Validating", "check"));
        Assert.Equal(201, (await PostAsync($"{Pods}?dryRun=All", Samples.Pod())).Code);
        Assert.True((bool?)Assert.Single(webhook.Asked)["dryRun"]);
        Assert.Equal(404, (await AskAsync(Http, HttpMethod.Get, $"{Pods}/web")).Code);
    }

    [Fact]
    public async Task Deletions_and_custom_resources_are_admitted_too()
    {
        await using TestWebhook webhook = await TestWebhook.StartAsync(asked => (string?)asked["operation"] == "DELETE" ? TestWebhook.Deny("it stays") : TestWebhook.Allow());
        await Server.ApplyAsync(webhook.Configuration("Validating", "keep", resources: "gadgets", operations: "DELETE, UPDATE").Replace("apiGroups: [\"\"]", "apiGroups: [example.com]", StringComparison.Ordinal));
        await Server.ApplyAsync(Samples.Gadget());
        await MergeAsync($"{Gadgets}/one", """{"spec":{"count":3}}""");
        Assert.Equal(403, (await DeleteAsync($"{Gadgets}/one")).Code);
        JsonObject updated = webhook.Asked.First(asked => (string?)asked["operation"] == "UPDATE");
        Assert.Equal((2, 3), ((int?)updated["oldObject"]!["spec"]!["count"], (int?)updated["object"]!["spec"]!["count"]));
        Assert.Equal("Gadget", (string?)updated["kind"]!["kind"]);
    }
}
