using Superserve.Testing;

namespace Superserve.Integration.Tests;

/// <summary>What <c>kubectl apply</c> takes and what it refuses, with which words.</summary>
public sealed class ManifestTests(TestCluster cluster)
{
    private const string ByTheWebhook = "by the webhook";

    /// <summary>The words of those that only the webhook refuses.</summary>
    private static readonly Dictionary<string, string> WebhookMessages = new()
    {
        ["secret-overlap.yaml"] = "overlaps",
        ["secret-private-suffix.yaml"] = "public suffix 'supabase.co'",
        ["secret-public-suffix.yaml"] = "public suffix 'co.uk'",
        ["secret-unknown-provider.yaml"] = "the nearest names are anthropic",
    };

    public static TheoryData<string> Accepted => [.. Files("accepted")];

    public static TheoryData<string> Refused => [.. Files("refused")];

    [Theory]
    [MemberData(nameof(Accepted))]
    public async Task A_good_manifest_is_taken(string file)
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.ApplyAsync(await File.ReadAllTextAsync(Path.Combine(Folder("accepted"), file)));
    }

    [Theory]
    [MemberData(nameof(Refused))]
    public async Task A_bad_manifest_is_refused_with_its_message(string file)
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        string yaml = await File.ReadAllTextAsync(Path.Combine(Folder("refused"), file));
        string words = yaml.Split('\n')[0]["# refused: ".Length..].Trim();
        string errors = await ns.Kubectl.FailAsync(yaml, "apply", "--server-side", "-n", ns.Name, "-f", "-");
        if (words == ByTheWebhook) Assert.Contains(WebhookMessages[file], errors, StringComparison.Ordinal);
        // Where the rules are not evaluated, the webhook and the schema refuse it in words of their own.
        else if (cluster.EvaluatesRules) Assert.Contains(words, errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_quickstart_ends_with_conditions_that_read_well()
    {
        string yaml = await File.ReadAllTextAsync(Repository.PathTo("examples/quickstart.yaml"));
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        // In a namespace of its own, so that the suite leaves a cluster as it was. The pod comes last: whether its containers start
        // is the cluster's affair.
        string[] documents = yaml.Replace("superserve-quickstart", ns.Name, StringComparison.Ordinal).Split("\n---\n");
        string pod = documents.Single(document => document.Split('\n').Contains("kind: Pod"));
        await ns.Kubectl.FeedAsync(string.Join("\n---\n", documents.Where(document => document != pod)), "apply", "--server-side", "--force-conflicts", "-f", "-");
        await ns.RunAsync("wait", "ssec,sbb", "--all", "--for=condition=Ready", "--timeout=60s");
        string table = await ns.RunAsync("get", "superserve");
        Assert.Contains("anthropic", table, StringComparison.Ordinal);
        Assert.Contains("api.anthropic.com", table, StringComparison.Ordinal);
        Assert.DoesNotContain("False", table, StringComparison.Ordinal);

        await ns.Kubectl.FeedAsync(pod, "apply", "--server-side", "-f", "-");
        Assert.Contains("superserve-sidecar", await ns.RunAsync("get", "pod", "agent", "-o", "jsonpath={.spec.initContainers[*].name}"), StringComparison.Ordinal);
        await Wait.UntilAsync("the sandbox is counted", async () => await ns.RunAsync("get", "sbb", "agent", "-o", "jsonpath={.status.sandboxCount}") == "1");
    }

    private static IEnumerable<string> Files(string folder) =>
        Directory.EnumerateFiles(Folder(folder), "*.yaml").Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal);

    private static string Folder(string folder) => Repository.PathTo($"tests/manifests/{folder}");
}
