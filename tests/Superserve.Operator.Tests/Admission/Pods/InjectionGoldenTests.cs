using System.Text.Json.Nodes;
using k8s;
using k8s.Models;
using Superserve.Operator.Admission;
using Superserve.Operator.Admission.Pods;

namespace Superserve.Operator.Tests.Admission.Pods;

/// <summary>
/// What becomes of whole pods: <c>tests/golden/injection/NAME.yaml</c> and <c>NAME.golden.yaml</c>. After a wanted change run the tests
/// with SUPERSERVE_WRITE_GOLDEN=1 and read the difference.
/// </summary>
public sealed class InjectionGoldenTests
{
    private static readonly bool IsWriting = Environment.GetEnvironmentVariable("SUPERSERVE_WRITE_GOLDEN") == "1";

    public static TheoryData<string> Cases => [.. Files(static _ => true)];

    public static TheoryData<string> Injected => [.. Files(static golden => golden["kind"]?.GetValue<string>() == "Pod")];

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task A_pod_becomes_what_its_golden_file_says(string name)
    {
        (TestNamespace cluster, JsonObject pod) = Read(name);
        AdmissionDecision decision = await cluster.MutateAsync(pod);
        string text = decision switch
        {
            { IsAllowed: false } => PodYaml.Write(new JsonObject { ["refused"] = decision.Message }),
            { Patch: null } => PodYaml.Write(new JsonObject { ["untouched"] = true }),
            _ => string.Concat(decision.Warnings.Select(warning => $"# Warning: {warning}\n")) + PodYaml.Write(Patching.Apply(pod, decision.Patch)),
        };
        string golden = Path.Combine(TestNamespace.Folder, name + ".golden.yaml");
        if (IsWriting) await File.WriteAllTextAsync(golden, text);
        Assert.True(File.Exists(golden), $"{golden} is missing: run the tests with SUPERSERVE_WRITE_GOLDEN=1 and read what it says");
        Assert.Equal(await File.ReadAllTextAsync(golden), text);
    }

    [Theory]
    [MemberData(nameof(Injected))]
    public async Task What_injection_makes_passes_the_guard(string name)
    {
        (TestNamespace cluster, JsonObject pod) = Read(name);
        JsonObject injected = await cluster.InjectAsync(pod);
        Assert.Empty(cluster.Guard.Check(injected, TestNamespace.Name, TestNamespace.Credentials));
        AdmissionDecision decision = await cluster.ValidateAsync(TestNamespace.Request("CREATE", injected));
        Assert.True(decision.IsAllowed, decision.Message);
    }

    [Theory]
    [MemberData(nameof(Injected))]
    public async Task Injecting_twice_is_injecting_once(string name)
    {
        (TestNamespace cluster, JsonObject pod) = Read(name);
        AdmissionDecision once = await cluster.MutateAsync(pod);
        AdmissionDecision again = await cluster.MutateAsync(Patching.Apply(pod, once.Patch));
        Assert.True(again.IsAllowed);
        Assert.Null(again.Patch);
        Assert.Equal(once.Warnings, again.Warnings);
    }

    [Theory]
    [MemberData(nameof(Injected))]
    public async Task A_copy_under_another_name_is_a_sandbox_of_its_own(string name)
    {
        (TestNamespace cluster, JsonObject pod) = Read(name);
        JsonObject injected = await cluster.InjectAsync(pod);
        JsonObject copied = Renamed(injected);
        // Nothing of the original shows in the copy: it is what the same pod would be without a history.
        TestNamespace fresh = Read(name).Cluster;
        await fresh.InjectAsync(pod);
        Assert.Equal(PodYaml.Write(Sorted(await fresh.InjectAsync(Renamed(pod)))!), PodYaml.Write(Sorted(await cluster.InjectAsync(copied))!));
        Assert.NotEqual(IdOf(injected), IdOf(await cluster.InjectAsync(copied)));
    }

