using System.Diagnostics;

namespace Superserve.ApiServer.Tests;

/// <summary>What kubectl printed and how it ended.</summary>
internal sealed record Outcome(int Status, string Output, string Errors)
{
    public override string ToString() => $"status {Status}\n{Output}\n{Errors}";
}

/// <summary>The real kubectl, with the kubeconfig of one server. It is needed: without it the tests fail.</summary>
internal sealed class Kubectl(string kubeconfig)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly string _home = Path.Combine(Path.GetDirectoryName(kubeconfig)!, "home");

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

    public async Task<Outcome> TryAsync(string input, params string[] arguments)
    {
        ProcessStartInfo start = new(Find(), arguments) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        start.Environment["KUBECONFIG"] = kubeconfig;
        start.Environment["HOME"] = _home;
        using Process process = Process.Start(start)!;
        using CancellationTokenSource timeout = new(Patience, TimeProvider.System);
        try
        {
            Task<string> output = process.StandardOutput.ReadToEndAsync(timeout.Token);
            Task<string> errors = process.StandardError.ReadToEndAsync(timeout.Token);
            await process.StandardInput.WriteAsync(input);
            process.StandardInput.Close();
            await process.WaitForExitAsync(timeout.Token);
            return new Outcome(process.ExitCode, await output, await errors);
        }
        finally
        {
            if (!process.HasExited) process.Kill(entireProcessTree: true);
        }
    }

    private static string Find()
    {
        if (Environment.GetEnvironmentVariable("SUPERSERVE_KUBECTL") is { Length: > 0 } named)
        {
            return File.Exists(named) ? named : throw new InvalidOperationException($"SUPERSERVE_KUBECTL names {named}, which is not there.");
        }

        string? directory = AppContext.BaseDirectory;
        while (directory is not null && !File.Exists(Path.Combine(directory, "Superserve.K8s.sln"))) directory = Path.GetDirectoryName(directory);
        string[] candidates =
        [
            Path.Combine(directory ?? "", "artifacts/tools/kubectl"),
            .. (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Select(folder => Path.Combine(folder, "kubectl")),
        ];
        return candidates.FirstOrDefault(File.Exists)
            ?? throw new InvalidOperationException("kubectl is not there: put it on PATH or at artifacts/tools/kubectl, or name it in SUPERSERVE_KUBECTL.");
    }
}
