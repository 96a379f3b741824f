using Superserve.Core.Dns;
using Superserve.Core.Network;
using Superserve.Core.Snapshots;
using Superserve.Core.Tests.Network;

namespace Superserve.Core.Tests.Dns;

public sealed class LookUpRulesTests
{
    private static LookUpVerdict Judge(NetworkRules rules, string? name, DnsType type = DnsType.A, params BoundSecret[] secrets) =>
        LookUpRules.Judge(new Snapshot(1, DateTimeOffset.UnixEpoch, "a/b", [.. secrets], rules, Interception.All, []), name, type);

    private static BoundSecret Bound(params string[] hosts) =>
        new("KEY", "example", TestSecrets.StandIn(TestSecrets.A), TestSecrets.Available(TestSecrets.RealA), TestSecrets.Definition(TestSecrets.BearerAuth, hosts));

    private static readonly NetworkRules Open = NetworkRules.Unrestricted(SpecialRanges.Default);

    [Theory]
    [InlineData("api.example.com", LookUpAction.Forward)]
    [InlineData("a.sub.example.org", LookUpAction.Forward)]
    [InlineData("example.org", LookUpAction.Refuse)]
    [InlineData("evil.test", LookUpAction.Refuse)]
    [InlineData("data.api.example.com", LookUpAction.Refuse)]
    [InlineData("1.2.0.192.in-addr.arpa", LookUpAction.Refuse)]
    [InlineData("kubernetes.default.svc.cluster.local", LookUpAction.Refuse)]
    [InlineData("_dmarc", LookUpAction.Refuse)]
    [InlineData("", LookUpAction.Refuse)]
    [InlineData("1.2.3.4", LookUpAction.Refuse)]
    [InlineData(null, LookUpAction.Refuse)]
    public void Under_a_strict_list_only_its_names_are_asked_for(string? name, LookUpAction action)
    {
        Assert.Equal(action, Judge(Rules.Allow("api.example.com", "*.example.org"), name).Action);
    }

    [Theory]
    [InlineData("anything.test", LookUpAction.Forward)]
    [InlineData("a_b.test", LookUpAction.Forward)]
    [InlineData("1.2.3.4", LookUpAction.Forward)]
    [InlineData("", LookUpAction.Forward)]
    [InlineData("evil.test", LookUpAction.Refuse)]
    [InlineData("_x._y.evil.test", LookUpAction.Refuse)]
    [InlineData("cluster.local", LookUpAction.Refuse)]
    [InlineData("kubernetes.default.svc.cluster.local", LookUpAction.Refuse)]
    [InlineData("_https._tcp.kubernetes.default.svc.cluster.local", LookUpAction.Refuse)]
    [InlineData(null, LookUpAction.Refuse)]
    public void Without_a_strict_list_what_is_denied_is_not_asked_for(string? name, LookUpAction action)
    {
        Assert.Equal(action, Judge(Rules.Deny("evil.test"), name).Action);
    }

    [Fact]
    public void A_denied_wildcard_holds_for_names_with_underscores()
    {
        Assert.Equal(LookUpAction.Refuse, Judge(Rules.Deny("*.evil.test"), "_x.evil.test").Action);
    }

    [Theory]
    [InlineData("api.example.com")]
    [InlineData("anything.test")]
    [InlineData("1.2.0.192.in-addr.arpa")]
    [InlineData("1.2.3.4")]
    [InlineData("")]
    public void Nothing_is_asked_for_once_the_last_rules_are_lost(string name)
    {
        Assert.Equal(LookUpAction.Refuse, Judge(NetworkRules.Closed, name, DnsType.A, Bound("api.example.com")).Action);
    }

    [Fact]
    public void A_bound_host_is_asked_for_on_whatever_port_it_is_bound()
    {
        NetworkRules rules = Rules.Allow("other.example.com");
        Assert.Equal("bound host", Judge(rules, "api.example.com", DnsType.A, Bound("api.example.com:8443")).Network.Rule);
        Assert.Equal(LookUpAction.Refuse, Judge(rules, "api.example.com", DnsType.A, Bound("api.example.com") with { IsDetached = true }).Action);
    }

    [Fact]
    public void A_rule_with_a_port_lets_its_name_be_asked_for()
    {
        Assert.Equal("allowOut db.example.com:5432", Judge(Rules.Allow("db.example.com:5432"), "db.example.com").Network.Rule);
        // Denied on one port, it is open on the others.
        Assert.Equal(LookUpAction.Forward, Judge(Rules.Deny("db.example.com:5432"), "db.example.com").Action);
    }

    [Fact]
    public void Ports_that_no_two_policies_share_let_no_name_through()
    {
        NetworkRules rules = Rules.Of(Rules.Policy(["db.example.com:1"]), Rules.Policy(["db.example.com:2"]));
        Assert.Equal(LookUpAction.Refuse, Judge(rules, "db.example.com").Action);
    }

    [Fact]
    public void A_cluster_name_that_a_rule_opens_is_asked_for()
    {
        NetworkRules rules = Rules.Allow("web.agents.svc.cluster.local");
        Assert.Equal(LookUpAction.Forward, Judge(rules, "web.agents.svc.cluster.local").Action);
        Assert.Equal(LookUpAction.Forward, Judge(rules, "_http._tcp.web.agents.svc.cluster.local", DnsType.SRV).Action);
        Assert.Equal(LookUpAction.Refuse, Judge(rules, "db.agents.svc.cluster.local").Action);
    }

