using System.Net;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Secrets;

namespace Superserve.Core.Tests.Network;

/// <summary>What holds for every set of rules, against <see cref="NaiveRules"/> and against the rules themselves.</summary>
[Properties(MaxTest = 1500, Arbitrary = [typeof(Inputs)])]
public sealed class NetworkRulesProperties
{
    private static readonly string[] Extra = ["52.0.0.0/16", "10.96.0.0/12", "10.200.0.7/32", "2600:1f00::/40"];

    /// <summary>One question to the rules.</summary>
    public sealed record Question(string Host, string Address, int Port, bool IsBound);

    /// <summary>An entry of either list: a CIDR or a domain.</summary>
    public sealed record Entry(string Text);

    /// <summary>An address and a CIDR near it.</summary>
    public sealed record Range(string Cidr, string Address);

    private static NetworkRules Build(params Section[] sections) =>
        new([.. sections.Select(s => Rules.Policy(s.Allow, s.Deny, s.IsLogOnly ? NetworkMode.LogOnly : NetworkMode.Enforce))],
            new SpecialRanges(Extra.Select(IPNetwork.Parse)));

    private static NaiveRules.Answer Naive(Section[] sections, string? host, string? address, Question q) => NaiveRules.Check(
        sections, Extra, "cluster.local", host, address is null ? null : IPAddress.Parse(address), q.Port, q.IsBound);

    private static NetworkVerdict[] Ask(NetworkRules rules, Question q) =>
    [
        rules.CheckName(q.Host, q.Port, q.IsBound),
        rules.CheckAddress(null, IPAddress.Parse(q.Address), q.Port, q.IsBound),
        rules.CheckAddress(q.Host, IPAddress.Parse(q.Address), q.Port, q.IsBound),
    ];

    private static bool NeverMore(NetworkRules less, NetworkRules more, Question q) =>
        Ask(less, q).Zip(Ask(more, q)).All(pair => !pair.First.IsAllowed || pair.Second.IsAllowed);

    private static bool Same(NetworkVerdict verdict, NaiveRules.Answer answer) =>
        verdict.IsAllowed == answer.IsAllowed && verdict.Reason == answer.Reason
        && verdict.IsLogOnly == (answer.IsAllowed && answer.Reason is not null) && verdict.Rule.Length > 0;

    [Property]
    public bool A_name_gets_the_naive_verdict(Section[] sections, Question q) =>
        Same(Ask(Build(sections), q)[0], Naive(sections, q.Host, null, q));

    [Property(MaxTest = 4000)]
    public bool An_address_gets_the_naive_verdict(Section[] sections, Question q) =>
        Same(Ask(Build(sections), q)[1], Naive(sections, null, q.Address, q));

    [Property(MaxTest = 4000)]
    public bool An_address_of_a_name_gets_the_naive_verdict(Section[] sections, Question q) =>
        Same(Ask(Build(sections), q)[2], Naive(sections, q.Host, q.Address, q));

    [Property]
    public bool The_rules_are_strict_where_the_naive_ones_are(Section[] sections) =>
        Build(sections).IsStrict == sections.Any(s => !s.IsLogOnly && NaiveRules.IsStrict(s))
        && sections.All(s => Rules.Policy(s.Allow, s.Deny).IsStrict == NaiveRules.IsStrict(s));

    [Property(MaxTest = 4000)]
    public bool A_range_holds_the_addresses_that_begin_with_its_bits(Range range)
    {
        IPAddress address = IPAddress.Parse(range.Address);
        bool isClosed = !Rules.Of().Address(range.Address).IsAllowed;
        if (address.IsIPv4MappedToIPv6 || isClosed || range.Cidr.EndsWith("/0")) return true;
        bool isInside = NaiveRules.Contains(range.Cidr, NaiveRules.Bits(address));
        return isInside != Rules.Deny(range.Cidr).Address(range.Address).IsAllowed;
    }