    [Theory]
    [MemberData(nameof(Injected))]
    public async Task No_container_of_the_users_goes_or_changes_its_place(string name)
    {
        (TestNamespace cluster, JsonObject pod) = Read(name);
        JsonObject injected = await cluster.InjectAsync(pod);
        Assert.Equal(Names(pod, "containers"), Names(injected, "containers"));
        string[] initContainers = [.. Names(injected, "initContainers")];
        Assert.Equal(Names(pod, "initContainers"), initContainers.Where(container => !container.StartsWith("superserve-", StringComparison.Ordinal)));
        Assert.Equal("superserve-sidecar", initContainers.First(container => container != "superserve-init"));
    }

    [Theory]
    [MemberData(nameof(Injected))]
    public async Task What_is_sealed_is_what_Kubernetes_types_hold(string name)
    {
        (TestNamespace cluster, JsonObject pod) = Read(name);
        // A member that is misspelt, or stands in the wrong place, is gone after this, as it is on the API server.
        string typed = KubernetesJson.Serialize(KubernetesJson.Deserialize<V1Pod>((await cluster.InjectAsync(pod)).ToJsonString()));
        Assert.Empty(cluster.Guard.Check(JsonNode.Parse(typed)!.AsObject(), TestNamespace.Name, TestNamespace.Credentials));
    }

    [Theory]
    [MemberData(nameof(Injected))]
    public async Task A_dry_run_gets_the_same_answer(string name)
    {
        (TestNamespace cluster, JsonObject pod) = Read(name);
        AdmissionDecision decision = await cluster.MutateAsync(pod, dryRun: true);
        Assert.Equal(IdOf(await Read(name).Cluster.InjectAsync(pod)), IdOf(Patching.Apply(pod, decision.Patch)));
    }

    [Fact]
    public void There_is_no_golden_file_without_its_pod() =>
        Assert.All(Directory.GetFiles(TestNamespace.Folder, "*.golden.yaml"), file => Assert.True(File.Exists(file.Replace(".golden.yaml", ".yaml")), file));

    private static (TestNamespace Cluster, JsonObject Pod) Read(string name)
    {
        List<JsonObject> documents = PodYaml.ParseAll(File.ReadAllText(Path.Combine(TestNamespace.Folder, name + ".yaml")));
        return (new TestNamespace(documents), documents.Single(document => document["kind"]!.GetValue<string>() == "Pod"));
    }

    private static IEnumerable<string> Files(Func<JsonObject, bool> isMeant)
    {
        foreach (string file in Directory.GetFiles(TestNamespace.Folder, "*.yaml").Order(StringComparer.Ordinal))
        {
            if (file.EndsWith(".golden.yaml", StringComparison.Ordinal)) continue;
            string golden = Path.ChangeExtension(file, ".golden.yaml");
            if (!File.Exists(golden) || isMeant(PodYaml.Parse(File.ReadAllText(golden)))) yield return Path.GetFileNameWithoutExtension(file);
        }
    }

    private static JsonObject Renamed(JsonObject pod)
    {
        JsonObject copy = pod.DeepClone().AsObject();
        copy["metadata"]!.AsObject().Remove("generateName");
        copy["metadata"]!["name"] = "copy";
        return copy;
    }

    // A member that was removed and came back stands at the end.
    private static JsonNode? Sorted(JsonNode? node) => node switch
    {
        JsonObject map => new JsonObject(map.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => KeyValuePair.Create(pair.Key, Sorted(pair.Value)))),
        JsonArray list => new JsonArray([.. list.Select(Sorted)]),
        _ => node?.DeepClone(),
    };

    private static string? IdOf(JsonObject pod) => pod.Annotation("superserve.ai/sandbox-id");

    private static IEnumerable<string> Names(JsonObject pod, string list) => pod.Map("spec").Items(list).Select(container => container.Text("name")!);
}
