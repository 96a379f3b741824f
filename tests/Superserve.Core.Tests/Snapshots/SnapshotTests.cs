using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using Superserve.Core.Authentication;
using Superserve.Core.Snapshots;
using static Superserve.Core.Tests.TestSecrets;
using Taken = Superserve.Core.Snapshots.Snapshot;

namespace Superserve.Core.Tests.Snapshots;

public sealed class SnapshotTests
{
    private static readonly BoundSecret Secret = SecretA(BearerAuth, Host, "*.example.org:8443");

    [Fact]
    public void A_snapshot_is_what_it_was_made_of()
    {
        Taken taken = Snapshot(Interception.All, ["a.test"], Secret);
        Assert.Equal((1, DateTimeOffset.UnixEpoch, "agents/research"), (taken.Revision, taken.CreatedAt, taken.Sandbox));
        Assert.Equal([Secret], taken.Secrets);
        Assert.Equal([Pattern("a.test")], taken.Passthrough);
        Assert.Equal(Interception.All, taken.Interception);
        Assert.True(taken.Network.CheckName("anything.test", 443, isBound: false).IsAllowed);
    }

    [Theory]
    [InlineData(Host, 443, true)]
    [InlineData(Host, 80, false)]
    [InlineData("a.example.org", 8443, true)]
    [InlineData("a.example.org", 443, false)]
    [InlineData("example.org", 8443, false)]
    [InlineData("evil.test", 443, false)]
    public void A_host_of_a_secret_is_bound_and_intercepted(string host, int port, bool isBound)
    {
        Taken taken = Snapshot(Secret, SecretB(BearerAuth, "b.test"));
        Assert.Equal(isBound, taken.IsBound(host, port));
        Assert.Equal(isBound, taken.Intercepts(host, port));
        Assert.True(taken.IsBound("b.test", 443));
        Assert.False(Snapshot().IsBound(host, port));
        Assert.False(Snapshot().Intercepts(host, port));
    }

    [Fact]
    public void A_detached_secret_opens_no_host_but_is_still_intercepted()
    {
        Taken taken = Snapshot(Secret with { IsDetached = true });
        Assert.False(taken.IsBound(Host, 443));
        Assert.True(taken.Intercepts(Host, 443));
        Assert.True(taken.HoldsStandIn(A));
        Assert.True(Snapshot(Secret with { IsDetached = true }, SecretB(BearerAuth)).IsBound(Host, 443));
    }

    [Theory]
    [InlineData("anything.test", 443, true)]
    [InlineData("anything.test", 5432, true)]
    [InlineData("1.2.3.4", 443, true)]
    [InlineData("pinned.test", 443, false)]
    [InlineData("pinned.test", 8443, false)]
    [InlineData("a.b.wild.test", 1, false)]
    [InlineData("wild.test", 443, true)]
    [InlineData("ported.test", 8443, false)]
    [InlineData("ported.test", 443, true)]
    [InlineData(Host, 443, true)]
    [InlineData(Host, 8443, false)]
    public void Under_All_everything_is_intercepted_but_what_passes_through(string host, int port, bool intercepts)
    {
        string[] passthrough = ["pinned.test", "*.wild.test", "ported.test:8443", Host];
        Assert.Equal(intercepts, Snapshot(Interception.All, passthrough, Secret).Intercepts(host, port));
        Assert.Equal(host == Host && port == 443, Snapshot(Interception.BoundHosts, passthrough, Secret).Intercepts(host, port));
    }

    [Fact]
    public void A_stand_in_is_found_in_its_exact_case()
    {
        Taken taken = Snapshot(Secret, SecretB(BearerAuth));
        Assert.True(taken.HoldsStandIn($"x{B}y"));
        Assert.False(taken.HoldsStandIn(A.ToLowerInvariant()));
        Assert.False(taken.HoldsStandIn(""));
        Assert.False(Snapshot().HoldsStandIn(A));
    }

    [Fact]
    public void What_an_answer_is_searched_for_is_made_once_for_each_secret_and_once_for_all()
    {
        BoundSecret other = SecretB(BearerAuth);
        Taken taken = Snapshot(Secret, other);
        Assert.Same(taken.ScrubPatternsFor([other]), taken.ScrubPatternsFor([other]));
        Assert.NotSame(taken.ScrubPatternsFor([Secret]), taken.ScrubPatternsFor([other]));
        Assert.Same(taken.ScrubPatternsFor([Secret, other]), taken.ScrubPatternsFor([other, Secret]));
        Assert.NotSame(taken.ScrubPatternsFor([Secret]), taken.ScrubPatternsFor([Secret, other]));
    }

