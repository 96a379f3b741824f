using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Time.Testing;
using Superserve.Core.Dns;
using Superserve.Sidecar.Capture;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Dns;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests.Dns;

public sealed class ResolverTests : IAsyncDisposable
{
    private const string Host = "api.service.test";

    private readonly string _directory = Directory.CreateTempSubdirectory("superserve-dns-").FullName;
    private readonly TestDns _dns = new();
    private readonly FakeTimeProvider _time = new();

    private Resolver Make(string? resolvers = null, TimeProvider? time = null)
    {
        File.WriteAllText(Path.Combine(_directory, "resolv.conf"), resolvers ?? Server(_dns));
        SidecarOptions options = TestOptions.Of(_directory);
        return new Resolver(new ResolverFile(options), new EgressSockets(options), time ?? _time);
    }

    private static string Server(TestDns dns) => $"nameserver [127.0.0.1]:{dns.Address.Port}\n";

    private static async Task<string[]> LookUpAsync(Resolver resolver, string name = Host) => [.. (await resolver.LookUpAsync(name, CancellationToken.None)).Select(address => address.ToString())];

    private static async Task<ResolverFailure> FailureAsync(Task task) => (await Assert.ThrowsAsync<ResolverException>(() => task)).Failure;

    [Fact]
    public async Task The_addresses_of_both_families_are_found_and_take_turns()
    {
        _dns.WithHost(Host, "192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1");
        using Resolver resolver = Make();
        string[] addresses = await LookUpAsync(resolver);
        Assert.Equal(4, addresses.Length);
        Assert.Equal("2001:db8::1", addresses[addresses[0].Contains(':') ? 0 : 1]);
        Assert.Equal([$"{Host} {DnsWire.A}", $"{Host} {DnsWire.Aaaa}"], _dns.Asked.Order());
    }

    [Fact]
    public async Task Of_many_addresses_sixteen_are_taken()
    {
        _dns.WithHost(Host, [.. Enumerable.Range(0, 50).Select(i => $"192.0.2.{i}")]);
        using Resolver resolver = Make();
        Assert.Equal(Resolver.MaxAddresses, (await LookUpAsync(resolver)).Length);
    }

    [Theory]
    [InlineData(DnsWire.A)]
    [InlineData(DnsWire.Aaaa)]
    public async Task Where_one_family_fails_the_other_is_used(int failing)
    {
        _dns.WithHost(Host, "192.0.2.1", "2001:db8::1").With(Host, failing, query => DnsWire.Answer(query.Id, query.Name, query.Type, [], flags: 0x8182));
        using Resolver resolver = Make();
        Assert.Equal([failing == DnsWire.A ? "2001:db8::1" : "192.0.2.1"], await LookUpAsync(resolver));
    }

    [Theory]
    [InlineData(DnsWire.A)]
    [InlineData(DnsWire.Aaaa)]
    public async Task Where_one_family_is_never_answered_the_other_is_used(int failing)
    {
        _dns.WithHost(Host, "192.0.2.1", "2001:db8::1").With(Host, failing, _ => null);
        using Resolver resolver = Make();
        Task<string[]> addresses = LookUpAsync(resolver);
        await Eventually.True(() => addresses.IsCompleted, "the look-up ends", _time, TimeSpan.FromMilliseconds(100));
        Assert.Equal([failing == DnsWire.A ? "2001:db8::1" : "192.0.2.1"], await addresses);
    }

    [Fact]
    public async Task A_name_that_is_not_there_and_one_without_an_address_are_told_apart()
    {
        _dns.WithHost("empty.test");
        using Resolver resolver = Make();
        Assert.Equal(ResolverFailure.NoAddress, await FailureAsync(LookUpAsync(resolver, "empty.test")));
        Assert.Equal(ResolverFailure.NoSuchName, await FailureAsync(LookUpAsync(resolver, "missing.test")));
        _dns.Otherwise = query => DnsWire.Answer(query.Id, query.Name, query.Type, [], flags: 0x8185);
        Assert.Equal(ResolverFailure.ServerFailed, await FailureAsync(LookUpAsync(resolver, "refused.test")));
    }

