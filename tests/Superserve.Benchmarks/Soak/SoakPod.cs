using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Superserve.Benchmarks.Network;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Benchmarks.Soak;

/// <summary>A pod with the built sidecar, which intercepts all TLS, and one service under any name.</summary>
internal sealed class SoakPod : IAsyncDisposable
{
    public const string StandIn = "stand-in-0123456789abcdef-soaked";

    /// <summary>Denied by the network rules.</summary>
    public const string DeniedHost = "denied.example.org";

    /// <summary>Public by its form; nothing leads out of the namespaces.</summary>
    public static readonly IPAddress Service = IPAddress.Parse("45.83.1.2");

    private const string Variable = "API_TOKEN";

    private readonly PodNetwork _network;
    private readonly Setup _setup = new();
    private readonly string _etc;
    private readonly BlockingCollection<TaskCompletionSource<Socket>> _wanted = [];
    private SoakService? _service;
    private NameService? _names;
    private RunningProgram? _sidecar;
    private int _rotations;

    private SoakPod(PodNetwork network)
    {
        _network = network;
        _etc = $"/etc/netns/{network.Pod.Name}";
        // A thread that stays in the pod makes everybody's sockets: they stay there, wherever they are used.
        Task.Factory.StartNew(() => network.Pod.Enter(MakeSockets), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>The credential of now. No answer may hold it.</summary>
    public string Credential { get; private set; } = "";

    public int SidecarId => _sidecar!.Id;

    public TimeSpan Cpu => ProcessUsage.Cpu(_sidecar);

    public (long All, long Private) Memory => (ProcessUsage.Memory(_sidecar), ProcessUsage.PrivateMemory(_sidecar));

    /// <summary>How clients verify certificates: by the pod's CA alone.</summary>
    public X509ChainPolicy Trust { get; } = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true };

    /// <summary>What the sidecar says of itself, where it has ended.</summary>
    public async Task<string?> WhyEndedAsync() => _sidecar!.HasEnded ? $"{await _sidecar.EndAsync(TimeSpan.FromSeconds(10))}" : null;

    public static async Task<SoakPod> StartAsync()
    {
        SoakPod pod = new(await PodNetwork.CreateAsync(hasV6: false, isRecorded: false));
        try
        {
            await pod.StartSidecarAsync();
            return pod;
        }
        catch
        {
            await pod.DisposeAsync();
            throw;
        }
    }

    /// <summary>Another credential from now on.</summary>
    public void Rotate()
    {
        string credential = $"sk-the-real-credential-{++_rotations:000000}";
        string file = _setup.CredentialFile(Variable);
        // The service first, which takes the one before for a while, too.
        _service!.Rotate(credential);
        Credential = credential;
        File.WriteAllText(file + ".new", credential);
        File.Move(file + ".new", file, overwrite: true);
    }

    /// <summary>A socket of the pod's.</summary>
    public Task<Socket> SocketAsync()
    {
        TaskCompletionSource<Socket> made = new(TaskCreationOptions.RunContinuationsAsynchronously);
        _wanted.Add(made);
        return made.Task;
    }

    /// <summary>A connection to the service's address.</summary>
    public async Task<Socket> ConnectAsync(int port, CancellationToken cancellationToken)
    {
        Socket socket = await SocketAsync();
        try
        {
            await socket.ConnectAsync(Service, port, cancellationToken);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>A client whose connections go to the service's address, whatever the name.</summary>
    public HttpMessageInvoker CreateClient() => new(new SocketsHttpHandler
    {
        ConnectCallback = async (context, cancellationToken) => new NetworkStream(await ConnectAsync(context.DnsEndPoint.Port, cancellationToken), ownsSocket: true),
        SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = Trust },
        PooledConnectionLifetime = TimeSpan.FromMinutes(2),
        UseProxy = false,
        UseCookies = false,
        ActivityHeadersPropagator = null,
    });

    public async ValueTask DisposeAsync()
    {
        _wanted.CompleteAdding();
        await _network.DisposeAsync();
        if (_service is not null) await _service.DisposeAsync();
        _names?.Dispose();
        if (Directory.Exists(_etc)) Directory.Delete(_etc, recursive: true);
        Directory.Delete(_setup.Directory, recursive: true);
    }

    private bool MakeSockets()
    {
        foreach (TaskCompletionSource<Socket> wanted in _wanted.GetConsumingEnumerable())
            wanted.SetResult(new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true });
        return true;
    }

    private async Task StartSidecarAsync()
    {
        await _network.Upstream.RunAsync("ip", "address", "add", $"{Service}/32", "dev", "eth0");
        await _network.Node.RunAsync("ip", "route", "add", $"{Service}/32", "via", PodNetwork.UpstreamV4.ToString());
        await PodNetwork.SetAsync(_network.Pod, "net.ipv4.tcp_tw_reuse=1");
        _names = new NameService(_network.Upstream, Service);
        _service = await SoakService.StartAsync(_network.Upstream, Service);
        Directory.CreateDirectory(_etc);
        File.WriteAllText(Path.Combine(_etc, "resolv.conf"), $"nameserver {PodNetwork.UpstreamV4}\n");
        _setup.Secret(Variable, "", $$$"""{"hosts": ["*.{{{SoakService.BoundDomain}}}"], "auth": {"type": "bearer"}, "standIn": "{{{StandIn}}}"}""")
            .With("capture", "\"Transparent\"").With("healthAddress", "\"0.0.0.0:16021\"").With("metricsAddress", "\"0.0.0.0:16090\"").With("proxyAddress", "\"127.0.0.1:16002\"").With("stateDirectory", "\"state\"")
            .With("interception", "\"All\"").With("network", $$"""{"denyOut": ["{{DeniedHost}}"]}""")
            .Save();
        Rotate();
        await _network.Pod.RunAsync(Repository.Sidecar, "init-network");
        _sidecar = _network.StartSidecarCommand(Repository.Sidecar, "run", "--config", _setup.FilePath);
        await Programs.ReachableAsync(_network.Pod, _sidecar, IPAddress.Loopback, 16002);
        Trust.CustomTrustStore.ImportFromPemFile(Path.Combine(_setup.Directory, "trust", "ca.crt"));
    }
}
