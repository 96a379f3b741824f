using System.Collections.Immutable;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Superserve.Sidecar.Capture;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Network.Tests;

/// <summary>Who may connect to the pod, and that the sidecar alone decides it.</summary>
public sealed class InboundTests
{
    private readonly FakeTimeProvider _time = new();

    [Theory]
    [InlineData("10.83.0.2")]
    [InlineData("fd83::2")]
    public async Task Allowed_ports_answer_over_TCP_and_UDP_and_others_do_not(string pod)
    {
        await using PodNetwork network = await Rules.PodAsync();
        await StandIn.SandboxServiceAsync(network, 8888);
        RunningProgram other = await StandIn.SandboxServiceAsync(network, 9999);
        using CaptureControl control = network.Pod.Enter(() => new CaptureControl());
        using InboundLease lease = Lease(control);
        lease.Set([8888]);
        Assert.Equal("tcp 8888\nudp 8888\n", (await network.UpstreamAsync(Ask(pod, 8888))).Output);
        Assert.Equal("tcp timed out\nudp timed out\n", (await network.UpstreamAsync(Ask(pod, 9999, seconds: 1))).Output);
        Assert.Equal(["ready"], other.Lines);
        lease.Set([9999]);
        Assert.Equal("tcp 9999\nudp 9999\n", (await network.UpstreamAsync(Ask(pod, 9999))).Output);
        lease.Set(null);
        Assert.StartsWith("tcp 8888\n", (await network.UpstreamAsync(Ask(pod, 8888, seconds: 1))).Output, StringComparison.Ordinal);
        Assert.StartsWith("tcp 9999\n", (await network.UpstreamAsync(Ask(pod, 9999, seconds: 1))).Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("10.83.0.2", true)]
    [InlineData("10.83.0.2", false)]
    [InlineData("fd83::2", true)]
    [InlineData("fd83::2", false)]
    public async Task Withdrawing_a_port_ends_its_connections(string pod, bool isOpen)
    {
        await using PodNetwork network = await Rules.PodAsync();
        RunningProgram service = await StandIn.SandboxServiceAsync(network, 8888);
        using CaptureControl control = network.Pod.Enter(() => new CaptureControl());
        using InboundLease lease = Lease(control);
        lease.Set(isOpen ? null : [8888]);
        RunningProgram client = network.StartUpstream(
            $"""
            s = plain(SOCK_STREAM, '{pod}'); s.connect(('{pod}', 8888)); s.sendall(b'while allowed'); print(s.recv(100).decode())
            for line in sys.stdin: attempt('said', lambda: s.sendall(line.strip().encode()))
            """);
        await client.LineAsync(line => line == "while allowed", "the echo");

        lease.Set([]);
        await network.ForgetAsync();
        await client.WriteLineAsync("after it");
        await client.LineAsync(line => line.StartsWith("said", StringComparison.Ordinal), "what others say late");
        await Rules.ProbeAsync(network, pod);
        await service.WriteLineAsync("secret");
        await service.LineAsync(line => line.StartsWith("said", StringComparison.Ordinal), "what the sandbox says late");
        Assert.DoesNotContain(await network.LeftThePodAsync(), line => line.Contains("736563726574", StringComparison.Ordinal));
        Assert.DoesNotContain(service.Lines, line => line.Contains("after it", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Without_a_sidecar_only_probes_and_Prometheus_get_in()
    {
        await using PodNetwork network = await Rules.PodAsync();
        await StandIn.SandboxServiceAsync(network, 8888);
        Assert.Equal("tcp timed out\nudp timed out\n", (await network.UpstreamAsync(Ask("10.83.0.2", 8888, seconds: 1))).Output);
        foreach (string host in (string[])["10.83.0.2", "fd83::2"])
        {
            Assert.StartsWith("tcp refused\n", (await network.UpstreamAsync(Ask(host, 16021, seconds: 1))).Output, StringComparison.Ordinal);
            Assert.StartsWith("tcp refused\n", (await network.UpstreamAsync(Ask(host, 16090, seconds: 1))).Output, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public async Task A_port_is_renewed_while_the_sidecar_runs_and_forgotten_without_it(bool hasV4, bool hasV6)
    {
        await using PodNetwork network = await Rules.PodAsync(hasV4, hasV6);
        using CaptureControl control = network.Pod.Enter(() => new CaptureControl());
        using InboundLease lease = Lease(control);
        lease.Set([8888]);
        Assert.Matches("elements = \\{ 8888 expires [0-9smh]+ \\}", await SetAsync(network, "allow_in"));
        Assert.Contains("timeout 30s", await SetAsync(network, "allow_in"), StringComparison.Ordinal);
        // As if the time were up.
        await network.Pod.RunAsync("nft", "flush", "set", "inet", "superserve", "allow_in");
        await lease.StartAsync(CancellationToken.None);
        await Eventually.True(() => Holds(network, "allow_in", "8888"), "the renewal", _time, TimeSpan.FromSeconds(5));
        lease.Set(null);
        Assert.DoesNotContain("8888", await SetAsync(network, "allow_in"), StringComparison.Ordinal);
        await network.Pod.RunAsync("nft", "flush", "set", "inet", "superserve", "open_in");
        await Eventually.True(() => Holds(network, "open_in", "expires"), "the renewal of all ports", _time, TimeSpan.FromSeconds(5));
        await lease.StopAsync(CancellationToken.None);
    }

    [Fact]
    public async Task As_many_ports_as_the_rules_hold_can_be_open_and_more_are_refused()
    {
        await using PodNetwork network = await Rules.PodAsync();
        using CaptureControl control = network.Pod.Enter(() => new CaptureControl());
        using InboundLease lease = Lease(control);
        ImmutableArray<int> ports = [.. Enumerable.Range(1000, 128)];
        lease.Set(ports);
        string set = await SetAsync(network, "allow_in");
        Assert.All(ports, port => Assert.Contains($" {port} expires", set.ReplaceLineEndings(" "), StringComparison.Ordinal));
        Assert.Throws<ArgumentException>(() => lease.Set([.. ports, 1]));
    }

    [Fact]
    public async Task The_sandbox_gives_the_rules_no_orders()
    {
        await using PodNetwork network = await Rules.PodAsync();
        Rules.Order(network, ControlAddress.AllowPort, 8888);
        await network.SandboxAsync(
            """
            s = plain(SOCK_DGRAM, '127.0.0.1')
            for order in range(1, 7):
                for port in (8888, 9999): attempt(order, lambda: s.sendto(b'', (f'127.83.83.{order}', port)))
            """);
        string allowed = await SetAsync(network, "allow_in");
        Assert.Contains("8888", allowed, StringComparison.Ordinal);
        Assert.DoesNotContain("9999", allowed, StringComparison.Ordinal);
        Assert.DoesNotContain("elements", await SetAsync(network, "open_in"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public async Task The_sidecar_notices_that_the_rules_are_gone_and_back(bool hasV4, bool hasV6)
    {
        await using PodNetwork network = await Rules.PodAsync(hasV4, hasV6);
        using CaptureControl control = network.Pod.Enter(() => new CaptureControl());
        using InboundLease lease = Lease(control);
        Assert.True(lease.RulesAreInForce);
        await lease.StartAsync(CancellationToken.None);
        await Rules.InitNetworkAsync(network.Pod, "--remove");
        await Eventually.True(() => !lease.RulesAreInForce, "the rules' being gone", _time, TimeSpan.FromSeconds(5));
        await Rules.InitNetworkAsync(network.Pod);
        await Eventually.True(() => lease.RulesAreInForce, "the rules' being back", _time, TimeSpan.FromSeconds(5));
        await lease.StopAsync(CancellationToken.None);
    }

    private InboundLease Lease(CaptureControl control) => new(control, _time, NullLogger<InboundLease>.Instance);

    private static async Task<string> SetAsync(PodNetwork network, string set) => (await network.Pod.RunAsync("nft", "list", "set", "inet", "superserve", set)).Output;

    private static bool Holds(PodNetwork network, string set, string text) => SetAsync(network, set).GetAwaiter().GetResult().Contains(text, StringComparison.Ordinal);

    /// <summary>Connects and prints what the echo says; a packet that is dropped shows in that no answer comes.</summary>
    private static string Ask(string pod, int port, int seconds = 20) => $"""
        for name, kind in (('tcp', SOCK_STREAM), ('udp', SOCK_DGRAM)):
            s = plain(kind, '{pod}'); s.settimeout({seconds})
            try: s.connect(('{pod}', {port})); s.send(b'{port}'); print(name, s.recv(100).decode())
            except ConnectionRefusedError: print(name, 'refused')
            except TimeoutError: print(name, 'timed out')
        """;
}