    [Fact]
    public void What_would_be_refused_is_asked_for_where_rules_only_log()
    {
        LookUpVerdict verdict = Judge(Rules.Of(Rules.Policy(["api.example.com"], mode: NetworkMode.LogOnly)), "evil.test");
        Assert.Equal((LookUpAction.Forward, true), (verdict.Action, verdict.Network.IsLogOnly));
    }

    [Fact]
    public void A_name_with_underscores_is_judged_by_what_is_behind_them()
    {
        LookUpVerdict verdict = Judge(Rules.Allow("example.com"), "_sip._tcp.example.com", DnsType.SRV);
        Assert.Equal((LookUpAction.Forward, "allowOut example.com", true), (verdict.Action, verdict.Network.Rule, verdict.IsChosen));
        Assert.Equal(LookUpAction.Refuse, Judge(Rules.Allow("example.com"), "a._tcp.example.com", DnsType.SRV).Action);
    }

    [Theory]
    [InlineData("*.example.com", 64, LookUpAction.Forward)]
    [InlineData("*.example.com", 65, LookUpAction.Refuse)]
    [InlineData("example.com", 64, LookUpAction.Forward)]
    [InlineData("example.com", 65, LookUpAction.Refuse)]
    public void A_name_under_a_strict_list_holds_little_that_the_sandbox_chose(string rule, int length, LookUpAction action)
    {
        string chosen = $"{(rule[0] == '*' ? "a" : "_")}{new string('a', 39)}.{(rule[0] == '*' ? "a" : "_")}{new string('b', length - 42)}";
        Assert.Equal(length, chosen.Length);
        LookUpVerdict verdict = Judge(Rules.Allow(rule), $"{chosen}.example.com");
        Assert.Equal((action, action == LookUpAction.Forward), (verdict.Action, verdict.IsChosen));
    }

    [Fact]
    public void A_name_that_the_owner_wrote_is_not_one_that_the_sandbox_chose()
    {
        Assert.False(Judge(Rules.Allow("*.example.com", "api.example.com"), "api.example.com").IsChosen);
        Assert.False(Judge(Rules.Allow("*.example.com"), "api.example.com", DnsType.A, Bound("api.example.com")).IsChosen);
        Assert.False(Judge(Open, "chosen.example.com").IsChosen);
    }

    [Fact]
    public void A_long_name_below_a_wildcard_is_not_asked_for()
    {
        string suffix = $"{new string('x', 60)}.{new string('y', 60)}.example.com";
        Assert.Equal(LookUpAction.Refuse, Judge(Rules.Allow("*." + suffix), "a." + suffix).Action);
        Assert.Equal(LookUpAction.Forward, Judge(Rules.Allow(suffix), suffix).Action);
    }

    [Theory]
    [InlineData(DnsType.A, true, true)]
    [InlineData(DnsType.HTTPS, true, true)]
    [InlineData(DnsType.TXT, true, true)]
    [InlineData(DnsType.NS, true, false)]
    [InlineData(DnsType.CAA, true, false)]
    [InlineData((DnsType)10, false, false)]
    [InlineData((DnsType)252, false, false)]
    [InlineData((DnsType)255, false, false)]
    [InlineData(DnsType.OPT, false, false)]
    public void Only_usual_types_are_asked_for(DnsType type, bool open, bool strict)
    {
        Assert.Equal(open ? LookUpAction.Forward : LookUpAction.NotImplemented, Judge(Open, "example.com", type).Action);
        Assert.Equal(strict ? LookUpAction.Forward : LookUpAction.NotImplemented, Judge(Rules.Allow("example.com"), "example.com", type).Action);
    }

    [Theory]
    [InlineData("8.8.8.8.in-addr.arpa", true)]
    [InlineData("1.0.96.10.in-addr.arpa", false)]
    [InlineData("254.169.254.169.in-addr.arpa", false)]
    [InlineData("010.0.0.10.in-addr.arpa", false)]
    [InlineData("8.8.8.08.in-addr.arpa", false)]
    [InlineData("8.8.in-addr.arpa", false)]
    [InlineData("in-addr.arpa", false)]
    [InlineData("ip6.arpa", false)]
    [InlineData("x.8.8.8.8.in-addr.arpa", false)]
    [InlineData("8.8.8.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.8.4.0.6.8.4.1.0.0.2.ip6.arpa", true)]
    [InlineData("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", false)]
    [InlineData("1.0.6.0.a.0.0.0.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", false)]
    public void The_names_of_private_addresses_are_as_closed_as_the_addresses(string name, bool isAsked)
    {
        Assert.Equal(isAsked ? LookUpAction.Forward : LookUpAction.Refuse, Judge(Open, name, DnsType.PTR).Action);
        Assert.Equal(LookUpAction.Refuse, Judge(Rules.Allow("8.8.8.8"), name, DnsType.PTR).Action);
    }

    [Theory]
    [InlineData("localhost")]
    [InlineData("a.localhost")]
    public void Loopback_names_are_nobodys_business(string name)
    {
        Assert.Equal(LookUpAction.AnswerLoopback, Judge(Open, name).Action);
        Assert.Equal(LookUpAction.Forward, Judge(Open, "notlocalhost").Action);
    }
}