    // ---- redaction -----------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("/v1/items", "/v1/items")]
    [InlineData("/bot{a}/getMe", "/bot{{ value }}/getMe")]
    [InlineData("{a}", "{{ value }}")]
    [InlineData("{a}{a}", "{{ value }}{{ value }}")]
    [InlineData("/{a}/{b}/{a}", "/{{ value }}/{{ value }}/{{ value }}")]
    [InlineData("{upper}.evil.test", "{{ value }}.evil.test")]
    [InlineData("x.{lower}.evil.test", "x.{{ value }}.evil.test")]
    [InlineData("/bot{escaped}/getMe", "/bot{{ value }}/getMe")]
    [InlineData("/a%20b/{escaped}/c", "/a%20b/{{ value }}/c")]
    [InlineData("/a%20b/{a}/c", "/a%20b/{{ value }}/c")]
    [InlineData("/{escaped}/{a}", "/{{ value }}/{{ value }}")]
    [InlineData("/a%20b%zz", "/a%20b%zz")]
    [InlineData("/caf\u00e9/\n/\u4e2d\u007f", "/caf?/?/??")]
    [InlineData("/~ !", "/~ !")]
    [InlineData("/~ !\u00e9", "/~ !?")]
    [InlineData("/%c3%a9/{a}", "/%C3%A9/{{ value }}")]
    [InlineData("", "")]
    public void A_text_is_shown_without_stand_ins(string text, string shown)
    {
        text = text.Replace("{a}", A).Replace("{b}", B).Replace("{upper}", A.ToUpperInvariant()).Replace("{lower}", A.ToLowerInvariant()).Replace("{escaped}", Escaped(A));
        Assert.Equal(shown, Snapshot(Secret, SecretB(BearerAuth)).Redact(text, 256));
    }

    [Fact]
    public void A_stand_in_that_holds_a_character_to_escape_is_not_shown_either()
    {
        const string Telegram = "1234567890:AAabcdefghijklmnopqrstuvwxyz";
        Taken taken = Snapshot(Secret with { StandIn = StandIn(Telegram) });
        foreach (string sent in (string[])[Telegram, Telegram.Replace(":", "%3A"), Escaped(Telegram)])
        {
            Assert.Equal("/bot{{ value }}/send", taken.Redact($"/bot{sent}/send", 256));
            Assert.Equal("/bot{{ value }}/send%20x", taken.Redact($"/bot{sent}/send%20x", 256));
        }
    }

    [Fact]
    public void The_longer_of_two_stand_ins_that_begin_alike_is_taken_out_whole()
    {
        BoundSecret longer = SecretB(BearerAuth) with { StandIn = StandIn(A + "-and-more") };
        Assert.Equal("/{{ value }}/x", Snapshot(Secret, longer).Redact($"/{A}-and-more/x", 256));
        Assert.Equal("/{{ value }}/x", Snapshot(longer, Secret).Redact($"/{A}-and-more/x", 256));
    }

    [Fact]
    public void A_long_text_is_cut_with_a_mark()
    {
        Taken taken = Snapshot(Secret);
        Assert.Equal("abcd", taken.Redact("abcd", 4));
        Assert.Equal("abcd…", taken.Redact("abcde", 4));
        Assert.Equal("abcd…", taken.Redact("abcd" + new string('x', 1_000_000), 4));
        Assert.Equal("ab?d…", Snapshot().Redact("ab\u00e9de", 4));
        Assert.Equal("/{{ value…", taken.Redact($"/{A}", 9));
        Assert.Equal("/{{ value }}", taken.Redact($"/{A}", 12));
    }

    [Fact]
    public void Without_secrets_a_text_is_shown_as_it_is() => Assert.Equal("/" + A, Snapshot().Redact("/" + A, 256));

    [Property(MaxTest = 2000, Arbitrary = [typeof(Texts)])]
    public bool No_text_shows_a_stand_in(Text text, PositiveInt length)
    {
        string shown = Snapshot(Secret, SecretB(BearerAuth)).Redact(text.Value, length.Get * 4);
        string decoded = Percent.Decode(shown);
        return shown.Length <= length.Get * 4 + 1 && shown.All(c => c is (>= ' ' and <= '~') or '…')
            && !decoded.Contains(A, StringComparison.OrdinalIgnoreCase) && !decoded.Contains(B, StringComparison.OrdinalIgnoreCase)
            && !shown.Contains(A, StringComparison.OrdinalIgnoreCase) && !shown.Contains(B, StringComparison.OrdinalIgnoreCase);
    }

    public sealed record Text(string Value);

    public static class Texts
    {
        public static Arbitrary<Text> AnyText() => Gen.Elements(
                A, B, A.ToUpperInvariant(), B.ToLowerInvariant(), Escaped(A), "%73" + A[1..], A[..10], A[10..], "%", "%4", "/", "%2F", "%25", "é", "\n", "x")
            .ListOf().Select(parts => new Text(string.Concat(parts))).ToArbitrary();
    }
}