    [Property]
    public bool An_IPv6_form_is_judged_as_its_IPv4_address_or_more_strictly(Section[] sections, Question q)
    {
        IPAddress ipv4 = IPAddress.Parse(q.Address);
        if (ipv4.GetAddressBytes().Length != 4) return true;
        NetworkRules rules = Build(sections);
        NetworkVerdict[] plain = Ask(rules, q);
        return Rules.EmbeddedForms(q.Address).All(form => Ask(rules, q with { Address = form }).Zip(plain)
            .All(pair => !pair.First.IsAllowed || (pair.Second.IsAllowed && (!pair.Second.IsLogOnly || pair.First.IsLogOnly))));
    }

    [Property]
    public bool A_translated_form_is_judged_as_its_IPv4_address_where_no_IPv6_rule_is(Section[] sections, Question q)
    {
        if (q.Address.Contains(':')) return true;
        Section[] ipv4Only = [.. sections.Select(s => s with { Allow = WithoutV6(s.Allow), Deny = WithoutV6(s.Deny) })];
        NetworkRules rules = Build(ipv4Only);
        NetworkVerdict[] plain = Ask(rules, q);
        return Rules.TranslatedForms(q.Address).All(form => Ask(rules, q with { Address = form }).SequenceEqual(plain));

        static string[] WithoutV6(string[] entries) => [.. entries.Where(e => NaiveRules.IsName(e) || !e.Contains(':'))];
    }

    [Property]
    public bool Adding_a_deny_never_allows_more(Section[] sections, Entry entry, NonNegativeInt at, Question q)
    {
        if (sections.Length == 0) return true;
        Section[] more = [.. sections];
        Section changed = more[at.Get % more.Length];
        more[at.Get % more.Length] = changed with { Deny = [.. changed.Deny, entry.Text] };
        return NeverMore(Build(more), Build(sections), q);
    }

    [Property]
    public bool Removing_an_allow_never_allows_more_while_the_list_stays_strict(
        Section[] sections, NonNegativeInt at, NonNegativeInt entry, Question q)
    {
        if (sections.Length == 0) return true;
        Section[] less = [.. sections];
        Section changed = less[at.Get % less.Length];
        if (changed.Allow.Length == 0) return true;
        Section shorter = changed with { Allow = [.. changed.Allow.Where((_, i) => i != entry.Get % changed.Allow.Length)] };
        less[at.Get % less.Length] = shorter;
        return !NaiveRules.IsStrict(shorter) || NeverMore(Build(less), Build(sections), q);
    }

    [Property]
    public bool Adding_a_policy_never_allows_more(Section[] sections, Section another, NonNegativeInt at, Question q)
    {
        // The first policy may open a special range, which is what its owner wrote it for.
        if (sections.Length == 0) return true;
        List<Section> more = [.. sections];
        more.Insert(at.Get % (sections.Length + 1), another);
        return NeverMore(Build([.. more]), Build(sections), q);
    }

    [Property]
    public bool The_order_of_policies_decides_nothing_but_what_is_reported(Section[] sections, Question q) =>
        Ask(Build(sections), q).Zip(Ask(Build([.. sections.Reverse()]), q))
            .All(pair => pair.First.IsAllowed == pair.Second.IsAllowed && pair.First.IsLogOnly == pair.Second.IsLogOnly);

    [Property]
    public bool Log_only_passes_what_enforced_refuses_and_reports_the_same(Section section, Question q)
    {
        NetworkVerdict[] enforced = Ask(Build(section with { IsLogOnly = false }), q);
        NetworkVerdict[] logged = Ask(Build(section with { IsLogOnly = true }), q);
        return enforced.Zip(logged).All(pair => pair.First.IsAllowed || pair.First.Reason == Swapping.RefusalReason.PrivateAddress
            ? pair.Second == pair.First
            : pair.Second == pair.First with { IsAllowed = true, IsLogOnly = true });
    }

    [Property]
    public bool After_the_last_binding_no_question_is_answered_yes(Question q) =>
        Ask(NetworkRules.Closed, q).All(v => !v.IsAllowed);

