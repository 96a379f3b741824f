using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using Superserve.Core.Authentication;
using Superserve.Core.Requests;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Core.StandIns;
using Superserve.Core.Swapping;
using static Superserve.Core.Tests.TestSecrets;

namespace Superserve.Core.Tests.Swaps;

/// <summary>What holds for every head, against <see cref="NaiveSwap"/> and against the request itself.</summary>
[Properties(MaxTest = 3000, Arbitrary = [typeof(Worlds)])]
public sealed class SwapProperties
{
    /// <summary>A head, two secrets, and what the sidecar makes of them.</summary>
    public sealed class World
    {
        internal World(Request request, BoundSecret[] secrets)
        {
            Request = request;
            Secrets = secrets;
            Decision = request.Decide(secrets);
        }

        internal Request Request { get; }

        internal BoundSecret[] Secrets { get; }

        internal SwapDecision Decision { get; }

        public override string ToString() => Request + " with " + string.Join("; ", Secrets.Select(secret =>
            $"{secret.Env} {secret.Credential.GetType().Name} {string.Join(", ", secret.Definition.Hosts.Select(h => $"{h.Pattern} {string.Join('/', h.Schemes.Select(s => s.Type))}"))}"));
    }

    [Property(MaxTest = 8000)]
    public void A_head_gets_the_naive_answer(World world)
    {
        NaiveSwap.Answer naive = NaiveSwap.Decide(world.Request, world.Secrets);
        Assert.Equal(naive.Reasons.Count > 0, world.Decision.Refusal is not null);
        Assert.Equal(naive.Reasons.Count == 0 && naive.Places.Count > 0, world.Decision.Plan is not null);
        if (world.Decision.Refusal is { } refusal) Assert.Contains(refusal.Reason, naive.Reasons);
        if (world.Decision.Plan is { } plan) Assert.Equal(naive.Places.Select(p => p.Secret.Env).Distinct().Order(), plan.Secrets.Select(s => s.Env).Order());
    }

    [Property(MaxTest = 8000)]
    public void A_swapped_head_holds_the_credentials_in_their_places_alone(World world)
    {
        if (world.Decision.Plan is not { } plan) return;
        Request after = world.Request.Apply(plan);
        List<NaiveSwap.Place> places = NaiveSwap.Decide(world.Request, world.Secrets).Places;
        List<HeaderField> left = [.. after.Headers];
        string target = after.Target;

        List<(string Name, string Value)> expected = [];
        foreach (NaiveSwap.Place place in places)
        {
            string real = place.Secret.Env == "KEY_A" ? RealA : RealB;
            switch (place.Scheme)
            {
                case HeaderScheme scheme:
                    foreach (HeaderTemplate header in scheme.Headers)
                        expected.Add((header.Name, header.Template.HasValue ? header.Template.Before + real + header.Template.After : header.Template.Before));
                    break;
                case BasicScheme { CredentialIsUsername: true }:
                    expected.Add(("Authorization", Basic(real, "")));
                    break;
                case BasicScheme scheme:
                    expected.Add(("Authorization", Basic(scheme.Username ?? place.User, real)));
                    break;
                case QueryScheme scheme:
                    string[] pairs = target.Split('?', 2)[1].Split('&');
                    Assert.Single(pairs, pair => NaiveSwap.Unescape(pair.Split('=')[0]) == scheme.Parameter);
                    Assert.Contains($"{scheme.Parameter}={real}", pairs);
                    target = target.Replace($"{scheme.Parameter}={real}", "");
                    break;
                case PathScheme scheme:
                    string start = scheme.Prefix.Before + real + scheme.Prefix.After;
                    Assert.StartsWith(start, target);
                    target = target[start.Length..];
                    break;
            }
        }

        foreach (IGrouping<string, (string Name, string Value)> header in expected.GroupBy(e => e.Name, StringComparer.OrdinalIgnoreCase))
        {
            HeaderField set = Assert.Single(left, field => field.Is(header.Key));
            // One secret may be there in two schemes of one header; the later one wins.
            Assert.Contains(set.Value, header.Select(h => h.Value));
            left.Remove(set);
        }

        Request rest = after with { Headers = [.. left], Target = target };
        for (int index = -1; index < left.Count; index++)
        {
            string texts = NaiveSwap.Texts(rest, index);
            Assert.DoesNotContain(RealA, texts);
            Assert.DoesNotContain(RealB, texts);
            foreach (BoundSecret secret in plan.Secrets) Assert.DoesNotContain(secret.StandIn.Value, texts);
        }
    }

