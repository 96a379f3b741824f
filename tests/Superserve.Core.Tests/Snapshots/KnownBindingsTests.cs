using System.Collections.Immutable;
using System.Net;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using Superserve.Core.Events;
using Superserve.Core.Network;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Core.Tests.Network;

namespace Superserve.Core.Tests.Snapshots;

/// <summary>A running sandbox never gains reach by losing a binding.</summary>
[Properties(MaxTest = 2000, Arbitrary = [typeof(Inputs)])]
public sealed class KnownBindingsTests
{
    /// <summary>A question to the rules.</summary>
    public sealed record Question(string Host, string Address, int Port, bool IsBound);

    private static bool[] Reach(KnownBindings known, Question question)
    {
        NetworkRules rules = known.Network(SpecialRanges.Default);
        return
        [
            rules.CheckName(question.Host, question.Port, question.IsBound).IsAllowed,
            rules.CheckAddress(null, IPAddress.Parse(question.Address), question.Port, isBound: false).IsAllowed,
            rules.CheckAddress(question.Host, IPAddress.Parse(question.Address), question.Port, question.IsBound).IsAllowed,
        ];
    }

    private static bool Intercepts(KnownBindings known, Question question) =>
        new Snapshot(1, DateTimeOffset.UnixEpoch, "a/b", [], NetworkRules.Closed, known.Interception, known.Passthrough).Intercepts(question.Host, question.Port);

    private static ImmutableArray<BindingRules> Without(ImmutableArray<BindingRules> bindings, int lost) =>
        [.. bindings.Where((_, i) => (lost >> i & 1) == 0)];

    [Property]
    public bool Losing_bindings_never_opens_a_destination(BindingRules[] bindings, int lost, int lostThen, Question question)
    {
        KnownBindings before = KnownBindings.None.Replace([.. bindings]);
        KnownBindings after = before.Replace(Without(before.Present, lost));
        KnownBindings last = after.Replace(Without(after.Present, lostThen));
        return Never(before, after) && Never(after, last) && Never(before, Restarted(last));

        bool Never(KnownBindings more, KnownBindings less) => Reach(less, question).Zip(Reach(more, question)).All(pair => !pair.First || pair.Second);
    }

    [Property]
    public bool Losing_bindings_never_ends_an_inspection(BindingRules[] bindings, int lost, Question question)
    {
        KnownBindings before = KnownBindings.None.Replace([.. bindings]);
        KnownBindings after = before.Replace(Without(before.Present, lost));
        return !Intercepts(before, question) || Intercepts(after, question);
    }

    [Property]
    public bool A_binding_that_is_there_again_counts_as_it_is_now(BindingRules[] bindings, int lost, Question question)
    {
        KnownBindings before = KnownBindings.None.Replace([.. bindings]);
        KnownBindings back = before.Replace(Without(before.Present, lost)).Replace(before.Present);
        return back.Lost.IsEmpty && Reach(back, question).SequenceEqual(Reach(before, question));
    }

    [Property]
    public bool A_name_passes_uninspected_only_where_every_binding_that_wants_all_inspected_exempts_it(BindingRules[] bindings, Question question)
    {
        BindingRules[] wanting = [.. bindings.Where(binding => binding.Interception == Interception.All)];
        bool isExempt = Array.TrueForAll(wanting, binding => binding.Passthrough.Any(name => (name.Port is null || name.Port == question.Port) && name.MatchesName(question.Host)));
        return wanting.Length == 0 || isExempt || Intercepts(KnownBindings.None.Replace([.. bindings]), question);
    }

    [Property]
    public bool Without_any_binding_nothing_is_reached(BindingRules[] bindings, Question question)
    {
        KnownBindings before = KnownBindings.None.Replace([.. bindings]);
        return Reach(KnownBindings.None, question).Concat(Reach(before.Replace([]), question)).All(isReached => !isReached);
    }

    [Fact]
    public void Beyond_the_limit_only_bound_hosts_stay_open()
    {
        KnownBindings known = KnownBindings.None;
        for (int i = 0; i < 3 * KnownBindings.MaxLost; i++) known = known.Replace([Binding($"b-{i}")]);
        Assert.Equal(KnownBindings.MaxLost, known.Lost.Length);
        NetworkRules rules = known.Network(SpecialRanges.Default);
        Assert.False(rules.Name("api.example.com").IsAllowed);
        Assert.True(rules.Name("api.example.com", isBound: true).IsAllowed);
        Assert.Equal(Interception.All, known.Interception);
        Assert.Equal([], known.AllowIn);
        // For good: no name brings back what is forgotten.
        known = known.Replace([.. known.Lost.Where(binding => binding.Name != KnownBindings.ForgottenName).Append(Binding("b-0"))]);
        Assert.False(known.Network(SpecialRanges.Default).Name("api.example.com").IsAllowed);
    }

    [Fact]
    public void A_name_that_a_wider_pattern_of_another_binding_exempts_passes()
    {
        KnownBindings known = KnownBindings.None.Replace([Exempting("a", "*.example.com"), Exempting("b", "api.example.com", "example.com")]);
        Assert.Equal(["api.example.com"], known.Passthrough.Select(name => name.ToString()));
    }

