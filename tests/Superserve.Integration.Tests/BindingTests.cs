using System.Text.Json.Nodes;

namespace Superserve.Integration.Tests;

/// <summary>What the operator says of SandboxBindings. The pods are in a namespace that admission does not look at.</summary>
public sealed class BindingTests(TestCluster cluster)
{
    private const string OneSecret = "secrets: [{env: TOKEN, secretName: service}]";

    [Fact]
    public async Task A_binding_without_pods_is_ready_and_says_so()
    {
        await using TestNamespace ns = await ReadyAsync();
        await ns.BindingAsync("agents", "agent", OneSecret);
        JsonNode binding = await ns.ReasonAsync("sbb", "agents", "NoSandboxes");
        Assert.Equal("True", (string?)TestNamespace.Ready(binding)!["status"]);
        Assert.Equal(0, (int)binding["status"]!["sandboxCount"]!);
    }

    [Fact]
    public async Task Sandboxes_are_listed_and_counted_with_their_secrets()
    {
        await using TestNamespace ns = await ReadyAsync();
        await ns.BindingAsync("agents", "agent", OneSecret);
        await ns.PodAsync("one", "agent", isSandbox: true);
        await ns.PodAsync("two", "agent", isSandbox: true);
        await ns.PodAsync("stranger", "other");
        JsonNode binding = await ns.ReasonAsync("sbb", "agents", "NotConnected");
        Assert.Contains("kubectl logs POD -c superserve-sidecar", TestNamespace.Message(binding), StringComparison.Ordinal);
        await ns.ConnectAsync("one");
        await ns.ConnectAsync("two");
        binding = await ns.ReasonAsync("sbb", "agents", "Ready");
        Assert.Contains(binding["status"]!["conditions"]!.AsArray(), condition => (string?)condition!["type"] == "Enforced" && (string?)condition["reason"] is "ExplicitCapture" or "TransparentCapture");
        Assert.Equal(2, (int)binding["status"]!["sandboxCount"]!);
        Assert.Equal(2, (int)binding["status"]!["connectedCount"]!);
        JsonNode first = binding["status"]!["sandboxes"]!.AsArray().Single(sandbox => (string?)sandbox!["pod"] == "one")!;
        Assert.True((bool)first["connected"]!);
        Assert.Equal("service", (string?)first["secrets"]![0]!["secretName"]);
        Assert.False((bool)first["secrets"]![0]!["revoked"]!);
        await Wait.UntilAsync("the secret counts its sandboxes", async () => (int)(await ns.GetAsync("ssec", "service"))["status"]!["boundSandboxes"]! == 2);
        string[] row = (await ns.RunAsync("get", "sbb", "agents", "--no-headers")).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["agents", "True", "Ready", "2", "2", "service"], row[..6]);
    }

    [Fact]
    public async Task A_deleted_secret_is_revoked_for_its_sandboxes()
    {
        await using TestNamespace ns = await ReadyAsync();
        await ns.BindingAsync("agents", "agent", OneSecret);
        await ns.PodAsync("one", "agent", isSandbox: true);
        await ns.ReasonAsync("sbb", "agents", "NotConnected");
        await ns.RunAsync("delete", "ssec", "service");
        JsonNode binding = await ns.ReasonAsync("sbb", "agents", "SecretMissing");
        Assert.True((bool)binding["status"]!["sandboxes"]![0]!["secrets"]![0]!["revoked"]!);
        Assert.Contains("service", await ns.EventAsync("agents", "SecretMissing"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_secret_that_is_not_ready_is_named()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.SecretAsync("service");
        await ns.BindingAsync("agents", "agent", OneSecret);
        JsonNode binding = await ns.ReasonAsync("sbb", "agents", "SecretNotReady");
        Assert.Contains("CredentialMissing", TestNamespace.Message(binding), StringComparison.Ordinal);
        await ns.CredentialAsync("credentials", "token", "the-first-credential");
        await ns.ReasonAsync("sbb", "agents", "NoSandboxes");
    }

    [Fact]
    public async Task A_selected_pod_without_a_sidecar_gets_an_Event_and_the_binding_a_condition()
    {
        await using TestNamespace ns = await ReadyAsync();
        await ns.BindingAsync("agents", "agent", OneSecret);
        await ns.PodAsync("bare", "agent");
        JsonNode binding = await ns.ReasonAsync("sbb", "agents", "NotInjected");
        Assert.Contains("bare", TestNamespace.Message(binding), StringComparison.Ordinal);
        Assert.Contains("superserve.ai/injection=enabled", TestNamespace.Message(binding), StringComparison.Ordinal);
        Assert.Equal(0, (int)binding["status"]!["sandboxCount"]!);
        Assert.Contains("agents", await ns.EventAsync("bare", "NotInjected"), StringComparison.Ordinal);
        await ns.RunAsync("delete", "pod", "bare", "--now");
        await ns.ReasonAsync("sbb", "agents", "NoSandboxes");
    }

    [Fact]
    public async Task Two_bindings_that_give_one_variable_different_secrets_both_say_so()
    {
        await using TestNamespace ns = await ReadyAsync();
        await ns.SecretAsync("other", host: "other.example.com");
        await ns.BindingAsync("first", "agent", OneSecret);
        await ns.BindingAsync("second", "agent", "secrets: [{env: TOKEN, secretName: other}]");
        await ns.PodAsync("one", "agent", isSandbox: true);
        JsonNode first = await ns.ReasonAsync("sbb", "first", "Conflict");
        Assert.Contains("TOKEN", TestNamespace.Message(first), StringComparison.Ordinal);
        await ns.ReasonAsync("sbb", "second", "Conflict");
        await ns.RunAsync("delete", "sbb", "second");
        await ns.ReasonAsync("sbb", "first", "NotConnected");
    }

    [Fact]
    public async Task A_binding_ends_when_its_time_is_over()
    {
        await using TestNamespace ns = await ReadyAsync();
        string soon = DateTimeOffset.FromUnixTimeSeconds(TimeProvider.System.GetUtcNow().ToUnixTimeSeconds() + 4).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'");
        await ns.BindingAsync("agents", "agent", OneSecret + $"\n  expiresAt: {soon}");
        JsonNode binding = await ns.ReasonAsync("sbb", "agents", "Expired");
        Assert.Contains(soon, TestNamespace.Message(binding), StringComparison.Ordinal);
        await ns.EventAsync("agents", "Expired");
    }

    [Fact]
    public async Task A_pod_that_gets_the_label_later_is_selected_then()
    {
        await using TestNamespace ns = await ReadyAsync();
        await ns.BindingAsync("agents", "agent", OneSecret);
        await ns.PodAsync("one", "warm", isSandbox: true);
        await ns.ReasonAsync("sbb", "agents", "NoSandboxes");
        await ns.RunAsync("label", "pod", "one", "app=agent", "--overwrite");
        await ns.ReasonAsync("sbb", "agents", "NotConnected");
        await ns.RunAsync("label", "pod", "one", "app=done", "--overwrite");
        await ns.ReasonAsync("sbb", "agents", "NoSandboxes");
    }

    [Fact]
    public async Task A_status_lists_fifty_sandboxes_and_counts_all()
    {
        await using TestNamespace ns = await ReadyAsync();
        await ns.BindingAsync("agents", "agent", OneSecret);
        await ns.ApplyAsync(string.Join("\n---\n", Enumerable.Range(0, 60).Select(i => TestNamespace.Pod($"pod-{i:00}", "agent", isSandbox: true))));
        await Wait.UntilAsync("all sandboxes are counted", async () => (int)(await ns.GetAsync("sbb", "agents"))["status"]!["sandboxCount"]! == 60);
        Assert.Equal(50, (await ns.GetAsync("sbb", "agents"))["status"]!["sandboxes"]!.AsArray().Count);
    }

    [Fact]
    public async Task Nothing_is_written_when_nothing_has_changed()
    {
        await using TestNamespace ns = await ReadyAsync();
        await ns.BindingAsync("agents", "agent", OneSecret);
        JsonNode before = await ns.ReasonAsync("sbb", "agents", "NoSandboxes");
        // Reconciles both: a neighbour that conflicts with nothing.
        await ns.BindingAsync("neighbours", "neighbour", OneSecret);
        await ns.ReasonAsync("sbb", "neighbours", "NoSandboxes");
        await ns.PodAsync("stranger", "other");
        await ns.PodAsync("neighbour", "neighbour", isSandbox: true);
        await ns.ReasonAsync("sbb", "neighbours", "NotConnected");
        Assert.Equal((string?)before["metadata"]!["resourceVersion"], (string?)(await ns.GetAsync("sbb", "agents"))["metadata"]!["resourceVersion"]);
    }

    private async Task<TestNamespace> ReadyAsync()
    {
        TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.CredentialAsync("credentials", "token", "the-first-credential");
        await ns.SecretAsync("service");
        await ns.ReasonAsync("ssec", "service", "Ready");
        return ns;
    }
}
