using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Superserve.Core.Dns;
using Superserve.Core.Network;
using Superserve.Sidecar.Dns;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests.Dns;

public sealed class DnsServerTests
{
    private const string Host = "api.service.test";
    private const int NXDomain = 3;
    private const int ServFail = 2;
    private const int NotImp = 4;

    [Fact]
    public async Task A_name_on_the_list_is_asked_for_and_answered()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        pod.Upstream.WithHost(Host, "192.0.2.1", "2001:db8::1");
        WireMessage answer = await pod.AskAsync(Host);
        Assert.Equal((0x8180, Host), (answer.Flags, answer.Name));
        Assert.Equal(["192.0.2.1"], answer.Addresses);
        Assert.Equal(["2001:db8::1"], (await pod.AskAsync(Host, DnsWire.Aaaa)).Addresses);
    }

    [Theory]
    [InlineData("evil.test")]
    [InlineData("data.api.service.test")]
    [InlineData("kubernetes.default.svc.cluster.local")]
    [InlineData("api.service.test.agents.svc.cluster.local")]
    [InlineData("1.2.0.192.in-addr.arpa")]
    [InlineData("a b.test")]
    public async Task A_name_that_is_not_on_a_strict_list_is_answered_NXDOMAIN_and_asked_of_nobody(string name)
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        byte[] query = DnsWire.Query(name.ToUpperInvariant(), DnsWire.A);
        byte[] answer = await pod.AskRawAsync(query);
        Assert.Equal(NXDomain, DnsWire.Read(answer).Code);
        // RA is set, and the question is the client's octet by octet.
        Assert.Equal(0x80, answer[3] & 0x80);
        Assert.Equal(query[12..], answer[12..]);
        Assert.Empty(pod.Upstream.Asked);
    }

    [Fact]
    public async Task A_closed_name_is_asked_of_nobody_where_the_list_is_not_strict()
    {
        await using DnsPod pod = await DnsPod.StartAsync();
        Assert.Equal(NXDomain, (await pod.AskAsync("kubernetes.default.svc.cluster.local")).Code);
        Assert.Equal(NXDomain, (await pod.AskAsync("1.0.96.10.in-addr.arpa", 12)).Code);
        Assert.Empty(pod.Upstream.Asked);
    }

    [Fact]
    public async Task Nothing_is_asked_for_once_the_last_rules_are_lost()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        pod.Upstream.WithHost(Host, "192.0.2.1");
        await pod.AskAsync(Host);
        pod.Rules = NetworkRules.Closed;
        Assert.Equal(NXDomain, (await pod.AskAsync(Host)).Code);
        Assert.Equal(NXDomain, (await pod.AskAsync(DnsPod.BoundHost)).Code);
        Assert.Single(pod.Upstream.Asked);
    }

    [Fact]
    public async Task A_bound_host_is_asked_for_whatever_the_list_says()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        pod.Upstream.WithHost(DnsPod.BoundHost, "192.0.2.1");
        Assert.Equal(["192.0.2.1"], (await pod.AskAsync(DnsPod.BoundHost)).Addresses);
    }

    [Fact]
    public async Task The_case_and_the_EDNS_options_of_a_query_do_not_leave()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        pod.Upstream.WithHost(Host, "192.0.2.1");
        byte[] secret = Encoding.ASCII.GetBytes("secret-in-an-option");
        WireMessage answer = await pod.AskAsync([.. DnsWire.Query("aPi.SERVICE.tEst", DnsWire.A, id: 0xbeef, flags: 0x01f0, additionals:
        [
            DnsWire.Edns(4096, options: [.. DnsWire.Word(65001), .. DnsWire.Word(secret.Length), .. secret], flags: 0x8000),
            DnsWire.Record("secret.test", DnsWire.Txt, secret),
        ]), .. secret]);
        Assert.Equal("aPi.SERVICE.tEst", answer.Name);

        byte[] sent = Assert.Single(pod.Upstream.Messages);
        Assert.Equal(DnsWire.Query(Host, DnsWire.A, id: 0, additionals: DnsWire.Edns(DnsQuery.UdpLength))[2..], sent[2..]);
    }

    [Fact]
    public async Task ech_is_stripped()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        pod.Upstream.With(Host, DnsWire.Https, DnsWire.Record(Host, DnsWire.Https, [0, 1, 0, 0, 1, 0, 3, 2, (byte)'h', (byte)'2', 0, 5, 0, 2, 9, 9]));
        WireRecord record = Assert.Single((await pod.AskAsync(Host, DnsWire.Https)).Answers);
        Assert.Equal([0, 1, 0, 0, 1, 0, 3, 2, (byte)'h', (byte)'2'], record.Data);
    }

    [Fact]
    public async Task A_poisoned_extra_record_is_not_remembered_nor_passed_on()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host, "victim.test");
        byte[] poison = DnsWire.Address("victim.test", "192.0.2.66");
        pod.Upstream.With(Host, DnsWire.A, query => DnsWire.Answer(query.Id, Host, DnsWire.A, [poison, DnsWire.Address(Host, "192.0.2.1")], [poison], [poison]));
        WireMessage answer = await pod.AskAsync(Host);
        Assert.Equal(["192.0.2.1"], answer.Addresses);
        Assert.Empty(answer.Authorities);
        Assert.Empty(pod.Memory.NamesOf(IPAddress.Parse("192.0.2.66")));
        Assert.Equal([Host], pod.Memory.NamesOf(IPAddress.Parse("192.0.2.1")));
    }

    [Fact]
    public async Task An_address_is_remembered_for_the_name_that_was_asked_for_and_not_for_its_aliases()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        pod.Upstream.With(Host, DnsWire.A, DnsWire.Alias(Host, "edge.test"), DnsWire.Address("edge.test", "192.0.2.1"));
        WireMessage answer = await pod.AskAsync("API.service.test");
        Assert.Equal(["API.service.test", "edge.test"], answer.Answers.Select(record => record.Owner));
        Assert.Equal([Host], pod.Memory.NamesOf(IPAddress.Parse("192.0.2.1")));
    }

    [Fact]
    public async Task A_malformed_answer_is_answered_SERVFAIL()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        pod.Upstream.With(Host, DnsWire.A, query => [.. DnsWire.Header(query.Id, 0x8180, 1, 65535, 0, 0), .. DnsWire.Question(Host, DnsWire.A)]);
        Assert.Equal(ServFail, (await pod.AskAsync(Host)).Code);
        Assert.Equal(["verdict=failed response=SERVFAIL"], pod.Counted);
    }

    [Fact]
    public async Task A_name_without_an_answer_keeps_the_SOA_that_says_for_how_long()
    {
        await using DnsPod pod = await DnsPod.StartAsync("*.service.test");
        pod.Upstream.Otherwise = query => DnsWire.Answer(query.Id, query.Name, query.Type, [], [DnsWire.Zone("service.test")], flags: 0x8183);
        WireMessage answer = await pod.AskAsync("missing.service.test");
        Assert.Equal((NXDomain, "service.test"), (answer.Code, Assert.Single(answer.Authorities).Owner));
    }

    [Theory]
    [InlineData("localhost", DnsWire.A, "127.0.0.1")]
    [InlineData("web.LOCALHOST", DnsWire.Aaaa, "::1")]
    [InlineData("localhost", DnsWire.Txt, null)]
    public async Task Loopback_names_are_answered_here(string name, int type, string? address)
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        WireMessage answer = await pod.AskAsync(name, type);
        Assert.Equal(0, answer.Code);
        Assert.Equal(address is null ? [] : [address], answer.Addresses);
        Assert.Empty(pod.Upstream.Asked);
    }

    [Fact]
    public async Task Unusual_types_and_what_is_no_query_are_asked_of_nobody()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        Assert.Equal(NotImp, (await pod.AskAsync(Host, 252)).Code);
        Assert.Equal(NotImp, (await pod.AskAsync(Host, 10)).Code);
        Assert.Equal(NotImp, (await pod.AskAsync(DnsWire.Query(Host, DnsWire.A, flags: 0x2800))).Code);
        Assert.Equal(1, (await pod.AskAsync([.. DnsWire.Header(1, 0, 2, 0, 0, 0), .. DnsWire.Question(Host, 1), .. DnsWire.Question(Host, 28)])).Code);
        Assert.Empty(pod.Upstream.Asked);
    }

    [Fact]
    public async Task What_is_too_long_for_a_datagram_is_had_by_TCP_with_several_queries_on_one_connection()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        pod.Upstream.WithHost(Host, [.. Enumerable.Range(1, 60).Select(i => $"192.0.2.{i}")]);
        WireMessage cut = await pod.AskAsync(Host);
        Assert.Equal((true, 0), (cut.IsTruncated, cut.Answers.Count));
        Assert.Equal(60, (await pod.AskAsync(DnsWire.Query(Host, DnsWire.A, additionals: DnsWire.Edns(1232)))).Answers.Count);

        await using NetworkStream stream = await pod.ConnectAsync();
        byte[] query = DnsWire.Query(Host, DnsWire.A);
        byte[] other = DnsWire.Query("evil.test", DnsWire.A, id: 2);
        // Both at once, and cut at an odd place.
        byte[] both = [.. DnsWire.Word(query.Length), .. query, .. DnsWire.Word(other.Length), .. other];
        await stream.WriteAsync(both.AsMemory(0, 5));
        await stream.WriteAsync(both.AsMemory(5));
        Assert.Equal(60, DnsWire.Read((await DnsFrames.ReadAsync(stream, CancellationToken.None))!).Answers.Count);
        Assert.Equal(NXDomain, DnsWire.Read((await DnsFrames.ReadAsync(stream, CancellationToken.None))!).Code);
    }

    [Fact]
    public async Task IPv6_loopback_answers_too_where_there_is_one()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        if (!TestOptions.HasIPv6Loopback()) return;
        Assert.Equal(NXDomain, DnsWire.Read(await pod.AskRawAsync(DnsWire.Query("evil.test", DnsWire.A), IPAddress.IPv6Loopback)).Code);
    }

    [Fact]
    public async Task Noise_is_not_answered_and_ends_nothing()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        foreach (byte[] noise in (byte[][])[[], [1], new byte[11], DnsWire.Query(Host, DnsWire.A, flags: 0x8000), new byte[60000]]) (await pod.SendAsync(noise)).Dispose();
        await using NetworkStream stream = await pod.ConnectAsync();
        await stream.WriteAsync((byte[])[0, 3, 1, 2, 3]);
        Assert.Equal(0, await stream.ReadAsync(new byte[1]));
        Assert.Equal(NXDomain, (await pod.AskAsync("evil.test")).Code);
    }

    [Fact]
    public async Task An_idle_connection_is_ended_and_so_many_are_open_at_most()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        List<NetworkStream> idle = [];
        for (int i = 0; i < 64; i++) idle.Add(await pod.ConnectAsync());
        await using (NetworkStream beyond = await pod.ConnectAsync()) Assert.Equal(0, await ReadAsync(beyond));
        Task<int>[] ends = [.. idle.Select(ReadAsync)];
        await Eventually.True(() => Array.TrueForAll(ends, end => end.IsCompleted), "every connection ends", pod.Time, TimeSpan.FromSeconds(1));
        foreach (NetworkStream stream in idle) await stream.DisposeAsync();

        static async Task<int> ReadAsync(NetworkStream stream)
        {
            try
            {
                return await stream.ReadAsync(new byte[1]);
            }
            catch (IOException)
            {
                return 0;
            }
        }
    }

    [Fact]
    public async Task So_many_queries_leave_and_the_rest_is_answered_SERVFAIL()
    {
        await using DnsPod pod = await DnsPod.StartAsync();
        for (int i = 0; i < 200; i++) Assert.Equal(NXDomain, (await pod.AskAsync($"n{i}.test")).Code);
        Assert.Equal(ServFail, (await pod.AskAsync("beyond.test")).Code);
        Assert.Equal(200, pod.Upstream.Asked.Count);
        Assert.Equal("verdict=blocked response=SERVFAIL", pod.Counted[^1]);
        pod.Time.Advance(TimeSpan.FromSeconds(0.1));
        for (int i = 0; i < 5; i++) Assert.Equal(NXDomain, (await pod.AskAsync($"m{i}.test")).Code);
        Assert.Equal(ServFail, (await pod.AskAsync("beyond.test")).Code);
    }

    [Fact]
    public async Task Fewer_names_leave_that_the_sandbox_chose_under_a_wildcard()
    {
        await using DnsPod pod = await DnsPod.StartAsync("*.service.test", Host);
        pod.Upstream.WithHost(Host, "192.0.2.1");
        for (int i = 0; i < 50; i++) Assert.Equal(NXDomain, (await pod.AskAsync($"n{i}.service.test")).Code);
        Assert.Equal(ServFail, (await pod.AskAsync("beyond.service.test")).Code);
        // What the owner wrote has its own measure, which a flood of those does not use up.
        for (int i = 0; i < 300; i++) Assert.Equal(ServFail, (await pod.AskAsync($"beyond{i}.service.test")).Code);
        Assert.Equal(["192.0.2.1"], (await pod.AskAsync(Host)).Addresses);
    }

    [Fact]
    public async Task What_is_kept_is_answered_however_often_it_is_asked_for()
    {
        await using DnsPod pod = await DnsPod.StartAsync();
        pod.Upstream.WithHost(Host, "192.0.2.1");
        for (int i = 0; i < 300; i++) Assert.Equal(["192.0.2.1"], (await pod.AskAsync(Host)).Addresses);
        Assert.Single(pod.Upstream.Asked);
    }

    [Fact]
    public async Task Servers_that_are_slow_hold_up_so_many_queries_and_no_more()
    {
        await using DnsPod pod = await DnsPod.StartAsync();
        pod.Upstream.Otherwise = _ => null;
        List<UdpClient> waiting = [];
        for (int i = 0; i < 64; i++) waiting.Add(await pod.SendAsync(DnsWire.Query($"slow{i}.test", DnsWire.A)));
        await Eventually.True(() => pod.Upstream.Asked.Count == 64, "64 queries are under way");
        Assert.Equal(ServFail, (await pod.AskAsync("beyond.test")).Code);
        await Eventually.True(() => pod.Counted.Count(counted => counted.StartsWith("verdict=failed", StringComparison.Ordinal)) == 64, "they are given up", pod.Time, TimeSpan.FromSeconds(1));
        foreach (UdpClient client in waiting) client.Dispose();
    }

    [Fact]
    public async Task Each_look_up_is_an_event_and_repeated_refusals_are_one_more()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        pod.Upstream.WithHost(Host, "192.0.2.1");
        await pod.AskAsync(Host);
        for (int i = 0; i < 5; i++) await pod.AskAsync("evil.test", DnsWire.Https);
        await pod.AskAsync("evil.test", 99);
        IReadOnlyList<JsonElement> events = await pod.EndAsync();
        Assert.All(events, line => Assert.Equal(("dns", "53", "agents/research-0"), (line.Text("kind"), line.Text("port"), line.Text("sandbox"))));
        Assert.Equal(
            [
                $"{Host} A allowed 'allowOut {Host}' False NOERROR  1",
                "evil.test HTTPS blocked 'strict list' False NXDOMAIN host_not_allowed 1",
                "evil.test TYPE99 blocked 'strict list' False NXDOMAIN host_not_allowed 1",
                "evil.test HTTPS blocked 'strict list' False NXDOMAIN host_not_allowed 4",
            ],
            events.Select(line => $"{line.Text("host")} {line.Text("queryType")} {line.Text("verdict")} '{line.Text("rule")}' {line.Text("logOnly")} {line.Text("response")} {line.Text("error")} {line.Text("count")}"));
    }

    [Fact]
    public async Task Where_rules_only_log_a_name_is_asked_for_and_the_event_says_so()
    {
        await using DnsPod pod = await DnsPod.StartAsync([Host], NetworkMode.LogOnly);
        pod.Upstream.WithHost("other.test", "192.0.2.1");
        Assert.Equal(["192.0.2.1"], (await pod.AskAsync("other.test")).Addresses);
        JsonElement line = Assert.Single(await pod.EndAsync());
        Assert.Equal(("allowed", "True", "strict list"), (line.Text("verdict"), line.Text("logOnly"), line.Text("rule")));
    }

    [Fact]
    public async Task A_stand_in_in_a_name_is_in_no_event_and_no_metric()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        await pod.AskAsync($"{DnsPod.StandInText}.evil.test");
        JsonElement line = Assert.Single(await pod.EndAsync());
        Assert.DoesNotContain("abcdefgh", line.ToString(), StringComparison.OrdinalIgnoreCase);
        Assert.Equal(["verdict=blocked response=NXDOMAIN"], pod.Counted);
    }

    [Fact]
    public async Task A_port_that_is_taken_ends_the_start()
    {
        await using DnsPod pod = await DnsPod.StartAsync(Host);
        using DnsServer second = pod.Server();
        string message = (await Assert.ThrowsAsync<InvalidOperationException>(() => second.StartAsync(CancellationToken.None))).Message;
        Assert.Contains($"127.0.0.1:{pod.Options.DnsPort} is taken by another program", message, StringComparison.Ordinal);
    }
}
