using System.Text;
using System.Text.Json.Nodes;
using Superserve.Operator.Certificates;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Certificates;

public sealed class CaBundleControllerTests : CertificatesTest
{
    private const string Group = "admissionregistration.k8s.io/v1";
    private const string Path = "apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

    [Fact]
    public async Task Every_webhook_of_both_configurations_gets_the_bundle_and_keeps_the_rest()
    {
        await Server.ApplyAsync(Configuration("Validating", "a", "b"), "helm");
        await Server.ApplyAsync(Configuration("Mutating", "c"), "helm");
        await Server.ApplyAsync(Configuration("Validating", "x").Replace("name: superserve}", "name: another}", StringComparison.Ordinal), "helm");
        await using Replica replica = await LeadAsync();
        await Eventually.True(() => AllHave("Validating", 2, replica) && AllHave("Mutating", 1, replica), "all have the bundle");
        JsonNode first = Get(Group, "ValidatingWebhookConfiguration", "superserve")!["webhooks"]![0]!;
        Assert.Equal("hooks", (string?)first["clientConfig"]!["service"]!["name"]);
        Assert.Equal("None", (string?)first["sideEffects"]);
        Assert.Null(Get(Group, "ValidatingWebhookConfiguration", "another")!["webhooks"]![0]!["clientConfig"]!["caBundle"]);
        Assert.Contains(
            Get(Group, "ValidatingWebhookConfiguration", "superserve")!["metadata"]!["managedFields"]!.AsArray(),
            entry => (string?)entry!["manager"] == CaBundleController.FieldManager && entry["fieldsV1"]!.ToJsonString().Contains("f:caBundle", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Nothing_is_sent_where_it_is_right_already()
    {
        await Server.ApplyAsync(Configuration("Validating", "a", "b"), "helm");
        await using (Replica first = await LeadAsync()) await Eventually.True(() => AllHave("Validating", 2, first), "it is applied");
        Server.Requests.Clear();
        await using Replica second = await LeadAsync();
        // The other configuration comes later, and is a sign that this leader has been at work.
        await Server.ApplyAsync(Configuration("Mutating", "c"), "helm");
        await Eventually.True(() => AllHave("Mutating", 1, second), "it works");
        Assert.Empty(Writes("validatingwebhookconfigurations"));
    }

    [Theory]
    [InlineData("""[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]""")]
    [InlineData("""[{"op": "replace", "path": "/webhooks/1/clientConfig/caBundle", "value": "bm9uZQ=="}]""")]
    public async Task A_bundle_that_somebody_takes_away_or_changes_comes_back(string patch)
    {
        await Server.ApplyAsync(Configuration("Validating", "a", "b"), "helm");
        await using Replica replica = await LeadAsync();
        await Eventually.True(() => AllHave("Validating", 2, replica), "it is applied");
        Assert.Equal(System.Net.HttpStatusCode.OK, await SendAsync(HttpMethod.Patch, $"{Path}/superserve", patch, "application/json-patch+json"));
        // The chart's, ours, somebody's, ours.
        await Eventually.True(() => Writes("validatingwebhookconfigurations").Count() == 4 && AllHave("Validating", 2, replica), "it is back");
    }

    [Fact]
    public async Task The_chart_may_add_and_remove_webhooks_and_the_object()
    {
        await Server.ApplyAsync(Configuration("Validating", "a"), "helm");
        await using Replica replica = await LeadAsync();
        await Eventually.True(() => AllHave("Validating", 1, replica), "it is applied");
        await Server.ApplyAsync(Configuration("Validating", "a", "b"), "helm");
        await Eventually.True(() => AllHave("Validating", 2, replica), "the new webhook has it");
        // By server-side apply, as Helm 4 does: a webhook goes only where nobody else owns it.
        await Server.ApplyAsync(Configuration("Validating", "b"), "helm");
        Assert.Equal(["b.superserve.ai"], Get(Group, "ValidatingWebhookConfiguration", "superserve")!["webhooks"]!.AsArray().Select(webhook => (string?)webhook!["name"]));
        await Eventually.True(() => AllHave("Validating", 1, replica), "the rest keeps it");
        Assert.Equal(System.Net.HttpStatusCode.OK, await SendAsync(HttpMethod.Delete, $"{Path}/superserve"));
        await Server.ApplyAsync(Configuration("Mutating", "c"), "helm");
        await Eventually.True(() => AllHave("Mutating", 1, replica), "it works on");
        Assert.Null(Get(Group, "ValidatingWebhookConfiguration", "superserve"));
        await Server.ApplyAsync(Configuration("Validating", "z"), "helm");
        await Eventually.True(() => AllHave("Validating", 1, replica), "an object that is installed again has it");
    }

    [Fact]
    public async Task A_new_bundle_is_applied()
    {
        await Server.ApplyAsync(Configuration("Validating", "a"), "helm");
        await using Replica replica = await LeadAsync();
        await Eventually.True(() => AllHave("Validating", 1, replica), "it is applied");
        string? old = replica.Serving.TrustBundle;
        replica.Serving.Trust(CertificateAuthority.Create(TimeProvider.System.GetUtcNow()).Bundle);
        await Eventually.True(() => AllHave("Validating", 1, replica), "the new one is applied");
        Assert.NotEqual(old, replica.Serving.TrustBundle);
    }

    /// <summary>A webhook configuration as the chart has it, without a bundle.</summary>
    internal static string Configuration(string kind, params string[] webhooks) => $$"""
        apiVersion: admissionregistration.k8s.io/v1
        kind: {{kind}}WebhookConfiguration
        metadata: {name: superserve}
        webhooks:
        """ + string.Concat(webhooks.Select(name => $$"""

        - name: {{name}}.superserve.ai
          admissionReviewVersions: [v1]
          sideEffects: None
          clientConfig: { service: { name: hooks, namespace: superserve-system, path: /hook } }
          rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}]
        """));

    private async Task<Replica> LeadAsync()
    {
        Replica replica = await Replica.ServingAsync(Server);
        replica.Lead();
        return replica;
    }

    private bool AllHave(string kind, int count, Replica replica)
    {
        string bundle = Convert.ToBase64String(Encoding.ASCII.GetBytes(replica.Serving.TrustBundle!));
        JsonArray? webhooks = Get(Group, $"{kind}WebhookConfiguration", "superserve")?["webhooks"]?.AsArray();
        return webhooks?.Count == count && webhooks.All(webhook => (string?)webhook!["clientConfig"]!["caBundle"] == bundle);
    }
}
