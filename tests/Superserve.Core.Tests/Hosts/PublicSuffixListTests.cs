using Superserve.Core.Hosts;

namespace Superserve.Core.Tests.Hosts;

public sealed class PublicSuffixListTests
{
    private static readonly PublicSuffixList Small = PublicSuffixList.Parse(new StringReader("""
        // a comment
        com
        co.uk   trailing text
        ck.test	after a tab

        *.wild.test
        !mine.wild.test
        a.b.c.test
        公司.test
        // ===BEGIN PRIVATE DOMAINS===
        hosting.com
        """));

    [Theory]
    [InlineData("com", true)]
    [InlineData("co.uk", true)]
    [InlineData("ck.test", true)]
    [InlineData("hosting.com", true)]
    [InlineData("xn--55qx5d.test", true)]
    [InlineData("any.wild.test", true)]
    [InlineData("mine.wild.test", false)]
    [InlineData("wild.test", false)]
    [InlineData("below.any.wild.test", false)]
    [InlineData("unlisted", true)]
    [InlineData("example.com", false)]
    [InlineData("example.unlisted", false)]
    [InlineData("c.test", false)]
    [InlineData("a", true)]
    public void A_rule_names_public_suffixes(string name, bool isSuffix) => Assert.Equal(isSuffix, Small.IsPublicSuffix(name));

    [Theory]
    [InlineData("com", "anybody can register a name below the public suffix 'com'")]
    [InlineData("any.wild.test", "anybody can register a name below the public suffix 'any.wild.test'")]
    [InlineData("wild.test", "it covers the public suffix '*.wild.test', below which anybody can register a name")]
    [InlineData("b.c.test", "it covers the public suffix 'a.b.c.test', below which anybody can register a name")]
    [InlineData("c.test", "it covers the public suffix 'a.b.c.test', below which anybody can register a name")]
    [InlineData("mine.wild.test", null)]
    [InlineData("example.com", null)]
    [InlineData("example.co.uk", null)]
    [InlineData("x.a.b.c.test", null)]
    public void A_wildcard_above_a_suffix_has_a_reason_against_it(string name, string? reason) => Assert.Equal(reason, Small.ReasonAgainstWildcard(name));

    [Fact]
    public void The_list_that_is_built_in_has_both_parts()
    {
        Assert.Same(PublicSuffixList.Embedded, PublicSuffixList.Embedded);
        foreach (string suffix in (string[])["com", "de", "co.uk", "github.io", "vercel.app", "supabase.co", "s3.amazonaws.com", "b.ck", "xn--p1ai"])
            Assert.True(PublicSuffixList.Embedded.IsPublicSuffix(suffix), suffix);
        foreach (string owned in (string[])["github.com", "anthropic.com", "www.ck", "city.kawasaki.jp", "bbc.co.uk"])
            Assert.False(PublicSuffixList.Embedded.IsPublicSuffix(owned), owned);
    }
}
