using Superserve.Core.Scrubbing;
using static Superserve.Core.Tests.Scrubbing.ScrubText;

namespace Superserve.Core.Tests.Scrubbing;

public sealed class HeaderScrubbingTests
{
    private static readonly ScrubPatterns One = Patterns("sk-0123456789abcdef", "stand-in");

    [Theory]
    [InlineData("")]
    [InlineData("text/html; charset=utf-8")]
    [InlineData("sk-0123456789abcde")]
    [InlineData("sk-0123456789abcde%6")]
    [InlineData("\u0173k-0123456789abcdef")]
    public void A_value_without_a_credential_is_the_same_instance(string value) => Assert.Same(value, One.ScrubHeader(value));

    [Theory]
    [InlineData("sk-0123456789abcdef", "stand-in")]
    [InlineData("Bearer sk-0123456789abcdef", "Bearer stand-in")]
    [InlineData("/cb?t=sk%2D0123456789abcdef&u=sk-0123456789abcdef#", "/cb?t=stand-in&u=stand-in#")]
    [InlineData("\u00e9\u00ff sk-0123456789abcdef \u00e9\u20ac\ud834\udd1e", "\u00e9\u00ff stand-in \u00e9\u20ac\ud834\udd1e")]
    public void Every_credential_in_a_value_is_replaced_and_the_rest_kept(string value, string expected) =>
        Assert.Equal(expected, One.ScrubHeader(value));

    [Fact]
    public void A_long_value_is_scrubbed_whole()
    {
        string filler = new('x', 3000);
        Assert.Equal(filler + "stand-in" + filler, One.ScrubHeader(filler + "sk-0123456789abcdef" + filler));
    }

    [Fact]
    public void A_short_credential_is_replaced_as_it_is_and_in_base64()
    {
        ScrubPatterns patterns = Patterns("key", "stand-in", "user");
        Assert.Equal("a stand-in", patterns.ScrubHeader("a key"));
        Assert.Equal(Base64("user:stand-in"), patterns.ScrubHeader(Base64("user:key")));
        Assert.Equal("x %73tand-in", patterns.ScrubHeader("x %73tand-in"));
    }

    [Fact]
    public void A_piece_of_base64_too_short_to_tell_is_left_alone()
    {
        Assert.Equal("a3k", Patterns("ky", "stand-in").ScrubHeader("a3k"));
        Assert.Equal(Base64("stand-in"), Patterns("ky", "stand-in").ScrubHeader("a3k="));
        ScrubPatterns patterns = Patterns("k", "stand-in");
        Assert.Equal("aw b stand-in c", patterns.ScrubHeader("aw b k c"));
        Assert.Equal(Base64("stand-in"), patterns.ScrubHeader("aw=="));
    }
}
