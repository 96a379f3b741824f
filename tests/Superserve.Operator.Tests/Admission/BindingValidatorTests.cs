using System.Net;
using System.Text.Json.Nodes;
using Superserve.ApiServer;
using Superserve.Kubernetes.Api;
using Superserve.Operator.Admission;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Admission;

/// <summary>What the webhook says of SandboxBindings.</summary>
public sealed class BindingValidatorTests(AdmissionCluster cluster) : IClassFixture<AdmissionCluster>
{
    private const string Selector = "selector: {matchLabels: {app: agent}}";
    private const string Known = $"{{{Selector}, secrets: [{{env: API_KEY, secretName: known}}]}}";

    public static TheoryData<string> Accepted =>
        [.. Directory.EnumerateFiles(Repository.PathTo("tests/manifests/accepted"), "binding*.yaml").Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Accepted))]
    public async Task An_accepted_manifest_passes(string file)
    {
        AdmissionDecision decision = await JudgeAsync(Review.Manifest("accepted/" + file));
        Assert.True(decision.IsAllowed, decision.Message);
    }

    [Theory]
    [InlineData("network: {allowOut: ['*.co.uk']}", "spec.network.allowOut[0]: '*.co.uk' is too wide")]
    [InlineData("network: {denyOut: ['::ffff:10.0.0.0/104']}", "spec.network.denyOut[0]: '::ffff:10.0.0.0/104' is IPv4 inside IPv6")]
    [InlineData("network: {allowOut: [10.0.0.1/8]}", "spec.network.allowOut[0]: '10.0.0.1/8' has bits behind its prefix")]
    [InlineData("network: {}, passthrough: ['*.com']", "spec.passthrough[0]: '*.com' is too wide")]
    [InlineData("secrets: [{env: LD_PRELOAD, secretName: known}]", "spec.secrets[0].env: LD_PRELOAD decides how programs run")]
    [InlineData("secrets: [{env: SSL_CERT_FILE, secretName: known}]", "spec.secrets[0].env: SSL_CERT_FILE decides how programs run")]
    [InlineData("secrets: [{env: https_proxy, secretName: known}]", "spec.secrets[0].env: https_proxy decides how programs run")]
    [InlineData("secrets: [{env: A, secretName: known}, {env: A, secretName: b}]", "spec.secrets[1].env: the variable A has a secret already")]
    [InlineData("secrets: [{env: A}]", "spec.secrets[0]: env or secretName is missing")]
    [InlineData("secrets: [{env: A, secretName: ''}]", "spec.secrets[0]: env or secretName is missing")]
    [InlineData("secrets: [{env: A, secretName: '..'}]", "spec.secrets[0].secretName: this is not the name of a Secret")]
    [InlineData("secrets: [{env: A, secretName: 'known/status'}]", "spec.secrets[0].secretName: this is not the name of a Secret")]
    [InlineData("secrets: [{env: A, secretName: \"known\\n\"}]", "spec.secrets[0].secretName: this is not the name of a Secret")]
    [InlineData("secrets: [{env: 2FA, secretName: known}]", "spec.secrets[0].env: '2FA' is not the name of an environment variable")]
    [InlineData("secrets: [{env: 'A-B', secretName: known}]", "spec.secrets[0].env: 'A-B' is not the name of an environment variable")]
    [InlineData("expiresAt: 2099-01-01T00:00:00Z", "spec: the binding gives nothing")]
    [InlineData("secrets: [null]", "spec.secrets[0]: env or secretName is missing")]
    public async Task What_the_CRD_cannot_see_is_refused_with_its_path(string field, string message)
    {
        AdmissionDecision decision = await JudgeAsync(Review.Binding($"{{{Selector}, {field}}}"));
        Assert.Equal((false, HttpStatusCode.UnprocessableEntity), (decision.IsAllowed, decision.Code));
        Assert.StartsWith(message, decision.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{}", "spec.selector: an empty selector")]
    [InlineData("{matchLabels: {}, matchExpressions: []}", "spec.selector: an empty selector")]
    [InlineData("{matchLabels: {'-app': a}}", "spec.selector.matchLabels: '-app' is not a label's key")]
    [InlineData("{matchLabels: {'a/b/c': a}}", "spec.selector.matchLabels: 'a/b/c' is not a label's key")]
    [InlineData("{matchLabels: {'Example.com/app': a}}", "spec.selector.matchLabels: 'Example.com/app' is not a label's key")]
    [InlineData("{matchLabels: {'/app': a}}", "spec.selector.matchLabels: '/app' is not a label's key")]
    [InlineData("{matchLabels: {app: 'an agent'}}", "spec.selector.matchLabels[app]: 'an agent' is not a label's value")]
    [InlineData("{matchLabels: {app: 'agent-'}}", "spec.selector.matchLabels[app]: 'agent-' is not a label's value")]
    [InlineData("{matchLabels: {app: \"agent\\n\"}}", "spec.selector.matchLabels[app]: 'agent\n' is not a label's value")]
    [InlineData("{matchExpressions: [{key: '', operator: Exists}]}", "spec.selector.matchExpressions[0].key: '' is not a label's key")]
    [InlineData("{matchExpressions: [{key: app, operator: Is, values: [a]}]}", "spec.selector.matchExpressions[0].operator: write In, NotIn, Exists or DoesNotExist")]
    [InlineData("{matchExpressions: [{key: app, operator: NotIn}]}", "spec.selector.matchExpressions[0].values: NotIn needs values")]
    [InlineData("{matchExpressions: [{key: app, operator: Exists, values: [a]}]}", "spec.selector.matchExpressions[0].values: Exists has no values")]
    [InlineData("{matchExpressions: [{key: app, operator: In, values: [a, 'b c']}]}", "spec.selector.matchExpressions[0].values[1]: 'b c' is not a label's value")]
    [InlineData("{matchExpressions: [null]}", "spec.selector.matchExpressions[0]: there is no condition here")]
    public async Task A_selector_that_is_no_selector_is_refused(string selector, string message)
    {
        AdmissionDecision decision = await JudgeAsync(Review.Binding($"{{selector: {selector}, network: {{denyOut: ['::/0']}}}}"));
        Assert.False(decision.IsAllowed);
        Assert.StartsWith(message, decision.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{matchLabels: {app: '', example.com/Team_1.a: A-b_c.9, A: a}}")]
    [InlineData("{matchLabels: {0123456789012345678901234567890123456789012345678901234567890ab: 0123456789012345678901234567890123456789012345678901234567890ab}}")]
    [InlineData("{matchExpressions: [{key: agents.x-k8s.io/sandbox-name-hash, operator: DoesNotExist}, {key: app, operator: NotIn, values: ['', b]}]}")]
    public async Task A_selector_as_Kubernetes_has_them_passes(string selector)
    {
        AdmissionDecision decision = await JudgeAsync(Review.Binding($"{{selector: {selector}, network: {{denyOut: ['::/0']}}}}"));
        Assert.True(decision.IsAllowed, decision.Message);
    }

    [Fact]
    public async Task A_flood_of_names_is_refused_without_asking_about_any()
    {
        string secrets = string.Join(", ", Enumerable.Range(0, 65).Select(i => $"{{env: A{i}, secretName: s{i}}}"));
        int before = CountReviews();
        AdmissionDecision decision = await JudgeAsync(Review.Binding($"{{{Selector}, secrets: [{secrets}]}}"));
        Assert.Equal("spec.secrets: 65 secrets; at most 64 for one binding, split it", decision.Message);
        Assert.Equal(before, CountReviews());
    }

    [Fact]
    public async Task Who_may_not_use_a_secret_may_not_bind_it()
    {
        AdmissionDecision decision = await JudgeAsync(Review.Binding(Known), user: AdmissionCluster.Writer);
        Assert.Equal((false, HttpStatusCode.Forbidden), (decision.IsAllowed, decision.Code));
        Assert.Equal(
            "you (dev) may not use the Superserve Secret \"known\" in namespace \"agents\": a binding would let the pods that it selects act with it. "
            + "Ask for a Role with verbs: [use], apiGroups: [superserve.ai], resources: [secrets], resourceNames: [known]; the roles admin and edit have it",
            decision.Message);
    }

    [Fact]
    public async Task Each_secret_needs_the_right_and_each_refused_one_is_named()
    {
        JsonObject binding = Review.Binding($"{{{Selector}, secrets: [{{env: A, secretName: known}}, {{env: B, secretName: b}}, {{env: C, secretName: c}}, {{env: D, secretName: b}}]}}");
        AdmissionDecision decision = await JudgeAsync(binding, user: AdmissionCluster.Trusted);
        Assert.Equal(HttpStatusCode.Forbidden, decision.Code);
        string[] lines = decision.Message.Split('\n');
        Assert.Equal("2 Superserve Secrets are refused:", lines[0]);
        Assert.StartsWith("- you (eve) may not use the Superserve Secret \"b\"", lines[1], StringComparison.Ordinal);
        Assert.StartsWith("- you (eve) may not use the Superserve Secret \"c\"", lines[2], StringComparison.Ordinal);
        Assert.Equal(3, lines.Length);
    }

    [Theory]
    [InlineData("{selector: {matchLabels: {app: another}}, secrets: [{env: API_KEY, secretName: known}]}")]
    [InlineData("{selector: {matchLabels: {app: agent}}, secrets: [{env: API_KEY, secretName: known}], network: {allowOut: [evil.example.com]}}")]
    public async Task Any_change_of_the_spec_needs_the_right(string spec)
    {
        JsonObject old = Review.Binding(Known);
        Assert.Equal(HttpStatusCode.Forbidden, (await UpdateAsync(old, Review.Binding(spec))).Code);
        JsonObject annotated = Review.Binding(Known);
        annotated["metadata"]!["annotations"] = new JsonObject { ["a"] = "b" };
        Assert.True((await UpdateAsync(old, annotated)).IsAllowed);
    }

    [Fact]
    public async Task A_secret_that_is_not_there_yet_is_a_warning()
    {
        AdmissionDecision decision = await JudgeAsync(Review.Binding($"{{{Selector}, secrets: [{{env: A, secretName: known}}, {{env: B, secretName: later}}]}}"));
        Assert.True(decision.IsAllowed);
        Assert.Equal("the Superserve Secret \"later\" does not exist yet: requests that need it are refused (503) until it does", Assert.Single(decision.Warnings));
    }

    [Fact]
    public async Task Many_missing_secrets_are_few_warnings()
    {
        string secrets = string.Join(", ", Enumerable.Range(0, 20).Select(i => $"{{env: A{i}, secretName: later-{i}}}"));
        AdmissionDecision decision = await JudgeAsync(Review.Binding($"{{{Selector}, secrets: [{secrets}]}}"));
        Assert.Equal(9, decision.Warnings.Count);
        Assert.Equal("12 more of the Superserve Secrets do not exist yet", decision.Warnings[^1]);
    }

    [Fact]
    public async Task Passthrough_and_a_time_that_has_passed_are_warnings()
    {
        JsonObject binding = Review.Binding($"{{{Selector}, network: {{allowOut: [a.example.com]}}, passthrough: [pinned.example.com], expiresAt: '2020-01-01T00:00:00Z'}}");
        AdmissionDecision decision = await JudgeAsync(binding);
        Assert.True(decision.IsAllowed, decision.Message);
        Assert.Collection(
            decision.Warnings,
            warning => Assert.Contains("spec.expiresAt has passed", warning, StringComparison.Ordinal),
            warning => Assert.Contains("open to fronting", warning, StringComparison.Ordinal));
        // API servers cut longer ones.
        Assert.All(decision.Warnings, warning => Assert.True(warning.Length <= 256));
    }

    [Fact]
    public async Task An_answer_that_cannot_be_had_is_a_denial()
    {
        await using EmbeddedApiServer broken = await EmbeddedApiServer.StartAsync();
        using KubernetesConnection connection = KubernetesConnection.FromKubeconfig(TimeProvider.System, broken.KubeconfigPath);
        BindingValidator validator = new(new AccessReviewer(connection), connection, TimeProvider.System);
        await using AdmissionServer server = await AdmissionServer.StartAsync(validator);
        foreach (int status in (int[])[403, 429, 500, 503])
        {
            broken.Requests.FailWith(request => request.Path.Contains("subjectaccessreviews", StringComparison.Ordinal) ? status : null);
            JsonNode response = await server.AskAsync(Review.Of(Review.Binding(Known), resource: "sandboxbindings", user: EmbeddedApiServer.Admin));
            Assert.False((bool)response["allowed"]!);
            Assert.Equal(503, (int)response["status"]!["code"]!);
            Assert.StartsWith("the operator could not check whether you may use secrets \"known\"", (string?)response["status"]!["message"], StringComparison.Ordinal);
            Assert.Contains("try again", (string?)response["status"]!["message"], StringComparison.Ordinal);
        }

        Assert.Equal(4, server.Counts.All["validate/test error"]);
    }

    [Fact]
    public async Task A_warning_that_cannot_be_checked_is_left_out()
    {
        await using EmbeddedApiServer broken = await EmbeddedApiServer.StartAsync();
        using KubernetesConnection connection = KubernetesConnection.FromKubeconfig(TimeProvider.System, broken.KubeconfigPath);
        BindingValidator validator = new(new AccessReviewer(connection), connection, TimeProvider.System);
        await broken.ApplyAsync(await File.ReadAllTextAsync(Repository.PathTo("crds/secrets.superserve.ai.yaml")));
        broken.Requests.FailWith(request => request.Resource == "secrets" ? 500 : null);
        JsonObject review = Review.Of(Review.Binding(Known), resource: "sandboxbindings", user: EmbeddedApiServer.Admin);
        review["request"]!["userInfo"]!["groups"] = new JsonArray("system:masters");
        AdmissionDecision decision = await validator.AdmitAsync(Review.Read(review), CancellationToken.None);
        Assert.True(decision.IsAllowed, decision.Message);
        Assert.Empty(decision.Warnings);
        Assert.Contains(broken.Requests.All, request => request is { Resource: "secrets", Verb: "get", Name: "known" });
    }

    private int CountReviews() => cluster.Server.Requests.All.Count(request => request.Path.Contains("subjectaccessreviews", StringComparison.Ordinal));

    private Task<AdmissionDecision> JudgeAsync(JsonObject value, string user = AdmissionCluster.Editor) =>
        cluster.Bindings.AdmitAsync(Review.Read(Review.Of(value, resource: "sandboxbindings", user: user)), CancellationToken.None);

    private Task<AdmissionDecision> UpdateAsync(JsonObject old, JsonObject value) =>
        cluster.Bindings.AdmitAsync(Review.Read(Review.Of(value, old, "UPDATE", "sandboxbindings", AdmissionCluster.Writer)), CancellationToken.None);
}
