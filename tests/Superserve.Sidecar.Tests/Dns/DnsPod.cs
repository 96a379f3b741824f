using System.Diagnostics.Metrics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Core.StandIns;
using Superserve.Sidecar.Capture;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Dns;
using Superserve.Sidecar.Events;
using Superserve.Sidecar.Metrics;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests.Dns;

/// <summary>A sidecar's DNS, the server that it asks, and what the sandbox sends to it. Time stands still until the test moves it.</summary>
internal sealed class DnsPod : ISnapshotSource, IAsyncDisposable
{
    public const string BoundHost = "api.bound.test";
    public const string StandInText = "stand-in-0123456789-abcdefgh";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly string _directory = Directory.CreateTempSubdirectory("superserve-dns-").FullName;
    private readonly ServiceProvider _services = new ServiceCollection().AddMetrics().BuildServiceProvider();
    private readonly MeterListener _listener = new();
    private readonly List<string> _counted = [];
    private readonly EventLog _events;
    private readonly RepeatedRefusals _log;
    private readonly SidecarMetrics _metrics;
    private readonly DnsServer _server;

    /// <summary>These rules never change.</summary>
    public event Action? Changed
    {
        add { }
        remove { }
    }

    private DnsPod(NetworkRules rules)
    {
        Rules = rules;
        File.WriteAllText(Path.Combine(_directory, "resolv.conf"), $"nameserver [127.0.0.1]:{Upstream.Address.Port}\nsearch agents.svc.cluster.local\n");
        Options = TestOptions.Of(_directory) with { DnsPort = FreePort.Next(), EventsFile = Path.Combine(_directory, "events.jsonl") };
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Name == "superserve.dns.queries") listener.EnableMeasurementEvents(instrument);
        };
        _listener.SetMeasurementEventCallback<long>((_, _, tags, _) =>
        {
            string labels = string.Join(' ', tags.ToArray().Select(tag => $"{tag.Key}={tag.Value}"));
            lock (_counted) _counted.Add(labels);
        });
        _listener.Start();
        _metrics = new SidecarMetrics(_services.GetRequiredService<IMeterFactory>(), Time);
        _events = new EventLog(Options, _metrics, TimeProvider.System, NullLogger<EventLog>.Instance);
        _log = new RepeatedRefusals(_events, Time);
        Memory = new NameMemory(Time);
        Resolver = new Resolver(new ResolverFile(Options), new EgressSockets(Options), Time);
        _server = Server();
    }

    public TestDns Upstream { get; } = new();

    public FakeTimeProvider Time { get; } = new();

    public SidecarOptions Options { get; }

    public Resolver Resolver { get; }

    public NameMemory Memory { get; }

    /// <summary>What is in force.</summary>
    public NetworkRules Rules { get; set; }

    public Snapshot Current => new(1, DateTimeOffset.UnixEpoch, "agents/research-0", [Bound()], Rules, Interception.All, []);

    /// <summary>The labels of each query that was counted.</summary>
    public IReadOnlyList<string> Counted
    {
        get
        {
            lock (_counted) return [.. _counted];
        }
    }

    public static Task<DnsPod> StartAsync(params string[] allowOut) => StartAsync(allowOut, NetworkMode.Enforce);

    public static async Task<DnsPod> StartAsync(string[] allowOut, NetworkMode mode)
    {
        Assert.True(NetworkPolicy.TryParse(allowOut, null, mode, PublicSuffixList.Embedded, "network", [], out NetworkPolicy? policy));
        DnsPod pod = new(new NetworkRules([policy], SpecialRanges.Default));
        await pod._events.StartAsync(CancellationToken.None);
        await pod._server.StartAsync(CancellationToken.None);
        return pod;
    }

    /// <summary>One more server on the same port.</summary>
    public DnsServer Server() =>
        new(new DnsQueries(this, Resolver, Memory, _log, Options, _metrics, Time), Options, _metrics, Time, NullLogger<DnsServer>.Instance);

    public Task<WireMessage> AskAsync(string name, int type = DnsWire.A) => AskAsync(DnsWire.Query(name, type));

    public async Task<WireMessage> AskAsync(byte[] query) => DnsWire.Read(await AskRawAsync(query));

    /// <summary>Sends a datagram and waits for one.</summary>
    public async Task<byte[]> AskRawAsync(byte[] query, IPAddress? server = null)
    {
        using UdpClient client = await SendAsync(query, server);
        using CancellationTokenSource patience = new(Patience, TimeProvider.System);
        return (await client.ReceiveAsync(patience.Token)).Buffer;
    }

    /// <summary>Sends a datagram.</summary>
    public async Task<UdpClient> SendAsync(byte[] query, IPAddress? server = null)
    {
        IPEndPoint endPoint = new(server ?? IPAddress.Loopback, Options.DnsPort);
        UdpClient client = new(endPoint.AddressFamily);
        client.Connect(endPoint);
        await client.SendAsync(query);
        return client;
    }

    public async Task<NetworkStream> ConnectAsync()
    {
        Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, Options.DnsPort));
        return new NetworkStream(socket, ownsSocket: true) { ReadTimeout = (int)Patience.TotalMilliseconds };
    }

    /// <summary>All events, once the server has ended.</summary>
    public async Task<IReadOnlyList<JsonElement>> EndAsync()
    {
        await _server.StopAsync(CancellationToken.None);
        await _log.StopAsync(CancellationToken.None);
        await _events.StopAsync(CancellationToken.None);
        return [.. File.ReadAllLines(Options.EventsFile!).Select(line => JsonDocument.Parse(line).RootElement)];
    }

    public async ValueTask DisposeAsync()
    {
        await _server.StopAsync(CancellationToken.None);
        await _log.StopAsync(CancellationToken.None);
        await _events.StopAsync(CancellationToken.None);
        _server.Dispose();
        _log.Dispose();
        _events.Dispose();
        _listener.Dispose();
        _metrics.Dispose();
        Resolver.Dispose();
        await Upstream.DisposeAsync();
        await _services.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    private static BoundSecret Bound()
    {
        Assert.True(StandIn.TryCreate(StandInText, out StandIn? standIn, out _));
        SecretSpec spec = new() { Hosts = [BoundHost + ":8443"], Auth = new AuthSpec { Type = "bearer" } };
        Assert.True(SecretDefinition.TryCreate(spec, "spec", ProviderCatalog.BuiltIn, PublicSuffixList.Embedded, [], out SecretDefinition? definition));
        return new BoundSecret("KEY", "example", standIn, CredentialState.Revoked.Instance, definition);
    }
}
