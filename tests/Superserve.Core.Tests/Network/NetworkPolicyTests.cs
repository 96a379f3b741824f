using System.Net;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Secrets;

namespace Superserve.Core.Tests.Network;

public sealed class NetworkPolicyTests
{
    private static SpecError Error(string[]? allow = null, string[]? deny = null)
    {
        List<SpecError> errors = [];
        bool parsed = NetworkPolicy.TryParse(
            allow, deny, NetworkMode.Enforce, PublicSuffixList.Embedded, "network", errors, out NetworkPolicy? policy);
        Assert.False(parsed);
        Assert.Null(policy);
        return Assert.Single(errors);
    }

    [Fact]
    public void Entries_are_told_apart_as_domains_and_CIDRs()
    {
        NetworkPolicy policy = Rules.Policy(
            ["api.anthropic.com", "*.github.com", "140.82.112.0/20", "1.1.1.1", "2606:4700::/32"],
            ["10.1.2.3/32", "example.com:8443", "2606:4700:4700::1111"],
            NetworkMode.LogOnly);

        Assert.Equal(["api.anthropic.com", "*.github.com"], policy.AllowNames.Select(n => n.ToString()));
        Assert.Equal(["140.82.112.0/20", "1.1.1.1/32", "2606:4700::/32"], policy.AllowRanges.Select(r => r.ToString()));
        Assert.Equal(["example.com:8443"], policy.DenyNames.Select(n => n.ToString()));
        Assert.Equal(["10.1.2.3/32", "2606:4700:4700::1111/128"], policy.DenyRanges.Select(r => r.ToString()));
        Assert.Equal(NetworkMode.LogOnly, policy.Mode);
    }

    [Fact]
    public void Without_lists_there_are_no_rules()
    {
        NetworkPolicy policy = Rules.Policy();
        Assert.Empty(policy.AllowNames);
        Assert.Empty(policy.DenyRanges);
        Assert.False(policy.IsStrict);
    }

    [Theory]
    [InlineData("140.82.113.0/20", "write 140.82.112.0/20, or 140.82.113.0 for the one address")]
    [InlineData("10.0.0.1/31", "write 10.0.0.0/31,")]
    [InlineData("128.0.0.0/0", "write 0.0.0.0/0,")]
    [InlineData("2606:4700::1/32", "write 2606:4700::/32,")]
    [InlineData("2606:4700:8000::/32", "write 2606:4700::/32,")]
    [InlineData("::ffff:10.0.0.0/104", "write 10.0.0.0/8,")]
    [InlineData("::ffff:10.1.0.0/104", "write 10.0.0.0/8,")]
    [InlineData("::ffff:10.1.2.3", "write 10.1.2.3/32,")]
    [InlineData("::ffff:0:0/96", "write 0.0.0.0/0,")]
    [InlineData("10.0.0.0/33", "from 0 to 32")]
    [InlineData("2606:4700::/129", "from 0 to 128")]
    [InlineData("10.0.0.0/", "from 0 to 32")]
    [InlineData("10.0.0.0/08", "from 0 to 32")]
    [InlineData("10.0.0.0/-1", "from 0 to 32")]
    [InlineData("10.0.0.0/8/8", "from 0 to 32")]
    [InlineData("10.0.0/8", "write four numbers")]
    [InlineData("010.0.0.0/8", "write four numbers")]
    [InlineData("10.0.0.256", "write four numbers")]
    [InlineData("2852039166", "write four numbers")]
    [InlineData("0x7f000001", "write four numbers")]
    [InlineData("2606:4700:::1", "IPv6 as 2606:4700::/32")]
    [InlineData("fe80::1%eth0", "without '%'")]
    [InlineData("[2606:4700::1]:443", "brackets")]
    [InlineData("1.2.3.4:443", "write 1.2.3.4")]
    [InlineData("example.com:0", "leave it out for every port")]
    [InlineData("example.com:65536", "leave it out for every port")]
    [InlineData("example.com:+80", "leave it out for every port")]
    [InlineData("https://example.com/x", "without scheme or path")]
    [InlineData("localhost", "has a single label")]
    [InlineData("*", "'*'")]
    [InlineData("", "is empty")]
    [InlineData(null, "is empty")]
    [InlineData("Example.com", "lower case")]
    [InlineData(" example.com", "is not a DNS name")]
    public void A_bad_entry_is_refused_with_its_path_and_what_to_change(string? entry, string message)
    {
        (string path, string denied) = Error(deny: ["1.1.1.1", "a.example.com", "10.0.0.0/8", entry!]);
        Assert.Equal("network.denyOut[3]", path);
        Assert.Contains(message, denied);

        (path, string allowed) = Error(allow: [entry!]);
        Assert.Equal("network.allowOut[0]", path);
        Assert.Contains(message, allowed);
    }

