using System.Globalization;
using Superserve.Kubernetes;
using Superserve.Operator.Cluster;
using Superserve.Operator.Resources;
using Superserve.Operator.Secrets;
using Superserve.Operator.Tests.Delivery.Fixture;
using Superserve.Operator.Tests.Support;
using Superserve.Protocol;

namespace Superserve.Operator.Tests.Cluster;

/// <summary>A namespace may name as many core Secrets as it may, and no more are watched.</summary>
public sealed class CredentialQuotaTests : DeliveryTest
{
    [Fact]
    public void Those_of_the_oldest_Superserve_Secrets_are_watched_in_whichever_order_they_come()
    {
        CredentialQuota forwards = new(), backwards = new();
        int[] ages = [.. Enumerable.Range(0, CredentialQuota.Max + 3)];
        foreach (int age in ages) Take(forwards, age);
        foreach (int age in ages.Reverse()) Take(backwards, age);
        Assert.True(forwards.IsExceeded);
        Assert.Equal(CredentialQuota.Max, forwards.Chosen.Count);
        Assert.True(forwards.Chosen.SetEquals(backwards.Chosen));
        Assert.True(forwards.Chosen.SetEquals(ages.Take(CredentialQuota.Max).Select(Name)));
    }

    [Fact]
    public void The_next_one_takes_the_place_of_one_that_goes()
    {
        CredentialQuota quota = new();
        for (int age = 0; age < CredentialQuota.Max; age++) Take(quota, age);
        Assert.False(quota.IsExceeded);
        Assert.Empty(Take(quota, CredentialQuota.Max).Added);
        Assert.True(quota.IsExceeded);
        (IEnumerable<string> added, IEnumerable<string> removed) = Take(quota, 7, isDeleted: true);
        Assert.Equal(Name(CredentialQuota.Max), Assert.Single(added));
        Assert.Equal(Name(7), Assert.Single(removed));
        Assert.False(quota.IsExceeded);
    }

    [Fact]
    public void One_core_Secret_counts_once_however_many_name_it()
    {
        CredentialQuota quota = new();
        for (int age = 0; age < 2 * CredentialQuota.Max; age++) Take(quota, age, core: "shared");
        Assert.Equal("shared", Assert.Single(quota.Chosen));
        Assert.False(quota.IsExceeded);
        for (int age = 0; age < (2 * CredentialQuota.Max) - 1; age++) Assert.Empty(Take(quota, age, isDeleted: true).Removed);
        Assert.Equal("shared", Assert.Single(Take(quota, (2 * CredentialQuota.Max) - 1, isDeleted: true).Removed));
        Assert.True(quota.IsEmpty);
    }

    [Fact]
    public void One_that_names_another_core_Secret_lets_the_first_go()
    {
        CredentialQuota quota = new();
        Take(quota, 1, core: "first");
        (IEnumerable<string> added, IEnumerable<string> removed) = Take(quota, 1, core: "second");
        Assert.Equal(("second", "first"), (Assert.Single(added), Assert.Single(removed)));
    }

    [Fact]
    public async Task A_Superserve_Secret_beyond_it_is_not_ready_says_why_and_gives_no_credential_until_there_is_room()
    {
        // Made in one second or more, they are in the order of their names as well.
        await ApplyAsync(string.Join("\n---\n", Enumerable.Range(0, CredentialQuota.Max).Select(i => Yaml($"s{i:d3}"))));
        await CredentialAsync("zz", "late-credential-0123456789");
        await ApplyAsync(Yaml("zz"));
        await KnownAsync(SecretPath("zz"));
        SecretState late = State("zz");
        Assert.Equal("TooManyCredentials", late.Reason);
        Assert.Contains("more than 256 core Secrets, and the core Secret zz is beyond that", late.Message, StringComparison.Ordinal);
        Assert.NotEqual("TooManyCredentials", State("s255").Reason);
        Assert.DoesNotContain(Server.Requests.All, request => request.Path.Contains("metadata.name%3Dzz", StringComparison.Ordinal));

        await BindingAsync("agents", "TOKEN", "zz");
        await KnownAsync(BindingPath("agents"));
        await PodAsync("agent");
        TestSidecar sidecar = await ConnectAsync("agent");
        Assert.Contains("is beyond that", Assert.Single((await sidecar.SnapshotAsync()).Secrets).Unavailable, StringComparison.Ordinal);
        await DeleteAsync(SecretPath("s000"));
        BoundSecret bound = Assert.Single((await sidecar.SnapshotAsync()).Secrets);
        Assert.Equal("late-credential-0123456789", bound.Available.ToStringUtf8());
    }

    private SecretState State(string name)
    {
        SecretResource secret = Cluster.Secrets.Store.Get(new ObjectKey(Ns, name))!;
        return SecretState.Of(secret, Cluster.CoreSecretOf(secret), Core.Providers.ProviderCatalog.BuiltIn);
    }

    private static string Yaml(string name) => $$$"""
        apiVersion: superserve.ai/v1alpha1
        kind: Secret
        metadata: {name: {{{name}}}, namespace: {{{Ns}}}}
        spec: {valueFrom: {secretKeyRef: {name: {{{name}}}, key: key}}, hosts: [api.service.test], auth: {type: bearer}}
        """;

    private static string Name(int age) => age.ToString("d4", CultureInfo.InvariantCulture);

    private static (IEnumerable<string> Added, IEnumerable<string> Removed) Take(CredentialQuota quota, int age, string? core = null, bool isDeleted = false)
    {
        SecretResource secret = Some.Secret(Name(age));
        secret.Metadata.CreationTimestamp = DateTime.UnixEpoch.AddSeconds(age / 2);
        return quota.Take(secret, isDeleted ? null : new ObjectKey(Some.Namespace, core ?? Name(age)));
    }
}
