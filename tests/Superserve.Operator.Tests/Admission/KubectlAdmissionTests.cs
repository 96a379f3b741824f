using System.Text.Json.Nodes;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Admission;

/// <summary>What people see: real kubectl, the API server, the webhook configuration and the roles as they are shipped.</summary>
public sealed class KubectlAdmissionTests(AdmissionCluster cluster) : IClassFixture<AdmissionCluster>
{
    [Fact]
    public async Task A_refused_manifest_shows_its_message()
    {
        string errors = await cluster.As(AdmissionCluster.Editor).FailAsync("", "apply", "-n", "agents", "-f", Repository.PathTo("tests/manifests/refused/secret-unknown-provider.yaml"));
        Assert.Contains("admission webhook \"validate.secrets.superserve.ai\" denied the request: spec.provider: there is no provider 'antropic'; the nearest names are anthropic", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Who_may_get_the_core_Secret_may_write_a_Superserve_Secret_for_it_and_others_may_not()
    {
        string manifest = Secret("github", "{valueFrom: {secretKeyRef: {name: credentials, key: token}}, hosts: [api.github.com], auth: {type: bearer}}");
        string errors = await cluster.As(AdmissionCluster.Writer).FailAsync(manifest, "apply", "-f", "-");
        Assert.Contains("denied the request: you (dev) may not get the core Secret \"credentials\" in namespace \"agents\"", errors, StringComparison.Ordinal);
        Assert.Null(cluster.Server.Get("superserve.ai/v1alpha1", "Secret", "agents", "github"));
        // A dry run is judged alike.
        Assert.Contains("may not get the core Secret", await cluster.As(AdmissionCluster.Writer).FailAsync(manifest, "apply", "--dry-run=server", "-f", "-"), StringComparison.Ordinal);

        Assert.Equal("secret.superserve.ai/github created", await cluster.As(AdmissionCluster.Trusted).FeedAsync(manifest, "apply", "-f", "-"));
        // The role edit has the right by itself.
        Assert.Equal("secret.superserve.ai/gitlab created", await cluster.As(AdmissionCluster.Editor).FeedAsync(Secret("gitlab", "{valueFrom: {secretKeyRef: {name: others, key: token}}, provider: gitlab}"), "apply", "-f", "-"));
    }

    [Fact]
    public async Task Who_may_use_a_Superserve_Secret_may_bind_it_and_others_may_not()
    {
        string manifest = Binding("agents", "{selector: {matchLabels: {app: agent}}, secrets: [{env: ANTHROPIC_API_KEY, secretName: known}]}");
        string errors = await cluster.As(AdmissionCluster.Writer).FailAsync(manifest, "apply", "-f", "-");
        Assert.Contains("you (dev) may not use the Superserve Secret \"known\" in namespace \"agents\"", errors, StringComparison.Ordinal);
        Assert.Contains("verbs: [use], apiGroups: [superserve.ai], resources: [secrets], resourceNames: [known]", errors, StringComparison.Ordinal);
        Assert.Equal("sandboxbinding.superserve.ai/agents created", await cluster.As(AdmissionCluster.Trusted).FeedAsync(manifest, "apply", "-f", "-"));
    }

    [Fact]
    public async Task A_label_needs_no_right_and_a_rule_does()
    {
        await cluster.As(AdmissionCluster.Trusted).FeedAsync(Secret("labelled", "{valueFrom: {secretKeyRef: {name: credentials, key: token}}, provider: openai}"), "apply", "-f", "-");
        Kubectl writer = cluster.As(AdmissionCluster.Writer);
        Assert.Equal("secret.superserve.ai/labelled labeled", await writer.RunAsync("label", "-n", "agents", "secrets.superserve.ai", "labelled", "team=a"));
        string errors = await writer.FailAsync("", "patch", "-n", "agents", "secrets.superserve.ai", "labelled", "--type=merge", "-p", """{"spec": {"provider": null, "hosts": ["evil.example.com"], "auth": {"type": "bearer"}}}""");
        Assert.Contains("you (dev) may not get the core Secret", errors, StringComparison.Ordinal);
        JsonNode stored = JsonNode.Parse(cluster.Server.Get("superserve.ai/v1alpha1", "Secret", "agents", "labelled")!)!;
        Assert.Equal(("openai", "a"), ((string?)stored["spec"]!["provider"], (string?)stored["metadata"]!["labels"]!["team"]));
        Assert.Contains("deleted", await writer.RunAsync("delete", "-n", "agents", "secrets.superserve.ai", "labelled"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Warnings_are_shown_and_the_binding_is_stored()
    {
        string manifest = Binding("early", "{selector: {matchLabels: {app: early}}, secrets: [{env: API_KEY, secretName: not-yet}], network: {allowOut: [a.example.com]}, passthrough: [pinned.example.com]}");
        Outcome outcome = await cluster.As(AdmissionCluster.Editor).TryAsync(manifest, "apply", "-f", "-");
        Assert.True(outcome.Status == 0, outcome.ToString());
        Assert.Contains("Warning: the Superserve Secret \"not-yet\" does not exist yet", outcome.Errors, StringComparison.Ordinal);
        Assert.Contains("Warning: spec.passthrough: these names are open to fronting", outcome.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Core_Secrets_are_none_of_the_webhooks_business()
    {
        cluster.Server.Requests.Clear();
        await cluster.As(AdmissionCluster.Editor).RunAsync("create", "secret", "generic", "plain", "-n", "agents", "--from-literal=a=b");
        Assert.Contains(cluster.Server.Requests.All, request => request is { Resource: "secrets", Verb: "create" });
        Assert.DoesNotContain(cluster.Server.Requests.All, request => request.User == "operator");
    }

    [Theory]
    [InlineData("edit", "use", "secrets.superserve.ai", true)]
    [InlineData("admin", "use", "secrets.superserve.ai", true)]
    [InlineData("view", "use", "secrets.superserve.ai", false)]
    [InlineData("edit", "create", "sandboxbindings.superserve.ai", true)]
    [InlineData("admin", "deletecollection", "secrets.superserve.ai", true)]
    [InlineData("view", "list", "sandboxbindings.superserve.ai", true)]
    [InlineData("view", "watch", "secrets.superserve.ai", true)]
    [InlineData("view", "create", "secrets.superserve.ai", false)]
    [InlineData("admin", "update", "secrets.superserve.ai/status", false)]
    public async Task The_roles_of_a_namespace_have_what_they_should(string role, string verb, string resource, bool allowed)
    {
        string user = $"with-{role}";
        cluster.Server.AddUser(user);
        await cluster.Server.ApplyAsync($$"""
            apiVersion: rbac.authorization.k8s.io/v1
            kind: RoleBinding
            metadata: {name: {{user}}, namespace: agents}
            roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{role}}}
            subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: {{user}}}]
            """);
        string[] parts = resource.Split('/');
        string[] more = parts.Length > 1 ? [$"--subresource={parts[1]}"] : [];
        Outcome outcome = await cluster.As(user).TryAsync("", ["auth", "can-i", verb, parts[0], "-n", "agents", .. more]);
        Assert.Equal(allowed ? "yes" : "no", outcome.Output.Trim());
    }

    private static string Secret(string name, string spec) => $"{{apiVersion: superserve.ai/v1alpha1, kind: Secret, metadata: {{name: {name}, namespace: agents}}, spec: {spec}}}";

    private static string Binding(string name, string spec) => $"{{apiVersion: superserve.ai/v1alpha1, kind: SandboxBinding, metadata: {{name: {name}, namespace: agents}}, spec: {spec}}}";
}