    [Theory]
    [InlineData("64:ff9b::102:300/120", "write 1.2.3.0/24,")]
    [InlineData("64:ff9b::/96", "write 0.0.0.0/0,")]
    [InlineData("2002:102:304::/48", "write 1.2.3.4/32,")]
    [InlineData("2002:102:304:5::/64", "write 1.2.3.4/32,")]
    [InlineData("2002:a00::/24", "write 10.0.0.0/8,")]
    [InlineData("2002::/16", "write 0.0.0.0/0,")]
    [InlineData("::ffff:0:1.2.3.4", "write 1.2.3.4/32,")]
    public void A_translated_range_is_allowed_by_its_IPv4_range_only_and_denied_as_it_is(string entry, string message)
    {
        Assert.Contains(message, Error(allow: [entry]).Message);
        Assert.Single(Rules.Policy(deny: [entry]).DenyRanges);
    }

    [Theory]
    [InlineData("64:ff9b::/95")]
    [InlineData("2002::/15")]
    [InlineData("::/0")]
    public void A_range_wider_than_a_translated_one_is_allowed_as_it_is(string entry) =>
        Assert.Single(Rules.Policy([entry]).AllowRanges);

    [Fact]
    public void A_wildcard_on_a_public_suffix_is_refused_in_allowOut_and_kept_in_denyOut()
    {
        Assert.Contains("anybody can register", Error(allow: ["*.co.uk"]).Message);
        Assert.Contains("anybody can register", Error(allow: ["*.supabase.co:8443"]).Message);
        Assert.Contains("covers the public suffix", Error(allow: ["*.amazonaws.com"]).Message);

        NetworkRules rules = Rules.Deny("*.co.uk", "*.ru", "*.amazonaws.com", "*.supabase.co:8443");
        Assert.False(rules.Name("evil.co.uk").IsAllowed);
        Assert.False(rules.Name("evil.ru").IsAllowed);
        Assert.False(rules.Name("x.s3.amazonaws.com").IsAllowed);
        Assert.False(rules.Name("x.supabase.co", 8443).IsAllowed);
        Assert.True(rules.Name("x.supabase.co").IsAllowed);
        Assert.True(rules.Name("amazonaws.com").IsAllowed);
    }

    [Fact]
    public void A_bad_wildcard_is_refused_in_denyOut_too()
    {
        Assert.Contains("is not a DNS name", Error(deny: ["*.-a.example"]).Message);
        Assert.Contains("is empty", Error(deny: ["*."]).Message);
        Assert.Contains("'*'", Error(deny: ["*.*.com"]).Message);
        Assert.Contains("is not a DNS name", Error(deny: ["*.münchen.example"]).Message);
    }

    [Fact]
    public void A_list_has_at_most_256_entries()
    {
        string[] most = [.. Enumerable.Range(0, 256).Select(i => $"140.82.{i}.0/24")];
        Assert.Equal(256, Rules.Policy(most).AllowRanges.Length);
        Assert.Equal(256, Rules.Policy(deny: most).DenyRanges.Length);

        (string path, string message) = Error(deny: [.. most, "1.1.1.1"]);
        Assert.Equal("network.denyOut", path);
        Assert.Contains("has 257 entries; write at most 256", message);
        Assert.Equal("network.allowOut", Error(allow: [.. most, "1.1.1.1"]).Path);
    }

    [Fact]
    public void An_over_long_entry_is_refused_without_being_repeated()
    {
        string label = new('a', 49);
        string name = string.Join('.', Enumerable.Repeat(label, 5)) + ".aa";   // 252 characters
        Assert.Equal(252, name.Length);
        Assert.Single(Rules.Policy(deny: [name + "a"]).DenyNames);
        Assert.Single(Rules.Policy(deny: ["*." + name + "a:65535"]).DenyNames);

        string[] tooLong =
            [name + "aa", "*." + name + "aa:65535", new('a', 5000), new('1', 65), "1.1.1.1/" + new string('0', 60), new(':', 65)];
        foreach (string entry in tooLong)
        {
            string message = Error(deny: [entry]).Message;
            Assert.Contains(" characters", message);
            Assert.DoesNotContain(entry, message);
        }
    }

    [Fact]
    public void Every_bad_entry_of_both_lists_is_reported()
    {
        List<SpecError> errors = [new("spec.selector", "is empty")];
        bool parsed = NetworkPolicy.TryParse(
            ["x", "api.example.com", "10.0.0.1/8"], ["y"], NetworkMode.Enforce, PublicSuffixList.Embedded, "spec.network", errors,
            out NetworkPolicy? policy);
        Assert.False(parsed);
        Assert.Null(policy);
        Assert.Equal(
            ["spec.selector", "spec.network.allowOut[0]", "spec.network.allowOut[2]", "spec.network.denyOut[0]"],
            errors.Select(e => e.Path));
    }

