using Superserve.Testing.Network;

namespace Superserve.Network.Tests;

/// <summary>Programs that stand for a sidecar, a sandbox's service and an upstream. Each prints what it gets.</summary>
internal static class StandIn
{
    /// <summary>Listens where redirected connections and DNS arrive, and prints the original destination.</summary>
    public static async Task<RunningProgram> SidecarAsync(PodNetwork network)
    {
        RunningProgram sidecar = network.StartSidecar("""
            from threading import Thread
            def accept(host, l):
                while True:
                    c, _ = l.accept()
                    raw = c.getsockopt(41, 80, 28) if ':' in host else c.getsockopt(0, 80, 16)
                    address = inet_ntop(AF_INET6, raw[8:24]) if ':' in host else inet_ntop(AF_INET, raw[4:8])
                    print('tcp to', address, int.from_bytes(raw[2:4], 'big'), 'at', c.getsockname()[1], c.recv(100).decode())
                    c.sendall(b'hello from the sidecar'); c.close()
            def receive(host, s):
                while True:
                    data, peer = s.recvfrom(2000)
                    print('udp at 16053', host, data.decode()); s.sendto(b'answer', peer)
            for host in ('127.0.0.1', '::1'):
                for port in (16001, 16053): Thread(target=accept, args=(host, listen(host, port))).start()
                Thread(target=receive, args=(host, listen(host, 16053, SOCK_DGRAM))).start()
            print('ready')
            """);
        await ReadyAsync(sidecar);
        return sidecar;
    }

    /// <summary>Listens at the upstream on both families, TCP and UDP; says <c>hello</c> and prints what comes.</summary>
    public static Task<RunningProgram> UpstreamAsync(PodNetwork network, int port) => ReadyAsync(network.StartUpstream(Echo(port)));

    /// <summary>The same in the sandbox.</summary>
    public static Task<RunningProgram> SandboxServiceAsync(PodNetwork network, int port) => ReadyAsync(network.StartSandbox(Echo(port)));

    private static async Task<RunningProgram> ReadyAsync(RunningProgram program)
    {
        await program.LineAsync(line => line == "ready", "its being ready");
        return program;
    }

    /// <summary>Echoes what comes; a line on standard input goes to everybody who has spoken.</summary>
    private static string Echo(int port) => $$"""
        from threading import Thread
        say = []
        def stream(c, peer):
            say.append(c.sendall)
            while (data := c.recv(65536)):
                print('tcp from', peer[0], len(data), data[:40].decode()); c.sendall(data[:40])
        def accept(l):
            while True: Thread(target=stream, args=l.accept()).start()
        def receive(s):
            while True:
                data, peer = s.recvfrom(2000)
                say.append(lambda text: s.sendto(text, peer))
                print('udp from', peer[0], len(data), data[:40].decode()); s.sendto(data, peer)
        for host in ('0.0.0.0', '::'):
            Thread(target=accept, args=(listen(host, {{port}}),)).start()
            Thread(target=receive, args=(listen(host, {{port}}, SOCK_DGRAM),)).start()
        print('ready')
        for line in sys.stdin:
            for speak in say: attempt('said', lambda: speak(line.strip().encode()))
        """;
}
