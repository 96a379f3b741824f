using System.Collections.Concurrent;
using System.Net;
using Microsoft.Extensions.Time.Testing;
using Superserve.Sidecar.Capture;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Network.Tests;

/// <summary>How the sidecar learns what the rules blocked.</summary>
public sealed class DroppedTrafficTests : IDroppedTrafficSink
{
    private readonly FakeTimeProvider _time = new();
    private readonly ConcurrentDictionary<(BlockedProtocol, string?, int), long> _reports = new();

    void IDroppedTrafficSink.Report(BlockedProtocol protocol, IPAddress? destination, int port, long packets) =>
        _reports.AddOrUpdate((protocol, destination?.ToString(), port), packets, (_, sum) => sum + packets);

    [Fact]
    public async Task Blocked_packets_are_reported_with_their_destinations()
    {
        await using PodNetwork network = await Rules.PodAsync();
        await RunAsync(network,
            """
            for host in ('10.83.1.2', 'fd83:1::2'):
                for port in (7000, 443):
                    for _ in range(3): attempt('udp', lambda: plain(SOCK_DGRAM, host).sendto(b'secret', (host, port)))
            plain(SOCK_DGRAM, 'fd83:1::2', IPPROTO_ICMPV6).sendto(struct.pack('!BBHHH', 128, 0, 0, 1, 1), ('fd83:1::2', 0))
            attempt('ping', lambda: plain(SOCK_DGRAM, '10.83.1.2', IPPROTO_ICMP).sendto(struct.pack('!BBHHH', 8, 0, 0, 1, 1), ('10.83.1.2', 0)))
            """,
            () => _reports.Count >= 6);
        Assert.Equal(3, _reports[(BlockedProtocol.Udp, "10.83.1.2", 7000)]);
        Assert.Equal(3, _reports[(BlockedProtocol.Quic, "10.83.1.2", 443)]);
        Assert.Equal(3, _reports[(BlockedProtocol.Udp, "fd83:1::2", 7000)]);
        Assert.Equal(3, _reports[(BlockedProtocol.Quic, "fd83:1::2", 443)]);
        Assert.Equal(1, _reports[(BlockedProtocol.Icmp, "fd83:1::2", 0)]);
        Assert.Equal(1, _reports[(BlockedProtocol.Icmp, "10.83.1.2", 0)]);
    }

    [Fact]
    public async Task Errors_about_closed_ports_of_the_pod_are_not_reported()
    {
        await using PodNetwork network = await Rules.PodAsync();
        await RunAsync(network,
            """
            for host in ('127.0.0.1', '10.83.0.2', '::1', 'fd83::2'):
                for port in (7000, 443): attempt('udp', lambda: plain(SOCK_DGRAM, host).sendto(b'inside', (host, port)))
            attempt('udp', lambda: plain(SOCK_DGRAM, '10.83.1.2').sendto(b'secret', ('10.83.1.2', 7777)))
            """,
            () => !_reports.IsEmpty);
        Assert.Equal((BlockedProtocol.Udp, "10.83.1.2", 7777), Assert.Single(_reports).Key);
    }

