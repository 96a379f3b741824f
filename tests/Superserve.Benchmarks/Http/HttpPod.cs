using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Superserve.Benchmarks.Network;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Benchmarks.Http;

/// <summary>What ends the clients' TLS, replaces the token, and asks the service.</summary>
internal enum Proxy
{
    /// <summary>Nothing: the clients hold the credential. The ceiling.</summary>
    Direct,

    /// <summary>nginx as it is usually set up: with an access log, and buffering what the service answers.</summary>
    Nginx,

    /// <summary>nginx without a log, passing answers on as they come.</summary>
    NginxStreaming,

    /// <summary>mitmproxy with an addon of a few lines.</summary>
    Mitmproxy,

    /// <summary>The rules and the built sidecar, as a pod has them.</summary>
    Sidecar,
}

/// <summary>A pod with a service behind a node, and one proxy that all its TLS is led to: its clients know of none.</summary>
internal sealed class HttpPod : IAsyncDisposable
{
    /// <summary>The service's name.</summary>
    public const string Host = "api.example.com";

    /// <summary>What the service accepts. The short one is too short to be scrubbed from bodies.</summary>
    public const string Credential = "sk-the-real-credential-0123456789abcdef", ShortCredential = "short-key";

    /// <summary>The port that all but the sidecar are reached at.</summary>
    private const int RedirectPort = 10443;

    /// <summary>Public by its form; nothing leads out of the namespaces.</summary>
    public static readonly IPAddress Service = IPAddress.Parse("45.83.1.2");

    private readonly Setup _setup = new();
    private readonly ServedFiles _files;
    private readonly string _etc;
    private readonly List<IDisposable> _services = [];
    private RunningProgram? _proxy;

    private HttpPod(PodNetwork network, Proxy proxy, ServedFiles files)
    {
        Network = network;
        Kind = proxy;
        _files = files;
        _etc = $"/etc/netns/{network.Pod.Name}";
    }

    public Proxy Kind { get; }

    public PodNetwork Network { get; }

    /// <summary>What the clients send as their token, for a credential that is scrubbed and for one that is not.</summary>
    public string Token => Kind == Proxy.Direct ? Credential : "stand-in-0123456789abcdef-scrubbed";

    public string ShortToken => Kind == Proxy.Direct ? ShortCredential : "stand-in-0123456789abcdef-unscrubbed";

