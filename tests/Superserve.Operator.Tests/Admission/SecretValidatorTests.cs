using System.Net;
using System.Text.Json.Nodes;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Operator.Admission;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Admission;

/// <summary>What the webhook says of Superserve Secrets.</summary>
public sealed class SecretValidatorTests(AdmissionCluster cluster) : IClassFixture<AdmissionCluster>
{
    private const string Valid = "{valueFrom: {secretKeyRef: {name: credentials, key: token}}, provider: anthropic}";

    public static TheoryData<string> Accepted =>
        [.. Directory.EnumerateFiles(Repository.PathTo("tests/manifests/accepted"), "secret-*.yaml").Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)];

    /// <summary>Every manifest that is marked as refused by the webhook is here, with words of its message.</summary>
    public static TheoryData<string, string> Refused => new()
    {
        { "secret-overlap.yaml", "spec.auth.perHost[1].hosts[0]: 'api.example.com' overlaps '*.example.com' of the same secret" },
        { "secret-private-suffix.yaml", "spec.hosts[0]: '*.supabase.co' is too wide" },
        { "secret-public-suffix.yaml", "spec.hosts[0]: '*.co.uk' is too wide" },
        { "secret-unknown-provider.yaml", "spec.provider: there is no provider 'antropic'; the nearest names are anthropic" },
    };

    [Theory]
    [MemberData(nameof(Accepted))]
    public async Task An_accepted_manifest_passes(string file)
    {
        AdmissionDecision decision = await JudgeAsync(Review.Manifest("accepted/" + file));
        Assert.True(decision.IsAllowed, decision.Message);
        Assert.Empty(decision.Warnings);
    }

    [Theory]
    [MemberData(nameof(Refused))]
    public async Task A_manifest_that_is_refused_by_the_webhook_gets_its_message(string file, string message)
    {
        AdmissionDecision decision = await JudgeAsync(Review.Manifest("refused/" + file));
        Assert.Equal((false, HttpStatusCode.UnprocessableEntity), (decision.IsAllowed, decision.Code));
        Assert.Contains(message, decision.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_manifest_that_is_refused_by_the_webhook_is_tested() => Assert.Equal(
        Directory.EnumerateFiles(Repository.PathTo("tests/manifests/refused"), "*.yaml")
            .Where(file => File.ReadAllText(file).StartsWith("# refused: by the webhook", StringComparison.Ordinal)).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal),
        Refused.Select(row => row.Data.Item1).Order(StringComparer.Ordinal));

    [Fact]
    public async Task All_mistakes_are_in_one_message_each_with_its_path()
    {
        AdmissionDecision decision = await JudgeAsync(Review.Secret("{hosts: ['*.com', 'https://a.example.com'], auth: {type: bearer}, rules: [{methods: [get]}]}"));
        string[] lines = decision.Message.Split('\n');
        Assert.Equal("4 mistakes:", lines[0]);
        Assert.Equal(["- spec.valueFrom", "- spec.rules[0].methods[0]", "- spec.hosts[0]", "- spec.hosts[1]"], lines[1..].Select(line => line.Split(": ")[0]));
    }

    [Theory]
    [InlineData("{provider: anthropic}")]
    [InlineData("{valueFrom: {}, provider: anthropic}")]
    [InlineData("{valueFrom: {secretKeyRef: {name: credentials}}, provider: anthropic}")]
    [InlineData("{valueFrom: {secretKeyRef: {name: '', key: token}}, provider: anthropic}")]
    public async Task A_secret_without_the_place_of_its_credential_is_refused(string spec)
    {
        AdmissionDecision decision = await JudgeAsync(Review.Secret(spec));
        Assert.False(decision.IsAllowed);
        Assert.StartsWith("spec.valueFrom: the place of the credential is missing; write secretKeyRef", decision.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("'..'")]
    [InlineData("'*'")]
    [InlineData("Credentials")]
    [InlineData("'a/b'")]
    public async Task A_core_Secret_that_cannot_have_this_name_is_refused(string name)
    {
        AdmissionDecision decision = await JudgeAsync(Review.Secret($"{{valueFrom: {{secretKeyRef: {{name: {name}, key: token}}}}, provider: anthropic}}"));
        Assert.StartsWith("spec.valueFrom.secretKeyRef.name: this is not the name of a Secret", decision.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{spec: text}")]
    [InlineData("{spec: {hosts: 7}}")]
    [InlineData("{spec: {valueFrom: {secretKeyRef: {name: {a: b}}}}}")]
    [InlineData("{}")]
    [InlineData("{spec: null}")]
    public async Task An_object_of_another_form_is_refused(string yaml)
    {
        AdmissionDecision decision = await JudgeAsync(Review.FromYaml(yaml));
        Assert.Equal((false, HttpStatusCode.UnprocessableEntity), (decision.IsAllowed, decision.Code));
    }

    [Fact]
    public async Task Who_may_not_get_the_core_Secret_may_not_send_it_anywhere()
    {
        AdmissionDecision decision = await JudgeAsync(Review.Secret(Valid), user: AdmissionCluster.Writer);
        Assert.Equal((false, HttpStatusCode.Forbidden), (decision.IsAllowed, decision.Code));
        Assert.Equal(
            "you (dev) may not get the core Secret \"credentials\" in namespace \"agents\": a Superserve Secret would let you send its credential to hosts that you choose. "
            + "Ask for a Role with verbs: [get], apiGroups: [\"\"], resources: [secrets], resourceNames: [credentials]; the roles admin and edit have it, view has not",
            decision.Message);
    }

    [Fact]
    public async Task A_right_on_one_core_Secret_is_none_on_another()
    {
        Assert.True((await JudgeAsync(Review.Secret(Valid), user: AdmissionCluster.Trusted)).IsAllowed);
        JsonObject other = Review.Secret(Valid.Replace("credentials", "others", StringComparison.Ordinal));
        Assert.Equal(HttpStatusCode.Forbidden, (await JudgeAsync(other, user: AdmissionCluster.Trusted)).Code);
    }

    [Fact]
    public async Task A_right_in_one_namespace_is_none_in_another()
    {
        JsonObject review = Review.Of(Review.Secret(Valid));
        review["request"]!["namespace"] = "default";
        Assert.Equal(HttpStatusCode.Forbidden, (await cluster.Secrets.AdmitAsync(Review.Read(review), CancellationToken.None)).Code);
    }

    [Fact]
    public async Task A_right_that_a_group_gives_counts()
    {
        JsonObject review = Review.Of(Review.Secret(Valid), user: "somebody");
        review["request"]!["userInfo"]!["groups"] = new JsonArray("system:masters");
        Assert.True((await cluster.Secrets.AdmitAsync(Review.Read(review), CancellationToken.None)).IsAllowed);
    }

    [Fact]
    public async Task A_right_that_was_taken_away_counts_at_once()
    {
        Assert.True((await JudgeAsync(Review.Secret(Valid), user: "guest-of-a-minute", before: Bind("guest-of-a-minute"))).IsAllowed);
        using HttpClient admin = cluster.Server.Client().CreateHttpClient();
        (await admin.DeleteAsync(new Uri("apis/rbac.authorization.k8s.io/v1/namespaces/agents/rolebindings/guest-of-a-minute", UriKind.Relative))).EnsureSuccessStatusCode();
        Assert.Equal(HttpStatusCode.Forbidden, (await JudgeAsync(Review.Secret(Valid), user: "guest-of-a-minute")).Code);
    }

    [Fact]
    public async Task Any_change_of_the_spec_needs_the_right_and_other_changes_do_not()
    {
        JsonObject old = Review.Secret(Valid);
        JsonObject labelled = Review.Secret(Valid);
        labelled["metadata"]!["labels"] = new JsonObject { ["a"] = "b" };
        labelled["metadata"]!["finalizers"] = new JsonArray("example.com/wait");
        labelled["status"] = new JsonObject { ["authType"] = "bearer" };
        Assert.True((await UpdateAsync(old, labelled)).IsAllowed);

        JsonObject ruled = Review.Secret("{valueFrom: {secretKeyRef: {name: credentials, key: token}}, provider: anthropic, rules: [{methods: [GET]}]}");
        Assert.Equal(HttpStatusCode.Forbidden, (await UpdateAsync(old, ruled)).Code);
        Assert.Equal(HttpStatusCode.Forbidden, (await UpdateAsync(ruled, old)).Code);
        // Without an old object nothing says that it is no change.
        Assert.Equal(HttpStatusCode.Forbidden, (await UpdateAsync(null, old)).Code);
        JsonObject created = Review.Of(old, old, "CREATE", user: AdmissionCluster.Writer);
        Assert.Equal(HttpStatusCode.Forbidden, (await cluster.Secrets.AdmitAsync(Review.Read(created), CancellationToken.None)).Code);
    }

    [Fact]
    public async Task A_spec_that_is_no_longer_valid_does_not_keep_its_object_from_being_deleted()
    {
        JsonObject old = Review.Secret("{valueFrom: {secretKeyRef: {name: credentials, key: token}}, provider: a-service-that-left-the-catalog}");
        JsonObject withoutFinalizer = (JsonObject)old.DeepClone();
        old["metadata"]!["finalizers"] = new JsonArray("example.com/wait");
        Assert.True((await UpdateAsync(old, withoutFinalizer)).IsAllowed);
    }

    [Fact]
    public async Task A_cookie_that_outlives_the_credential_is_warned_of()
    {
        AdmissionDecision decision = await JudgeAsync(Review.Secret(Valid.Replace("provider", "allowSetCookie: true, provider", StringComparison.Ordinal)));
        Assert.True(decision.IsAllowed);
        Assert.Contains("allowSetCookie", Assert.Single(decision.Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Providers_of_the_installations_own_are_known()
    {
        List<SpecError> errors = [];
        ProviderCatalog own = ProviderCatalog.TryParse(
            """
            {"providers": [{"name": "acme-internal", "displayName": "Acme", "source": "https://docs.example.com/", "token": "acme_{base62:40}",
              "hosts": [{"hosts": ["api.acme.example.com"], "accepts": [{"type": "bearer"}]}]}]}
            """u8,
            errors) ?? throw new InvalidOperationException(string.Join("; ", errors));
        SecretValidator validator = new(ProviderCatalog.BuiltIn.With(own), new AccessReviewer(cluster.Connection));
        AdmissionRequest request = Review.Read(Review.Of(Review.Secret("{valueFrom: {secretKeyRef: {name: credentials, key: token}}, provider: acme-internal}")));
        AdmissionDecision decision = await validator.AdmitAsync(request, CancellationToken.None);
        Assert.True(decision.IsAllowed, decision.Message);
    }

    [Theory]
    [InlineData("DELETE", "secrets", "superserve.ai")]
    [InlineData("CONNECT", "secrets", "superserve.ai")]
    [InlineData("CREATE", "sandboxbindings", "superserve.ai")]
    [InlineData("CREATE", "secrets", "")]
    public async Task What_the_webhook_does_not_judge_it_does_not_allow(string operation, string resource, string group)
    {
        JsonObject review = Review.Of(Review.Secret(Valid), operation: operation, resource: resource);
        review["request"]!["resource"]!["group"] = group;
        AdmissionDecision decision = await cluster.Secrets.AdmitAsync(Review.Read(review), CancellationToken.None);
        Assert.Equal((false, HttpStatusCode.BadRequest), (decision.IsAllowed, decision.Code));
        Assert.Contains("correct the rules of the webhook configuration", decision.Message, StringComparison.Ordinal);
    }

    private static string Bind(string user) => $$"""
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata: {name: {{user}}, namespace: agents}
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: trusted}
        subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: {{user}}}]
        """;

    private async Task<AdmissionDecision> JudgeAsync(JsonObject value, string user = AdmissionCluster.Editor, string? before = null)
    {
        if (before is not null) await cluster.Server.ApplyAsync(before);
        return await cluster.Secrets.AdmitAsync(Review.Read(Review.Of(value, user: user)), CancellationToken.None);
    }

    private Task<AdmissionDecision> UpdateAsync(JsonObject? old, JsonObject value) =>
        cluster.Secrets.AdmitAsync(Review.Read(Review.Of(value, old, "UPDATE", user: AdmissionCluster.Writer)), CancellationToken.None);
}
