using Superserve.Core.Hosts;
using static Superserve.Core.Tests.TestSecrets;

namespace Superserve.Core.Tests.Hosts;

public sealed class HostPatternTests
{
    private static string ErrorOf(string? text)
    {
        Assert.False(HostPattern.TryParse(text, PublicSuffixList.Embedded, out HostPattern? pattern, out string? error));
        Assert.Null(pattern);
        return error;
    }

    [Theory]
    [InlineData("*.github.com", "api.github.com", true)]
    [InlineData("*.github.com", "a.b.c.github.com", true)]
    [InlineData("*.github.com", "github.com", false)]
    [InlineData("*.github.com", ".github.com", false)]
    [InlineData("*.github.com", "evilgithub.com", false)]
    [InlineData("*.github.com", "api.github.com.evil.test", false)]
    [InlineData("*.github.com", "API.GITHUB.COM", false)]
    [InlineData("api.github.com", "api.github.com", true)]
    [InlineData("api.github.com", "x.api.github.com", false)]
    [InlineData("api.github.com", "github.com", false)]
    [InlineData("api.github.com", "API.github.com", false)]
    [InlineData("api.github.com", "", false)]
    public void A_wildcard_means_any_depth_below_and_not_the_name_itself(string pattern, string host, bool matches)
    {
        Assert.Equal(matches, Pattern(pattern).MatchesName(host));
        Assert.Equal(matches, Pattern(pattern).Matches(host, 443));
        Assert.Equal(matches, Pattern(pattern + ":8443").Matches(host, 8443));
        Assert.Equal(matches, Pattern(pattern + ":8443").MatchesName(host));
        Assert.False(Pattern(pattern + ":8443").Matches(host, 443));
        Assert.False(Pattern(pattern).Matches(host, 80));
    }

    [Theory]
    [InlineData("api.github.com:1", 1)]
    [InlineData("api.github.com:443", 443)]
    [InlineData("*.github.com:65535", 65535)]
    [InlineData("api.github.com:0443", 443)]
    [InlineData("api.github.com", null)]
    public void A_pattern_may_name_a_port(string text, int? port) => Assert.Equal(port, Pattern(text).Port);

    [Theory]
    [InlineData("api.github.com:0")]
    [InlineData("api.github.com:65536")]
    [InlineData("api.github.com:99999999999")]
    [InlineData("api.github.com:")]
    [InlineData("api.github.com:-1")]
    [InlineData("api.github.com:+1")]
    [InlineData("api.github.com: 1")]
    [InlineData("api.github.com:https")]
    [InlineData("[::1]")]
    public void A_port_that_is_none_is_refused(string text) => Assert.Equal(
        $"'{text}' has no valid port after ':'; write a port from 1 to 65535, as api.example.com:8443, or leave it out for 443", ErrorOf(text));

    [Theory]
    [InlineData("https://api.github.com", "is an address with a scheme")]
    [InlineData(null, "a host is empty")]
    [InlineData("", "a host is empty")]
    [InlineData("*.", "a host is empty")]
    [InlineData(":443", "a host is empty")]
    [InlineData("api.github.com/v1", "is not a host; write a DNS name as api.example.com, or *.example.com for the names below it, without scheme, user or path")]
    [InlineData("user@api.github.com", "without scheme, user or path")]
    [InlineData("*", "a '*' that is not the whole first label")]
    [InlineData("*api.github.com", "a '*' that is not the whole first label")]
    [InlineData("api.*.com", "a '*' that is not the whole first label")]
    [InlineData("*.*.github.com", "a '*' that is not the whole first label")]
    [InlineData("**.github.com", "a '*' that is not the whole first label")]
    [InlineData("API.github.com", "'API.github.com' has upper-case letters; write it in lower case")]
    [InlineData("*.GitHub.com", "'*.GitHub.com' has upper-case letters")]
    [InlineData("localhost", "has a single label; write the full name, as localhost.example.com")]
    [InlineData("com", "has a single label")]
    [InlineData("127.0.0.1", "is an address")]
    [InlineData("127.1", "is an address")]
    [InlineData("2130706433", "is an address")]
    [InlineData("0x7f000001", "is an address")]
    [InlineData("0x7f.0.0.1", "is an address")]
    [InlineData("0177.0.0.1", "is an address")]
    [InlineData("127.0.0.1:8080", "is an address")]
    [InlineData("*.0.0.1", "is an address")]
    [InlineData("api.github.0x7f", "is not a DNS name")]
    [InlineData("api.github.1", "is not a DNS name")]
    [InlineData("api.github.com.", "is not a DNS name")]
    [InlineData("api..github.com", "is not a DNS name")]
    [InlineData(".github.com", "is not a DNS name")]
    [InlineData("-api.github.com", "is not a DNS name")]
    [InlineData("api-.github.com", "is not a DNS name")]
    [InlineData("api.-github.com", "is not a DNS name")]
    [InlineData("api.github.com-", "is not a DNS name")]
    [InlineData("my_api.github.com", "is not a DNS name")]
    [InlineData("bücher.example", "is not a DNS name")]
    [InlineData("api github.com", "is not a DNS name")]
    [InlineData("api.github.com\n", "is not a DNS name")]
    [InlineData("::1", "is not a DNS name")]
    public void What_is_no_host_is_refused_with_what_to_write(string? text, string because) => Assert.Contains(because, ErrorOf(text));

