using Google.Protobuf;
using FsCheck.Xunit;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;

namespace Superserve.Protocol.Tests;

/// <summary>What the operator made is what the sidecar gets.</summary>
[Properties(MaxTest = 300, Arbitrary = [typeof(Snapshots)])]
public sealed class RoundTripTests
{
    public static TheoryData<string> Providers => [.. ProviderCatalog.BuiltIn.Providers.Select(provider => provider.Name)];

    [Property]
    public void A_snapshot_arrives_as_it_was_sent(DeliveredSnapshot sent) => Assert.Equal(Shape.Of(sent), Shape.Of(Sent(sent)));

    [Property]
    public void Bindings_are_kept_as_they_are(DeliveredSnapshot snapshot)
    {
        Assert.True(SnapshotMapping.TryToBindings([.. snapshot.Bindings.Select(SnapshotMapping.ToMessage)], out var kept, out IReadOnlyList<SpecError> errors), string.Join("; ", errors));
        Assert.Equal(Shape.Of(snapshot.Bindings), Shape.Of(kept));
    }

    [Theory]
    [MemberData(nameof(Providers))]
    public void A_secret_of_every_provider_arrives_as_it_was_sent(string name)
    {
        Assert.True(ProviderCatalog.BuiltIn.TryGet(name, out Provider? provider));
        DeliveredSnapshot usual = Snapshots.Usual();
        DeliveredSnapshot sent = usual with { Secrets = [usual.Secrets[0] with { Definition = Snapshots.OfProvider(provider) }] };
        Assert.Equal(Shape.Of(sent), Shape.Of(Sent(sent)));
    }

    [Fact]
    public void Two_snapshots_that_differ_are_told_apart()
    {
        DeliveredSnapshot usual = Snapshots.Usual();
        DeliveredSnapshot other = usual with { Secrets = [usual.Secrets[0] with { Credential = Snapshots.Available("another-credential"u8) }] };
        Assert.NotEqual(Shape.Of(usual), Shape.Of(other));
    }

    private static DeliveredSnapshot Sent(DeliveredSnapshot snapshot)
    {
        byte[] bytes = SnapshotMapping.ToMessage(snapshot).ToByteArray();
        Assert.True(SnapshotMapping.TryToSnapshot(Snapshot.Parser.ParseFrom(bytes), out DeliveredSnapshot? arrived, out IReadOnlyList<SpecError> errors), string.Join("; ", errors));
        return arrived;
    }
}