    [Property]
    public void A_swap_leaves_everything_else_as_it_was(World world)
    {
        if (world.Decision.Plan is not { } plan) return;
        Request after = world.Request.Apply(plan);
        List<AuthScheme> schemes = [.. plan.Secrets.SelectMany(s => s.Definition.Hosts).SelectMany(h => h.Schemes)];
        HashSet<string> headers = new(StringComparer.OrdinalIgnoreCase);
        if (schemes.OfType<BasicScheme>().Any()) headers.Add("Authorization");
        headers.UnionWith(schemes.OfType<HeaderScheme>().SelectMany(s => s.Headers).Select(h => h.Name));
        Assert.Equal(world.Request.Headers.Where(h => !headers.Contains(h.Name)), after.Headers.Where(h => !headers.Contains(h.Name)));
        Assert.Equal(Others(world.Request.Target), Others(after.Target));

        string[] Others(string target) => [.. target.Split('?', 2).Skip(1).SelectMany(q => q.Split('&'))
            .Where(pair => pair.Length > 0 && !schemes.OfType<QueryScheme>().Any(q => NaiveSwap.Unescape(pair.Split('=')[0]) == q.Parameter))];
    }

    [Property]
    public void A_credential_never_goes_to_a_host_that_its_secret_is_not_for(World world)
    {
        foreach (string host in (string[])["api.one.test", "api.two.test", "evil.test"])
        {
            Request request = world.Request with { Host = host };
            if (request.Decide(world.Secrets).Plan is not { } plan) continue;
            Request after = request.Apply(plan);
            foreach (BoundSecret secret in world.Secrets.Where(s => s.Definition.Hosts.All(h => h.Pattern.Name != host)))
            {
                Assert.DoesNotContain(secret, plan.Secrets);
                for (int index = -1; index < after.Headers.Length; index++)
                    Assert.DoesNotContain(secret.Env == "KEY_A" ? RealA : RealB, NaiveSwap.Texts(after, index));
            }
        }
    }

    [Property]
    public void No_outcome_prints_a_stand_in_or_a_credential(World world)
    {
        string all = string.Join('\n', world.Decision, world.Decision.Refusal?.Detail, world.Decision.Plan, string.Join(' ', world.Decision.Plan?.Headers ?? []));
        foreach (string hidden in (string[])[A, B, RealA, RealB]) Assert.DoesNotContain(hidden, all, StringComparison.OrdinalIgnoreCase);
    }

    [Property]
    public void The_order_of_secrets_decides_nothing_but_what_is_reported(World world)
    {
        SwapDecision other = world.Request.Decide([.. world.Secrets.Reverse()]);
        Assert.Equal(world.Decision.Refusal is null, other.Refusal is null);
        Assert.Equal(world.Decision.Plan is null, other.Plan is null);
    }

    /// <summary>A small world, so that stand-ins and places meet often.</summary>
    public static class Worlds
    {
        private static readonly AuthScheme[] Schemes =
        [
            AuthScheme.Bearer, Scheme(ApiKey("X-Key")), Scheme(ApiKey("Authorization")), Scheme(ApiKey("Authorization", "Token ")),
            Scheme(BasicAuth), Scheme(new AuthSchemeSpec { Type = "basic" }), Scheme(new AuthSchemeSpec { Type = "basic", Username = "{{ value }}" }),
            Scheme(new AuthSchemeSpec { Type = "custom", Headers = new Dictionary<string, string> { ["X-A"] = "v {{ value }} e", ["X-Key"] = "{{ value }}", ["X-V"] = "2" } }),
            Scheme(QueryAuth), Scheme(new AuthSchemeSpec { Type = "query", Parameter = "token" }), Scheme(PathAuth),
        ];