    public static async Task<HttpPod> StartAsync(Proxy proxy, ServedFiles files)
    {
        HttpPod pod = new(await PodNetwork.CreateAsync(hasV6: false, isRecorded: false), proxy, files);
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

    /// <summary>The proxy's resident memory in bytes, and how much of it is its own.</summary>
    public (long All, long Private) ProxyMemory() => (ProcessUsage.Memory(_proxy), ProcessUsage.PrivateMemory(_proxy));

    /// <summary>A connection with TLS to the service's address; whose certificate it sees does not matter here.</summary>
    public static SslStream Connect()
    {
        Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, ReceiveTimeout = 20_000 };
        try
        {
            socket.Connect(Service, 443);
            SslStream tls = new(new NetworkStream(socket, ownsSocket: true));
#pragma warning disable CA5359 // Each proxy has a CA of its own, and checking it is no part of what is measured.
            tls.AuthenticateAsClient(new SslClientAuthenticationOptions { TargetHost = Host, AllowTlsResume = false, RemoteCertificateValidationCallback = (_, _, _, _) => true });
#pragma warning restore CA5359
            return tls;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Ends the proxy.</summary>
    public async Task StopProxyAsync()
    {
        if (_proxy is not null) await _proxy.DisposeAsync();
        _proxy = null;
    }

    /// <summary>
    /// Starts it once more, without what it may have kept, and says when its own program was started, a moment after the shell that tells
    /// the time.
    /// </summary>
    public DateTimeOffset RestartProxy()
    {
        string state = Path.Combine(_setup.Directory, "state");
        if (Directory.Exists(state)) Directory.Delete(state, recursive: true);
        string[] command = ProxyCommand();
        RunningProgram started = Network.Pod.Start("bash", ["-c", "echo $EPOCHREALTIME; exec \"$@\"", "bash", .. command]);
        _proxy = started;
        while (started.Lines.Count == 0) Thread.Yield();
        return DateTimeOffset.UnixEpoch + TimeSpan.FromSeconds(double.Parse(started.Lines[0], System.Globalization.CultureInfo.InvariantCulture));
    }

    public async ValueTask DisposeAsync()
    {
        await Network.DisposeAsync();
        foreach (IDisposable service in _services) service.Dispose();
        if (Directory.Exists(_etc)) Directory.Delete(_etc, recursive: true);
        Directory.Delete(_setup.Directory, recursive: true);
    }

    private async Task StartAsync()
    {
        await Network.Upstream.RunAsync("ip", "address", "add", $"{Service}/32", "dev", "eth0");
        await Network.Node.RunAsync("ip", "route", "add", $"{Service}/32", "via", PodNetwork.UpstreamV4.ToString());
        await PodNetwork.SetAsync(Network.Pod, "net.ipv4.tcp_tw_reuse=1");
        _services.Add(new NameService(Network.Upstream, Service));
        _services.Add(new UploadSink(Network.Upstream));
        await StartUpstreamAsync();
        if (Kind == Proxy.Direct) return;
        // Others than the sidecar run as another user, who reads this.
        File.SetUnixFileMode(_setup.Directory, File.GetUnixFileMode(_setup.Directory) | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
        await PrepareAsync();
        _proxy = StartProxy();
        if (Kind == Proxy.Sidecar) await Programs.ReachableAsync(Network.Pod, _proxy, IPAddress.Loopback, 16021);
        else await Programs.ReachableAsync(Network.Pod, _proxy, IPAddress.Loopback, RedirectPort);
    }

    /// <summary>The service: nginx, which answers only to the credential, but for what is under /open.</summary>
    private async Task StartUpstreamAsync()
    {
        WriteCertificate("service");
        RunningProgram nginx = Programs.StartNginx(Network.Upstream, _setup.Directory, "upstream", $$"""
            http {
                access_log off;
                keepalive_requests 100000000;
                keepalive_timeout 1h;
                client_max_body_size 0;
                open_file_cache max=16;
                map $http_authorization $is_known { default 0; "Bearer {{Credential}}" 1; "Bearer {{ShortCredential}}" 1; }
                server {
                    listen {{Service}}:443 ssl http2;
                    ssl_certificate {{_setup.Directory}}/service.crt;
                    ssl_certificate_key {{_setup.Directory}}/service.key;
                    ssl_protocols TLSv1.2 TLSv1.3;
                    location / {
                        if ($is_known = 0) { return 401; }
                        root {{_files.Directory}};
                    }
                    location /open/ { alias {{_files.Directory}}/; }
                    location /upload {
                        if ($is_known = 0) { return 401; }
                        proxy_pass http://127.0.0.1:{{UploadSink.Port}};
                        proxy_http_version 1.1;
                        proxy_request_buffering off;
                    }
                }
            }
            """, user: "root");
        await Programs.ReachableAsync(Network.Upstream, nginx, Service, 443);
    }

    private async Task PrepareAsync()
    {
        if (Kind == Proxy.Sidecar)
        {
            Directory.CreateDirectory(_etc);
            File.WriteAllText(Path.Combine(_etc, "resolv.conf"), $"nameserver {PodNetwork.UpstreamV4}\n");
            _setup.Secret("API_TOKEN", Credential, $$$"""{"hosts": ["{{{Host}}}"], "auth": {"type": "bearer"}, "standIn": "{{{Token}}}"}""")
                .Secret("SHORT_TOKEN", ShortCredential, $$$"""{"hosts": ["{{{Host}}}"], "auth": {"type": "bearer"}, "standIn": "{{{ShortToken}}}"}""")
                .With("capture", "\"Transparent\"").With("healthAddress", "\"0.0.0.0:16021\"").With("metricsAddress", "\"0.0.0.0:16090\"").With("proxyAddress", "\"127.0.0.1:16002\"").With("stateDirectory", "\"state\"")
                .Save();
            await Network.Pod.RunAsync(Repository.Sidecar, "init-network");
            return;
        }

        WriteCertificate("proxy");
        if (Kind == Proxy.Mitmproxy)
        {
            // Where it keeps its CA.
            string state = Directory.CreateDirectory(Path.Combine(_setup.Directory, "mitmproxy")).FullName;
            File.SetUnixFileMode(state, (UnixFileMode)511);
            File.Copy(Repository.PathTo("tests/Superserve.Benchmarks/Http/swap.py"), Path.Combine(_setup.Directory, "swap.py"));
        }

        // They cannot mark their sockets: their user is what is let out.
        string rules = Path.Combine(_setup.Directory, "redirect.nft");
        File.WriteAllText(rules, $$"""
            table ip bench {
                chain output {
                    type nat hook output priority -100
                    meta skuid www-data return
                    tcp dport 443 redirect to :{{RedirectPort}}
                }
            }
            """);
        await Network.Pod.RunAsync("nft", "-f", rules);
    }

    private RunningProgram StartProxy() => Network.Pod.Start(ProxyCommand()[0], ProxyCommand()[1..]);

    private string[] ProxyCommand() => Kind switch
    {
        Proxy.Sidecar => [.. PodNetwork.SidecarCommand(Repository.Sidecar, "run", "--config", _setup.FilePath)],
        Proxy.Mitmproxy =>
        [
            "setpriv", "--reuid", "www-data", "--regid", "www-data", "--clear-groups", "env", $"TOKEN={Token}", $"CREDENTIAL={Credential}",
            "mitmdump", "-q", "--mode", "transparent", "--listen-host", "127.0.0.1", "--listen-port", $"{RedirectPort}", "--scripts", Path.Combine(_setup.Directory, "swap.py"),
            "--set", $"confdir={_setup.Directory}/mitmproxy", "--set", $"ssl_verify_upstream_trusted_ca={_setup.Directory}/roots.pem", "--set", "stream_large_bodies=64k", "--set", "flow_detail=0",
        ],
        Proxy.Nginx => Programs.NginxCommand(_setup.Directory, "proxy", NginxProxy($"access_log {_setup.Directory}/access.log;", "proxy_max_temp_file_size 0;")),
        Proxy.NginxStreaming => Programs.NginxCommand(_setup.Directory, "proxy", NginxProxy("access_log off;", "proxy_buffering off;")),
        _ => throw new InvalidOperationException("There is no proxy."),
    };

    private string NginxProxy(string log, string buffering) => $$"""
        http {
            {{log}}
            keepalive_requests 100000000;
            keepalive_timeout 1h;
            client_max_body_size 0;
            map $http_authorization $swapped {
                default $http_authorization;
                "Bearer {{Token}}" "Bearer {{Credential}}";
                "Bearer {{ShortToken}}" "Bearer {{ShortCredential}}";
            }
            upstream service {
                server {{Service}}:443;
                keepalive 64;
                keepalive_requests 100000000;
                keepalive_timeout 1h;
            }
            server {
                listen 127.0.0.1:{{RedirectPort}} ssl http2;
                ssl_certificate {{_setup.Directory}}/proxy.crt;
                ssl_certificate_key {{_setup.Directory}}/proxy.key;
                ssl_protocols TLSv1.2 TLSv1.3;
                location / {
                    proxy_pass https://service;
                    proxy_http_version 1.1;
                    proxy_set_header Connection "";
                    proxy_set_header Host $host;
                    proxy_set_header Authorization $swapped;
                    proxy_ssl_protocols TLSv1.2 TLSv1.3;
                    proxy_ssl_server_name on;
                    proxy_ssl_name {{Host}};
                    proxy_ssl_verify on;
                    proxy_ssl_trusted_certificate {{_setup.Directory}}/roots.pem;
                    proxy_ssl_session_reuse on;
                    proxy_request_buffering off;
                    proxy_buffer_size 16k;
                    proxy_buffers 8 16k;
                    {{buffering}}
                }
            }
        }
        """;

    private void WriteCertificate(string name)
    {
        using X509Certificate2 certificate = TestAuthority.Issue(Host);
        File.WriteAllText(Path.Combine(_setup.Directory, $"{name}.key"), certificate.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
        File.WriteAllText(Path.Combine(_setup.Directory, $"{name}.crt"), certificate.ExportCertificatePem());
    }
}
