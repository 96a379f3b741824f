using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Network.Tests;

/// <summary>What has to work under the rules.</summary>
public sealed class CaptureTests
{
    [Theory]
    [InlineData("10.83.1.2", 443, 0)]
    [InlineData("10.83.1.2", 7000, 65532)]
    [InlineData("fd83:1::2", 443, 0)]
    [InlineData("fd83:1::2", 7000, 65532)]
    public async Task A_TCP_connection_comes_to_the_sidecar_with_its_destination(string host, int port, int user)
    {
        await using PodNetwork network = await Rules.PodAsync();
        RunningProgram sidecar = await StandIn.SidecarAsync(network);
        Outcome outcome = await network.SandboxAsync($"s = plain(SOCK_STREAM, '{host}'); s.connect(('{host}', {port})); s.sendall(b'request'); print(s.recv(100).decode())", user);
        Assert.Equal("hello from the sidecar\n", outcome.Output);
        await sidecar.LineAsync(line => line == $"tcp to {host} {port} at 16001 request", "the connection");
        Assert.Empty(await network.LeftThePodAsync());
    }

    [Fact]
    public async Task Multipath_and_fast_open_come_to_the_sidecar_too()
    {
        await using PodNetwork network = await Rules.PodAsync();
        await StandIn.SidecarAsync(network);
        Outcome outcome = await network.SandboxAsync(
            """
            multipath = plain(SOCK_STREAM, '10.83.1.2', 262); multipath.connect(('10.83.1.2', 7000)); multipath.sendall(b'request'); print(multipath.recv(100).decode())
            fast = plain(SOCK_STREAM, '10.83.1.2'); fast.settimeout(None); fast.sendto(b'request', MSG_FASTOPEN, ('10.83.1.2', 7000)); print(fast.recv(100).decode())
            """);
        Assert.Equal("hello from the sidecar\nhello from the sidecar\n", outcome.Output);
        Assert.Empty(await network.LeftThePodAsync());
    }

    [Theory]
    [InlineData("10.83.1.2")]
    [InlineData("fd83:1::2")]
    public async Task DNS_comes_to_the_sidecar_whichever_server_is_asked(string host)
    {
        await using PodNetwork network = await Rules.PodAsync();
        RunningProgram sidecar = await StandIn.SidecarAsync(network);
        Outcome outcome = await network.SandboxAsync(
            $"""
            s = plain(SOCK_DGRAM, '{host}'); s.connect(('{host}', 53)); s.send(b'question'); print(s.recv(100).decode())
            s = plain(SOCK_STREAM, '{host}'); s.connect(('{host}', 53)); s.sendall(b'question'); print(s.recv(100).decode())
            """);
        Assert.Equal("answer\nhello from the sidecar\n", outcome.Output);
        Assert.Contains(sidecar.Lines, line => line.StartsWith("udp at 16053", StringComparison.Ordinal) && line.EndsWith("question", StringComparison.Ordinal));
        await sidecar.LineAsync(line => line == $"tcp to {host} 53 at 16053 question", "the question over TCP");
        Assert.Empty(await network.LeftThePodAsync());
    }

    [Theory]
    [InlineData("10.83.1.2")]
    [InlineData("fd83:1::2")]
    public async Task Questions_of_the_sandbox_and_of_the_sidecar_go_their_own_ways_where_both_choose_the_same_port(string host)
    {
        await using PodNetwork network = await Rules.PodAsync();
        await StandIn.SidecarAsync(network);
        await StandIn.UpstreamAsync(network, 53);
        // The kernel gives a port anew as soon as its socket is closed, and connection tracking remembers it for much longer.
        Outcome first = await network.SandboxAsync(Ask("plain", 40000));
        Outcome second = await network.SidecarAsync(Ask("marked", 40000, 40001));
        Outcome third = await network.SandboxAsync(Ask("plain", 40001, 40000));
        Assert.Equal(("answer\n", "question\nquestion\n", "answer\nanswer\n"), (first.Output, second.Output, third.Output));

        string Ask(string socket, params int[] ports) => string.Concat(ports.Select(port =>
            $"s = {socket}(SOCK_DGRAM, '{host}'); s.bind(('::' if ':' in '{host}' else '', {port})); s.connect(('{host}', 53)); s.send(b'question'); print(s.recv(100).decode())\n"));
    }

    [Theory]
    [InlineData("10.83.1.2")]
    [InlineData("fd83:1::2")]
    public async Task Connections_of_the_sandbox_and_of_the_sidecar_go_their_own_ways_where_both_choose_the_same_port(string host)
    {
        await using PodNetwork network = await Rules.PodAsync();
        await StandIn.SidecarAsync(network);
        await StandIn.UpstreamAsync(network, 7000);
        // The other side ends the first one, so that its port is free at once.
        Assert.Equal("hello from the sidecar\nb''\n", (await network.SandboxAsync(Connect("plain") + "; print(s.recv(1))")).Output);
        Assert.Equal("request\n", (await network.SidecarAsync(Connect("marked"))).Output);

        string Connect(string socket) => $"s = {socket}(SOCK_STREAM, '{host}'); s.bind(('::' if ':' in '{host}' else '', 40000)); s.connect(('{host}', 7000)); s.sendall(b'request'); print(s.recv(100).decode())";
    }

