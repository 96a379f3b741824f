using FsCheck.Xunit;
using Google.Protobuf;
using Google.Protobuf.Collections;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;

namespace Superserve.Protocol.Tests;

/// <summary>What arrives is checked as if an attacker had written it.</summary>
public sealed class HostileMessageTests
{
    private const string Credential = "the-real-credential-0123456789";
    private const string StandIn = "stand-in-0123456789-abcdef";

    /// <summary>A mistake, and the path that the error names.</summary>
    public static TheoryData<string, Action<Snapshot>> Mistakes => new()
    {
        { "revision", message => message.Revision = 0 },
        { "created_at", message => message.CreatedAt = null },
        { "created_at", message => message.CreatedAt.Seconds = long.MaxValue },
        { "created_at", message => message.CreatedAt.Nanos = -1 },
        { "sandbox", message => message.Sandbox = null },
        { "sandbox", message => message.Sandbox.Pod = "a\nb" },
        { "audit", message => message.Audit = "" },
        { "secrets", message => Repeat(message.Secrets, 129) },
        { "secrets[0].env", message => message.Secrets[0].Env = "A=B\nPATH" },
        { "secrets[0].env", message => message.Secrets[0].Env = "" },
        { "secrets[1].env", message => Twice(message.Secrets).StandIn = "another-stand-in-0123456789" },
        { "secrets[0].secret", message => message.Secrets[0].Secret = "../x" },
        { "secrets[0].stand_in", message => message.Secrets[0].StandIn = "short" },
        { "secrets[0].stand_in", message => message.Secrets[0].StandIn = "with a space 0123456789" },
        { "secrets[1].stand_in", message => Twice(message.Secrets).Env = "OTHER" },
        { "secrets[1].stand_in", message => (Twice(message.Secrets).Env, message.Secrets[1].StandIn) = ("OTHER", StandIn + "-and-more") },
        { "secrets[0].available", message => message.Secrets[0].Available = ByteString.Empty },
        { "secrets[0].available", message => message.Secrets[0].Available = ByteString.CopyFromUtf8("key\r\nX-Evil: 1") },
        { "secrets[0].available", message => message.Secrets[0].Available = ByteString.CopyFrom(new byte[9000]) },
        { "secrets[0].available", message => message.Secrets[0].Available = ByteString.CopyFromUtf8("x" + StandIn) },
        { "secrets[0].definition", message => message.Secrets[0].Definition = null },
        { "secrets[0].definition.auth_type", message => message.Secrets[0].Definition.AuthType = "Bearer\n" },
        { "secrets[0].definition.hosts", message => message.Secrets[0].Definition.Hosts.Clear() },
        { "secrets[0].definition.hosts", message => Repeat(message.Secrets[0].Definition.Hosts, 65) },
        { "secrets[0].definition.hosts[0].pattern", message => message.Secrets[0].Definition.Hosts[0].Pattern = "*.com" },
        { "secrets[0].definition.hosts[0].pattern", message => message.Secrets[0].Definition.Hosts[0].Pattern = "10.0.0.1" },
        { "secrets[0].definition.hosts[0].pattern", message => message.Secrets[0].Definition.Hosts[0].Pattern = new string('a', 1_000_000) },
        { "secrets[0].definition.hosts[1].pattern", message => Twice(message.Secrets[0].Definition.Hosts) },
        { "secrets[0].definition.hosts[0].schemes", message => message.Secrets[0].Definition.Hosts[0].Schemes.Clear() },
        { "secrets[0].definition.hosts[0].schemes", message => Repeat(message.Secrets[0].Definition.Hosts[0].Schemes, 17) },
        { "secrets[0].definition.hosts[0].schemes[0].type", message => message.Secrets[0].Definition.Hosts[0].Schemes[0].Type = "magic" },
        { "secrets[0].definition.hosts[0].schemes[0].header", message => message.Secrets[0].Definition.Hosts[0].Schemes[0] = new Scheme { Type = "api-key", Header = "Host" } },
        { "secrets[0].definition.hosts[0].schemes[0].prefix", message => message.Secrets[0].Definition.Hosts[0].Schemes[0] = new Scheme { Type = "api-key", Header = "X-Key", Prefix = "a\r\nX-Evil: " } },
        { "secrets[0].definition.rules", message => message.Secrets[0].Definition.Rules.AddRange(Enumerable.Repeat(new RequestRule { Methods = { "GET" } }, 65)) },
        { "secrets[0].definition.rules[0]", message => message.Secrets[0].Definition.Rules.Add(new RequestRule()) },
        { "secrets[0].definition.minting[0].paths[0]", message => message.Secrets[0].Definition.Minting.Add(new RequestRule { Paths = { "/../x" } }) },
        { "secrets[0].definition.token_shape", message => message.Secrets[0].Definition.TokenShape = "" },
        { "secrets[0].definition.token_shape", message => message.Secrets[0].Definition.TokenShape = new string('{', 1000) },
        { "bindings", message => Repeat(message.Bindings, 65) },
        { "bindings[0].name", message => message.Bindings[0].Name = "" },
        { "bindings[1].name", message => Twice(message.Bindings) },
        { "bindings[0].interception", message => message.Bindings[0].Interception = "Some" },
        { "bindings[0].passthrough", message => message.Bindings[0].Passthrough.AddRange(Enumerable.Repeat("a.example.com", 257)) },
        { "bindings[0].passthrough[0]", message => message.Bindings[0].Passthrough.Add("*.co.uk") },
        { "bindings[0].network.mode", message => message.Bindings[0].Network.Mode = "" },
        { "bindings[0].network.allowOut", message => message.Bindings[0].Network.AllowOut.AddRange(Enumerable.Repeat("a.example.com", 257)) },
        { "bindings[0].network.denyOut[0]", message => message.Bindings[0].Network.DenyOut.Add("999.0.0.0/8") },
        { "bindings[0].network.allow_in.ports[0]", message => message.Bindings[0].Network.AllowIn = new InboundPorts { Ports = { 65536 } } },
        { "cluster.domain", message => message.Cluster = null },
        { "cluster.domain", message => message.Cluster.Domain = "a b" },
        { "cluster.ranges", message => message.Cluster.Ranges.AddRange(Enumerable.Repeat("10.0.0.0/8", 257)) },
        { "cluster.ranges[0]", message => message.Cluster.Ranges.Add("ten/8") },
    };

