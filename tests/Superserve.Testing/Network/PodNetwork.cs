using System.Net;

namespace Superserve.Testing.Network;

/// <summary>
/// A pod, its node and a service behind the node, each a network namespace:
/// <code>
///   pod  eth0 10.83.0.2, fd83:0::2 ── 10.83.0.1, fd83:0::1 pod0  node  up0 10.83.1.1, fd83:1::1 ── 10.83.1.2, fd83:1::2 eth0  upstream
/// </code>
/// There is no way out of these. The node records what leaves the pod.
/// </summary>
public sealed class PodNetwork : IAsyncDisposable
{
    /// <summary>The mark of a sidecar's sockets, as the tests' own stand-ins for it set it.</summary>
    public const int SidecarMark = 0x5353;

    /// <summary>The pod's addresses.</summary>
    public static readonly IPAddress PodV4 = IPAddress.Parse("10.83.0.2"), PodV6 = IPAddress.Parse("fd83:0::2");

    /// <summary>The upstream's addresses.</summary>
    public static readonly IPAddress UpstreamV4 = IPAddress.Parse("10.83.1.2"), UpstreamV6 = IPAddress.Parse("fd83:1::2");

    private RunningProgram? _recorder;
    private int _forgotten = 1;

    private PodNetwork(NetworkNamespace pod, NetworkNamespace node, NetworkNamespace upstream) => (Pod, Node, Upstream) = (pod, node, upstream);

    /// <summary>Where the sandbox and the sidecar are.</summary>
    public NetworkNamespace Pod { get; }

    /// <summary>The router between.</summary>
    public NetworkNamespace Node { get; }

    /// <summary>Where services are, and others who connect to the pod.</summary>
    public NetworkNamespace Upstream { get; }

    /// <summary>Makes one. Recording what leaves the pod takes time that a measurement has not.</summary>
    public static async Task<PodNetwork> CreateAsync(bool hasV4 = true, bool hasV6 = true, bool isRecorded = true)
    {
        List<NetworkNamespace> made = [];
        try
        {
            foreach (string role in (string[])["pod", "node", "upstream"]) made.Add(await NetworkNamespace.CreateAsync(role));
            PodNetwork network = new(made[0], made[1], made[2]);
            await network.LinkAsync(network.Pod, "pod0", 0, hasV4, hasV6);
            await network.LinkAsync(network.Upstream, "up0", 1, hasV4, hasV6);
            // As a container runtime sets it.
            await SetAsync(network.Pod, "net.ipv4.ping_group_range=0 2147483647");
            await SetAsync(network.Node, "net.ipv4.ip_forward=1");
            await SetAsync(network.Node, "net.ipv6.conf.all.forwarding=1");
            if (!isRecorded) return network;
            network._recorder = network.Node.Start("python3", "-uc", Recorder);
            await network._recorder.LineAsync(line => line == "ready", "the recorder's start");
            return network;
        }
        catch
        {
            foreach (NetworkNamespace one in made) await one.DisposeAsync();
            throw;
        }
    }

    /// <summary>Sets a kernel parameter of a namespace, as <c>name=value</c>.</summary>
    public static Task SetAsync(NetworkNamespace network, string parameter) => network.RunAsync("sysctl", "-qw", parameter);

    /// <summary>
    /// Runs Python as a sandbox can: root, or another user, without any capability, and none to be had. It has what <see cref="Prelude"/>
    /// defines.
    /// </summary>
    public Task<Outcome> SandboxAsync(string python, int user = 0) => Pod.TryAsync("setpriv", SandboxArguments(user, ["python3", "-uc", Prelude + python]));

    /// <summary>Starts the same.</summary>
    public RunningProgram StartSandbox(string python, int user = 0) => Pod.Start("setpriv", SandboxArguments(user, ["python3", "-uc", Prelude + python]));

    /// <summary>Runs a program as root in a sandbox can.</summary>
    public Task<Outcome> SandboxCommandAsync(params string[] command) => Pod.TryAsync("setpriv", SandboxArguments(0, command));

    /// <summary>Starts the same.</summary>
    public RunningProgram StartSandboxCommand(params string[] command) => Pod.Start("setpriv", SandboxArguments(0, command));

    /// <summary>Starts a program in the pod as a sidecar runs: root with NET_RAW alone.</summary>
    public RunningProgram StartSidecarCommand(params string[] command) => Pod.Start("setpriv", SidecarCommand(command)[1..]);

    /// <summary>The command line that runs a program so.</summary>
    public static string[] SidecarCommand(params string[] command) => ["setpriv", .. SidecarPrivileges, .. command];

    /// <summary>Starts Python likewise.</summary>
    public RunningProgram StartSidecar(string python) => StartSidecarCommand("python3", "-uc", Prelude + python);

    /// <summary>Runs Python in the pod as a sidecar runs.</summary>
    public Task<Outcome> SidecarAsync(string python) => Pod.TryAsync("setpriv", [.. SidecarPrivileges, "python3", "-uc", Prelude + python]);

    /// <summary>Starts Python at the upstream, where it may do anything.</summary>
    public RunningProgram StartUpstream(string python) => Upstream.Start("python3", "-uc", Prelude + python);

    /// <summary>Runs Python at the upstream.</summary>
    public Task<Outcome> UpstreamAsync(string python) => Upstream.TryAsync("python3", "-uc", Prelude + python);