    [Theory]
    [InlineData("-", "-", "-")]
    [InlineData("8888,80", "-", "80,8888")]
    [InlineData("8888,80", "80,443", "80")]
    [InlineData("8888", "80", "")]
    [InlineData("8888", "", "")]
    [InlineData("-", "", "")]
    public void Others_connect_to_the_ports_that_every_binding_allows_which_says_anything_of_it(string one, string other, string expected)
    {
        BindingRules[] bindings = [Binding("a") with { AllowIn = Ports(one) }, Binding("b") with { AllowIn = Ports(other) }];
        KnownBindings known = KnownBindings.None.Replace([.. bindings]);
        AssertAllowIn(expected, known);
        // A lost one goes on restricting, after a restart as well.
        AssertAllowIn(expected, known.Replace([bindings[0]]));
        AssertAllowIn(expected, known.Replace([bindings[1]]));
        AssertAllowIn(expected, Restarted(known.Replace([bindings[0]])));
        // With none left nothing gets in either.
        AssertAllowIn("", known.Replace([]));
        AssertAllowIn("", KnownBindings.None);

        void AssertAllowIn(string expected, KnownBindings of)
        {
            DeliveredSnapshot delivered = new(1, DateTimeOffset.UnixEpoch, new SandboxIdentity("a", "b", "c"), [], of.Present, SpecialRanges.Default, AuditMode.BestEffort);
            ImmutableArray<int>? ports = delivered.ToSnapshot(of, []).AllowIn;
            Assert.Equal(expected, ports is { } list ? string.Join(',', list) : "-");
        }

        static ImmutableArray<int>? Ports(string text) => text == "-" ? null : [.. text.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse)];
    }

    [Fact]
    public void Without_a_binding_every_secret_is_detached()
    {
        BoundSecret secret = TestSecrets.SecretA(TestSecrets.BearerAuth);
        DeliveredSnapshot delivered = new(1, DateTimeOffset.UnixEpoch, new SandboxIdentity("a", "b", "c"), [secret], [], SpecialRanges.Default, AuditMode.Required);
        Snapshot snapshot = delivered.ToSnapshot(KnownBindings.None, []);
        Assert.True(Assert.Single(snapshot.Secrets).IsDetached);
        Assert.Equal(CredentialState.Revoked.Instance, snapshot.Secrets[0].Credential);
        Assert.Equal(("a/b", AuditMode.Required), (snapshot.Sandbox, snapshot.Audit));
    }

    [Fact]
    public void A_secret_that_is_gone_is_remembered_detached_and_forgotten_when_it_is_back()
    {
        BoundSecret secret = TestSecrets.SecretA(TestSecrets.BearerAuth);
        KnownBindings known = KnownBindings.None.Replace([Binding("b")]);
        DeliveredSnapshot delivered = new(1, DateTimeOffset.UnixEpoch, new SandboxIdentity("a", "b", "c"), [], known.Present, SpecialRanges.Default, AuditMode.BestEffort);
        Snapshot gone = delivered.ToSnapshot(known, [secret]);
        Assert.True(Assert.Single(gone.Secrets).IsDetached);
        Assert.False(Assert.Single((delivered with { Secrets = [secret] }).ToSnapshot(known, gone.Secrets).Secrets).IsDetached);
        BoundSecret[] many = [.. Enumerable.Range(0, 200).Select(i => secret with { StandIn = TestSecrets.StandIn($"stand-in-number-{i:000}") })];
        Assert.Equal(64, delivered.ToSnapshot(known, many).Secrets.Length);
    }

    private static KnownBindings Restarted(KnownBindings known) => new KnownBindings([], [.. known.All]).Replace(known.Present);

    private static BindingRules Binding(string name) => new(name, null, Interception.BoundHosts, []);

    private static BindingRules Exempting(string name, params string[] names) => new(name, null, Interception.All, [.. names.Select(TestSecrets.Pattern)]);

    /// <summary>A small world, so that rules and questions meet often.</summary>
    public static class Inputs
    {
        private static readonly string[] Entries = ["api.example.com", "*.example.com", "evil.test:443", "8.8.8.8", "10.0.0.0/8", "10.1.2.3", "140.82.112.0/20", "169.254.169.254", "web.svc.cluster.local"];

        public static Arbitrary<Question> AnyQuestion() => (
            from host in Gen.Elements("api.example.com", "a.b.example.com", "evil.test", "web.svc.cluster.local")
            from address in Gen.Elements("8.8.8.8", "10.1.2.3", "140.82.113.4", "169.254.169.254", "2606:4700::1", "::ffff:10.1.2.3")
            from port in Gen.Elements(443, 8443)
            from isBound in Gen.Frequency((1, Gen.Constant(true)), (3, Gen.Constant(false)))
            select new Question(host, address, port, isBound)).ToArbitrary();

        public static Arbitrary<BindingRules[]> AnyBindings() => Gen.Choose(0, 4).SelectMany(n => Gen.ArrayOf(Bindings, n))
            .Select(bindings => bindings.Select((binding, i) => binding with { Name = $"b-{i}" }).ToArray()).ToArbitrary();

        private static Gen<string[]> Lists => Gen.Choose(0, 3).SelectMany(n => Gen.ArrayOf(Gen.Elements(Entries), n));

        private static Gen<BindingRules> Bindings =>
            from hasPolicy in Gen.Frequency((3, Gen.Constant(true)), (1, Gen.Constant(false)))
            from allow in Lists
            from deny in Gen.OneOf(Lists, Gen.Constant<string[]>(["0.0.0.0/0"]))
            from mode in Gen.Frequency((3, Gen.Constant(NetworkMode.Enforce)), (1, Gen.Constant(NetworkMode.LogOnly)))
            from interception in Gen.Elements(Interception.All, Interception.BoundHosts)
            from passthrough in Gen.Elements<string[]>([], ["api.example.com"], ["*.example.com"], ["*.example.com:443", "evil.test"])
            select new BindingRules("", hasPolicy ? Rules.Policy(allow, deny, mode) : null, interception, [.. passthrough.Select(TestSecrets.Pattern)]);
    }
}
