using Superserve.Sidecar.Capture;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Network.Tests;

/// <summary>What a sandbox tries, as root without capabilities. Nothing of it leaves the pod.</summary>
public sealed class EscapeTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(65532)]
    public async Task No_user_is_exempt_not_even_the_sidecars(int user)
    {
        await using PodNetwork network = await Rules.PodAsync();
        Outcome outcome = await network.SandboxAsync(
            """
            attempt('tcp', lambda: plain(SOCK_STREAM, '10.83.1.2').connect(('10.83.1.2', 7000)))
            attempt('tcp6', lambda: plain(SOCK_STREAM, 'fd83:1::2').connect(('fd83:1::2', 7000)))
            attempt('udp', lambda: plain(SOCK_DGRAM, '10.83.1.2').sendto(b'secret', ('10.83.1.2', 7000)))
            attempt('udp6', lambda: plain(SOCK_DGRAM, 'fd83:1::2').sendto(b'secret', ('fd83:1::2', 7000)))
            attempt('dns', lambda: plain(SOCK_DGRAM, '10.83.1.2').sendto(b'secret', ('10.83.1.2', 53)))
            attempt('dns6', lambda: plain(SOCK_DGRAM, 'fd83:1::2').sendto(b'secret', ('fd83:1::2', 53)))
            """, user);
        // DNS goes to the sidecar, which is not there.
        Assert.Equal("tcp ECONNREFUSED\ntcp6 ECONNREFUSED\nudp EPERM\nudp6 EPERM\ndns did 6\ndns6 did 6\n", outcome.Output);
        Assert.Empty(await network.LeftThePodAsync());
    }

    [Fact]
    public async Task The_same_leaves_the_pod_where_there_are_no_rules()
    {
        await using PodNetwork network = await PodNetwork.CreateAsync();
        await network.SandboxAsync(
            """
            attempt('udp', lambda: plain(SOCK_DGRAM, '10.83.1.2').sendto(b'secret', ('10.83.1.2', 7000)))
            attempt('udp6', lambda: plain(SOCK_DGRAM, 'fd83:1::2').sendto(b'secret', ('fd83:1::2', 7000)))
            attempt('tcp', lambda: plain(SOCK_STREAM, '10.83.1.2').connect(('10.83.1.2', 7000)))
            """);
        IReadOnlyList<string> left = await network.LeftThePodAsync();
        Assert.Contains("17 10.83.0.2 10.83.1.2 7000 736563726574", left);
        Assert.Contains("17 fd83::2 fd83:1::2 7000 736563726574", left);
        Assert.Contains(left, line => line.StartsWith("6 10.83.0.2 10.83.1.2 7000", StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_mark_raw_sockets_and_the_rules_are_refused()
    {
        await using PodNetwork network = await Rules.PodAsync();
        string rules = await Rules.ListStatelessAsync(network.Pod);
        Outcome outcome = await network.SandboxAsync(
            """
            attempt('mark', lambda: marked(SOCK_DGRAM, '10.83.1.2'))
            def in_message():
                s = plain(SOCK_DGRAM, '10.83.1.2')
                return s.sendmsg([b'secret'], [(SOL_SOCKET, 36, struct.pack('I', 0x5353))], 0, ('10.83.1.2', 7000))
            attempt('mark in a message', in_message)
            attempt('raw', lambda: socket(AF_INET, SOCK_RAW, IPPROTO_RAW))
            attempt('raw6', lambda: socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6))
            attempt('packet', lambda: socket(AF_PACKET, SOCK_RAW, 0))
            attempt('transparent', lambda: plain(SOCK_STREAM, '10.83.1.2').setsockopt(IPPROTO_IP, 19, 1))
            print('nft', os.system('nft flush ruleset 2>/dev/null') != 0)
            print('ip', os.system('ip link set lo down 2>/dev/null') != 0)
            """);
        Assert.Equal("mark EPERM\nmark in a message EPERM\nraw EPERM\nraw6 EPERM\npacket EPERM\ntransparent EPERM\nnft True\nip True\n", outcome.Output);
        Assert.Empty(await network.LeftThePodAsync());
        Assert.Equal(rules, await Rules.ListStatelessAsync(network.Pod));
    }

    [Fact]
    public async Task A_user_namespace_gives_no_right_over_the_pods_network()
    {
        await using PodNetwork network = await Rules.PodAsync();
        Outcome outcome = await network.SandboxAsync(
            """
            inner = '''
            from socket import *
            for what in (lambda: socket(AF_INET, SOCK_DGRAM).setsockopt(SOL_SOCKET, 36, 0x5353), lambda: socket(AF_INET, SOCK_RAW, 255), lambda: socket(AF_PACKET, SOCK_RAW, 0)):
                try: what(); print("did")
                except OSError as e: print(e.errno)
            '''
            import subprocess
            print(subprocess.run(['unshare', '-Ur', 'python3', '-c', inner], capture_output=True, text=True).stdout.split())
            own = '''
            from socket import *
            s = socket(AF_INET, SOCK_DGRAM); s.setsockopt(SOL_SOCKET, 36, 0x5353)
            try: s.sendto(b"secret", ("10.83.1.2", 7000))
            except OSError as e: print(e.errno)
            '''
            print(subprocess.run(['unshare', '-Urn', 'python3', '-c', own], capture_output=True, text=True).stdout.split())
            """, user: 65532);
        // Refused in the pod's network; unreachable from a network of one's own.
        Assert.Equal("['1', '1', '1']\n['101']\n", outcome.Output);
        Assert.Empty(await network.LeftThePodAsync());
    }

    [Fact]
    public async Task A_socket_bound_to_the_outer_interface_gets_nowhere()
    {
        await using PodNetwork network = await Rules.PodAsync();
        Outcome outcome = await network.SandboxAsync(
            """
            def bound(kind, target):
                s = plain(kind, target); s.setsockopt(SOL_SOCKET, 25, b'eth0\0'); s.settimeout(1); return s
            for target in ('10.83.1.2', '127.0.0.1', '10.83.0.1', '10.83.0.2', 'fd83:1::2', '::1', 'fd83::1', 'fe80::1'):
                for port in (7000, 53, 443, 16001, 16053):
                    for kind in (SOCK_STREAM, SOCK_DGRAM):
                        def go():
                            s = bound(kind, target); s.connect((target, port)); s.send(b'secret'); return s
                        attempt('try', go)
            print('end')
            """);
        Assert.EndsWith("end\n", outcome.Output, StringComparison.Ordinal);
        Assert.Empty(await network.LeftThePodAsync());
    }

    [Fact]
    public async Task Other_ways_into_the_network_get_nowhere()
    {
        await using PodNetwork network = await Rules.PodAsync();
        Outcome outcome = await network.SandboxAsync(
            """
            def ping(host, proto, kind):
                s = plain(SOCK_DGRAM, host, proto); return s.sendto(struct.pack('!BBHHH', kind, 0, 0, 1, 1) + b'secret', (host, 0))
            attempt('ping', lambda: ping('10.83.1.2', IPPROTO_ICMP, 8))
            attempt('ping6', lambda: ping('fd83:1::2', IPPROTO_ICMPV6, 128))
            def multicast(host, join):
                s = plain(SOCK_DGRAM, host); join(s); return s.sendto(b'secret', (host, 7000))
            attempt('multicast', lambda: multicast('239.1.2.3', lambda s: s.setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, inet_aton('239.1.2.3') + inet_aton('10.83.0.2'))))
            attempt('multicast6', lambda: multicast('ff02::1234', lambda s: s.setsockopt(IPPROTO_IPV6, IPV6_JOIN_GROUP, inet_pton(AF_INET6, 'ff02::1234') + struct.pack('I', if_nametoindex('eth0')))))
            attempt('broadcast', lambda: multicast('10.83.0.255', lambda s: s.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)))
            attempt('broadcast to all', lambda: multicast('255.255.255.255', lambda s: s.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)))
            # Not every kernel has the rest.
            for host in ('10.83.1.2', 'fd83:1::2'):
                attempt('other', lambda: socket(family(host), SOCK_DGRAM, 136).sendto(b'secret', (host, 7000)))
                attempt('other', lambda: plain(SOCK_STREAM, host, 132).connect((host, 7000)))
                attempt('other', lambda: plain(SOCK_SEQPACKET, host, 132).connect((host, 7000)))
                attempt('other', lambda: plain(SOCK_STREAM, host, 262).connect((host, 7000)))
                attempt('other', lambda: plain(SOCK_STREAM, host).sendto(b'secret', MSG_FASTOPEN, (host, 7000)))
                attempt('other', lambda: plain(6, host, 33).connect((host, 7000)))
            """);
        Assert.StartsWith("ping EPERM\nping6 did 14\nmulticast EPERM\nmulticast6 EPERM\nbroadcast EPERM\nbroadcast to all EPERM\n", outcome.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("other did", outcome.Output, StringComparison.Ordinal);
        Assert.Empty(await network.LeftThePodAsync());
    }

    [Fact]
    public async Task A_source_that_is_not_the_pods_gets_no_answer_outside()
    {
        await using PodNetwork network = await Rules.PodAsync();
        await StandIn.SidecarAsync(network);
        await StandIn.SandboxServiceAsync(network, 8888);
        Rules.Order(network, ControlAddress.Open, port: 1);
        // IPV6_FREEBIND takes no capability: what is sent to the pod itself says that it comes from outside, and answers would go there.
        Outcome outcome = await network.SandboxAsync(
            """
            def forged(kind, proto=0):
                s = plain(kind, '::', proto); s.setsockopt(IPPROTO_IPV6, 78, 1); s.settimeout(0.2); s.bind(('fd83:1::66', 0)); return s
            for host in ('fd83::2', '::1', 'fd83:1::2'):
                attempt('try', lambda: forged(SOCK_DGRAM, IPPROTO_ICMPV6).sendto(struct.pack('!BBHHH', 128, 0, 0, 1, 1) + b'secret', (host, 0)))
                for port in (8888, 9999, 16001, 16021, 16053, 16090):
                    attempt('try', lambda: forged(SOCK_STREAM).connect((host, port)))
                    attempt('try', lambda: forged(SOCK_DGRAM).sendto(b'secret', (host, port)))
            print('end')
            """);
        Assert.EndsWith("end\n", outcome.Output, StringComparison.Ordinal);
        Assert.Empty(await network.LeftThePodAsync());
    }

    [Theory]
    [InlineData("10.83.1.2")]
    [InlineData("fd83:1::2")]
    public async Task QUIC_fails_at_once(string host)
    {
        await using PodNetwork network = await Rules.PodAsync();
        Outcome outcome = await network.SandboxAsync(
            $"""
            s = plain(SOCK_DGRAM, '{host}'); s.connect(('{host}', 443))
            attempt('send', lambda: s.send(b'secret'))
            attempt('receive', lambda: s.recv(100))
            """);
        Assert.Equal("send EPERM\nreceive ECONNREFUSED\n", outcome.Output);
        Assert.Empty(await network.LeftThePodAsync());
    }

    [Theory]
    [InlineData("10.83.1.2", false)]
    [InlineData("10.83.1.2", true)]
    [InlineData("fd83:1::2", false)]
    [InlineData("fd83:1::2", true)]
    public async Task A_TCP_connection_from_before_the_rules_ends_whatever_its_peer_sends(string host, bool isTracked)
    {
        await using PodNetwork network = await PodNetwork.CreateAsync();
        if (isTracked) await TrackAsync(network);
        RunningProgram upstream = await StandIn.UpstreamAsync(network, 7000);
        RunningProgram sandbox = network.StartSandbox(
            $"""
            s = plain(SOCK_STREAM, '{host}'); s.connect(('{host}', 7000)); s.sendall(b'before')
            print('port', s.getsockname()[1]); print(s.recv(100).decode())
            for line in sys.stdin: attempt(line.strip(), lambda: s.sendall(line.strip().encode()))
            """);
        await sandbox.LineAsync(line => line == "before", "the echo");
        string port = sandbox.Lines[0].Split(' ')[1];
        await Rules.InstallAsync(network);
        Rules.Order(network, ControlAddress.Open, port: 1);

        await upstream.WriteLineAsync("more");
        await upstream.LineAsync(line => line.StartsWith("said", StringComparison.Ordinal), "what the peer says late");
        // A SYN, as if the peer opened a connection between the same ports.
        Outcome late = await network.UpstreamAsync(
            $"""
            host, pod = '{host}', '{(host.Contains(':', StringComparison.Ordinal) ? PodNetwork.PodV6 : PodNetwork.PodV4)}'
            def segment(checksum): return struct.pack('!HHIIBBHHH', 7000, {port}, 1000, 0, 5 << 4, 2, 65535, checksum, 0)
            s = socket(family(host), SOCK_RAW, IPPROTO_TCP)
            if family(host) == AF_INET6: s.setsockopt(IPPROTO_IPV6, 7, 16); s.sendto(segment(0), (pod, 0))
            else:
                words = struct.unpack('!16H', inet_aton(host) + inet_aton(pod) + struct.pack('!HH', 6, 20) + segment(0))
                total = sum(words); total = (total & 65535) + (total >> 16); total = (total & 65535) + (total >> 16)
                s.sendto(segment(65535 - total), (pod, 0))
            """);
        Assert.True(late.Status == 0, late.ToString());
        await sandbox.WriteLineAsync("secret");
        await sandbox.LineAsync(line => line.StartsWith("secret", StringComparison.Ordinal), "the attempt");
        await sandbox.WriteLineAsync("secret again");
        await sandbox.LineAsync(line => line.StartsWith("secret again", StringComparison.Ordinal), "the second attempt");
        Assert.Empty(await network.LeftThePodAsync());
        Assert.DoesNotContain(upstream.Lines, line => line.Contains("secret", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("10.83.1.2", false, true)]
    [InlineData("10.83.1.2", false, false)]
    [InlineData("10.83.1.2", true, false)]
    [InlineData("fd83:1::2", false, true)]
    [InlineData("fd83:1::2", false, false)]
    [InlineData("fd83:1::2", true, false)]
    public async Task A_UDP_flow_from_before_the_rules_ends_whatever_its_peer_sends(string host, bool isTracked, bool isConnected)
    {
        await using PodNetwork network = await PodNetwork.CreateAsync();
        if (isTracked) await TrackAsync(network);
        RunningProgram upstream = await StandIn.UpstreamAsync(network, 7000);
        RunningProgram sandbox = network.StartSandbox(
            $"""
            s = plain(SOCK_DGRAM, '{host}'); s.bind(('', 7001))
            if {isConnected}: s.connect(('{host}', 7000))
            def send(text): return s.send(text) if {isConnected} else s.sendto(text, ('{host}', 7000))
            send(b'before'); print(s.recv(100).decode())
            for line in sys.stdin: attempt(line.strip(), lambda: send(line.strip().encode()))
            """);
        await sandbox.LineAsync(line => line == "before", "the echo");
        await Rules.InstallAsync(network);
        Rules.Order(network, ControlAddress.Open, port: 1);

        await upstream.WriteLineAsync("more");
        await upstream.LineAsync(line => line.StartsWith("said", StringComparison.Ordinal), "what the peer says late");
        // The node has passed it on before this, which comes behind it.
        await Rules.ProbeAsync(network, host);
        await sandbox.WriteLineAsync("secret");
        await sandbox.LineAsync(line => line.StartsWith("secret", StringComparison.Ordinal), "the attempt");
        Assert.DoesNotContain(await network.LeftThePodAsync(), line => line.StartsWith("17 ", StringComparison.Ordinal));
        Assert.DoesNotContain(upstream.Lines, line => line.Contains("secret", StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_sidecars_ports_and_loopback_lead_nowhere_else_and_metrics_are_closed_to_the_sandbox()
    {
        await using PodNetwork network = await Rules.PodAsync();
        RunningProgram metrics = network.StartSidecar(
            """
            from threading import Thread
            def accept(l):
                l.setsockopt(SOL_SOCKET, 36, 0x5353)
                while True: l.accept()[0].sendall(b'metrics')
            for host in ('0.0.0.0', '::'): Thread(target=accept, args=(listen(host, 16090),)).start()
            print('ready')
            """);
        await metrics.LineAsync(line => line == "ready", "its being ready");
        Outcome outcome = await network.SandboxAsync(
            """
            for host in ('127.0.0.1', '127.1.2.3', '10.83.0.2', '::1', 'fd83::2'):
                attempt(host, lambda: plain(SOCK_STREAM, host).connect((host, 16090)))
            """);
        Assert.Equal("127.0.0.1 ECONNREFUSED\n127.1.2.3 ECONNREFUSED\n10.83.0.2 ECONNREFUSED\n::1 ECONNREFUSED\nfd83::2 ECONNREFUSED\n", outcome.Output);
        Assert.Empty(await network.LeftThePodAsync());
        Outcome prometheus = await network.UpstreamAsync(
            """
            for host in ('10.83.0.2', 'fd83::2'):
                s = plain(SOCK_STREAM, host); s.connect((host, 16090)); print(s.recv(100).decode())
            """);
        Assert.Equal("metrics\nmetrics\n", prometheus.Output);
    }

    [Fact]
    public async Task The_pod_is_no_router()
    {
        await using PodNetwork network = await Rules.PodAsync();
        await PodNetwork.SetAsync(network.Pod, "net.ipv4.ip_forward=1");
        await network.Upstream.RunAsync("ip", "route", "add", "10.99.0.0/24", "via", "10.83.1.1");
        await network.Node.RunAsync("ip", "route", "add", "10.99.0.0/24", "via", "10.83.0.2");
        await network.UpstreamAsync("plain(SOCK_DGRAM, '10.99.0.1').sendto(b'secret', ('10.99.0.1', 7000))");
        await Rules.ProbeAsync(network, "10.83.1.2");
        Assert.DoesNotContain(await network.LeftThePodAsync(), line => line.StartsWith("17 ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task What_was_blocked_is_counted_by_protocol()
    {
        await using PodNetwork network = await Rules.PodAsync();
        await network.SandboxAsync(
            """
            for _ in range(3): attempt('udp', lambda: plain(SOCK_DGRAM, '10.83.1.2').sendto(b'secret', ('10.83.1.2', 7000)))
            for _ in range(2): attempt('quic', lambda: plain(SOCK_DGRAM, 'fd83:1::2').sendto(b'secret', ('fd83:1::2', 443)))
            """);
        string counters = string.Join(' ', (await network.Pod.RunAsync("nft", "list", "counters")).Output.Split(default(char[]), StringSplitOptions.RemoveEmptyEntries));
        Assert.Contains("counter blocked_udp { packets 3 ", counters, StringComparison.Ordinal);
        Assert.Contains("counter blocked_quic { packets 2 ", counters, StringComparison.Ordinal);
        Assert.Contains("counter blocked_tcp { packets 0 ", counters, StringComparison.Ordinal);
    }

    /// <summary>Connection tracking is at work before the rules are.</summary>
    private static async Task TrackAsync(PodNetwork network) =>
        await network.Pod.RunAsync("nft", "add table inet before; add chain inet before output { type filter hook output priority 0; }; add rule inet before output ct state new counter");
}