    /// <summary>Forgets what has left the pod: <see cref="LeftThePodAsync"/> begins here.</summary>
    public async Task ForgetAsync() => _forgotten = await MarkAsync();

    /// <summary>
    /// What has left the pod since then but neighbour discovery and ARP, one packet a line: protocol, source, destination, port, payload in
    /// hex. A marked packet is sent first and waited for, so that whatever left before it is in the list, and so that a recorder that
    /// does not work fails the test; it is not in the list.
    /// </summary>
    public async Task<IReadOnlyList<string>> LeftThePodAsync()
    {
        int end = await MarkAsync();
        return [.. _recorder!.Lines.Take(end - 1).Skip(_forgotten)];
    }

    /// <summary>Sends a marked packet, and says how many packets there are up to it.</summary>
    private async Task<int> MarkAsync()
    {
        string token = Guid.NewGuid().ToString("N");
        string host = (await Pod.RunAsync("ip", "-4", "address", "show", "eth0")).Output.Contains("inet ", StringComparison.Ordinal) ? UpstreamV4.ToString() : UpstreamV6.ToString();
        Outcome sent = await SidecarAsync($"marked(SOCK_DGRAM, '{host}').sendto(b'{token}', ('{host}', 9))");
        if (sent.Status != 0) throw new InvalidOperationException($"The marked packet cannot be sent: {sent}");
        string hex = Convert.ToHexStringLower(System.Text.Encoding.ASCII.GetBytes(token));
        string marker = await _recorder!.LineAsync(line => line.EndsWith(hex, StringComparison.Ordinal), "the marked packet");
        return _recorder.Lines.TakeWhile(line => line != marker).Count() + 1;
    }

    public async ValueTask DisposeAsync()
    {
        await Pod.DisposeAsync();
        await Upstream.DisposeAsync();
        await Node.DisposeAsync();
    }

    private async Task LinkAsync(NetworkNamespace end, string atNode, int subnet, bool hasV4, bool hasV6)
    {
        await Node.RunAsync("ip", "link", "add", atNode, "type", "veth", "peer", "name", "eth0", "netns", end.Name);
        // An address counts at once, without the check for a duplicate.
        if (hasV4) await Node.RunAsync("ip", "address", "add", $"10.83.{subnet}.1/24", "dev", atNode);
        if (hasV6) await Node.RunAsync("ip", "address", "add", $"fd83:{subnet}::1/64", "dev", atNode, "nodad");
        await Node.RunAsync("ip", "link", "set", atNode, "up");
        if (hasV4) await end.RunAsync("ip", "address", "add", $"10.83.{subnet}.2/24", "dev", "eth0");
        if (hasV6) await end.RunAsync("ip", "address", "add", $"fd83:{subnet}::2/64", "dev", "eth0", "nodad");
        await end.RunAsync("ip", "link", "set", "eth0", "up");
        if (hasV4) await end.RunAsync("ip", "route", "add", "default", "via", $"10.83.{subnet}.1");
        if (hasV6) await end.RunAsync("ip", "-6", "route", "add", "default", "via", $"fd83:{subnet}::1");
    }

    private static readonly string[] SidecarPrivileges = ["--bounding-set", "-all,+net_raw", "--inh-caps", "-all", "--ambient-caps", "-all", "--no-new-privs"];

    private static string[] SandboxArguments(int user, string[] command) =>
    [
        "--reuid", $"{user}", "--regid", $"{user}", "--clear-groups",
        "--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all", "--no-new-privs", .. command,
    ];

    /// <summary>Short forms that the tests' Python uses.</summary>
    private const string Prelude = """
        import os, struct, sys, time, errno
        from socket import *
        def family(host): return AF_INET6 if ':' in host else AF_INET
        def plain(kind, host, proto=0):
            s = socket(family(host), kind, proto); s.settimeout(20); return s
        def marked(kind, host, proto=0):
            s = plain(kind, host, proto); s.setsockopt(SOL_SOCKET, 36, 0x5353); return s
        def listen(host, port, kind=SOCK_STREAM):
            s = plain(kind, host); s.settimeout(None); s.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            if ':' in host: s.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
            s.bind((host, port))
            if kind == SOCK_STREAM: s.listen()
            return s
        def said(error): return errno.errorcode.get(error.errno, str(error)) if error.errno else type(error).__name__
        def attempt(what, action):
            try: print(what, 'did', action())
            except OSError as e: print(what, said(e))

        """;

    /// <summary>Prints each IP packet that the pod sends, except for neighbour and router discovery.</summary>
    private const string Recorder = """
        import ipaddress
        from socket import *
        s = socket(AF_PACKET, SOCK_DGRAM, htons(3)); s.bind(('pod0', 3))
        print('ready')
        while True:
            p, (_, kind, direction, _, _) = s.recvfrom(65536)
            if direction == 4 or kind not in (0x0800, 0x86dd): continue
            if kind == 0x0800: proto, source, target, rest = p[9], p[12:16], p[16:20], p[(p[0] & 15) * 4:]
            else: proto, source, target, rest = p[6], p[8:24], p[24:40], p[40:]
            if proto == 58 and rest[0] in (133, 135, 136): continue
            head = {6: (rest[12] >> 4) * 4 if len(rest) > 12 else 0, 17: 8}.get(proto, 0)
            print(proto, ipaddress.ip_address(source), ipaddress.ip_address(target), int.from_bytes(rest[2:4], 'big') if head else 0, rest[head:].hex() or '-')

        """;
}