    [Fact]
    public async Task Aliases_are_followed_within_the_answer_alone()
    {
        _dns.With(Host, DnsWire.A, DnsWire.Alias(Host, "edge.test"), DnsWire.Address("edge.test", "192.0.2.1"), DnsWire.Address("other.test", "192.0.2.66"))
            .With(Host, DnsWire.Aaaa, DnsWire.Alias(Host, "edge.test"));
        using Resolver resolver = Make();
        Assert.Equal(["192.0.2.1"], await LookUpAsync(resolver));
        Assert.DoesNotContain(_dns.Asked, asked => asked.StartsWith("edge", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_poisoned_extra_record_is_not_remembered()
    {
        byte[] poison = DnsWire.Address("victim.test", "192.0.2.66");
        _dns.With(Host, DnsWire.A, query => DnsWire.Answer(query.Id, Host, DnsWire.A, [DnsWire.Address(Host, "192.0.2.1"), poison], [poison], [poison]))
            .WithHost("victim.test", "192.0.2.2");
        using Resolver resolver = Make();
        Assert.Equal(["192.0.2.1"], await LookUpAsync(resolver));
        Assert.Equal(["192.0.2.2"], await LookUpAsync(resolver, "victim.test"));
    }

    public static TheoryData<string, Func<WireMessage, byte[]>> Wrong => new()
    {
        { "another id", query => DnsWire.Answer(query.Id ^ 1, query.Name, query.Type, [DnsWire.Address(query.Name, "192.0.2.66")]) },
        { "another question", query => DnsWire.Answer(query.Id, "victim.test", query.Type, [DnsWire.Address(query.Name, "192.0.2.66")]) },
        { "another type", query => DnsWire.Answer(query.Id, query.Name, DnsWire.Txt, [DnsWire.Address(query.Name, "192.0.2.66")]) },
        { "the query", query => DnsWire.Query(query.Name, query.Type, query.Id) },
        { "noise", _ => [1, 2, 3] },
    };

    [Theory, MemberData(nameof(Wrong))]
    public async Task An_answer_to_something_else_is_not_taken(string what, Func<WireMessage, byte[]> answer)
    {
        _dns.With(Host, DnsWire.A, answer).With(Host, DnsWire.Aaaa, answer);
        using Resolver resolver = Make();
        Assert.Equal((what, ResolverFailure.ServerFailed), (what, await FailureAsync(LookUpAsync(resolver))));
    }

    [Theory, MemberData(nameof(Wrong))]
    public async Task Who_guesses_at_an_answer_has_one_guess(string what, Func<WireMessage, byte[]> guess)
    {
        _dns.With(Host, DnsWire.A, guess);
        _dns.ByTcp = query => DnsWire.Answer(query.Id, query.Name, query.Type, [DnsWire.Address(query.Name, "192.0.2.1")]);
        using Resolver resolver = Make();
        DnsAnswer answer = await resolver.QueryAsync(Host, DnsType.A, CancellationToken.None);
        Assert.Equal((what, "192.0.2.1"), (what, answer.Addresses.Single().ToString()));
    }

    [Fact]
    public async Task An_IPv6_server_is_asked_by_TCP_alone()
    {
        if (!TestOptions.HasIPv6Loopback()) return;
        await using TestDns dns = new TestDns(IPAddress.IPv6Loopback).WithHost(Host, "192.0.2.1");
        using Resolver resolver = Make($"nameserver [::1]:{dns.Address.Port}\n");
        Assert.Equal(["192.0.2.1"], await LookUpAsync(resolver));
        Assert.Empty(dns.Messages);
    }

    [Fact]
    public async Task A_datagram_from_elsewhere_does_not_arrive()
    {
        using Socket another = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        _dns.With(Host, DnsWire.A, query =>
        {
            // From another source, with the right id and question: the kernel does not let it through.
            another.SendTo(DnsWire.Answer(query.Id, Host, DnsWire.A, [DnsWire.Address(Host, "192.0.2.66")]), _dns.Clients[^1]);
            return DnsWire.Answer(query.Id, Host, DnsWire.A, [DnsWire.Address(Host, "192.0.2.1")]);
        }).With(Host, DnsWire.Aaaa);
        using Resolver resolver = Make();
        Assert.Equal(["192.0.2.1"], await LookUpAsync(resolver));
    }

    [Fact]
    public async Task A_late_answer_is_not_taken_for_the_next_one()
    {
        byte[]? late = null;
        _dns.With(Host, DnsWire.A, query =>
        {
            if (late is not null) return DnsWire.Answer(query.Id, Host, DnsWire.A, [DnsWire.Address(Host, "192.0.2.1")]);
            late = DnsWire.Answer(query.Id, Host, DnsWire.A, [DnsWire.Address(Host, "192.0.2.66")]);
            return null;
        }).With("other.test", DnsWire.A, query => late!);
        using Resolver resolver = Make();
        Task<DnsAnswer> first = resolver.QueryAsync(Host, DnsType.A, CancellationToken.None);
        await Eventually.True(() => first.IsCompleted, "the second attempt is answered", _time, TimeSpan.FromSeconds(1));
        Assert.Equal("192.0.2.1", (await first).Addresses.Single().ToString());
        Assert.Equal(ResolverFailure.ServerFailed, await FailureAsync(resolver.QueryAsync("other.test", DnsType.A, CancellationToken.None)));
    }

    public static TheoryData<string, Func<WireMessage, byte[]>> Malformed => new()
    {
        { "a pointer loop", query => DnsWire.Answer(query.Id, query.Name, query.Type, [DnsWire.Record([0xc0, (byte)(12 + query.Name.Length + 6)], query.Type, [1, 2, 3, 4])]) },
        { "65,535 records", query => [.. DnsWire.Header(query.Id, 0x8180, 1, 65535, 65535, 65535), .. DnsWire.Question(query.Name, query.Type)] },
        { "an alias circle", query => DnsWire.Answer(query.Id, query.Name, query.Type, [DnsWire.Alias(query.Name, query.Name)]) },
        { "an address of five octets", query => DnsWire.Answer(query.Id, query.Name, query.Type, [DnsWire.Record(query.Name, query.Type, [1, 2, 3, 4, 5])]) },
    };

    [Theory, MemberData(nameof(Malformed))]
    public async Task A_malformed_answer_fails_and_the_next_server_is_asked(string what, Func<WireMessage, byte[]> answer)
    {
        await using TestDns good = new TestDns().WithHost(Host, "192.0.2.1");
        _dns.Otherwise = answer;
        using Resolver resolver = Make();
        Assert.Equal((what, ResolverFailure.ServerFailed), (what, await FailureAsync(LookUpAsync(resolver))));
        using Resolver both = Make(Server(_dns) + Server(good));
        Assert.Equal(["192.0.2.1"], await LookUpAsync(both));
    }

    [Fact]
    public async Task A_server_that_is_silent_or_gone_is_followed_by_the_next()
    {
        await using TestDns silent = new() { Otherwise = _ => null };
        _dns.WithHost(Host, "192.0.2.1");
        using Resolver resolver = Make($"nameserver [127.0.0.1]:{FreePort.Next()}\n{Server(silent)}{Server(_dns)}options timeout:1 attempts:1\n");
        Task<string[]> addresses = LookUpAsync(resolver);
        await Eventually.True(() => addresses.IsCompleted, "the look-up ends", _time, TimeSpan.FromMilliseconds(200));
        Assert.Equal(["192.0.2.1"], await addresses);
    }

    [Fact]
    public async Task What_is_cut_off_is_asked_for_by_TCP()
    {
        _dns.With(Host, DnsWire.A, query => DnsWire.Answer(query.Id, Host, DnsWire.A, [DnsWire.Address(Host, "192.0.2.66")], flags: 0x8380)).With(Host, DnsWire.Aaaa);
        _dns.ByTcp = query => DnsWire.Answer(query.Id, Host, DnsWire.A, [.. Enumerable.Range(1, 200).Select(i => DnsWire.Address(Host, $"192.0.2.{i}"))]);
        using Resolver resolver = Make();
        Assert.Equal("192.0.2.1", (await LookUpAsync(resolver))[0]);
        _dns.ByTcp = query => DnsWire.Answer(query.Id ^ 1, query.Name, query.Type, []);
        _dns.With("other.test", DnsWire.A, query => DnsWire.Answer(query.Id, query.Name, query.Type, [], flags: 0x8380));
        Assert.Equal(ResolverFailure.ServerFailed, await FailureAsync(resolver.QueryAsync("other.test", DnsType.A, CancellationToken.None)));
    }

    [Fact]
    public async Task A_burst_of_look_ups_is_one_query_and_its_answer_is_kept_for_its_time_to_live()
    {
        using SemaphoreSlim gate = new(0);
        _dns.WithHost(Host, "192.0.2.1").With(Host, DnsWire.A, query =>
        {
            gate.Wait(TimeSpan.FromSeconds(20));
            return DnsWire.Answer(query.Id, Host, DnsWire.A, [DnsWire.Address(Host, "192.0.2.1", timeToLive: 10)]);
        });
        using Resolver resolver = Make();
        Task<DnsAnswer>[] burst = [.. Enumerable.Range(0, 50).Select(_ => resolver.QueryAsync(Host, DnsType.A, CancellationToken.None))];
        gate.Release();
        await Task.WhenAll(burst);
        await resolver.QueryAsync(Host, DnsType.A, CancellationToken.None);
        Assert.Single(_dns.Asked);
        _time.Advance(TimeSpan.FromSeconds(11));
        gate.Release();
        await resolver.QueryAsync(Host, DnsType.A, CancellationToken.None);
        Assert.Equal(2, _dns.Asked.Count);
    }

    [Fact]
    public async Task An_answer_is_kept_for_thirty_seconds_at_most_and_a_failure_not_at_all()
    {
        _dns.With(Host, DnsWire.A, DnsWire.Address(Host, "192.0.2.1", timeToLive: 86400));
        using Resolver resolver = Make();
        await resolver.QueryAsync(Host, DnsType.A, CancellationToken.None);
        _time.Advance(TimeSpan.FromSeconds(30));
        await resolver.QueryAsync(Host, DnsType.A, CancellationToken.None);
        Assert.Equal(2, _dns.Asked.Count);
        await resolver.QueryAsync("missing.test", DnsType.A, CancellationToken.None);
        await resolver.QueryAsync("missing.test", DnsType.A, CancellationToken.None);
        Assert.Equal(4, _dns.Asked.Count);
    }

    [Fact]
    public async Task Each_query_has_a_port_and_an_id_of_its_own()
    {
        using Resolver resolver = Make();
        for (int i = 0; i < 20; i++) await resolver.QueryAsync($"n{i}.test", DnsType.A, CancellationToken.None);
        Assert.True(_dns.Messages.Select(message => DnsWire.Read(message).Id).Distinct().Count() > 15);
        Assert.True(_dns.Clients.Select(client => client.Port).Distinct().Count() > 15);
    }

    [Theory]
    [InlineData("superserve-operator.superserve.svc", "superserve-operator.superserve.svc.cluster.local")]
    [InlineData("web", "web.agents.svc.cluster.local")]
    [InlineData("a.b.c.d.e.f", "a.b.c.d.e.f")]
    [InlineData("absolute.test.", "absolute.test")]
    public async Task A_host_of_the_cluster_is_found_by_the_search_list(string host, string name)
    {
        _dns.WithHost(name, "192.0.2.1");
        using Resolver resolver = Make(Server(_dns) + "search agents.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n");
        Assert.Equal(IPAddress.Parse("192.0.2.1"), Assert.Single(await resolver.LookUpInClusterAsync(host, CancellationToken.None)));
        // In libc's order, and no further than needed.
        Assert.StartsWith(name, _dns.Asked[^1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_name_of_the_sandboxs_is_absolute()
    {
        _dns.WithHost("web.agents.svc.cluster.local", "192.0.2.1");
        using Resolver resolver = Make(Server(_dns) + "search agents.svc.cluster.local\noptions ndots:5\n");
        Assert.Equal(ResolverFailure.NoSuchName, await FailureAsync(LookUpAsync(resolver, "web")));
        Assert.Equal(["web 1", "web 28"], _dns.Asked.Order());
    }

    [Fact]
    public async Task Addresses_and_localhost_are_asked_of_nobody()
    {
        using Resolver resolver = Make();
        Assert.Equal(IPAddress.Parse("192.0.2.9"), Assert.Single(await resolver.LookUpInClusterAsync("192.0.2.9", CancellationToken.None)));
        Assert.Equal(["127.0.0.1", "::1"], await LookUpAsync(resolver, "localhost"));
        Assert.Empty(_dns.Asked);
    }

    [Fact]
    public async Task The_operator_is_found_while_the_sandbox_holds_every_query()
    {
        _dns.Otherwise = _ => null;
        _dns.WithHost("operator.test", "192.0.2.1");
        using Resolver resolver = Make();
        Task<DnsAnswer>[] held = [.. Enumerable.Range(0, 2000).Select(i => resolver.QueryAsync($"n{i}.test", DnsType.A, CancellationToken.None))];
        Assert.Equal(ResolverFailure.Busy, await FailureAsync(held[^1]));
        Assert.Single(await resolver.LookUpInClusterAsync("operator.test", CancellationToken.None));
        await Eventually.True(() => Array.TrueForAll(held, query => query.IsCompleted), "every query ends", _time, TimeSpan.FromSeconds(1));
        Assert.All(held, query => Assert.True(query.IsFaulted));
    }

    [Fact]
    public async Task Whoever_gives_up_leaves_the_query_to_the_others()
    {
        using SemaphoreSlim gate = new(0);
        _dns.With(Host, DnsWire.A, query =>
        {
            gate.Wait(TimeSpan.FromSeconds(20));
            return DnsWire.Answer(query.Id, Host, DnsWire.A, [DnsWire.Address(Host, "192.0.2.1")]);
        });
        using Resolver resolver = Make();
        using CancellationTokenSource impatient = new();
        Task<DnsAnswer> first = resolver.QueryAsync(Host, DnsType.A, impatient.Token);
        Task<DnsAnswer> second = resolver.QueryAsync(Host, DnsType.A, CancellationToken.None);
        await impatient.CancelAsync();
        await Eventually.Cancelled(first);
        gate.Release();
        Assert.Equal("192.0.2.1", (await second).Addresses.Single().ToString());
    }

    public async ValueTask DisposeAsync()
    {
        await _dns.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }
}
