using System.Net;
using Superserve.Core.Network;
using Superserve.Core.Swapping;

namespace Superserve.Core.Tests.Network;

public sealed class NetworkRulesTests
{
    private const string Public = "140.82.113.4";

    private static void AssertAllowed(NetworkVerdict verdict, string rule) =>
        Assert.Equal(new NetworkVerdict(true, null, rule, false), verdict);

    private static void AssertRefused(NetworkVerdict verdict, RefusalReason reason, string rule) =>
        Assert.Equal(new NetworkVerdict(false, reason, rule, false), verdict);

    private static void AssertLogged(NetworkVerdict verdict, RefusalReason reason, string rule) =>
        Assert.Equal(new NetworkVerdict(true, reason, rule, true), verdict);

    [Fact]
    public void Without_any_policy_everything_public_is_open()
    {
        NetworkRules rules = NetworkRules.Unrestricted(SpecialRanges.Default);
        AssertAllowed(rules.Name("anything.example"), "default");
        AssertAllowed(rules.Name("api.example.com", isBound: true), "bound host");
        AssertAllowed(rules.Address(Public), "default");
        AssertAllowed(rules.Address("2606:4700::1111", "anything.example"), "default");
        Assert.False(rules.IsStrict);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void An_address_that_one_policy_lists_opens_no_name_that_another_denies(bool isListFirst)
    {
        NetworkPolicy list = Rules.Policy(allow: ["140.82.112.0/20"]), deny = Rules.Policy(deny: ["evil.example.org"]);
        NetworkRules rules = isListFirst ? Rules.Of(list, deny) : Rules.Of(deny, list);
        IPAddress address = IPAddress.Parse(Public);
        AssertRefused(rules.CheckAddressUnder("evil.example.org", address, 443), RefusalReason.HostDenied, "denyOut evil.example.org");
        AssertAllowed(rules.CheckAddressUnder("other.example.org", address, 443), "allowOut 140.82.112.0/20");
        Assert.False(rules.CheckAddressUnder("other.example.org", IPAddress.Parse("93.184.216.34"), 443).IsAllowed);
        AssertRefused(rules.CheckAddressUnder("web.agents.svc.cluster.local", address, 443), RefusalReason.PrivateAddress, "cluster domain");
        AssertLogged(Rules.Of(list, Rules.Policy(deny: ["evil.example.org"], mode: NetworkMode.LogOnly)).CheckAddressUnder("evil.example.org", address, 443), RefusalReason.HostDenied, "denyOut evil.example.org");
    }

    [Fact]
    public void After_the_last_binding_nothing_gets_out()
    {
        AssertRefused(NetworkRules.Closed.Name("api.example.com"), RefusalReason.HostNotAllowed, "no rules left");
        AssertRefused(NetworkRules.Closed.Name("api.example.com", isBound: true), RefusalReason.HostNotAllowed, "no rules left");
        AssertRefused(NetworkRules.Closed.Address(Public), RefusalReason.HostNotAllowed, "no rules left");
        AssertRefused(
            NetworkRules.Closed.Address(Public, "api.example.com", isBound: true), RefusalReason.HostNotAllowed, "no rules left");
        Assert.True(NetworkRules.Closed.IsStrict);
    }

    [Theory]
    [InlineData(53)]
    [InlineData(853)]
    public void Another_resolver_is_closed_unless_a_rule_names_it(int port)
    {
        const string rule = "DNS resolver's port";
        AssertRefused(NetworkRules.Unrestricted(SpecialRanges.Default).Address("1.1.1.1", port: port), RefusalReason.PortBlocked, rule);
        AssertRefused(NetworkRules.Unrestricted(SpecialRanges.Default).Name("dns.example", port), RefusalReason.PortBlocked, rule);
        AssertRefused(Rules.Of(Rules.Policy(["dns.example"], mode: NetworkMode.LogOnly)).Address("1.1.1.1", port: port), RefusalReason.PortBlocked, rule);
        AssertRefused(Rules.Deny("9.9.9.9").Address("1.1.1.1", port: port), RefusalReason.PortBlocked, rule);
        AssertAllowed(Rules.Allow("1.1.1.1").Address("1.1.1.1", port: port), "allowOut 1.1.1.1");
        AssertAllowed(Rules.Allow($"dns.example:{port}").Name("dns.example", port), $"allowOut dns.example:{port}");
        AssertAllowed(NetworkRules.Unrestricted(SpecialRanges.Default).Name("dns.example", port, isBound: true), "bound host");
    }

    [Fact]
    public void Policies_that_are_not_set_are_not_taken_for_none() =>
        Assert.Throws<ArgumentException>(() => new NetworkRules(default, SpecialRanges.Default));

    [Fact]
    public void A_name_that_a_strict_list_does_not_name_is_refused_before_it_is_resolved()
    {
        AssertRefused(Rules.Allow("api.example.com").Name("evil.example"), RefusalReason.HostNotAllowed, "strict list");
        AssertRefused(Rules.Allow("0.0.0.0/0").Name("evil.example"), RefusalReason.HostNotAllowed, "strict list");
        AssertRefused(Rules.Deny("0.0.0.0/0").Name("evil.example"), RefusalReason.HostNotAllowed, "strict list");
        AssertRefused(Rules.Deny("::/0").Name("evil.example"), RefusalReason.HostNotAllowed, "strict list");
    }

    [Fact]
    public void An_allowed_name_passes_with_every_address_it_resolves_to()
    {
        NetworkRules rules = Rules.Allow("api.example.com", "*.github.com");
        AssertAllowed(rules.Name("api.example.com"), "allowOut api.example.com");
        AssertAllowed(rules.Name("gist.github.com"), "allowOut *.github.com");
        Assert.False(rules.Name("github.com").IsAllowed);
        AssertAllowed(rules.Address(Public, "api.example.com"), "allowOut api.example.com");
        AssertAllowed(rules.Address("2606:4700::1", "gist.github.com"), "allowOut *.github.com");
        foreach (string form in Rules.TranslatedForms(Public)) Assert.True(rules.Address(form, "api.example.com").IsAllowed);
    }

    [Fact]
    public void A_domain_rule_without_a_port_means_every_port()
    {
        Assert.True(Rules.Allow("api.example.com").Name("api.example.com", 5432).IsAllowed);
        Assert.False(Rules.Deny("api.example.com").Name("api.example.com", 5432).IsAllowed);
    }

    [Fact]
    public void A_domain_rule_with_a_port_means_that_port_alone()
    {
        NetworkRules allow = Rules.Allow("api.example.com:8443");
        AssertAllowed(allow.Name("api.example.com", 8443), "allowOut api.example.com:8443");
        AssertRefused(allow.Name("api.example.com", 443), RefusalReason.HostNotAllowed, "strict list");
        AssertRefused(allow.Address(Public, "api.example.com", 443), RefusalReason.HostNotAllowed, "strict list");
        NetworkRules deny = Rules.Deny("api.example.com:8443");
        AssertRefused(deny.Name("api.example.com", 8443), RefusalReason.HostDenied, "denyOut api.example.com:8443");
        AssertAllowed(deny.Name("api.example.com", 443), "default");
    }

    [Fact]
    public void A_denied_name_is_refused()
    {
        NetworkRules rules = Rules.Deny("pastebin.com", "*.pastebin.com");
        AssertRefused(rules.Name("pastebin.com"), RefusalReason.HostDenied, "denyOut pastebin.com");
        AssertRefused(rules.Name("a.b.pastebin.com"), RefusalReason.HostDenied, "denyOut *.pastebin.com");
        AssertAllowed(rules.Name("notpastebin.com"), "default");
        Assert.False(rules.IsStrict);
    }

    [Fact]
    public void Allow_beats_deny_by_name()
    {
        NetworkRules rules = Rules.Of(Rules.Policy(["api.example.com"], ["*.example.com", "api.example.com"]));
        AssertAllowed(rules.Name("api.example.com"), "allowOut api.example.com");
        AssertRefused(rules.Name("www.example.com"), RefusalReason.HostDenied, "denyOut *.example.com");
    }

    [Fact]
    public void Allow_beats_deny_by_address()
    {
        NetworkRules rules = Rules.Of(Rules.Policy(["140.82.112.0/20"], ["140.82.113.0/24", "0.0.0.0/0"]));
        AssertAllowed(rules.Address(Public), "allowOut 140.82.112.0/20");
        AssertRefused(rules.Address("140.82.128.1"), RefusalReason.HostDenied, "denyOut 0.0.0.0/0");
    }

    [Fact]
    public void An_address_of_an_allowed_name_passes_although_a_deny_covers_it()
    {
        NetworkRules rules = Rules.Of(Rules.Policy(["api.example.com"], ["140.82.112.0/20", "0.0.0.0/0", "::/0"]));
        AssertAllowed(rules.Address(Public, "api.example.com"), "allowOut api.example.com");
        AssertAllowed(rules.Address("2606:4700::1", "api.example.com"), "allowOut api.example.com");
        AssertRefused(rules.Address(Public), RefusalReason.HostDenied, "denyOut 140.82.112.0/20");
    }

    [Fact]
    public void A_bound_host_is_allowed_by_name_in_every_policy()
    {
        NetworkRules rules = Rules.Of(
            Rules.Policy(["other.example.com"]),
            Rules.Policy(deny: ["0.0.0.0/0", "bound.example.com"]),
            Rules.Policy(deny: [Public]));
        AssertAllowed(rules.Name("bound.example.com", isBound: true), "bound host");
        AssertAllowed(rules.Address(Public, "bound.example.com", isBound: true), "bound host");
        AssertAllowed(rules.Address("2606:4700::1", "bound.example.com", isBound: true), "bound host");
        Assert.False(rules.Name("bound.example.com", 8443, isBound: false).IsAllowed);
    }

    [Fact]
    public void An_address_is_never_a_bound_host()
    {
        AssertRefused(Rules.Deny(Public).Address(Public, isBound: true), RefusalReason.HostDenied, "denyOut " + Public);
        AssertAllowed(Rules.Of().Address(Public, isBound: true), "default");
    }

    [Fact]
    public void An_address_that_the_client_names_is_judged_by_the_CIDRs()
    {
        NetworkRules rules = Rules.Allow("140.82.112.0/20", "2606:4700::/32", "api.example.com");
        AssertAllowed(rules.Address(Public), "allowOut 140.82.112.0/20");
        AssertAllowed(rules.Address("2606:4700::1"), "allowOut 2606:4700::/32");
        AssertRefused(rules.Address("140.82.128.0"), RefusalReason.HostNotAllowed, "strict list");
        AssertRefused(rules.Address("2606:4701::1"), RefusalReason.HostNotAllowed, "strict list");
    }

    [Fact]
    public void A_name_that_nothing_denies_still_has_its_addresses_judged()
    {
        NetworkRules rules = Rules.Deny("140.82.112.0/20");
        AssertAllowed(rules.Name("www.example.com"), "default");
        AssertRefused(rules.Address(Public, "www.example.com"), RefusalReason.HostDenied, "denyOut 140.82.112.0/20");
        AssertAllowed(rules.Address("8.8.8.8", "www.example.com"), "default");
    }

    [Theory]
    [InlineData("0.0.0.0/0", "2606:4700::1")]
    [InlineData("::/0", "8.8.8.8")]
    public void A_strict_list_is_strict_for_the_family_that_the_deny_does_not_name(string deny, string address) =>
        AssertRefused(Rules.Deny(deny).Address(address), RefusalReason.HostNotAllowed, "strict list");

    [Fact]
    public void A_name_that_was_refused_is_refused_with_an_allowed_address_too()
    {
        NetworkRules rules = Rules.Of(Rules.Policy(["140.82.112.0/20"], ["evil.example"]));
        AssertRefused(rules.Address(Public, "evil.example"), RefusalReason.HostDenied, "denyOut evil.example");
        AssertRefused(rules.Address(Public, "unknown.example"), RefusalReason.HostNotAllowed, "strict list");
    }

    [Theory]
    [InlineData("EVIL.example")]
    [InlineData("evil.example.")]
    [InlineData("evil..example")]
    [InlineData("140.82.113.4")]
    [InlineData("::1")]
    [InlineData("")]
    public void A_host_that_is_not_a_canonical_name_is_refused(string host)
    {
        NetworkRules rules = Rules.Deny("evil.example");
        AssertRefused(rules.Name(host), RefusalReason.HostNotAllowed, "not a host name");
        AssertRefused(rules.Address(Public, host, isBound: true), RefusalReason.HostNotAllowed, "not a host name");
    }

    [Fact]
    public void Of_several_policies_each_has_to_allow()
    {
        NetworkPolicy github = Rules.Policy(["*.github.com", "api.example.com", "140.82.112.0/20"]);
        NetworkPolicy example = Rules.Policy(["api.example.com", "140.82.113.0/24"]);
        NetworkPolicy open = Rules.Policy(deny: ["140.82.113.9"]);
        NetworkRules rules = Rules.Of(github, example, open);
        AssertAllowed(rules.Name("api.example.com"), "allowOut api.example.com");
        AssertRefused(rules.Name("gist.github.com"), RefusalReason.HostNotAllowed, "strict list");
        AssertAllowed(rules.Address(Public), "allowOut 140.82.112.0/20");
        AssertRefused(rules.Address("140.82.114.1"), RefusalReason.HostNotAllowed, "strict list");
        AssertRefused(rules.Address("140.82.113.9"), RefusalReason.HostDenied, "denyOut 140.82.113.9");
    }

    [Fact]
    public void An_allow_of_one_policy_does_not_beat_the_deny_of_another()
    {
        NetworkPolicy allow = Rules.Policy(["api.example.com"]);
        NetworkPolicy deny = Rules.Policy(deny: ["api.example.com"]);
        AssertRefused(Rules.Of(allow, deny).Name("api.example.com"), RefusalReason.HostDenied, "denyOut api.example.com");
        AssertRefused(Rules.Of(deny, allow).Name("api.example.com"), RefusalReason.HostDenied, "denyOut api.example.com");
    }

    [Fact]
    public void A_name_that_one_policy_allows_has_its_addresses_judged_by_the_others()
    {
        NetworkRules rules = Rules.Of(Rules.Policy(["api.example.com"]), Rules.Policy(deny: ["140.82.112.0/20"]));
        AssertAllowed(rules.Address("8.8.8.8", "api.example.com"), "allowOut api.example.com");
        AssertRefused(rules.Address(Public, "api.example.com"), RefusalReason.HostDenied, "denyOut 140.82.112.0/20");
    }

    [Fact]
    public void Log_only_lets_through_what_it_would_refuse_and_says_why()
    {
        NetworkRules rules = Rules.Of(Rules.Policy(["api.example.com"], ["evil.example", "9.9.9.9"], NetworkMode.LogOnly));
        AssertLogged(rules.Name("evil.example"), RefusalReason.HostDenied, "denyOut evil.example");
        AssertLogged(rules.Name("www.example.com"), RefusalReason.HostNotAllowed, "strict list");
        AssertLogged(rules.Address("9.9.9.9"), RefusalReason.HostDenied, "denyOut 9.9.9.9");
        AssertLogged(rules.Address("8.8.8.8"), RefusalReason.HostNotAllowed, "strict list");
        AssertLogged(rules.Address("8.8.8.8", "www.example.com"), RefusalReason.HostNotAllowed, "strict list");
        AssertAllowed(rules.Name("api.example.com"), "allowOut api.example.com");
        Assert.False(rules.IsStrict);
    }

    [Fact]
    public void An_enforced_policy_refuses_beside_one_that_only_logs()
    {
        NetworkPolicy logged = Rules.Policy(deny: ["evil.example", "worse.example"], mode: NetworkMode.LogOnly);
        NetworkPolicy enforced = Rules.Policy(deny: ["*.example", "worse.example:8443"]);
        foreach (NetworkRules rules in new[] { Rules.Of(logged, enforced), Rules.Of(enforced, logged) })
            AssertRefused(rules.Name("evil.example"), RefusalReason.HostDenied, "denyOut *.example");

        NetworkRules other = Rules.Of(Rules.Policy(deny: ["worse.example"]), logged);
        AssertLogged(other.Name("evil.example"), RefusalReason.HostDenied, "denyOut evil.example");
    }

    [Fact]
    public void What_one_policy_would_have_refused_is_logged_although_another_allows_it()
    {
        NetworkPolicy logged = Rules.Policy(deny: ["api.example.com"], mode: NetworkMode.LogOnly);
        NetworkPolicy allow = Rules.Policy(["api.example.com"]);
        AssertLogged(Rules.Of(logged, allow).Name("api.example.com"), RefusalReason.HostDenied, "denyOut api.example.com");
        AssertLogged(Rules.Of(allow, logged).Name("api.example.com"), RefusalReason.HostDenied, "denyOut api.example.com");
    }

    [Fact]
    public void Rules_are_strict_where_an_enforced_policy_is()
    {
        NetworkPolicy strict = Rules.Policy(["api.example.com"]);
        NetworkPolicy open = Rules.Policy(deny: ["9.9.9.9"]);
        NetworkPolicy strictLogged = Rules.Policy(["api.example.com"], mode: NetworkMode.LogOnly);
        Assert.True(Rules.Of(open, strict).IsStrict);
        Assert.True(Rules.Of(strict, open).IsStrict);
        Assert.True(Rules.Of(strictLogged, strict).IsStrict);
        Assert.False(Rules.Of(open, strictLogged).IsStrict);
    }

    [Fact]
    public void The_log_shows_a_rule_as_it_was_written()
    {
        AssertAllowed(Rules.Allow("2606:4700:0:0::1").Address("2606:4700::1"), "allowOut 2606:4700:0:0::1");
        AssertAllowed(Rules.Allow("1.1.1.1").Address("1.1.1.1"), "allowOut 1.1.1.1");
        AssertRefused(Rules.Deny("1.1.1.1").Address("1.1.1.1"), RefusalReason.HostDenied, "denyOut 1.1.1.1");
    }

    [Fact]
    public void A_deny_of_an_IPv4_range_holds_in_every_IPv6_form()
    {
        NetworkRules rules = Rules.Deny("140.82.112.0/20");
        // The forms in special ranges are refused before.
        foreach (string form in Rules.EmbeddedForms(Public)[..6])
            AssertRefused(rules.Address(form), RefusalReason.HostDenied, "denyOut 140.82.112.0/20");
    }

    [Fact]
    public void An_allow_of_an_IPv4_range_holds_in_the_translated_forms_alone()
    {
        NetworkRules rules = Rules.Of(Rules.Policy(["140.82.112.0/20"], ["0.0.0.0/0", "::/0"]));
        foreach (string form in Rules.TranslatedForms(Public)) AssertAllowed(rules.Address(form), "allowOut 140.82.112.0/20");
        foreach (string form in Rules.EmbeddedForms(Public)[4..]) Assert.False(rules.Address(form).IsAllowed);
    }

    [Fact]
    public void An_allowed_IPv4_address_in_an_ISATAP_identifier_opens_no_strangers_network() =>
        AssertRefused(Rules.Allow(Public).Address("2606:4700::5efe:8c52:7104"), RefusalReason.HostNotAllowed, "strict list");

    [Fact]
    public void A_form_of_an_IPv4_address_that_no_rule_names_is_refused_under_an_IPv6_allow()
    {
        NetworkRules rules = Rules.Allow("::/0");
        AssertRefused(rules.Address(Public), RefusalReason.HostNotAllowed, "strict list");
        foreach (string form in Rules.EmbeddedForms(Public)[..6])
            AssertRefused(rules.Address(form), RefusalReason.HostNotAllowed, "strict list");
    }

    [Fact]
    public void A_deny_of_a_translated_range_closes_the_form_and_not_the_IPv4_address()
    {
        NetworkRules rules = Rules.Deny("64:ff9b::/96");
        AssertRefused(rules.Address("64:ff9b::8c52:7104"), RefusalReason.HostDenied, "denyOut 64:ff9b::/96");
        AssertAllowed(rules.Address(Public), "default");
    }

    [Fact]
    public void A_verdict_that_nobody_gave_is_a_refusal() => Assert.False(default(NetworkVerdict).IsAllowed);

    [Fact]
    public void A_mapped_address_is_judged_as_the_IPv4_address_that_is_dialled()
    {
        IPAddress mapped = IPAddress.Parse(Public).MapToIPv6();
        AssertAllowed(Rules.Allow(Public).CheckAddress(null, mapped, 443, false), "allowOut " + Public);
        AssertAllowed(Rules.Deny("::/1").Address("::ffff:" + Public), "default");
    }
}
