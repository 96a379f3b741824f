using System.Text.Json.Nodes;

namespace Superserve.Integration.Tests;

/// <summary>Pods of a namespace that admission looks at.</summary>
public sealed class PodTests(TestCluster cluster)
{
    [Fact]
    public async Task A_selected_pod_becomes_a_sandbox_with_a_stand_in()
    {
        await using TestNamespace ns = await ReadyAsync();
        await ns.ApplyAsync(Pod("agent"));
        JsonNode pod = await ns.GetAsync("pod", "agent");
        Assert.Contains("superserve-sidecar", pod["spec"]!["initContainers"]!.AsArray().Select(container => (string)container!["name"]!));
        JsonNode variable = pod["spec"]!["containers"]![0]!["env"]!.AsArray().First(variable => (string)variable!["name"]! == "TOKEN")!;
        Assert.StartsWith("superserve_", (string)variable["value"]!, StringComparison.Ordinal);
        Assert.DoesNotContain("the-first-credential", pod.ToJsonString(), StringComparison.Ordinal);
        Assert.False((bool?)pod["spec"]!["automountServiceAccountToken"] ?? true);
        await Wait.UntilAsync("the binding counts it", async () => (int)(await ns.GetAsync("sbb", "agents"))["status"]!["sandboxCount"]! == 1);
    }