        private static readonly Gen<string> StandIns = Gen.Elements(A, A, A, B, B, "mine", A.ToLowerInvariant());

        private static readonly Gen<string> Values = Gen.Frequency(
            (4, Gen.Elements("Bearer ", "bearer  ", "Token ", "", "", "v ", "x").SelectMany(before => StandIns.SelectMany(standIn => Gen.Elements("", "", "", " ", " e", "x", ", " + B).Select(after => before + standIn + after)))),
            (3, Gen.Elements("u", "", "x-access-token", "ü", A, B).SelectMany(user => Gen.OneOf(StandIns, Gen.Constant("")).Select(password => Basic(user, password)))),
            (1, Gen.Elements("", "text/html", "Basic !", "Basic " + A)));

        private static readonly Gen<HeaderField> Headers = Gen.Elements("Authorization", "authorization", "X-Key", "X-A", "X-V", "Cookie").SelectMany(name => Values.Select(value => new HeaderField(name, value)));

        private static readonly Gen<string> Written = StandIns.SelectMany(standIn => Gen.Elements(standIn, standIn, Escaped(standIn), standIn[0] + Escaped(standIn[1..2]) + standIn[2..], standIn + "x"));

        private static readonly Gen<string> Pairs = Gen.Elements("key", "key", "token", "token", "k%65y", "other", "").SelectMany(name => Gen.OneOf(Written, Gen.Elements("1", "a+b", "%20%zz", "")).Select(value => name + "=" + value));

        private static readonly Gen<string> Targets =
            from start in Gen.Frequency((5, Gen.Constant("/v1/items")), (3, Written.Select(w => $"/bot{w}/getMe")), (1, Written.Select(w => $"/{w}")))
            from count in Gen.Elements(0, 0, 0, 1, 1, 2, 3)
            from pairs in Gen.ArrayOf(Pairs, count)
            select count == 0 ? start : start + "?" + string.Join('&', pairs);

        private static Gen<BoundSecret> Secret(string env, string standIn, string real) =>
            from host in Gen.Elements("api.one.test", "api.one.test", "api.two.test", "api.one.test:8443")
            from count in Gen.Choose(1, 3)
            from schemes in Gen.ArrayOf(Gen.Elements(Schemes), count)
            from state in Gen.Elements(0, 0, 0, 0, 0, 0, 1, 2)
            select new BoundSecret(
                env, env.ToLowerInvariant(), StandIn(standIn),
                state switch { 0 => Available(real), 1 => CredentialState.Revoked.Instance, _ => new CredentialState.Unavailable("it is missing") },
                new SecretDefinition(schemes[0].Type, [new HostAuth(Pattern(host), [.. schemes])], RequestRules.None, TokenShape.Default, false));

        // A head in which stand-ins are mostly where their secrets' schemes put them, with a little of what is not.
        private static readonly Gen<(Request, BoundSecret[])> Fitting =
            from a in Secret("KEY_A", A, RealA)
            from b in Secret("KEY_B", B, RealB)
            from sent in Gen.Elements<BoundSecret[]>([a], [a], [b], [a, b], [a, b])
            from places in Gen.CollectToArray(sent, Place)
            from extra in Gen.Frequency((6, Gen.Constant<HeaderField[]>([])), (2, Gen.Constant<HeaderField[]>([new("Accept", "*/*"), new("X-V", "9")])), (1, Gen.ArrayOf(Headers, 1)))
            from other in Gen.Frequency((4, Gen.Constant("")), (2, Gen.Elements("other=1", "key=mine", "token=", "a+b=%20%zz")), (1, Pairs))
            from method in Gen.Frequency((15, Gen.Elements("GET", "POST")), (1, Gen.Elements("TRACE", "connect")))
            let pairs = places.Select(p => p.Pair).Append(other).Where(pair => pair.Length > 0).ToArray()
            let path = places.Select(p => p.Path).FirstOrDefault(p => p.Length > 0) ?? "/v1/items"
            select (new Request(pairs.Length == 0 ? path : path + "?" + string.Join('&', pairs))
            {
                Method = method,
                Host = sent[0].Definition.Hosts[0].Pattern.Name,
                Port = sent[0].Definition.Hosts[0].Pattern.Port ?? 443,
                Headers = [.. extra, .. places.Where(p => p.Header.Name is not null).Select(p => p.Header)],
            }, (BoundSecret[])[a, b]);

