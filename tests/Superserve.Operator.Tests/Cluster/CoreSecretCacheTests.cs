using System.Text;
using Superserve.Kubernetes;
using Superserve.Operator.Cluster;
using Superserve.Operator.Tests.Support;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Cluster;

/// <summary>Core Secrets are watched one by one, so that rights for some names are enough, and nothing else is known.</summary>
public sealed class CoreSecretCacheTests(TestCluster cluster) : IClassFixture<TestCluster>
{
    [Fact]
    public async Task Rights_for_one_name_are_enough()
    {
        await AddOperatorAsync("named", """{apiGroups: [""], resources: [secrets], resourceNames: [named-one], verbs: [get, list, watch]}""");
        await ApplyAsync("named-one", "first");
        await ApplyAsync("named-two", "first");
        await using CoreSecretCache cache = New("named");
        cache.Follow(Key("named-one"));
        cache.Follow(Key("named-two"));
        await Eventually.True(() => Value(cache, "named-one") == "first", "the named one is read");
        await Eventually.True(() => cache.Find(Key("named-two")) is CoreSecretLookup.Unreadable { IsForbidden: true }, "the other one is forbidden");
        await ApplyAsync("named-one", "second");
        await Eventually.True(() => Value(cache, "named-one") == "second", "the change is seen");
    }

    [Fact]
    public async Task What_comes_goes_and_comes_back_is_told()
    {
        List<ObjectKey> told = [];
        await using CoreSecretCache cache = New("admin");
        cache.Subscribe(key =>
        {
            lock (told) told.Add(key);
        });
        cache.Follow(Key("fickle"));
        await Eventually.True(() => cache.Find(Key("fickle")) is CoreSecretLookup.Missing && Count() == 1, "it is missing, and that was told");
        await ApplyAsync("fickle", "here");
        await Eventually.True(() => Value(cache, "fickle") == "here" && Count() == 2, "it is there, and that was told");
        using HttpClient client = cluster.Server.Client().CreateHttpClient();
        using HttpResponseMessage deleted = await client.DeleteAsync($"api/v1/namespaces/{Some.Namespace}/secrets/fickle");
        await Eventually.True(() => cache.Find(Key("fickle")) is CoreSecretLookup.Missing && Count() == 3, "it is gone, and that was told");

        int Count()
        {
            lock (told) return told.Count;
        }
    }

    [Fact]
    public async Task What_nobody_names_any_more_is_forgotten()
    {
        await ApplyAsync("forgotten", "value");
        await using CoreSecretCache cache = New("admin");
        cache.Follow(Key("forgotten"));
        await Eventually.True(() => Value(cache, "forgotten") == "value", "it is read");
        cache.Unfollow(Key("forgotten"));
        Assert.IsType<CoreSecretLookup.Pending>(cache.Find(Key("forgotten")));
    }

    [Fact]
    public async Task Annotations_which_may_hold_the_data_once_more_are_not_kept()
    {
        await cluster.Server.ApplyAsync($$"""
            apiVersion: v1
            kind: Secret
            metadata: {name: annotated, namespace: {{Some.Namespace}}, annotations: {kubectl.kubernetes.io/last-applied-configuration: the-credential} }
            stringData: {token: the-credential, other: something}
            """);
        await using CoreSecretCache cache = New("admin");
        cache.Follow(Key("annotated"));
        await Eventually.True(() => Value(cache, "annotated") == "the-credential", "it is read");
        CoreSecret secret = ((CoreSecretLookup.Found)cache.Find(Key("annotated"))).Secret;
        Assert.Null(secret.Metadata.Annotations);
        Assert.DoesNotContain("the-credential", secret.ToString(), StringComparison.Ordinal);
        Assert.True(secret.ChangedAt["token"] > DateTimeOffset.UnixEpoch);
    }

    private static ObjectKey Key(string name) => new(Some.Namespace, name);

    private static string? Value(CoreSecretCache cache, string name) =>
        cache.Find(Key(name)) is CoreSecretLookup.Found { Secret.Data: { } data } ? Encoding.UTF8.GetString(data["token"]) : null;

    private CoreSecretCache New(string user) => new(cluster.Connect(user), cluster.Metrics, TimeProvider.System, cluster.Loggers);

    private Task ApplyAsync(string name, string value) => cluster.Server.ApplyAsync($$"""
        apiVersion: v1
        kind: Secret
        metadata: {name: {{name}}, namespace: {{Some.Namespace}} }
        stringData: {token: {{value}} }
        """);

    private async Task AddOperatorAsync(string user, string rule)
    {
        cluster.Server.AddUser(user);
        await cluster.Server.ApplyAsync($$"""
            apiVersion: rbac.authorization.k8s.io/v1
            kind: Role
            metadata: {name: {{user}}, namespace: {{Some.Namespace}} }
            rules: [{{rule}}]
            ---
            apiVersion: rbac.authorization.k8s.io/v1
            kind: RoleBinding
            metadata: {name: {{user}}, namespace: {{Some.Namespace}} }
            roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{user}} }
            subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: {{user}} }]
            """);
    }
}