    [Fact]
    public async Task Errors_that_others_forge_are_not_reported()
    {
        await using PodNetwork network = await Rules.PodAsync();
        using DroppedTraffic dropped = network.Pod.Enter(() => new DroppedTraffic(this, _time));
        await dropped.StartAsync(CancellationToken.None);
        await StandIn.UpstreamAsync(network, 7000);
        // A flow of the sidecar's, so that connection tracking takes an error about it for one that belongs to it.
        Outcome flow = await network.SidecarAsync(
            """
            for host in ('10.83.1.2', 'fd83:1::2'):
                s = marked(SOCK_DGRAM, host); s.bind(('', 7002)); s.connect((host, 7000)); s.send(b'flow'); s.recv(100)
            """);
        Assert.True(flow.Status == 0, flow.ToString());
        Outcome forged = await network.UpstreamAsync(
            """
            def checked(pseudo, head, rest):
                data = pseudo + head + b'\0\0' + rest
                total = sum(struct.unpack('!%dH' % (len(data) // 2), data)); total = (total & 65535) + (total >> 16); total = (total & 65535) + (total >> 16)
                return head + struct.pack('!H', 65535 - total) + rest
            udp = struct.pack('!HHHH', 7002, 7000, 8, 0)
            pod, up = inet_pton(AF_INET6, 'fd83::2'), inet_pton(AF_INET6, 'fd83:1::2')
            inner = struct.pack('!IHBB', 6 << 28, 8, 17, 64) + pod + up + udp
            icmp = checked(pod + pod + struct.pack('!II', 8 + len(inner), 58), bytes([1, 1]), bytes(4) + inner)
            socket(AF_INET6, SOCK_RAW, IPPROTO_RAW).sendto(struct.pack('!IHBB', 6 << 28, len(icmp), 58, 64) + pod + pod + icmp, ('fd83::2', 0))
            pod, up = inet_aton('10.83.0.2'), inet_aton('10.83.1.2')
            def header(proto, source, target, length): h = struct.pack('!BBHHHBB', 0x45, 0, length, 1, 0, 64, proto); return checked(b'', h, source + target)
            icmp = checked(b'', bytes([3, 13]), bytes(4) + header(17, pod, up, 28) + udp)
            socket(AF_INET, SOCK_RAW, IPPROTO_RAW).sendto(header(1, pod, pod, 20 + len(icmp)) + icmp, ('10.83.0.2', 0))
            """);
        Assert.True(forged.Status == 0, forged.ToString());
        foreach (string host in (string[])["10.83.1.2", "fd83:1::2"]) await Rules.ProbeAsync(network, host);
        await network.SandboxAsync("attempt('udp', lambda: plain(SOCK_DGRAM, '10.83.1.2').sendto(b'secret', ('10.83.1.2', 7777)))");
        await Eventually.True(() => !_reports.IsEmpty, "the true report", _time, TimeSpan.FromSeconds(1));
        await dropped.StopAsync(CancellationToken.None);
        Assert.Equal((BlockedProtocol.Udp, "10.83.1.2", 7777), Assert.Single(_reports).Key);
    }

    [Fact]
    public async Task More_destinations_than_are_told_apart_are_summed_up()
    {
        await using PodNetwork network = await Rules.PodAsync();
        // The kernel limits the rate of errors by their types.
        await PodNetwork.SetAsync(network.Pod, "net.ipv4.icmp_ratemask=0");
        using DroppedTraffic dropped = network.Pod.Enter(() => new DroppedTraffic(this, _time));
        await dropped.StartAsync(CancellationToken.None);
        for (int round = 0; round < 4; round++)
        {
            await network.SandboxAsync($"for port in range({1000 + 100 * round}, {1100 + 100 * round}): attempt('udp', lambda: plain(SOCK_DGRAM, '10.83.1.2').sendto(b'x', ('10.83.1.2', port)))");
            _time.Advance(TimeSpan.FromSeconds(1));
            await Eventually.Settle();
        }

        await Eventually.True(() => !_reports.IsEmpty, "a report", _time, TimeSpan.FromSeconds(1));
        await dropped.StopAsync(CancellationToken.None);
        Assert.Equal(256, _reports.Keys.Count(key => key.Item2 is not null));
        Assert.InRange(_reports[(BlockedProtocol.Udp, null, 0)], 1, 144);
    }

    [Theory]
    [InlineData("")]
    [InlineData("45")]
    [InlineData("4500001c0000000040010000")]
    [InlineData("4f00001c00000000400100000a5300020a530002030d0000000000004500001c")]
    [InlineData("4500003800000000400100000a5300020a530002030d000000000000450000240000000040110000")]
    public void What_is_cut_or_odd_is_no_report(string hex) => Assert.Null(RejectedPacket.Read(Convert.FromHexString(hex), PodNetwork.PodV4));

    [Fact]
    public void A_header_that_claims_to_be_longer_than_the_packet_has_no_port()
    {
        byte[] message = Convert.FromHexString("4500003800000000400100000a5300020a530002030d0000000000004f00002400000000401100000a5300020a530102" + "00011b5800100000");
        Assert.Equal(new RejectedPacket(BlockedProtocol.Udp, PodNetwork.UpstreamV4, 0), RejectedPacket.Read(message, PodNetwork.PodV4));
    }

    private async Task RunAsync(PodNetwork network, string python, Func<bool> condition)
    {
        using DroppedTraffic dropped = network.Pod.Enter(() => new DroppedTraffic(this, _time));
        await dropped.StartAsync(CancellationToken.None);
        Outcome outcome = await network.SandboxAsync(python);
        Assert.True(outcome.Status == 0, outcome.ToString());
        await Eventually.True(condition, "the reports", _time, TimeSpan.FromSeconds(1));
        await dropped.StopAsync(CancellationToken.None);
    }
}