    [Property]
    public bool A_partition_of_a_family_covers_it_until_a_part_is_gone(bool isV6, int[] cuts, NonNegativeInt gone)
    {
        List<string> parts = [""];
        foreach (int cut in cuts)
        {
            string part = parts[(int)((uint)cut % (uint)parts.Count)];
            if (part.Length == (isV6 ? 128 : 32)) continue;
            parts.Remove(part);
            parts.InsertRange(cut < 0 ? 0 : parts.Count, [part + "0", part + "1"]);
        }

        string[] all = [.. parts.Select(p => Cidr(p, isV6))];
        string[] less = [.. all.Where((_, i) => i != gone.Get % all.Length)];
        return Rules.Policy(deny: all).IsStrict && !Rules.Policy(deny: less).IsStrict;
    }

    [Property]
    public bool No_text_breaks_the_parser_and_each_error_is_one_entrys(string?[] allow, string?[] deny)
    {
        List<SpecError> errors = [];
        bool parsed = NetworkPolicy.TryParse(
            allow!, deny!, NetworkMode.Enforce, PublicSuffixList.Embedded, "network", errors, out NetworkPolicy? policy);
        return parsed == (errors.Count == 0) && parsed == policy is not null && errors.Count <= allow.Length + deny.Length
            && errors.All(e => e.Path.StartsWith("network.") && e.Message.Length > 0);
    }

    [Property]
    public bool A_CIDR_with_host_bits_is_refused_with_the_one_to_write(Range range)
    {
        string written = range.Address + "/" + range.Cidr.Split('/')[1];
        List<SpecError> errors = [];
        bool parsed = NetworkPolicy.TryParse(
            null, [written], NetworkMode.Enforce, PublicSuffixList.Embedded, "network", errors, out NetworkPolicy? policy);
        string bits = NaiveRules.Bits(IPAddress.Parse(range.Address));
        string right = Cidr(bits[..int.Parse(range.Cidr.Split('/')[1])], bits.Length == 128);
        if (IPAddress.Parse(range.Address).IsIPv4MappedToIPv6) return !parsed;
        return parsed ? policy!.DenyRanges[0] == IPNetwork.Parse(right) : errors[0].Message.Contains($"write {right}");
    }

    private static string Cidr(string prefix, bool isV6)
    {
        string bits = prefix.PadRight(isV6 ? 128 : 32, '0');
        byte[] bytes = [.. Enumerable.Range(0, bits.Length / 8).Select(i => Convert.ToByte(bits.Substring(i * 8, 8), 2))];
        return $"{new IPAddress(bytes)}/{prefix.Length}";
    }

    /// <summary>A small world, so that rules and questions meet often.</summary>
    public static class Inputs
    {
        private static readonly string[] Hosts =
        [
            "api.example.com", "www.example.com", "example.com", "evil.test", "a.b.evil.test", "web.agents.svc.cluster.local",
            "cluster.local", "notcluster.local",
        ];

        private static readonly string[] Domains =
        [
            .. Hosts, "*.example.com", "*.evil.test", "*.cluster.local", "*.svc.cluster.local", "api.example.com:443",
            "*.example.com:8443", "web.agents.svc.cluster.local:443",
        ];

        private static readonly string[] Places =
        [
            "0.0.0.0", "10.1.2.3", "10.96.0.1", "10.200.0.7", "11.0.0.0", "52.0.1.2", "100.100.100.200", "127.0.0.1",
            "140.82.113.4", "140.82.128.0", "168.63.129.16", "168.63.129.17", "169.254.169.254", "172.31.255.255",
            "172.32.0.0", "192.0.0.192", "198.19.255.255", "224.0.0.1", "255.255.255.255", "8.8.8.8", "8.8.4.4",
            "::", "::1", "::2", "100::1", "2001:db8::1", "2001:200::1", "2600:1f00::1", "2606:4700::1111",
            "2606:4700:4700::1001", "fd00:ec2::254", "fd12::1", "fe80::1", "ff02::1", "2002:a01:203::5efe:808:808",
            "2002:808:808::5efe:a01:203", "64:ff9b:1:2::808:808",
        ];

        private static readonly Gen<string> Ipv4 = Gen.OneOf(
            Gen.Elements(Places.Where(p => !p.Contains(':'))),
            Gen.ArrayOf(Gen.Choose(0, 255), 4).Select(b => string.Join('.', b)));