    [Fact]
    public void Errors_found_elsewhere_do_not_spoil_a_good_section()
    {
        List<SpecError> errors = [new("spec.selector", "is empty")];
        Assert.True(NetworkPolicy.TryParse(
            null, null, NetworkMode.Enforce, PublicSuffixList.Embedded, "network", errors, out _));
    }

    [Theory]
    [InlineData("api.example.com")]
    [InlineData("140.82.112.0/20")]
    public void An_allow_list_is_strict(string entry) => Assert.True(Rules.Policy([entry]).IsStrict);

    [Fact]
    public void An_empty_allow_list_is_as_good_as_none() => Assert.False(Rules.Policy([]).IsStrict);

    [Theory]
    [InlineData("0.0.0.0/0")]
    [InlineData("::/0")]
    [InlineData("0.0.0.0/1", "128.0.0.0/1")]
    [InlineData("128.0.0.0/1", "64.0.0.0/2", "0.0.0.0/2")]
    [InlineData("0.0.0.0/1", "10.0.0.0/8", "64.0.0.0/2", "128.0.0.0/1")]
    [InlineData("8000::/1", "::/1")]
    public void A_deny_of_everything_is_strict(params string[] deny) => Assert.True(Rules.Policy(deny: deny).IsStrict);

    [Theory]
    [InlineData("0.0.0.0/1")]
    [InlineData("128.0.0.0/1")]
    [InlineData("0.0.0.0/1", "128.0.0.0/2")]
    [InlineData("0.0.0.0/1", "192.0.0.0/2")]
    [InlineData("0.0.0.0/1", "8000::/1")]
    [InlineData("::/1", "128.0.0.0/1")]
    [InlineData("::/1", "c000::/2")]
    [InlineData("2000::/3")]
    [InlineData("*.com")]
    public void A_deny_of_less_than_a_whole_family_is_not_strict(params string[] deny) =>
        Assert.False(Rules.Policy(deny: deny).IsStrict);

    [Fact]
    public void A_deny_of_all_but_one_address_is_not_strict()
    {
        // Every sibling on the way down to 255.255.255.255, then to 0.0.0.0, then IPv6's last.
        string[] allButLast =
            [.. Enumerable.Range(1, 32).Select(p => $"{new IPAddress(Bytes((uint)(0xffffffffL << (33 - p))))}/{p}")];
        Assert.False(Rules.Policy(deny: allButLast).IsStrict);
        Assert.True(Rules.Policy(deny: [.. allButLast, "255.255.255.255"]).IsStrict);

        string[] allButFirst = [.. Enumerable.Range(1, 32).Select(p => $"{new IPAddress(Bytes(1u << (32 - p)))}/{p}")];
        Assert.False(Rules.Policy(deny: allButFirst).IsStrict);
        Assert.True(Rules.Policy(deny: [.. allButFirst, "0.0.0.0/32"]).IsStrict);

        string[] v6 = [.. Enumerable.Range(1, 128).Select(p => $"{First(p)}/{p}")];
        Assert.False(Rules.Policy(deny: v6).IsStrict);
        Assert.True(Rules.Policy(deny: [.. v6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]).IsStrict);

        static byte[] Bytes(uint value) => [(byte)(value >> 24), (byte)(value >> 16), (byte)(value >> 8), (byte)value];

        // Ones, then a zero at the prefix's last bit, then zeros.
        static IPAddress First(int prefix)
        {
            byte[] bytes = new byte[16];
            for (int bit = 0; bit < prefix - 1; bit++) bytes[bit / 8] |= (byte)(0x80 >> (bit % 8));
            return new IPAddress(bytes);
        }
    }

    [Fact]
    public void Policies_with_the_same_rules_are_equal()
    {
        NetworkPolicy one = Rules.Policy(["a.example.com", "1.1.1.0/24"], ["b.example.com", "1.1.2.0/24"]);
        NetworkPolicy same = Rules.Policy(["a.example.com", "1.1.1.0/24"], ["b.example.com", "1.1.2.0/24"]);
        Assert.Equal(one, same);
        Assert.Equal(one.GetHashCode(), same.GetHashCode());
        Assert.NotEqual(one, Rules.Policy(["c.example.com", "1.1.1.0/24"], ["b.example.com", "1.1.2.0/24"]));
        Assert.NotEqual(one, Rules.Policy(["a.example.com", "1.1.3.0/24"], ["b.example.com", "1.1.2.0/24"]));
        Assert.NotEqual(one, Rules.Policy(["a.example.com", "1.1.1.0/24"], ["c.example.com", "1.1.2.0/24"]));
        Assert.NotEqual(one, Rules.Policy(["a.example.com", "1.1.1.0/24"], ["b.example.com", "1.1.3.0/24"]));
        Assert.NotEqual(one, Rules.Policy(
            ["a.example.com", "1.1.1.0/24"], ["b.example.com", "1.1.2.0/24"], NetworkMode.LogOnly));
    }
}
