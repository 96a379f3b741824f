using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Superserve.Core.Trust;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Network.Tests;

/// <summary>
/// A pod with the rules and the built sidecar in it, in local mode, and services behind the node (services.py). Besides its own
/// addresses the upstream has some that are public by their form; nothing leads out of the namespaces. Names lead there by DNS.
/// </summary>
internal sealed class Sandbox : IAsyncDisposable
{
    /// <summary>Where the services are that names lead to.</summary>
    public const string Service = "45.83.1.2", ServiceV6 = "2a45:83:1::2";

    /// <summary>Where the attacker listens.</summary>
    public const string Attacker = "45.83.1.66", AttackerV6 = "2a45:83:1::66";

    /// <summary>What the sandbox is never to see.</summary>
    public const string Credential = "the-real-credential-0123456789";

    private static readonly string[] Names = ["api.example.com", "git.example.com", "free.example.net", "other.example.net", "evil.example.org", "private.example.net", "web.agents.svc.cluster.local", "web.agents.svc", "web"];

    private readonly string _etc;
    private readonly string _zone;

    private Sandbox(PodNetwork network, Setup setup)
    {
        Network = network;
        Setup = setup;
        _etc = $"/etc/netns/{network.Pod.Name}";
        _zone = Path.Combine(setup.Directory, "zone.json");
    }

    public PodNetwork Network { get; }

    public Setup Setup { get; }

    /// <summary>The services; what they print is what reached them.</summary>
    public RunningProgram Services { get; private set; } = null!;

    public RunningProgram Sidecar { get; private set; } = null!;

    /// <summary>A sandbox under these network rules (JSON as in the configuration file; null for none).</summary>
    public static async Task<Sandbox> StartAsync(string? network = null, Action<Setup>? more = null)
    {
        Setup setup = new Setup().Bearer("API_TOKEN", Credential, "api.example.com")
            .With("capture", "\"Transparent\"").With("healthAddress", "\"0.0.0.0:16021\"").With("metricsAddress", "\"0.0.0.0:16090\"").With("proxyAddress", "\"127.0.0.1:16002\"").With("stateDirectory", "\"state\"");
        if (network is not null) setup.With("network", network);
        more?.Invoke(setup);
        Sandbox sandbox = new(await PodNetwork.CreateAsync(), setup);
        try
        {
            await sandbox.StartAsync();
            return sandbox;
        }
        catch
        {
            await sandbox.DisposeAsync();
            throw;
        }
    }

    /// <summary>Changes the network rules of the running sidecar.</summary>
    public void SetNetwork(string network)
    {
        Setup.With("network", network);
        Setup.Save();
    }

    /// <summary>Leads names to addresses; a name without any exists and has none.</summary>
    public void Lead(params (string Name, string[] Addresses)[] names)
    {
        JsonObject zone = JsonNode.Parse(File.ReadAllText(_zone))!.AsObject();
        foreach ((string name, string[] addresses) in names) zone[name] = new JsonArray([.. addresses.Select(address => JsonValue.Create(address))]);
        File.WriteAllText(_zone + ".new", zone.ToJsonString());
        File.Move(_zone + ".new", _zone, overwrite: true);
    }

    /// <summary>The stand-ins and trust variables as admission sets them under transparent capture, each NAME=value. What the services' certificates are signed by is in the sidecar's bundle, as a root of its owner's.</summary>
    public IReadOnlyList<string> Variables
    {
        get
        {
            string trust = Path.Combine(Setup.Directory, "trust");
            return [.. File.ReadAllLines(Path.Combine(trust, TrustVariables.StandInsFile)), .. TrustVariables.In(trust).Select(variable => $"{variable.Name}={variable.Value}"), $"{TrustVariables.JavaToolOptions}={TrustVariables.JavaOptions(trust)}"];
        }
    }

    /// <summary>Runs a shell command as the sandbox does, with its variables, and without any of a proxy.</summary>
    public Task<Outcome> ShellAsync(string command) => Network.SandboxCommandAsync(["env", .. Variables, "sh", "-c", command]);

    /// <summary>Runs Python likewise; the helpers of <see cref="PodNetwork"/> are there.</summary>
    public Task<Outcome> PythonAsync(string python) => Network.SandboxAsync($"os.environ.update(line.split('=', 1) for line in '''{string.Join('\n', Variables)}'''.splitlines())\n" + python);

