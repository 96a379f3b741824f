using System.Net;
using Superserve.Operator.Certificates;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Certificates;

public sealed class StandInKeyTests : CertificatesTest
{
    private const string Name = StandInKey.SecretName;

    [Fact]
    public async Task Replicas_that_start_at_once_agree_on_one_key()
    {
        Replica[] replicas = [.. Enumerable.Range(0, 4).Select(_ => new Replica(Server))];
        try
        {
            Assert.All(replicas, replica => Assert.False(replica.Key.IsReady));
            await Task.WhenAll(replicas.Select(replica => replica.Key.StartAsync(CancellationToken.None)));
            await Eventually.True(() => replicas.All(replica => replica.Key.IsReady), "all have a key");
            string key = Assert.Single(replicas.Select(replica => Convert.ToBase64String(replica.Key.Bytes)).Distinct());
            Assert.Equal(key, (string?)Secret(Name)!["data"]!["key"]);
            Assert.Equal(32, replicas[0].Key.Bytes.Length);
            Assert.Equal("superserve", (string?)Secret(Name)!["metadata"]!["labels"]!["app.kubernetes.io/part-of"]);
            Assert.All(replicas, replica => Assert.DoesNotContain(key, replica.Log.Text, StringComparison.Ordinal));
        }
        finally
        {
            foreach (Replica replica in replicas) await replica.DisposeAsync();
        }
    }

    [Fact]
    public async Task It_cannot_be_edited_and_a_deleted_one_comes_back()
    {
        await using Replica replica = await StartAsync();
        string key = Convert.ToBase64String(replica.Key.Bytes);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, await SendAsync(HttpMethod.Patch, $"{Secrets}/{Name}", """{"data": {"key": "AAAA"}}"""));
        await DeleteSecretAsync(Name);
        await Eventually.True(() => (string?)Secret(Name)?["data"]?["key"] == key, "the same key is there again");
        Assert.Equal(key, Convert.ToBase64String(replica.Key.Bytes));
    }

    [Theory]
    [InlineData("{key: short}", "5 bytes instead of 32")]
    [InlineData("{other: x}", "no entry key")]
    [InlineData("{}", "no entry key")]
    public async Task A_Secret_without_such_a_key_is_reported_and_left_alone(string data, string reason)
    {
        await Server.ApplyAsync($"{{apiVersion: v1, kind: Secret, metadata: {{name: {Name}, namespace: {OperatorNamespace}}}, stringData: {data}}}");
        await using Replica replica = new(Server);
        await replica.Key.StartAsync(CancellationToken.None);
        await Eventually.True(() => replica.Key.Problem?.Contains(reason, StringComparison.Ordinal) == true, "the reason is reported");
        Assert.Contains("every stand-in", replica.Key.Problem, StringComparison.Ordinal);
        Assert.False(replica.Key.IsReady);
        Assert.Contains(reason, Assert.Throws<InvalidOperationException>(() => replica.Key.Bytes.Length).Message, StringComparison.Ordinal);
        Assert.DoesNotContain("update", Writes("secrets"));
        Assert.DoesNotContain("create", Writes("secrets"));
    }

    [Fact]
    public async Task Another_key_in_the_Secret_changes_no_running_replica_and_is_reported()
    {
        await using Replica replica = await StartAsync();
        string key = Convert.ToBase64String(replica.Key.Bytes);
        // With its watch open the replica would write its own key between the two.
        Server.Watches.Freeze();
        await DeleteSecretAsync(Name);
        await Server.ApplyAsync($"{{apiVersion: v1, kind: Secret, metadata: {{name: {Name}, namespace: {OperatorNamespace}}}, stringData: {{key: {new string('x', 32)}}}}}");
        Server.Watches.Thaw();
        await Eventually.True(() => replica.Key.Problem is not null, "it is reported");
        Assert.Contains("another key", replica.Key.Problem, StringComparison.Ordinal);
        Assert.True(replica.Key.IsReady);
        Assert.Equal(key, Convert.ToBase64String(replica.Key.Bytes));

        await DeleteSecretAsync(Name);
        await Eventually.True(() => replica.Key.Problem is null && (string?)Secret(Name)?["data"]?["key"] == key, "as the message says, a deletion brings the old one back");
    }

    private async Task<Replica> StartAsync()
    {
        Replica replica = new(Server);
        await replica.Key.StartAsync(CancellationToken.None);
        await Eventually.True(() => replica.Key.IsReady && replica.Key.Problem is null, "there is a key");
        return replica;
    }
}
