using System.Text.Json;
using System.Text.Json.Nodes;
using k8s;
using Microsoft.Extensions.Time.Testing;
using Superserve.Core.Providers;
using Superserve.Operator.Admission;
using Superserve.Operator.Admission.Pods;
using Superserve.Operator.Bindings;
using Superserve.Operator.Resources;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Admission.Pods;

/// <summary>The namespace "agents", its resources, and admission of its pods as the API server asks for it.</summary>
internal sealed class TestNamespace : INamespaceResources
{
    public const string Name = "agents";

    public static readonly string Folder = Repository.PathTo("tests/golden/injection");

    private readonly List<SandboxBindingResource> _bindings = [];
    private readonly List<SecretResource> _secrets = [];
    private byte _random;

    /// <summary>Has what cluster.yml has, and <paramref name="documents"/>, which take the place of others of the same name.</summary>
    public TestNamespace(IEnumerable<JsonObject>? documents = null)
    {
        foreach (JsonObject document in PodYaml.ParseAll(File.ReadAllText(Path.Combine(Folder, "cluster.yml"))).Concat(documents ?? []))
            switch (document["kind"]!.GetValue<string>())
            {
                case "SandboxBinding":
                    SandboxBindingResource binding = KubernetesJson.Deserialize<SandboxBindingResource>(document.ToJsonString());
                    _bindings.RemoveAll(other => other.Metadata.Name == binding.Metadata.Name);
                    _bindings.Add(binding);
                    break;
                case "Secret":
                    SecretResource secret = KubernetesJson.Deserialize<SecretResource>(document.ToJsonString());
                    _secrets.RemoveAll(other => other.Metadata.Name == secret.Metadata.Name);
                    _secrets.Add(secret);
                    break;
                case "Options":
                    Options = Options with
                    {
                        Capture = document["capture"]?.GetValue<string>() == "Explicit" ? CaptureMode.Explicit : CaptureMode.Transparent,
                        NetAdmin = document["netAdmin"]?.GetValue<bool>() ?? false,
                        AuditAddress = document["audit"]?.GetValue<bool>() == false ? null : Options.AuditAddress,
                    };
                    break;
            }

        Admission = new(this, ProviderCatalog.BuiltIn, () => Options, () => Key, () => [.. Enumerable.Repeat(++_random, SandboxId.RandomBytes)], Time);
    }

    public static byte[] Key { get; } = [.. Enumerable.Repeat((byte)7, 32)];

    public InjectionOptions Options { get; set; } = new()
    {
        Image = "ghcr.io/superserve-k8s/superserve-sidecar:0.1.0",
        OperatorAddress = "superserve-operator.superserve-system.svc.cluster.local:16444",
        OperatorAuthorities = "-----BEGIN CERTIFICATE-----\nMIIBexample\n-----END CERTIFICATE-----\n",
        AuditAddress = "superserve-audit.superserve-system.svc:16446",
        ExplicitRuntimeClasses = ["gvisor"],
    };

    public FakeTimeProvider Time { get; } = new(new DateTimeOffset(2026, 6, 1, 12, 0, 0, TimeSpan.Zero));

    public PodAdmission Admission { get; }

    /// <summary>Whether the cache has seen the resources; the API server always has.</summary>
    public bool IsCached { get; set; } = true;

    public int Lists { get; private set; }

    public PodGuard Guard => new(Options, Key);

    public static IReadOnlySet<string> Credentials { get; } = new HashSet<string> { "anthropic-credentials", "github-credentials" };

    public IReadOnlyList<SandboxBindingResource> Bindings(string @namespace) => @namespace == Name && IsCached ? _bindings : [];

    public IReadOnlyList<SecretResource> Secrets(string @namespace) => @namespace == Name && IsCached ? _secrets : [];

    public Task<IReadOnlyList<SandboxBindingResource>> ListBindingsAsync(string @namespace, CancellationToken cancellationToken)
    {
        Lists++;
        return Task.FromResult<IReadOnlyList<SandboxBindingResource>>(@namespace == Name ? _bindings : []);
    }

    public Task<IReadOnlyList<SecretResource>> ListSecretsAsync(string @namespace, CancellationToken cancellationToken)
    {
        Lists++;
        return Task.FromResult<IReadOnlyList<SecretResource>>(@namespace == Name ? _secrets : []);
    }

    public async Task<AdmissionDecision> MutateAsync(JsonObject pod, bool dryRun = false) =>
        await Admission.Mutating.AdmitAsync(Request("CREATE", pod) with { DryRun = dryRun }, CancellationToken.None);

    public async Task<AdmissionDecision> ValidateAsync(AdmissionRequest request) => await Admission.Validating.AdmitAsync(request, CancellationToken.None);

    /// <summary>The pod as it is to be; the test fails where it is refused.</summary>
    public async Task<JsonObject> InjectAsync(JsonObject pod)
    {
        AdmissionDecision decision = await MutateAsync(pod);
        Assert.True(decision.IsAllowed, decision.Message);
        return Patching.Apply(pod, decision.Patch);
    }

    public static AdmissionRequest Request(string operation, JsonObject? pod, JsonObject? old = null, string subResource = "") => new()
    {
        Uid = "705ab4f5-6393-11e8-b7cc-42010a800002",
        Operation = operation,
        Group = "",
        Resource = "pods",
        SubResource = subResource,
        Namespace = Name,
        User = new Requester("jane", "", [], new Dictionary<string, IReadOnlyList<string>>()),
        Object = pod is null ? null : JsonSerializer.SerializeToElement(pod),
        OldObject = old is null ? null : JsonSerializer.SerializeToElement(old),
    };

    public static JsonObject Pod(string file = "bare-pod") =>
        PodYaml.ParseAll(File.ReadAllText(Path.Combine(Folder, file + ".yaml"))).Single(document => document["kind"]!.GetValue<string>() == "Pod");
}
