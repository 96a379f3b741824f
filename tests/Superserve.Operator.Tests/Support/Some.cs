using System.Text;
using k8s.Models;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Operator.Bindings;
using Superserve.Operator.Cluster;
using Superserve.Operator.Resources;
using Superserve.Operator.Secrets;

namespace Superserve.Operator.Tests.Support;

/// <summary>Objects as an owner or the API server would have made them.</summary>
internal static class Some
{
    public const string Namespace = "agents";

    public static DateTimeOffset Now { get; } = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    public static SecretResource Secret(string name = "service", SecretResourceSpec? spec = null) => new()
    {
        Metadata = Metadata(name),
        Spec = spec ?? new SecretResourceSpec
        {
            ValueFrom = new SecretValueSource { SecretKeyRef = new SecretKeyReference { Name = "credentials", Key = "token" } },
            Hosts = ["api.example.com"],
            Auth = new AuthSpec { Type = "bearer" },
        },
    };

    public static CoreSecretLookup Credential(byte[] value, string key = "token") =>
        new CoreSecretLookup.Found(new CoreSecret { Metadata = Metadata("credentials"), Data = new Dictionary<string, byte[]> { [key] = value } });

    public static CoreSecretLookup Credential(string value) => Credential(Encoding.UTF8.GetBytes(value));

    public static SecretState State(CoreSecretLookup lookup, SecretResource? secret = null) => SecretState.Of(secret ?? Secret(), lookup, ProviderCatalog.BuiltIn);

    public static SecretState Ready { get; } = State(Credential("the-credential"));

    public static SandboxBindingResource Binding(
        string name, string app = "agent", DateTimeOffset? expiresAt = null, NetworkSpec? network = null, params SecretBinding[] secrets) => new()
        {
            Metadata = Metadata(name),
            Spec = new SandboxBindingSpec
            {
                Selector = new LabelSelector { MatchLabels = new Dictionary<string, string> { ["app"] = app } },
                Secrets = secrets,
                ExpiresAt = expiresAt,
                Network = network,
            },
        };

    public static SecretBinding Variable(string env = "TOKEN", string secret = "service", params string[] containers) =>
        new() { Env = env, SecretName = secret, Containers = containers.Length == 0 ? null : containers };

    public static V1Pod Pod(string name, string app = "agent", bool isInjected = true, bool isConnected = false, string? phase = "Running", string capture = "Transparent")
    {
        V1ObjectMeta metadata = Metadata(name);
        metadata.Labels = new Dictionary<string, string> { ["app"] = app };
        if (isInjected) metadata.Annotations = new Dictionary<string, string> { [Marks.SandboxIdAnnotation] = "0123456789abcdef0123456789abcdef" };
        return new V1Pod
        {
            Metadata = metadata,
            Spec = new V1PodSpec { Containers = [], InitContainers = isInjected ? [new V1Container { Name = Marks.SidecarContainer }] : null },
            Status = new V1PodStatus
            {
                Phase = phase,
                Conditions = isConnected ? [new V1PodCondition { Type = Marks.ConnectedCondition, Status = "True", Message = $"capture {capture}, sidecar 0.1.0 (replica one)" }] : null,
            },
        };
    }

    public static V1ObjectMeta Metadata(string name) => new() { Name = name, NamespaceProperty = Namespace, Uid = $"uid-of-{name}", ResourceVersion = "1", Generation = 1 };
}
