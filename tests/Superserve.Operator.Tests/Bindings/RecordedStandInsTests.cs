using System.Collections.Immutable;
using Superserve.Core.StandIns;
using Superserve.Operator.Bindings;

namespace Superserve.Operator.Tests.Bindings;

public sealed class RecordedStandInsTests
{
    private const string Item = """{"env":"A","secret":"s","secretUid":"u","binding":"b","bindingUid":"v","shape":"superserve_{base62:40}"}""";

    [Fact]
    public void A_record_survives_the_annotation()
    {
        RecordedStandIn[] records =
        [
            new("A", "anthropic-prod", "u1", "b", "v1", TokenShape.Default, null),
            new("B", "github", "u2", "b", "v1", TokenShape.Default, ["agent", "browser"]),
        ];
        string annotation = RecordedStandIns.Write(records);
        Assert.True(RecordedStandIns.TryRead(annotation, out ImmutableArray<RecordedStandIn> read, out _));
        Assert.Equal(annotation, RecordedStandIns.Write(read));
        Assert.Equal((true, true, false), (read[0].IsFor("x"), read[1].IsFor("agent"), read[1].IsFor("x")));
        Assert.Equal(records[1].Derive(new byte[32], "n", "i").Value, read[1].Derive(new byte[32], "n", "i").Value);
    }

    [Fact]
    public void No_annotation_is_no_variable()
    {
        Assert.True(RecordedStandIns.TryRead(null, out ImmutableArray<RecordedStandIn> read, out _));
        Assert.Empty(read);
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("[null]")]
    [InlineData("[{}]")]
    [InlineData("[" + Item)]
    [InlineData("[" + Item + "," + Item + "]")]
    [InlineData("""[{"env":"A","secret":"s","secretUid":"u","binding":"b","bindingUid":"v","shape":"short"}]""")]
    [InlineData("""[{"env":"A","secret":"s","secretUid":"u","binding":"b","bindingUid":"","shape":"superserve_{base62:40}"}]""")]
    [InlineData("""[{"env":"A","secret":"s","secretUid":"u","binding":"b","bindingUid":"v","shape":"superserve_{base62:40}","value":"x"}]""")]
    [InlineData("""[{"env":"A","env":"B","secret":"s","secretUid":"u","binding":"b","bindingUid":"v","shape":"superserve_{base62:40}"}]""")]
    public void An_annotation_that_admission_did_not_write_is_refused_without_being_quoted(string annotation)
    {
        Assert.False(RecordedStandIns.TryRead(annotation, out ImmutableArray<RecordedStandIn> read, out string? error));
        Assert.Empty(read);
        Assert.DoesNotContain("base62", error);
    }

    [Fact]
    public void An_annotation_has_an_end()
    {
        string[] items = [.. Enumerable.Range(0, RecordedStandIns.MaxCount + 1).Select(i => Item.Replace("\"A\"", $"\"A{i}\""))];
        Assert.False(RecordedStandIns.TryRead($"[{string.Join(',', items)}]", out _, out _));
        Assert.True(RecordedStandIns.TryRead($"[{string.Join(',', items[1..])}]", out _, out _));
        Assert.False(RecordedStandIns.TryRead($"[{Item}{new string(' ', 200_000)}]", out _, out _));
    }

    [Theory]
    [InlineData("6a1d7440010101010101010101010101", true)]
    [InlineData("6a1d74400101010101010101010101", false)]
    [InlineData("xxxxxxxx010101010101010101010101", false)]
    [InlineData("", false)]
    [InlineData(null, false)]
    public void A_sandbox_id_says_when_it_was_made(string? id, bool isOne)
    {
        Assert.Equal(isOne ? new DateTimeOffset(2026, 6, 1, 12, 0, 0, TimeSpan.Zero) : null, SandboxId.CreatedAt(id));
        Assert.Equal("6a1d7440" + new string('0', 24), SandboxId.Create(new DateTimeOffset(2026, 6, 1, 12, 0, 0, TimeSpan.Zero), new byte[12]));
    }
}