        private static readonly Gen<string> Addresses = Gen.OneOf(
            Ipv4,
            Gen.Elements(Places),
            Ipv4.SelectMany(a => Gen.Elements<string>(Rules.EmbeddedForms(a))),
            Gen.ArrayOf(Gen.Choose(0, 255), 16).Select(b => new IPAddress([.. b.Select(x => (byte)x)]).ToString()));

        private static readonly Gen<string> Cidrs = Gen.OneOf(
            Addresses.SelectMany(a => Prefixes(a).Select(p => Masked(a, p))),
            Gen.Elements(
                "0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1", "::/96", "64:ff9b::/96", "2002::/16"));

        private static readonly Gen<string> Entries = Gen.OneOf(Cidrs, Cidrs, Gen.Elements(Domains));

        public static Arbitrary<Entry> AnyEntry() =>
            Entries.Where(e => Parses(e, isAllow: false)).Select(e => new Entry(e)).ToArbitrary();

        public static Arbitrary<Question> AnyQuestion() => (
            from host in Gen.Elements(Hosts)
            from address in Addresses
            from port in Gen.Elements(443, 443, 8443)
            from isBound in Gen.Frequency((1, Gen.Constant(true)), (4, Gen.Constant(false)))
            select new Question(host, address, port, isBound)).ToArbitrary();

        public static Arbitrary<Range> AnyRange() => (
            from address in Addresses
            let plain = IPAddress.Parse(address) is { IsIPv4MappedToIPv6: true } mapped ? mapped.MapToIPv4().ToString() : address
            from prefix in Prefixes(plain)
            from flip in Gen.Choose(-1, 127)
            select new Range(Masked(plain, prefix), Flipped(plain, flip))).ToArbitrary();

        public static Arbitrary<Section> AnySection() =>
            Arb.From(Sections, Shorter);

        public static Arbitrary<Section[]> AnySections() => Arb.From(
            Gen.Frequency(
                (1, Gen.Constant(Array.Empty<Section>())),
                (5, Gen.ArrayOf(Sections, 1)),
                (3, Gen.ArrayOf(Sections, 2)),
                (1, Gen.ArrayOf(Sections, 3))),
            sections => sections.SelectMany((s, i) =>
                Shorter(s).Select(t => sections.Select((u, j) => i == j ? t : u).ToArray())));

        private static Gen<Section> Sections =>
            from allow in Lists(isAllow: true)
            from deny in Lists(isAllow: false)
            from isLogOnly in Gen.Frequency((1, Gen.Constant(true)), (3, Gen.Constant(false)))
            select new Section(allow, deny, isLogOnly);

        private static Gen<string[]> Lists(bool isAllow) =>
            Gen.Choose(0, 5).SelectMany(n => Gen.ArrayOf(Entries, n)).Select(l => l.Where(e => Parses(e, isAllow)).ToArray());

        private static IEnumerable<Section> Shorter(Section s) =>
            Enumerable.Range(0, s.Allow.Length).Select(i => s with { Allow = [.. s.Allow.Where((_, j) => i != j)] })
                .Concat(Enumerable.Range(0, s.Deny.Length).Select(i => s with { Deny = [.. s.Deny.Where((_, j) => i != j)] }));

        private static bool Parses(string entry, bool isAllow) => NetworkPolicy.TryParse(
            isAllow ? [entry] : null,
            isAllow ? null : [entry],
            NetworkMode.Enforce,
            PublicSuffixList.Embedded,
            "network",
            [],
            out _);

        private static Gen<int> Prefixes(string address) => address.Contains(':')
            ? Gen.OneOf(Gen.Choose(0, 128), Gen.Elements(7, 10, 16, 32, 48, 64, 96, 104, 128))
            : Gen.OneOf(Gen.Choose(0, 32), Gen.Elements(8, 12, 16, 20, 24, 32));

        private static string Masked(string address, int prefix) =>
            Cidr(NaiveRules.Bits(IPAddress.Parse(address))[..prefix], address.Contains(':'));

        private static string Flipped(string address, int bit)
        {
            byte[] bytes = IPAddress.Parse(address).GetAddressBytes();
            if (bit >= 0) bytes[bit / 8 % bytes.Length] ^= (byte)(0x80 >> (bit % 8));
            return new IPAddress(bytes).ToString();
        }
    }
}