    /// <summary>The events that the sidecar has written, those with a field of this value.</summary>
    public List<JsonObject> Events(string field, string value)
    {
        string file = Path.Combine(Setup.Directory, "events.jsonl");
        if (!File.Exists(file)) return [];
        return [.. File.ReadAllText(file).Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(line => line.EndsWith('}')).Select(line => JsonNode.Parse(line)!.AsObject()).Where(item => item[field]?.ToString() == value)];
    }

    /// <summary>Waits for an event.</summary>
    public async Task<JsonObject> EventAsync(string field, string value, Func<JsonObject, bool>? condition = null)
    {
        JsonObject? found = null;
        await Eventually.True(() => (found = Events(field, value).Find(item => condition?.Invoke(item) ?? true)) is not null, $"an event with {field} {value}");
        return found!;
    }

    /// <summary>What reached the services but DNS.</summary>
    public IReadOnlyList<string> Reached => [.. Services.Lines.Where(line => line != "ready" && !line.StartsWith("dns ", StringComparison.Ordinal))];

    /// <summary>The names that the resolver was asked.</summary>
    public IReadOnlyList<string> Asked => [.. Services.Lines.Where(line => line.StartsWith("dns ", StringComparison.Ordinal))];

    /// <summary>Kills the sidecar.</summary>
    public ValueTask KillSidecarAsync() => Sidecar.DisposeAsync();

    /// <summary>Starts it (again), and waits for its being ready.</summary>
    /// <param name="wrapper">A program that runs it, with arguments.</param>
    public async Task StartSidecarAsync(params string[] wrapper)
    {
        Sidecar = Network.StartSidecarCommand([.. wrapper, Repository.Sidecar, "run", "--config", Setup.FilePath]);
        await Eventually.True(() => Probe() || Sidecar.HasEnded, "the sidecar's being ready");
        if (Sidecar.HasEnded) throw new InvalidOperationException($"The sidecar ended: {await Sidecar.EndAsync(TimeSpan.FromSeconds(10))}");

        bool Probe() => Network.Pod.TryAsync("curl", "-sf", "--noproxy", "*", "http://127.0.0.1:16021/readyz").GetAwaiter().GetResult().Status == 0;
    }

    public async ValueTask DisposeAsync()
    {
        await Network.DisposeAsync();
        if (Directory.Exists(_etc)) Directory.Delete(_etc, recursive: true);
        Directory.Delete(Setup.Directory, recursive: true);
    }

    private async Task StartAsync()
    {
        foreach (string address in (string[])[$"{Service}/32", $"{Attacker}/32", "169.254.169.254/32"]) await Network.Upstream.RunAsync("ip", "address", "add", address, "dev", "eth0");
        foreach (string address in (string[])[$"{ServiceV6}/128", $"{AttackerV6}/128"]) await Network.Upstream.RunAsync("ip", "address", "add", address, "dev", "eth0", "nodad");
        foreach (string range in (string[])["45.83.1.0/24", "169.254.169.254/32"]) await Network.Node.RunAsync("ip", "route", "add", range, "via", PodNetwork.UpstreamV4.ToString());
        await Network.Node.RunAsync("ip", "-6", "route", "add", "2a45:83:1::/64", "via", PodNetwork.UpstreamV6.ToString());

        Directory.CreateDirectory(_etc);
        File.WriteAllText(Path.Combine(_etc, "resolv.conf"), $"nameserver {PodNetwork.UpstreamV4}\nsearch agents.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n");
        File.WriteAllText(_zone, "{}");
        Lead(("api.example.com", [Service]), ("git.example.com", [Service]), ("free.example.net", [Service]), ("other.example.net", [ServiceV6]), ("evil.example.org", [Attacker, AttackerV6]), ("private.example.net", [PodNetwork.UpstreamV4.ToString()]), ("web.agents.svc.cluster.local", [PodNetwork.UpstreamV4.ToString()]));
        using X509Certificate2 certificate = TestAuthority.Issue([.. Names, Service, Attacker, PodNetwork.UpstreamV4.ToString()]);
        string key = Path.Combine(Setup.Directory, "service.key"), crt = Path.Combine(Setup.Directory, "service.crt");
        File.WriteAllText(key, certificate.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
        File.WriteAllText(crt, certificate.ExportCertificatePem());
        Services = Network.Upstream.Start("python3", Path.Combine(AppContext.BaseDirectory, "services.py"), crt, key, _zone, Setup.Directory);
        await Services.LineAsync(line => line == "ready", "its being ready");

        await Rules.InstallAsync(Network);
        Setup.Save();
        await StartSidecarAsync();
    }
}
