using System.Collections.Immutable;
using System.Net;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Secrets;

namespace Superserve.Core.Tests.Network;

/// <summary>Short ways to write rules and questions in the tests.</summary>
internal static class Rules
{
    public static NetworkPolicy Policy(string[]? allow = null, string[]? deny = null, NetworkMode mode = NetworkMode.Enforce)
    {
        List<SpecError> errors = [];
        NetworkPolicy.TryParse(allow, deny, mode, PublicSuffixList.Embedded, "network", errors, out NetworkPolicy? policy);
        Assert.Empty(errors);
        Assert.NotNull(policy);
        return policy;
    }

    public static NetworkRules Of(params NetworkPolicy[] policies) => new([.. policies], SpecialRanges.Default);

    public static NetworkRules Allow(params string[] allow) => Of(Policy(allow));

    public static NetworkRules Deny(params string[] deny) => Of(Policy(deny: deny));

    public static NetworkRules Within(SpecialRanges ranges, params NetworkPolicy[] policies) => new([.. policies], ranges);

    public static SpecialRanges Extra(params string[] ranges) => new(ranges.Select(IPNetwork.Parse));

    public static NetworkVerdict Name(this NetworkRules rules, string host, int port = 443, bool isBound = false) =>
        rules.CheckName(host, port, isBound);

    public static NetworkVerdict Address(
        this NetworkRules rules, string address, string? host = null, int port = 443, bool isBound = false) =>
        rules.CheckAddress(host, IPAddress.Parse(address), port, isBound);

    /// <summary>Every IPv6 form of an IPv4 address that the rules know.</summary>
    public static ImmutableArray<string> EmbeddedForms(string ipv4)
    {
        byte[] b = IPAddress.Parse(ipv4).GetAddressBytes();
        string hex = $"{b[0]:x2}{b[1]:x2}:{b[2]:x2}{b[3]:x2}";
        string flipped = $"{(byte)~b[0]:x2}{(byte)~b[1]:x2}:{(byte)~b[2]:x2}{(byte)~b[3]:x2}";
        return
        [
            $"::ffff:{hex}", $"64:ff9b::{hex}", $"::ffff:0:{hex}", $"2002:{hex}::1", $"2606:4700::5efe:{hex}",
            $"2606:4700::200:5efe:{hex}", $"::{hex}", $"64:ff9b:1::{hex}", $"2001::{flipped}",
        ];
    }

    /// <summary>Those of them that lead to the IPv4 address itself.</summary>
    public static ImmutableArray<string> TranslatedForms(string ipv4) => EmbeddedForms(ipv4)[..4];
}
