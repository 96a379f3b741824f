using System.Net;
using System.Security.Cryptography.X509Certificates;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Benchmarks.Network;

/// <summary>What is between the clients and the services.</summary>
internal enum Way
{
    /// <summary>Nothing: the ceiling.</summary>
    Direct,

    /// <summary>A plain redirect to nginx's stream module, which passes each port on to a fixed address.</summary>
    Nginx,

    /// <summary>The rules and the built sidecar, as a pod has them.</summary>
    Sidecar,
}

/// <summary>A pod with its own services behind a node, and one way to them.</summary>
internal sealed class BenchPod : IAsyncDisposable
{
    /// <summary>A name that a secret is bound to, and one that is not.</summary>
    public const string BoundHost = "api.example.com", TunnelledHost = "free.example.net";

    /// <summary>Public by its form; nothing leads out of the namespaces.</summary>
    public static readonly IPAddress Service = IPAddress.Parse("45.83.1.2");

    private readonly Way _way;
    private readonly Setup _setup = new();
    private readonly string _etc;
    private Services? _services;
    private RunningProgram? _proxy;

    private BenchPod(PodNetwork network, Way way)
    {
        Network = network;
        _way = way;
        _etc = $"/etc/netns/{network.Pod.Name}";
    }

    public PodNetwork Network { get; }

    /// <summary>Whose certificates the clients see, in PEM.</summary>
    public string Authority { get; private set; } = TestAuthority.Pem;

    /// <summary>What the clients send as their token.</summary>
    public string StandIn { get; private set; } = "any";

    public static async Task<BenchPod> StartAsync(Way way)
    {
        BenchPod pod = new(await PodNetwork.CreateAsync(hasV6: false, isRecorded: false), way);
        try
        {
            await pod.StartAsync();
            return pod;
        }
        catch
        {
            await pod.DisposeAsync();
            throw;
        }
    }

    /// <summary>The proxy's processor time so far.</summary>
    public TimeSpan ProxyCpu() => ProcessUsage.Cpu(_proxy);

    /// <summary>The proxy's resident memory in bytes.</summary>
    public long ProxyMemory() => ProcessUsage.Memory(_proxy);

    public async ValueTask DisposeAsync()
    {
        await Network.DisposeAsync();
        _services?.Dispose();
        if (Directory.Exists(_etc)) Directory.Delete(_etc, recursive: true);
        Directory.Delete(_setup.Directory, recursive: true);
    }

    private async Task StartAsync()
    {
        await Network.Upstream.RunAsync("ip", "address", "add", $"{Service}/32", "dev", "eth0");
        await Network.Node.RunAsync("ip", "route", "add", $"{Service}/32", "via", PodNetwork.UpstreamV4.ToString());
        // Each client opens thousands of connections to one address: their ports must not run out.
        await PodNetwork.SetAsync(Network.Pod, "net.ipv4.ip_local_port_range=20000 65000");
        await PodNetwork.SetAsync(Network.Pod, "net.ipv4.tcp_tw_reuse=1");
        _services = new Services(Network.Upstream, Service);
        await StartUpstreamNginxAsync();
        switch (_way)
        {
            case Way.Nginx:
                await StartNginxAsync();
                break;
            case Way.Sidecar:
                await StartSidecarAsync();
                break;
        }

        // Nor must the kernel's table of connections, which is one for all namespaces.
        if (_way != Way.Direct) await PodNetwork.SetAsync(Network.Pod, "net.netfilter.nf_conntrack_tcp_timeout_time_wait=2");
    }

    /// <summary>The TLS service is nginx: full handshakes only, and connections that are kept as long as a client likes.</summary>
    private async Task StartUpstreamNginxAsync()
    {
        using X509Certificate2 certificate = TestAuthority.Issue(BoundHost);
        File.WriteAllText(Path.Combine(_setup.Directory, "service.key"), certificate.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
        File.WriteAllText(Path.Combine(_setup.Directory, "service.crt"), certificate.ExportCertificatePem());
        RunningProgram nginx = Programs.StartNginx(Network.Upstream, _setup.Directory, "upstream", $$"""
            http {
                access_log off;
                keepalive_requests 100000000;
                server {
                    listen {{Service}}:443 ssl;
                    ssl_certificate {{_setup.Directory}}/service.crt;
                    ssl_certificate_key {{_setup.Directory}}/service.key;
                    ssl_protocols TLSv1.3;
                    ssl_session_tickets off;
                    ssl_session_cache off;
                    location / { return 200 "ok"; }
                }
            }
            """);
        await Programs.ReachableAsync(Network.Upstream, nginx, Service, 443);
    }

    private async Task StartNginxAsync()
    {
        int[] ports = [443, Services.Answer, Services.Stream, Services.Hold];
        _proxy = Programs.StartNginx(Network.Pod, _setup.Directory, "proxy", $$"""
            stream {
                {{string.Join('\n', ports.Select(port => $"server {{ listen 127.0.0.1:{10_000 + port}; proxy_pass {Service}:{port}; }}"))}}
            }
            """);
        await Programs.ReachableAsync(Network.Pod, _proxy, IPAddress.Loopback, 10_000 + Services.Answer);
        // It cannot mark its sockets: its workers' user is what is let out.
        string rules = Path.Combine(_setup.Directory, "redirect.nft");
        File.WriteAllText(rules, $$"""
            table ip bench {
                chain output {
                    type nat hook output priority -100
                    meta skuid www-data return
                    {{string.Join('\n', ports.Select(port => $"tcp dport {port} redirect to :{10_000 + port}"))}}
                }
            }
            """);
        await Network.Pod.RunAsync("nft", "-f", rules);
    }

    private async Task StartSidecarAsync()
    {
        Directory.CreateDirectory(_etc);
        File.WriteAllText(Path.Combine(_etc, "resolv.conf"), $"nameserver {PodNetwork.UpstreamV4}\n");
        _setup.Bearer("API_TOKEN", "the-real-credential-0123456789", BoundHost)
            .With("capture", "\"Transparent\"").With("healthAddress", "\"0.0.0.0:16021\"").With("metricsAddress", "\"0.0.0.0:16090\"").With("proxyAddress", "\"127.0.0.1:16002\"").With("stateDirectory", "\"state\"")
            .Save();
        await Network.Pod.RunAsync(Repository.Sidecar, "init-network");
        _proxy = Network.StartSidecarCommand(Repository.Sidecar, "run", "--config", _setup.FilePath);
        await Programs.ReachableAsync(Network.Pod, _proxy, IPAddress.Loopback, 16002);
        string trust = Path.Combine(_setup.Directory, "trust");
        Authority = File.ReadAllText(Path.Combine(trust, "ca.crt"));
        StandIn = File.ReadAllLines(Path.Combine(trust, "env")).Single(line => line.StartsWith("API_TOKEN=", StringComparison.Ordinal))["API_TOKEN=".Length..];
    }
}