    [Theory]
    [MemberData(nameof(Mistakes), DisableDiscoveryEnumeration = true)]
    public void A_mistake_refuses_the_whole_snapshot_and_names_the_field(string path, Action<Snapshot> make)
    {
        Snapshot message = SnapshotMapping.ToMessage(Snapshots.Usual());
        make(message);
        IReadOnlyList<SpecError> errors = Refused(message);
        Assert.Contains(path, errors.Select(error => error.Path));
        Assert.All(errors, error => Assert.True(error.ToString().Length < 800));
    }

    [Fact]
    public void An_empty_message_is_refused() => Assert.NotEmpty(Refused(new Snapshot()));

    [Fact]
    public void However_many_mistakes_there_are_a_few_are_told()
    {
        Snapshot message = SnapshotMapping.ToMessage(Snapshots.Usual());
        message.Bindings[0].Passthrough.AddRange(Enumerable.Repeat("?", 200));
        Assert.Equal(16, Refused(message).Count);
    }

    [Theory]
    [InlineData(Credential)]
    [InlineData(StandIn)]
    public void A_credential_in_a_field_where_it_does_not_belong_shows_in_no_error(string hidden)
    {
        foreach (Action<Snapshot> misplace in (Action<Snapshot>[])
        [
            message => message.Secrets[0].Definition.Hosts[0].Pattern = hidden,
            message => message.Secrets[0].Definition.Hosts[0].Schemes[0] = new Scheme { Type = "api-key", Header = $"X {hidden}" },
            message => message.Secrets[0].Definition.Hosts[0].Schemes[0] = new Scheme { Type = "custom", Headers = { [$"{hidden}:"] = "x" } },
            message => message.Secrets[0].Definition.TokenShape = hidden,
            message => message.Bindings[0].Network.AllowOut.Add($"https://{hidden}"),
        ])
        {
            Snapshot message = SnapshotMapping.ToMessage(Snapshots.Usual());
            misplace(message);
            Assert.All(Refused(message), error => Assert.DoesNotContain(hidden, error.ToString(), StringComparison.OrdinalIgnoreCase));
        }
    }

    [Fact]
    public void Errors_hold_no_line_break_and_no_control_character()
    {
        Snapshot message = SnapshotMapping.ToMessage(Snapshots.Usual());
        message.Bindings[0].Passthrough.Add("evil\r\n2026 level=info all is well\u001b[2J");
        Assert.All(Refused(message), error => Assert.DoesNotContain(error.ToString(), char.IsControl));
    }

    [Property(MaxTest = 2000)]
    public void Damaged_bytes_are_refused_or_make_a_snapshot_but_break_nothing(byte[] noise, int at)
    {
        byte[] bytes = SnapshotMapping.ToMessage(Snapshots.Usual()).ToByteArray();
        for (int i = 0; i < noise.Length; i++) bytes[(int)(((uint)at + (uint)i) % (uint)bytes.Length)] ^= noise[i];
        Snapshot message;
        try
        {
            message = Snapshot.Parser.ParseFrom(bytes);
        }
        catch (InvalidProtocolBufferException)
        {
            return;
        }

        bool isTaken = SnapshotMapping.TryToSnapshot(message, out DeliveredSnapshot? snapshot, out IReadOnlyList<SpecError> errors);
        Assert.Equal(isTaken, errors.Count == 0);
        Assert.Equal(isTaken, snapshot is not null);
    }

    [Fact]
    public void No_message_shows_a_credential_a_stand_in_or_a_token()
    {
        Snapshot message = SnapshotMapping.ToMessage(Snapshots.Usual());
        string text = $"{message} {message.Secrets[0]} {new OperatorMessage { Snapshot = message }} {new SidecarMessage { Renewal = new Renewal { Token = Credential } }} {new Renewal { Token = Credential }}";
        Assert.DoesNotContain(Credential, text, StringComparison.Ordinal);
        Assert.DoesNotContain(Convert.ToBase64String(message.Secrets[0].Available.Span), text, StringComparison.Ordinal);
        Assert.DoesNotContain(StandIn, text, StringComparison.Ordinal);
        Assert.Contains("bound secret", text, StringComparison.Ordinal);
    }

    private static IReadOnlyList<SpecError> Refused(Snapshot message)
    {
        Assert.False(SnapshotMapping.TryToSnapshot(message, out DeliveredSnapshot? snapshot, out IReadOnlyList<SpecError> errors));
        Assert.Null(snapshot);
        Assert.NotEmpty(errors);
        return errors;
    }

    private static void Repeat<T>(RepeatedField<T> field, int count)
        where T : IDeepCloneable<T> => field.AddRange(Enumerable.Range(0, count - field.Count).Select(_ => field[0].Clone()).ToArray());

    private static T Twice<T>(RepeatedField<T> field)
        where T : IDeepCloneable<T>
    {
        field.Add(field[0].Clone());
        return field[1];
    }
}
