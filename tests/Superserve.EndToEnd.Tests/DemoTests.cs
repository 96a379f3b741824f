using Superserve.Testing;

namespace Superserve.EndToEnd.Tests;

/// <summary>The demos, which look at what happens by themselves.</summary>
public sealed class DemoTests
{
    [Fact]
    public Task From_kubectl_apply_to_a_swapped_request_a_rotation_and_a_revocation() => RunAsync(
        "examples/cluster/demo.sh", Repository.Sidecar,
        Path.Combine(AppContext.BaseDirectory, "superserve-operator.dll"), Path.Combine(AppContext.BaseDirectory, "Superserve.ApiServer.dll"));

    [Fact]
    public Task The_sidecar_alone() => RunAsync("examples/local/demo.sh", Repository.Sidecar);

    private static async Task RunAsync(string script, params string[] arguments)
    {
        Outcome outcome = await Programs.RunAsync(new Dictionary<string, string>(), "bash", [Repository.PathTo(script), .. arguments]);
        Assert.True(outcome.Status == 0 && outcome.Output.Contains("All of it happened.", StringComparison.Ordinal), outcome.ToString());
    }
}
