using System.Text;
using k8s.Models;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Core.StandIns;
using Superserve.Kubernetes;
using Superserve.Operator.Bindings;
using Superserve.Operator.Cluster;
using Superserve.Operator.Delivery;
using Superserve.Operator.Resources;
using Superserve.Operator.Secrets;
using Superserve.Protocol;

namespace Superserve.Operator.Tests.Delivery.Fixture;

/// <summary>A namespace with one pod, in memory, and its snapshot.</summary>
internal sealed class World
{
    public const string Id = "0123456789abcdef0123456789abcdef";

    public static readonly DateTimeOffset Now = new(2026, 6, 1, 12, 0, 0, TimeSpan.Zero);

    private static readonly byte[] Key = Encoding.ASCII.GetBytes("a key of stand-ins for tests, 32+");

    public Dictionary<string, string> Labels { get; } = new() { ["app"] = "agent" };

    public List<RecordedStandIn> Recorded { get; } = [];

    public List<SandboxBindingResource> Bindings { get; } = [];

    public Dictionary<string, KnownSecret> Secrets { get; } = [];

    public Dictionary<string, SecretDefinition> Deleted { get; } = [];

    public string Audit { get; set; } = "BestEffort";

    public static string CredentialOf(string uid) => $"credential-of-{uid}-0123456789";

    /// <summary>A Superserve Secret that is ready; <paramref name="credential"/> null for one whose core Secret is not there.</summary>
    public World Secret(string name, string uid, string? credential = "", string? provider = null, string? host = null, CoreSecretLookup? lookup = null)
    {
        SecretResource secret = new()
        {
            Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = "agents", Uid = uid },
            Spec = new SecretResourceSpec
            {
                ValueFrom = new SecretValueSource { SecretKeyRef = new SecretKeyReference { Name = "core", Key = "key" } },
                Provider = provider,
                Hosts = provider is null ? [host ?? $"{name}.service.test"] : null,
                Auth = provider is null ? new AuthSpec { Type = "bearer" } : null,
            },
        };
        byte[] value = Encoding.ASCII.GetBytes(credential is { Length: > 0 } ? credential : CredentialOf(uid));
        lookup ??= credential is null ? new CoreSecretLookup.Missing() : new CoreSecretLookup.Found(new CoreSecret { Data = new Dictionary<string, byte[]> { ["key"] = value } });
        Secrets[name] = new KnownSecret(uid, SecretState.Of(secret, lookup, ProviderCatalog.BuiltIn));
        return this;
    }

    public World Binding(string name, string env, string secret, Func<SandboxBindingSpec, SandboxBindingSpec>? with = null, string app = "agent", string? uid = null)
    {
        SandboxBindingSpec spec = new()
        {
            Selector = new LabelSelector { MatchLabels = new Dictionary<string, string> { ["app"] = app } },
            Secrets = [new SecretBinding { Env = env, SecretName = secret }],
        };
        Bindings.Add(new SandboxBindingResource
        {
            Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = "agents", Uid = uid ?? "binding-" + name },
            Spec = with is null ? spec : with(spec),
        });
        return this;
    }

    public World Record(string env, string secret, string secretUid, string binding, string shape = "superserve_{base62:40}")
    {
        Assert.True(TokenShape.TryParse(shape, out TokenShape? parsed, out _));
        Recorded.Add(new RecordedStandIn(env, secret, secretUid, binding, "binding-" + binding, parsed, null));
        return this;
    }

    public BuiltSnapshot Build(DateTimeOffset? now = null) => SnapshotBuilder.Build(new SnapshotSource
    {
        Sandbox = new SandboxFacts(new ObjectKey("agents", "agent"), "pod-uid", Id, Labels, [.. Recorded]),
        Bindings = Bindings,
        Secret = name => Secrets.GetValueOrDefault(name),
        Deleted = uid => Deleted.GetValueOrDefault(uid),
        Key = Key,
        Cluster = new ClusterNetwork { Domain = "cluster.local", Ranges = { "100.100.0.0/16" } },
        Audit = Audit,
        Now = now ?? Now,
    });

    public Snapshot Message(DateTimeOffset? now = null) => Build(now).Message;

    public static string StandInOf(RecordedStandIn recorded) => recorded.Derive(Key, "agents", Id).Value;

    /// <summary>As a sidecar would: nothing in it may keep the whole from being taken.</summary>
    public static void AssertTaken(Snapshot message)
    {
        Snapshot sent = message.Clone();
        sent.Revision = 1;
        sent.CreatedAt = Google.Protobuf.WellKnownTypes.Timestamp.FromDateTimeOffset(Now);
        Assert.True(SnapshotMapping.TryToSnapshot(sent, out _, out IReadOnlyList<SpecError> errors), string.Join("; ", errors));
    }
}