        private static Gen<(HeaderField Header, string Path, string Pair)> Place(BoundSecret secret) =>
            from scheme in Gen.Elements(secret.Definition.Hosts[0].Schemes.AsEnumerable())
            from text in Gen.Elements(secret.StandIn.Value, Escaped(secret.StandIn.Value))
            from spaces in Gen.Elements("", "", "  ")
            from user in Gen.Elements("", "u", "ü")
            from which in Gen.Choose(0, 1)
            select scheme switch
            {
                HeaderScheme header when header.Headers[which % Math.Min(2, header.Headers.Length)] is { } place =>
                    (new HeaderField(place.Name.ToLowerInvariant(), place.Template.Before.ToUpperInvariant() + spaces + secret.StandIn.Value + place.Template.After), "", ""),
                BasicScheme { CredentialIsUsername: true } => (new HeaderField("Authorization", Basic(secret.StandIn.Value, user)), "", ""),
                BasicScheme => (new HeaderField("Authorization", Basic(user, secret.StandIn.Value)), "", ""),
                QueryScheme query => (default, "", $"{query.Parameter}={text}"),
                PathScheme path => (default, $"{path.Prefix.Before}{text}{path.Prefix.After}getMe", ""),
                _ => default((HeaderField, string, string)),
            };

        private static readonly Gen<(Request, BoundSecret[])> Plain =
            from method in Gen.Elements("GET", "GET", "GET", "GET", "POST", "POST", "TRACE", "trace")
            from host in Gen.Elements("api.one.test", "api.one.test", "api.one.test", "api.one.test", "api.two.test", "evil.test")
            from port in Gen.Elements(443, 443, 443, 443, 443, 8443)
            from isSecure in Gen.Frequency((9, Gen.Constant(true)), (1, Gen.Constant(false)))
            from count in Gen.Elements(0, 1, 1, 1, 2, 2, 3)
            from headers in Gen.ArrayOf(Headers, count)
            from target in Gen.Frequency((2, Gen.Constant("/v1/items?other=1")), (3, Targets))
            from a in Secret("KEY_A", A, RealA)
            from b in Secret("KEY_B", B, RealB)
            select (new Request(target) { Method = method, Host = host, Port = port, IsSecure = isSecure, Headers = [.. headers] }, (BoundSecret[])[a, b]);

        // Shrinks by leaving headers, parameters and schemes out.
        public static Arbitrary<World> AnyWorld() => Arb.From(Gen.Frequency((1, Plain), (2, Fitting)).Select(w => new World(w.Item1, w.Item2)), Shorter);

        private static IEnumerable<World> Shorter(World world)
        {
            for (int i = 0; i < world.Request.Headers.Length; i++) yield return new World(world.Request with { Headers = world.Request.Headers.RemoveAt(i) }, world.Secrets);
            if (world.Request.Target.IndexOf('?') is >= 0 and int query) yield return new World(world.Request with { Target = world.Request.Target[..query] }, world.Secrets);
            for (int i = 0; i < world.Secrets.Length; i++)
            {
                HostAuth host = world.Secrets[i].Definition.Hosts[0];
                for (int k = 0; host.Schemes.Length > 1 && k < host.Schemes.Length; k++)
                {
                    BoundSecret[] secrets = [.. world.Secrets];
                    secrets[i] = secrets[i] with { Definition = secrets[i].Definition with { Hosts = [host with { Schemes = host.Schemes.RemoveAt(k) }] } };
                    yield return new World(world.Request, secrets);
                }
            }
        }
    }
}
