using Google.Protobuf;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;

namespace Superserve.Protocol.Tests;

/// <summary>Either side may be two versions older than the other.</summary>
public sealed class SkewTests
{
    [Fact]
    public void Fields_that_a_newer_operator_adds_anywhere_change_nothing()
    {
        DeliveredSnapshot sent = Snapshots.Usual();
        Snapshot message = SnapshotMapping.ToMessage(sent);
        message.Sandbox = Newer(message.Sandbox);
        message.Secrets[0].Definition.Hosts[0].Schemes[0] = Newer(message.Secrets[0].Definition.Hosts[0].Schemes[0]);
        message.Secrets[0].Definition.Hosts[0] = Newer(message.Secrets[0].Definition.Hosts[0]);
        message.Secrets[0].Definition = Newer(message.Secrets[0].Definition);
        message.Secrets[0] = Newer(message.Secrets[0]);
        message.Bindings[0].Network = Newer(message.Bindings[0].Network);
        message.Bindings[0] = Newer(message.Bindings[0]);
        message.Cluster = Newer(message.Cluster);
        Assert.True(SnapshotMapping.TryToSnapshot(Newer(message), out DeliveredSnapshot? arrived, out IReadOnlyList<SpecError> errors), string.Join("; ", errors));
        Assert.Equal(Shape.Of(sent), Shape.Of(arrived));
    }

    [Fact]
    public void A_kind_of_credential_that_a_newer_operator_adds_is_unavailable_and_the_rest_holds()
    {
        Snapshot message = SnapshotMapping.ToMessage(Snapshots.Usual());
        message.Secrets[0].ClearCredential();
        message.Secrets[0] = Newer(message.Secrets[0]);
        Assert.True(SnapshotMapping.TryToSnapshot(message, out DeliveredSnapshot? arrived, out _));
        Assert.Contains("too old", Assert.IsType<CredentialState.Unavailable>(arrived.Secrets[0].Credential).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_kind_of_message_that_the_other_side_adds_is_none_that_is_known()
    {
        Assert.Equal(OperatorMessage.MessageOneofCase.None, Newer(new OperatorMessage()).MessageCase);
        Assert.Equal(SidecarMessage.MessageOneofCase.None, Newer(new SidecarMessage()).MessageCase);
    }

    /// <summary>What version 0.1 wrote: numbers and types that are in use never change.</summary>
    [Fact]
    public void A_snapshot_of_the_first_version_is_read_by_every_later_one()
    {
        Snapshot message = Snapshot.Parser.ParseFrom(Convert.FromBase64String(FirstVersion));
        Assert.True(SnapshotMapping.TryToSnapshot(message, out DeliveredSnapshot? arrived, out IReadOnlyList<SpecError> errors), string.Join("; ", errors));
        Assert.Equal(Shape.Of(Snapshots.Usual()), Shape.Of(arrived));
    }

    private const string FirstVersion =
        "CAESABobCgZhZ2VudHMSCnJlc2VhcmNoLTAaBXVpZC0xIo0BCgdBUElfS0VZEgdleGFtcGxlGhpzdGFuZC1pbi0wMTIzNDU2Nzg5LWFiY2RlZi"
        + "IedGhlLXJlYWwtY3JlZGVudGlhbC0wMTIzNDU2Nzg5Oj0KBmJlYXJlchIbCg9hcGkuZXhhbXBsZS5jb20SCAoGYmVhcmVyKhZzdXBlcnNlcnZl"
        + "X3tiYXNlNjI6NDB9KisKCHJlc2VhcmNoEhoKD2FwaS5leGFtcGxlLmNvbRoHRW5mb3JjZRoDQWxsMg8KDWNsdXN0ZXIubG9jYWw6CkJlc3RFZm"
        + "ZvcnQ=";

    private static T Newer<T>(T message)
        where T : IMessage<T>, new()
    {
        using MemoryStream bytes = new();
        using (CodedOutputStream output = new(bytes, leaveOpen: true))
        {
            message.WriteTo(output);
            // Field 1000, a message of its own.
            output.WriteTag(1000, WireFormat.WireType.LengthDelimited);
            output.WriteString("what only newer versions know");
        }

        return new MessageParser<T>(() => new T()).ParseFrom(bytes.ToArray());
    }
}
