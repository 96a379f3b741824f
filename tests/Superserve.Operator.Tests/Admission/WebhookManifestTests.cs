using System.Text.Json.Nodes;
using Superserve.Operator.Admission;
using Superserve.Operator.Configuration;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Admission;

/// <summary>The chart's webhooks for our own resources say what the endpoints are.</summary>
public sealed class WebhookManifestTests : IAsyncLifetime
{
    private static readonly OperatorOptions Options = new();

    private JsonObject Configuration { get; set; } = null!;

    private IEnumerable<JsonNode?> Webhooks => Configuration["webhooks"]!.AsArray().Where(webhook => (string)webhook!["rules"]![0]!["apiGroups"]![0]! == "superserve.ai");

    public async ValueTask InitializeAsync() => Configuration = Review.FromYaml(
        (await Chart.RenderAsync("superserve", Options.Namespace)).Single(manifest => Chart.IsKind(manifest, "ValidatingWebhookConfiguration")));

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public void Each_webhook_calls_its_endpoint_and_fails_closed()
    {
        Assert.Equal(Options.WebhookConfigurationName, (string?)Configuration["metadata"]!["name"]);
        (string Name, string Path, string Resource)[] expected =
        [
            ("validate.secrets.superserve.ai", AdmissionEndpoints.SecretsPath, "secrets"),
            ("validate.sandboxbindings.superserve.ai", AdmissionEndpoints.BindingsPath, "sandboxbindings"),
        ];
        Assert.Equal(expected, Webhooks.Select(webhook => (
            (string)webhook!["name"]!, (string)webhook["clientConfig"]!["service"]!["path"]!, (string)webhook["rules"]![0]!["resources"]![0]!)));
        foreach (JsonNode? webhook in Webhooks)
        {
            Assert.Equal(("Fail", "None"), ((string?)webhook!["failurePolicy"], (string?)webhook["sideEffects"]));
            Assert.Equal("""["v1"]""", webhook["admissionReviewVersions"]!.ToJsonString());
            Assert.Equal("""["CREATE","UPDATE"]""", webhook["rules"]![0]!["operations"]!.ToJsonString());
            Assert.Equal("""["superserve.ai"]""", webhook["rules"]![0]!["apiGroups"]!.ToJsonString());
            JsonNode service = webhook["clientConfig"]!["service"]!;
            Assert.Equal((Options.ServiceName, Options.Namespace), ((string?)service["name"], (string?)service["namespace"]));
            // The operator writes it: a rendered one would undo that at every upgrade.
            Assert.Null(webhook["clientConfig"]!["caBundle"]);
        }
    }

    [Fact]
    public void The_operator_answers_before_the_API_server_gives_up() =>
        Assert.All(Configuration["webhooks"]!.AsArray(), webhook => Assert.True(AdmissionEndpoints.Deadline < TimeSpan.FromSeconds(int.Parse(webhook!["timeoutSeconds"]!.ToString()))));
}