    [Theory]
    [InlineData("xn--bcher-kva.example")]
    [InlineData("a-b.example-c.test")]
    [InlineData("1.2.3.4.example.com")]
    [InlineData("4chan.org")]
    public void Names_that_look_odd_are_names(string text) => Assert.Equal(text, Pattern(text).Name);

    [Fact]
    public void A_name_is_at_most_253_characters_long_and_a_label_63()
    {
        string label = new('a', 63);
        string longest = $"{label}.{label}.{label}.{new string('a', 61)}";
        Assert.Equal(253, Pattern(longest).Name.Length);
        Assert.Contains("is not a DNS name", ErrorOf(longest + "a"));
        Assert.Contains("is not a DNS name", ErrorOf(label + "a.example.com"));
        Assert.Contains("is not a DNS name", ErrorOf("example." + label + "a"));
    }

    [Theory]
    [InlineData("*.com", "public suffix 'com'")]
    [InlineData("*.co.uk", "public suffix 'co.uk'")]
    [InlineData("*.supabase.co", "public suffix 'supabase.co'")]
    [InlineData("*.github.io", "public suffix 'github.io'")]
    [InlineData("*.s3.amazonaws.com", "public suffix 's3.amazonaws.com'")]
    [InlineData("*.ck", "public suffix 'ck'")]
    [InlineData("*.gov.ck", "public suffix 'gov.ck'")]
    [InlineData("*.anything.ck", "public suffix 'anything.ck'")]
    [InlineData("*.kawasaki.jp", "it covers the public suffix '*.kawasaki.jp'")]
    [InlineData("*.localhost", "public suffix 'localhost'")]
    [InlineData("*.unknown-top-level", "public suffix 'unknown-top-level'")]
    [InlineData("*.xn--55qx5d.cn", "public suffix 'xn--55qx5d.cn'")]
    [InlineData("*.amazonaws.com", "it covers the public suffix")]
    [InlineData("*.com:8443", "public suffix 'com'")]
    public void A_wildcard_on_or_above_a_public_suffix_is_refused(string text, string because)
    {
        Assert.Contains(because, ErrorOf(text));
        Assert.EndsWith("list the hosts one by one", ErrorOf(text));
    }

    [Theory]
    [InlineData("*.github.com")]
    [InlineData("*.example.co.uk")]
    [InlineData("*.acme.supabase.co")]
    [InlineData("*.www.ck")]
    [InlineData("*.city.kawasaki.jp")]
    [InlineData("*.below.anything.ck")]
    public void A_wildcard_below_a_name_that_one_owner_has_is_taken(string text) => Assert.True(Pattern(text).IsWildcard);

    [Theory]
    [InlineData("supabase.co")]
    [InlineData("co.uk")]
    [InlineData("amazonaws.com")]
    public void A_public_suffix_itself_may_be_named(string text) => Assert.False(Pattern(text).IsWildcard);

    [Theory]
    [InlineData("a.test", "a.test", true)]
    [InlineData("a.test", "a.test:443", true)]
    [InlineData("a.test", "a.test:444", false)]
    [InlineData("a.b.test", "*.b.test", true)]
    [InlineData("b.test", "*.b.test", false)]
    [InlineData("*.b.test", "*.a.b.test", true)]
    [InlineData("*.b.test", "*.ab.test", false)]
    [InlineData("*.b.test", "*.b.test:443", true)]
    [InlineData("*.b.test:8443", "a.b.test", false)]
    public void Patterns_overlap_where_a_host_on_a_port_is_both_s(string a, string b, bool overlap)
    {
        Assert.Equal(overlap, Pattern(a).Overlaps(Pattern(b)));
        Assert.Equal(overlap, Pattern(b).Overlaps(Pattern(a)));
    }

    [Fact]
    public void Patterns_are_equal_where_they_were_written_alike()
    {
        Assert.Equal(Pattern("*.a.test:1"), Pattern("*.a.test:1"));
        Assert.NotEqual(Pattern("*.a.test"), Pattern("a.test"));
        Assert.NotEqual(Pattern("a.test"), Pattern("a.test:443"));
    }
}
