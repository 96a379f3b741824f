namespace Superserve.Testing;

/// <summary>The real kubectl, with one kubeconfig. It is needed: without it the tests fail.</summary>
public sealed class Kubectl(string kubeconfig)
{
    private readonly Dictionary<string, string> _environment = new()
    {
        ["KUBECONFIG"] = kubeconfig,
        ["HOME"] = Path.Combine(Path.GetDirectoryName(kubeconfig)!, "home"),
    };

    /// <summary>Runs kubectl, which must succeed, and gives its output.</summary>
    public async Task<string> RunAsync(params string[] arguments) => await FeedAsync("", arguments);

    /// <summary>The same with a standard input.</summary>
    public async Task<string> FeedAsync(string input, params string[] arguments)
    {
        Outcome outcome = await TryAsync(input, arguments);
        Assert.True(outcome.Status == 0, $"kubectl {string.Join(' ', arguments)}: {outcome}");
        return outcome.Output.TrimEnd();
    }

    /// <summary>Runs kubectl, which must fail, and gives what it complained of.</summary>
    public async Task<string> FailAsync(string input, params string[] arguments)
    {
        Outcome outcome = await TryAsync(input, arguments);
        Assert.True(outcome.Status != 0, $"kubectl {string.Join(' ', arguments)} should fail: {outcome}");
        return outcome.Errors.TrimEnd();
    }

    public Task<Outcome> TryAsync(string input, params string[] arguments) => Tool.Kubectl.RunAsync(input, _environment, arguments);
}