    [Theory]
    [InlineData("10.83.1.2")]
    [InlineData("fd83:1::2")]
    public async Task The_sidecar_gets_out(string host)
    {
        await using PodNetwork network = await Rules.PodAsync();
        RunningProgram upstream = await StandIn.UpstreamAsync(network, 7000);
        Outcome outcome = await network.SidecarAsync(
            $"""
            s = marked(SOCK_STREAM, '{host}'); s.connect(('{host}', 7000)); s.sendall(b'over tcp'); print(s.recv(100).decode())
            s = marked(SOCK_DGRAM, '{host}'); s.connect(('{host}', 7000)); s.send(b'over udp'); print(s.recv(100).decode())
            """);
        Assert.Equal("over tcp\nover udp\n", outcome.Output);
        Assert.Contains(upstream.Lines, line => line.StartsWith("tcp from", StringComparison.Ordinal) && line.EndsWith("over tcp", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(true, false, "10.83.1.2")]
    [InlineData(false, true, "fd83:1::2")]
    public async Task One_family_is_enough(bool hasV4, bool hasV6, string host)
    {
        await using PodNetwork network = await Rules.PodAsync(hasV4, hasV6);
        RunningProgram sidecar = await StandIn.SidecarAsync(network);
        await StandIn.UpstreamAsync(network, 7000);
        await network.SandboxAsync($"s = plain(SOCK_STREAM, '{host}'); s.connect(('{host}', 443)); s.sendall(b'request')");
        await sidecar.LineAsync(line => line == $"tcp to {host} 443 at 16001 request", "the connection");
        Outcome outcome = await network.SidecarAsync($"s = marked(SOCK_STREAM, '{host}'); s.connect(('{host}', 7000)); s.sendall(b'out'); print(s.recv(100).decode())");
        Assert.Equal("out\n", outcome.Output);
    }

    [Fact]
    public async Task IPv6_neighbours_are_found_after_both_sides_have_forgotten_them()
    {
        await using PodNetwork network = await Rules.PodAsync();
        await StandIn.UpstreamAsync(network, 7000);
        for (int turn = 0; turn < 2; turn++)
        {
            await network.Pod.RunAsync("ip", "-6", "neighbour", "flush", "all");
            if (turn == 1) await network.Node.RunAsync("ip", "-6", "neighbour", "flush", "all");
            Outcome outcome = await network.SidecarAsync("s = marked(SOCK_STREAM, 'fd83:1::2'); s.connect(('fd83:1::2', 7000)); s.sendall(b'out'); print(s.recv(100).decode())");
            Assert.Equal("out\n", outcome.Output);
        }

        // And when others speak first.
        await network.Node.RunAsync("ip", "-6", "neighbour", "flush", "all");
        await network.Pod.RunAsync("ip", "-6", "neighbour", "flush", "all");
        await Rules.ProbeAsync(network, "fd83:1::2");
    }

    [Theory]
    [InlineData("10.83.1.2")]
    [InlineData("fd83:1::2")]
    public async Task The_sidecar_learns_that_the_path_is_narrower(string host)
    {
        await using PodNetwork network = await Rules.PodAsync();
        await network.Node.RunAsync("ip", "link", "set", "up0", "mtu", "1300");
        RunningProgram upstream = network.StartUpstream(
            $"""
            l = listen('{host}', 7000); print('ready'); c, _ = l.accept(); total = 0
            while total < 200000: total += len(c.recv(65536))
            print('all')
            """);
        await upstream.LineAsync(line => line == "ready", "its being ready");
        Outcome outcome = await network.SidecarAsync($"s = marked(SOCK_STREAM, '{host}'); s.connect(('{host}', 7000)); s.sendall(b'x' * 200000); s.shutdown(SHUT_WR); s.recv(1)");
        Assert.True(outcome.Status == 0, outcome.ToString());
        Assert.Contains("all", upstream.Lines);
        // The path was narrow: the kernel knows now.
        Assert.Contains("mtu 1300", (await network.Pod.RunAsync("ip", "route", "get", host)).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Services_inside_the_pod_reach_each_other()
    {
        await using PodNetwork network = await Rules.PodAsync();
        await StandIn.SandboxServiceAsync(network, 8888);
        Outcome outcome = await network.SandboxAsync(
            """
            for host in ('127.0.0.1', '10.83.0.2', '::1', 'fd83::2'):
                for kind in (SOCK_STREAM, SOCK_DGRAM):
                    s = plain(kind, host); s.connect((host, 8888)); s.send(b'inside'); print(s.recv(100).decode())
            """);
        Assert.Equal(string.Concat(Enumerable.Repeat("inside\n", 8)), outcome.Output);
    }

    [Fact]
    public async Task Others_can_ping_the_pod()
    {
        await using PodNetwork network = await Rules.PodAsync();
        await PodNetwork.SetAsync(network.Upstream, "net.ipv4.ping_group_range=0 2147483647");
        Outcome outcome = await network.UpstreamAsync(
            """
            for host, proto, kind in (('10.83.0.2', IPPROTO_ICMP, 8), ('fd83::2', IPPROTO_ICMPV6, 128)):
                s = plain(SOCK_DGRAM, host, proto); s.sendto(struct.pack('!BBHHH', kind, 0, 0, 1, 1) + b'ping', (host, 0)); print(s.recv(100)[8:].decode())
            """);
        Assert.Equal("ping\nping\n", outcome.Output);
    }
}
