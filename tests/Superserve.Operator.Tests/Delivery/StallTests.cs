using Superserve.Operator.Delivery;
using Superserve.Operator.Tests.Delivery.Fixture;

namespace Superserve.Operator.Tests.Delivery;

/// <summary>Sidecars that do not read.</summary>
public sealed class StallTests : DeliveryTest
{
    private protected override DeliveryLimits Limits => new() { Write = TimeSpan.FromSeconds(6) };

    [Fact]
    public async Task A_sidecar_that_does_not_read_is_given_up_and_costs_no_memory_meanwhile()
    {
        await LargeAsync();
        TestSidecar stalled = await ConnectAsync("agent");
        await Eventually(() => Registry.Count == 1, "it is in");
        for (int i = 0; i < 10; i++) await CredentialAsync("large", new string((char)('a' + i), 8 * 1024));
        await Eventually(() => Registry.Count == 0, "it is given up");
        await Eventually(() => Logs.Contains("does not read what it is sent", StringComparison.Ordinal), "the log says why");
        // Cut short, it has no status any more; and it never got more than the first, which was under way.
        await stalled.EndedAsync();
        Assert.Null(stalled.Last);
    }

    [Fact]
    public async Task Of_the_snapshots_that_wait_only_the_newest_is_sent()
    {
        await LargeAsync();
        TestSidecar slow = await ConnectAsync("agent");
        await Eventually(() => Registry.Count == 1, "it is in");
        for (int i = 0; i < 20; i++) await CredentialAsync("large", new string((char)('a' + i), 8 * 1024));
        await slow.SnapshotAsync(snapshot => snapshot.Secrets[0].Available[0] == (byte)'t');
        // The one that was under way, perhaps one that was taken up before the windows were full, and the newest.
        Assert.InRange(slow.Last!.Revision, 1, 5);
    }

    private async Task LargeAsync()
    {
        // More than the windows of the connection hold.
        await SecretAsync("large", new string('k', 8 * 1024));
        for (int i = 0; i < 40; i++) await BindingAsync($"b{i}", $"KEY_{i}", "large");
        await PodAsync("agent");
        await KnownAsync(BindingPath("b39"));
        await KnownAsync(PodPath("agent"));
    }
}
