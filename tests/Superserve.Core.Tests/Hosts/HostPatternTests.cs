using FsCheck.Xunit;
using Superserve.Core.Hosts;

namespace Superserve.Core.Tests.Hosts;

public sealed class HostPatternTests
{
    [Theory]
    [InlineData("*.com", "public suffix 'com'")]
    [InlineData("*.co.uk", "public suffix 'co.uk'")]
    [InlineData("*.supabase.co", "public suffix 'supabase.co'")]
    [InlineData("*.amazonaws.com", "it covers the public suffix")]
    public void A_wildcard_on_or_above_a_public_suffix_is_refused(string text, string because)
    {
        Assert.False(HostPattern.TryParse(text, PublicSuffixList.Embedded, out _, out string? error));
        Assert.Contains(because, error);
    }

    [Property]
    public bool Smoke(int x) => x == x + 0;
}