    [Fact]
    public async Task One_apply_of_binding_and_pod_is_enough()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync(isEnabled: true);
        await ns.CredentialAsync("credentials", "token", "the-first-credential");
        await ns.ApplyAsync($$"""
            apiVersion: superserve.ai/v1alpha1
            kind: Secret
            metadata: {name: service}
            spec: {valueFrom: {secretKeyRef: {name: credentials, key: token} }, hosts: [api.example.com], auth: {type: bearer} }
            ---
            apiVersion: superserve.ai/v1alpha1
            kind: SandboxBinding
            metadata: {name: agents}
            spec: {selector: {matchLabels: {app: agent} }, secrets: [{env: TOKEN, secretName: service}]}
            ---
            {{Pod("agent")}}
            """);
        Assert.Contains("superserve-sidecar", await ns.RunAsync("get", "pod", "agent", "-o", "jsonpath={.spec.initContainers[*].name}"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_pod_that_no_binding_selects_is_left_alone()
    {
        await using TestNamespace ns = await ReadyAsync();
        await ns.ApplyAsync(Pod("other", app: "other"));
        Assert.DoesNotContain("superserve", (await ns.GetAsync("pod", "other"))["spec"]!.ToJsonString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_pod_that_must_be_a_sandbox_waits_for_its_binding()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync(isEnabled: true);
        string pod = Pod("agent", labels: "superserve.ai/sandbox: 'true'");
        Assert.Contains("no SandboxBinding of its namespace selects it", await ns.Kubectl.FailAsync(pod, "apply", "--server-side", "-n", ns.Name, "-f", "-"), StringComparison.Ordinal);
        await ns.SecretAsync("service");
        await ns.BindingAsync("agents", "agent", "secrets: [{env: TOKEN, secretName: service}]");
        await ns.ApplyAsync(pod);
    }

    public static TheoryData<string, string, string> Dangers => new()
    {
        { "the host's network", "hostNetwork: true", "hostNetwork" },
        { "a shared process namespace", "shareProcessNamespace: true", "shareProcessNamespace" },
        { "a directory of the host", "volumes: [{name: host, hostPath: {path: /}}]", "hostPath" },
        { "a token for the operator", "volumes: [{name: token, projected: {sources: [{serviceAccountToken: {audience: superserve.ai, path: token}}]}}]", "superserve.ai" },
        { "the core Secret itself", "volumes: [{name: own, secret: {secretName: credentials}}]", "credentials" },
    };

    [Theory]
    [MemberData(nameof(Dangers))]
    public async Task A_sandbox_with_a_way_around_is_refused(string what, string field, string words)
    {
        Assert.NotEmpty(what);
        await using TestNamespace ns = await ReadyAsync();
        Assert.Contains(words, await ns.Kubectl.FailAsync(Pod("agent", spec: field), "apply", "--server-side", "-n", ns.Name, "-f", "-"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nobody_gets_into_the_sidecar()
    {
        await using TestNamespace ns = await ReadyAsync();
        await ns.ApplyAsync(Pod("agent"));
        // An API server lets exec only into what runs; without a kubelet, say so by hand.
        await ns.Kubectl.TryAsync("", "patch", "pod", "agent", "-n", ns.Name, "--subresource=status", "--type=merge", "-p", """{"status": {"phase": "Running"}}""");
        string errors = await ns.Kubectl.FailAsync("", "exec", "agent", "-n", ns.Name, "-c", "superserve-sidecar", "--", "true");
        Assert.Contains("superserve-sidecar", errors, StringComparison.Ordinal);
        errors = await ns.Kubectl.FailAsync("", "debug", "agent", "-n", ns.Name, "--image=registry.k8s.io/pause", "--target=superserve-sidecar", "--profile=general", "--attach=false", "--", "true");
        Assert.True(errors.Contains("look into the sidecar", StringComparison.Ordinal), errors);
    }

    [Fact]
    public async Task Nobody_but_a_kubelet_gets_a_token_that_makes_a_sidecar_of_its_bearer()
    {
        await using TestNamespace ns = await ReadyAsync();
        Assert.Contains("only kubelets get one", await ns.Kubectl.FailAsync("", "create", "token", "default", "--audience", "superserve.ai", "-n", ns.Name), StringComparison.Ordinal);
        await Wait.UntilAsync("tokens for others are given", async () => (await ns.Kubectl.TryAsync("", "create", "token", "default", "--audience", "vault", "-n", ns.Name)).Status == 0);
    }

    [Fact]
    public async Task A_sandbox_keeps_its_sidecar_and_its_id()
    {
        await using TestNamespace ns = await ReadyAsync();
        await ns.ApplyAsync(Pod("agent"));
        await ns.Kubectl.FailAsync("", "set", "image", "pod/agent", "superserve-sidecar=example.com/mine:1", "-n", ns.Name);
        await ns.Kubectl.FailAsync("", "annotate", "pod", "agent", "superserve.ai/sandbox-id=0123456789abcdef", "--overwrite", "-n", ns.Name);
        await ns.RunAsync("label", "pod", "agent", "task=seven", "--overwrite");
        await ns.RunAsync("annotate", "pod", "agent", "note=something");
    }

    [Fact]
    public async Task A_dry_run_shows_the_sandbox_and_stores_nothing()
    {
        await using TestNamespace ns = await ReadyAsync();
        string shown = await ns.Kubectl.FeedAsync(Pod("agent"), "apply", "--server-side", "--dry-run=server", "-n", ns.Name, "-f", "-", "-o", "yaml");
        Assert.Contains("superserve-sidecar", shown, StringComparison.Ordinal);
        Assert.Equal("", await ns.RunAsync("get", "pods", "-o", "name"));
    }

    private async Task<TestNamespace> ReadyAsync()
    {
        TestNamespace ns = await cluster.NewNamespaceAsync(isEnabled: true);
        await ns.CredentialAsync("credentials", "token", "the-first-credential");
        await ns.SecretAsync("service");
        await ns.BindingAsync("agents", "agent", "secrets: [{env: TOKEN, secretName: service}]");
        await ns.ReasonAsync("sbb", "agents", "NoSandboxes");
        return ns;
    }

    private static string Pod(string name, string app = "agent", string labels = "task: six", string spec = "restartPolicy: Never") => $$"""
        apiVersion: v1
        kind: Pod
        metadata:
          name: {{name}}
          labels:
            app: {{app}}
            {{labels}}
        spec:
          {{spec}}
          containers: [{name: agent, image: registry.k8s.io/pause}]
        """;
}
