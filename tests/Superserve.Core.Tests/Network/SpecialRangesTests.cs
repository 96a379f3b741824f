using System.Net;
using Superserve.Core.Network;
using Superserve.Core.Swapping;

namespace Superserve.Core.Tests.Network;

public sealed class SpecialRangesTests
{
    private static void AssertClosed(NetworkVerdict verdict, string rule) =>
        Assert.Equal(new NetworkVerdict(false, RefusalReason.PrivateAddress, rule, false), verdict);

    /// <summary>First and last address, and the neighbours outside where they are nobody else's.</summary>
    [Theory]
    [InlineData("0.0.0.0/8", "0.0.0.0", "0.255.255.255", null, "1.0.0.0")]
    [InlineData("10.0.0.0/8", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0")]
    [InlineData("100.64.0.0/10", "100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0")]
    [InlineData("127.0.0.0/8", "127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0")]
    [InlineData("169.254.0.0/16", "169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0")]
    [InlineData("172.16.0.0/12", "172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0")]
    [InlineData("192.0.0.0/24", "192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0")]
    [InlineData("192.0.2.0/24", "192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0")]
    [InlineData("192.88.99.0/24", "192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0")]
    [InlineData("192.168.0.0/16", "192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0")]
    [InlineData("198.18.0.0/15", "198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0")]
    [InlineData("198.51.100.0/24", "198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0")]
    [InlineData("203.0.113.0/24", "203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0")]
    [InlineData("224.0.0.0/4", "224.0.0.0", "239.255.255.255", "223.255.255.255", null)]
    [InlineData("240.0.0.0/4", "240.0.0.0", "255.255.255.255", null, null)]
    [InlineData("::/128", "::", "::", null, null)]
    [InlineData("::1/128", "::1", "::1", null, null)]
    [InlineData("::/96", "::2", "::ffff:ffff", null, "::1:0:0")]
    [InlineData("64:ff9b:1::/48", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "64:ff9b:0:ffff::1", "64:ff9b:2::")]
    [InlineData("100::/64", "100::", "100::ffff:ffff:ffff:ffff", "ff:ffff::1", null)]
    [InlineData("100:0:0:1::/64", "100:0:0:1::", "100::1:ffff:ffff:ffff:ffff", null, "100:0:0:2::")]
    [InlineData("2001::/32", "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "2000:ffff::1", null)]
    [InlineData("2001::/23", "2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", null, "2001:200::")]
    [InlineData("2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db7:ffff::", "2001:db9::")]
    [InlineData("3fff::/20", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3ffe:ffff::", "3fff:1000::")]
    [InlineData("5f00::/16", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5eff:ffff::", "5f01::")]
    [InlineData("fc00::/7", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fbff:ffff::", "fe00::")]
    [InlineData("fe80::/10", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe7f:ffff::", null)]
    [InlineData("fec0::/10", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", null, null)]
    [InlineData("ff00::/8", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", null, null)]
    public void A_special_range_is_closed_from_its_first_to_its_last_address(
        string range, string first, string last, string? before, string? after)
    {
        NetworkRules rules = NetworkRules.Unrestricted(SpecialRanges.Default);
        AssertClosed(rules.Address(first), $"special range {range}");
        AssertClosed(rules.Address(last), $"special range {range}");
        if (before is not null) Assert.True(rules.Address(before).IsAllowed);
        if (after is not null) Assert.True(rules.Address(after).IsAllowed);
    }

    [Theory]
    [InlineData("255.255.255.255")]
    [InlineData("224.0.0.251")]
    [InlineData("ff02::1")]
    public void Broadcast_and_multicast_are_refused_for_an_allowed_range_around_them(string address) =>
        Assert.Equal(RefusalReason.PrivateAddress, Rules.Allow("0.0.0.0/0", "::/0").Address(address).Reason);

    [Fact]
    public void An_address_in_a_private_range_is_refused_for_an_allowed_name() =>
        AssertClosed(Rules.Allow("api.example.com").Address("10.1.2.3", "api.example.com"), "special range 10.0.0.0/8");

    [Fact]
    public void An_address_in_a_private_range_is_refused_for_a_bound_host()
    {
        AssertClosed(Rules.Of().Address("192.168.1.1", "api.example.com", isBound: true), "special range 192.168.0.0/16");
        AssertClosed(Rules.Of(Rules.Policy()).Address("fd00::1", "api.example.com", isBound: true), "special range fc00::/7");
    }

    [Theory]
    [InlineData("0.0.0.0/0")]
    [InlineData("10.0.0.0/7")]
    [InlineData("8.0.0.0/5")]
    [InlineData("10.2.0.0/16")]
    [InlineData("10.1.2.4")]
    public void A_special_range_is_not_opened_by_a_CIDR_around_or_beside_the_address(string entry) =>
        AssertClosed(Rules.Allow(entry).Address("10.1.2.3"), "special range 10.0.0.0/8");

    [Theory]
    [InlineData("10.0.0.0/8")]
    [InlineData("10.1.0.0/16")]
    [InlineData("10.1.2.3")]
    public void A_special_range_is_opened_by_a_CIDR_inside_it(string entry)
    {
        NetworkRules rules = Rules.Allow(entry, "api.example.com");
        Assert.Equal(new NetworkVerdict(true, null, "allowOut " + entry, false), rules.Address("10.1.2.3"));
        Assert.True(rules.Address("10.1.2.3", "api.example.com").IsAllowed);
        Assert.True(rules.Address("10.1.2.3", "bound.example.com", isBound: true).IsAllowed);
    }

    [Fact]
    public void An_IPv6_special_range_is_opened_by_a_CIDR_inside_it()
    {
        Assert.True(Rules.Allow("fd00:1::/32").Address("fd00:1::5").IsAllowed);
        Assert.True(Rules.Allow("::1").Address("::1").IsAllowed);
        Assert.False(Rules.Allow("::/0").Address("fd00:1::5").IsAllowed);
        Assert.False(Rules.Allow("::/0").Address("::1").IsAllowed);
    }

    [Fact]
    public void A_special_range_is_not_opened_by_a_domain_rule() =>
        Assert.False(Rules.Allow("internal.example.com").Address("10.1.2.3", "internal.example.com").IsAllowed);

    [Fact]
    public void A_special_range_has_to_be_opened_by_every_policy()
    {
        NetworkPolicy opens = Rules.Policy(["10.0.0.0/8"]);
        Assert.True(Rules.Of(opens, Rules.Policy(["10.1.0.0/16"])).Address("10.1.2.3").IsAllowed);
        AssertClosed(Rules.Of(opens, Rules.Policy(["0.0.0.0/0"])).Address("10.1.2.3"), "special range 10.0.0.0/8");
        AssertClosed(Rules.Of(opens, Rules.Policy()).Address("10.1.2.3"), "special range 10.0.0.0/8");
        AssertClosed(Rules.Of(Rules.Policy(deny: ["1.1.1.1"]), opens).Address("10.1.2.3"), "special range 10.0.0.0/8");
        AssertClosed(
            Rules.Of(opens, Rules.Policy(mode: NetworkMode.LogOnly)).Address("10.1.2.3"), "special range 10.0.0.0/8");
    }

    [Fact]
    public void Special_ranges_stay_closed_in_log_only_mode() =>
        AssertClosed(
            Rules.Of(Rules.Policy(["api.example.com"], mode: NetworkMode.LogOnly)).Address("10.1.2.3", "api.example.com"),
            "special range 10.0.0.0/8");

    [Fact]
    public void A_log_only_policy_can_open_a_special_range()
    {
        NetworkVerdict verdict = Rules.Of(Rules.Policy(["10.0.0.0/8"], mode: NetworkMode.LogOnly)).Address("10.1.2.3");
        Assert.Equal(new NetworkVerdict(true, null, "allowOut 10.0.0.0/8", false), verdict);
    }

    [Fact]
    public void An_extra_range_is_closed_like_the_fixed_ones()
    {
        SpecialRanges ranges = Rules.Extra("52.0.0.0/16", "2600:1f00::/40");
        NetworkRules rules = Rules.Within(ranges, Rules.Policy(["0.0.0.0/0", "::/0", "api.example.com"]));
        AssertClosed(rules.Address("52.0.1.2", "api.example.com"), "special range 52.0.0.0/16");
        AssertClosed(rules.Address("2600:1f00::1"), "special range 2600:1f00::/40");
        Assert.True(rules.Address("52.1.0.0").IsAllowed);
        Assert.True(Rules.Within(ranges, Rules.Policy(["52.0.0.0/16"])).Address("52.0.1.2").IsAllowed);
        AssertClosed(NetworkRules.Unrestricted(ranges).Address("64:ff9b::3400:102"), "special range 52.0.0.0/16");
    }

    [Fact]
    public void An_extra_range_inside_a_private_one_is_not_opened_with_it()
    {
        SpecialRanges ranges = Rules.Extra("10.96.0.0/12", "10.200.0.7/32");
        NetworkRules rules = Rules.Within(ranges, Rules.Policy(["10.0.0.0/8"]));
        Assert.True(rules.Address("10.1.2.3").IsAllowed);
        AssertClosed(rules.Address("10.96.0.1"), "special range 10.96.0.0/12");
        AssertClosed(rules.Address("10.200.0.7"), "special range 10.200.0.7/32");
        Assert.True(Rules.Within(ranges, Rules.Policy(["10.200.0.7"])).Address("10.200.0.7").IsAllowed);
    }

    [Fact]
    public void An_extra_range_in_mapped_form_is_taken_as_IPv4() =>
        AssertClosed(
            NetworkRules.Unrestricted(Rules.Extra("::ffff:52.0.0.0/112")).Address("52.0.9.9"), "special range 52.0.0.0/16");

    public static TheoryData<string> MetadataAddresses =>
    [
        "169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200", "192.0.0.192", "169.254.0.23",
        "169.254.42.42", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42",
    ];

    [Theory]
    [MemberData(nameof(MetadataAddresses))]
    public void A_metadata_address_is_opened_by_exactly_itself(string address)
    {
        bool isV6 = address.Contains(':');
        AssertClosed(NetworkRules.Unrestricted(SpecialRanges.Default).Address(address), "metadata address");
        AssertClosed(Rules.Allow("api.example.com").Address(address, "api.example.com", isBound: true), "metadata address");
        IPAddress parsed = IPAddress.Parse(address);
        for (int prefix = 0; prefix < (isV6 ? 128 : 32); prefix++)
        {
            byte[] bytes = parsed.GetAddressBytes();
            for (int bit = prefix; bit < bytes.Length * 8; bit++) bytes[bit / 8] &= (byte)~(0x80 >> (bit % 8));
            AssertClosed(Rules.Allow($"{new IPAddress(bytes)}/{prefix}").Address(address), "metadata address");
        }

        Assert.True(Rules.Allow(address).Address(address).IsAllowed);
        Assert.True(Rules.Allow(address + (isV6 ? "/128" : "/32")).Address(address).IsAllowed);
    }

    [Fact]
    public void A_metadata_address_has_to_be_opened_by_every_policy_whatever_its_mode()
    {
        NetworkPolicy opens = Rules.Policy(["168.63.129.16"]);
        AssertClosed(Rules.Of(opens, Rules.Policy(["0.0.0.0/0"])).Address("168.63.129.16"), "metadata address");
        AssertClosed(Rules.Of(Rules.Policy(mode: NetworkMode.LogOnly), opens).Address("168.63.129.16"), "metadata address");
        Assert.True(Rules.Of(opens, Rules.Policy(["168.63.129.16/32"])).Address("168.63.129.16").IsAllowed);
    }

    [Fact]
    public void The_neighbours_of_Azures_metadata_address_are_public()
    {
        NetworkRules rules = NetworkRules.Unrestricted(SpecialRanges.Default);
        Assert.True(rules.Address("168.63.129.15").IsAllowed);
        Assert.True(rules.Address("168.63.129.17").IsAllowed);
    }

    [Theory]
    [InlineData("168.63.129.16", "metadata address")]
    [InlineData("169.254.169.254", "metadata address")]
    [InlineData("10.1.2.3", "special range 10.0.0.0/8")]
    [InlineData("127.0.0.1", "special range 127.0.0.0/8")]
    public void A_closed_IPv4_address_is_closed_in_every_IPv6_form(string ipv4, string rule)
    {
        NetworkRules none = NetworkRules.Unrestricted(SpecialRanges.Default);
        // Where the form's own range is opened the address inside is what is left to refuse.
        NetworkRules opened = Rules.Allow(
            "::/96", "64:ff9b:1::/48", "2001::/32", "::/0", "0.0.0.0/0", "168.63.129.0/24", "169.254.0.0/17", "api.example.com");
        foreach (string form in Rules.EmbeddedForms(ipv4))
        {
            Assert.Equal(RefusalReason.PrivateAddress, none.Address(form).Reason);
            Assert.Equal(RefusalReason.PrivateAddress, none.Address(form, "api.example.com", isBound: true).Reason);
            AssertClosed(opened.Address(form), rule);
            AssertClosed(opened.Address(form, "api.example.com"), rule);
        }
    }

    [Theory]
    [InlineData("168.63.129.16")]
    [InlineData("169.254.169.254")]
    [InlineData("10.1.2.3")]
    public void A_closed_IPv4_address_that_is_opened_is_open_in_its_translated_forms(string ipv4)
    {
        foreach (string form in Rules.TranslatedForms(ipv4)) Assert.True(Rules.Allow(ipv4).Address(form).IsAllowed);
    }

    [Fact]
    public void A_form_in_a_special_range_needs_both_its_range_and_its_IPv4_address_opened()
    {
        foreach (string form in new[] { "::10.1.2.3", "64:ff9b:1::a01:203", "2001::f5fe:fdfc" })
        {
            Assert.False(Rules.Allow("10.0.0.0/8").Address(form).IsAllowed);
            Assert.False(Rules.Allow("::/96", "64:ff9b:1::/48", "2001::/32").Address(form).IsAllowed);
            Assert.True(Rules.Allow("10.0.0.0/8", "::/96", "64:ff9b:1::/48", "2001::/32").Address(form).IsAllowed);
        }
    }

    [Fact]
    public void Unspecified_and_loopback_hold_no_IPv4_address_and_their_neighbour_does()
    {
        Assert.True(Rules.Allow("::").Address("::").IsAllowed);
        Assert.True(Rules.Allow("::1").Address("::1").IsAllowed);
        AssertClosed(Rules.Allow("::/96").Address("::1"), "special range ::1/128");
        AssertClosed(Rules.Allow("::2").Address("::2"), "special range 0.0.0.0/8");
    }

    [Fact]
    public void The_IPv4_address_in_a_site_of_6to4_and_in_an_ISATAP_identifier_inside_it_are_both_judged()
    {
        NetworkRules rules = NetworkRules.Unrestricted(SpecialRanges.Default);
        Assert.True(rules.Address("2002:808:808::5efe:808:404").IsAllowed);
        AssertClosed(rules.Address("2002:a01:203::5efe:808:404"), "special range 10.0.0.0/8");
        AssertClosed(rules.Address("2002:808:808::5efe:a01:203"), "special range 10.0.0.0/8");
    }

    [Theory]
    [InlineData("2606:4700::5efe:a01:203", false)]
    [InlineData("2606:4700::100:5efe:a01:203", false)]
    [InlineData("2606:4700::200:5efe:a01:203", false)]
    [InlineData("2606:4700::300:5efe:a01:203", false)]
    [InlineData("2606:4700::400:5efe:a01:203", true)]
    [InlineData("2606:4700::1:5efe:a01:203", true)]
    [InlineData("2606:4700::5eff:a01:203", true)]
    [InlineData("2606:4700::5ffe:a01:203", true)]
    [InlineData("2606:4700::a01:203", true)]
    [InlineData("64:ff9b::1:a01:203", true)]
    [InlineData("64:ff9b:0:1::a01:203", true)]
    [InlineData("::ffff:1:a01:203", true)]
    [InlineData("::fffe:0:a01:203", true)]
    [InlineData("::1:ffff:0:a01:203", true)]
    [InlineData("2003:a01:203::1", true)]
    public void Only_the_exact_forms_hold_an_IPv4_address(string address, bool isAllowed) =>
        Assert.Equal(isAllowed, NetworkRules.Unrestricted(SpecialRanges.Default).Address(address).IsAllowed);

    [Fact]
    public void An_address_with_a_zone_is_refused()
    {
        NetworkRules rules = Rules.Allow("fe80::/10", "2606:4700::/32", "api.example.com");
        Assert.True(rules.Address("fe80::1").IsAllowed);
        AssertClosed(rules.Address("fe80::1%1"), "scoped address");
        AssertClosed(rules.Address("2606:4700::1%2", "api.example.com", isBound: true), "scoped address");
        AssertClosed(rules.Address("::ffff:1.1.1.1%3"), "scoped address");
    }

    [Theory]
    [InlineData("cluster.local")]
    [InlineData("web.agents.svc.cluster.local")]
    public void A_cluster_name_is_refused_without_rules_and_for_a_bound_host(string name)
    {
        AssertClosed(Rules.Of().Name(name), "cluster domain");
        AssertClosed(Rules.Of().Name(name, isBound: true), "cluster domain");
        AssertClosed(Rules.Of(Rules.Policy()).Name(name, isBound: true), "cluster domain");
        AssertClosed(Rules.Of().Address("8.8.8.8", name), "cluster domain");
    }

    [Theory]
    [InlineData("notcluster.local")]
    [InlineData("cluster.local.example.com")]
    [InlineData("local")]
    [InlineData("web.agents.svc")]
    public void A_name_beside_the_cluster_domain_is_a_name_like_any_other(string name) =>
        Assert.True(Rules.Of().Name(name).IsAllowed);

    [Fact]
    public void A_cluster_name_is_opened_by_a_domain_rule_in_the_cluster_domain()
    {
        const string Web = "web.agents.svc.cluster.local";
        Assert.Equal(new NetworkVerdict(true, null, "allowOut " + Web, false), Rules.Allow(Web).Name(Web));
        Assert.True(Rules.Allow("*.agents.svc.cluster.local").Name(Web).IsAllowed);
        Assert.True(Rules.Allow("*.cluster.local").Name(Web).IsAllowed);
        Assert.True(Rules.Allow("cluster.local").Name("cluster.local").IsAllowed);
        AssertClosed(Rules.Allow("*.other.svc.cluster.local").Name(Web), "cluster domain");
        AssertClosed(Rules.Allow("10.0.0.0/8").Name(Web), "cluster domain");
        Assert.True(Rules.Allow(Web + ":8080").Name(Web, 8080).IsAllowed);
        AssertClosed(Rules.Allow(Web + ":8080").Name(Web, 443), "cluster domain");
    }

    [Fact]
    public void A_domain_rule_around_the_cluster_domain_opens_none_of_its_names()
    {
        NetworkRules rules = Rules.Within(new SpecialRanges([], "k8s.corp.example"), Rules.Policy(["*.corp.example"]));
        Assert.True(rules.Name("git.corp.example").IsAllowed);
        AssertClosed(rules.Name("web.agents.svc.k8s.corp.example"), "cluster domain");
        AssertClosed(rules.Name("k8s.corp.example"), "cluster domain");
        Assert.True(rules.Name("k8s2.corp.example").IsAllowed);
    }

    [Fact]
    public void A_cluster_name_has_to_be_opened_by_every_policy_whatever_its_mode()
    {
        const string Web = "web.agents.svc.cluster.local";
        NetworkPolicy opens = Rules.Policy([Web]);
        Assert.True(Rules.Of(opens, Rules.Policy(["*.cluster.local"])).Name(Web).IsAllowed);
        AssertClosed(Rules.Of(opens, Rules.Policy()).Name(Web), "cluster domain");
        AssertClosed(Rules.Of(Rules.Policy(mode: NetworkMode.LogOnly), opens).Name(Web), "cluster domain");
        Assert.True(Rules.Of(Rules.Policy([Web], mode: NetworkMode.LogOnly)).Name(Web).IsAllowed);
    }

    [Fact]
    public void The_address_of_an_opened_cluster_name_needs_a_CIDR_of_its_own()
    {
        const string Web = "web.agents.svc.cluster.local";
        AssertClosed(Rules.Allow(Web).Address("10.96.0.9", Web), "special range 10.0.0.0/8");
        Assert.True(Rules.Allow(Web, "10.96.0.0/12").Address("10.96.0.9", Web).IsAllowed);
    }

    [Fact]
    public void The_cluster_domain_is_taken_in_any_spelling()
    {
        SpecialRanges ranges = new([], "K8s.Example.");
        Assert.Equal("k8s.example", ranges.ClusterDomain);
        AssertClosed(NetworkRules.Unrestricted(ranges).Name("web.k8s.example"), "cluster domain");
        Assert.True(NetworkRules.Unrestricted(ranges).Name("web.cluster.local").IsAllowed);
        Assert.Throws<ArgumentException>(() => new SpecialRanges([], "not a domain"));
    }
}
