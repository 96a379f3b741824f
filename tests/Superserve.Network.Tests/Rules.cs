using System.Net;
using System.Runtime.InteropServices;
using Superserve.Sidecar.Capture;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Network.Tests;

/// <summary>The command that installs the rules.</summary>
internal static class Rules
{
    private static readonly string Program = Path.Combine(AppContext.BaseDirectory, "superserve-sidecar.dll");

    /// <summary>A pod with the rules in force.</summary>
    public static async Task<PodNetwork> PodAsync(bool hasV4 = true, bool hasV6 = true)
    {
        PodNetwork network = await PodNetwork.CreateAsync(hasV4, hasV6);
        try
        {
            await InstallAsync(network);
            return network;
        }
        catch
        {
            await network.DisposeAsync();
            throw;
        }
    }

    public static async Task InstallAsync(PodNetwork network)
    {
        Outcome outcome = await InitNetworkAsync(network.Pod);
        Assert.True(outcome.Status == 0, outcome.ToString());
        await network.ForgetAsync();
    }

    public static Task<Outcome> InitNetworkAsync(NetworkNamespace pod, params string[] arguments) => pod.TryAsync(Dotnet, [Program, "init-network", .. arguments]);

    /// <summary>The same behind another program, which changes its privileges or environment.</summary>
    public static Task<Outcome> InitNetworkBehindAsync(NetworkNamespace pod, params string[] wrapper) => pod.TryAsync(wrapper[0], [.. wrapper[1..], Dotnet, Program, "init-network"]);

    /// <summary>All rules of the pod, without counts.</summary>
    public static async Task<string> ListStatelessAsync(NetworkNamespace pod) => (await pod.RunAsync("nft", "-s", "list", "ruleset")).Output;

    /// <summary>All rules of the pod.</summary>
    public static async Task<string> ListAsync(NetworkNamespace pod) => (await pod.RunAsync("nft", "list", "ruleset")).Output;

    /// <summary>Gives the rules an order, as a sidecar does.</summary>
    public static void Order(PodNetwork network, IPAddress order, int port)
    {
        using CaptureControl control = network.Pod.Enter(() => new CaptureControl());
        Assert.True(control.Send(order, port));
    }

    /// <summary>Connects to the pod's port 16021 from the upstream, as the kubelet does. Nobody need be there: refusing is an answer.</summary>
    public static async Task ProbeAsync(PodNetwork network, string from)
    {
        string pod = (from.Contains(':', StringComparison.Ordinal) ? PodNetwork.PodV6 : PodNetwork.PodV4).ToString();
        Outcome outcome = await network.UpstreamAsync($"attempt('probe', lambda: plain(SOCK_STREAM, '{pod}').connect(('{pod}', 16021)))");
        Assert.Matches("probe (did None|ECONNREFUSED)", outcome.Output);
    }

    /// <summary>The one that runs the tests: of its shared/Microsoft.NETCore.App/VERSION.</summary>
    public static string Dotnet => Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "../../../dotnet"));
}
