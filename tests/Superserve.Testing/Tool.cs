using System.Diagnostics;

namespace Superserve.Testing;

/// <summary>What a program printed and how it ended.</summary>
public sealed record Outcome(int Status, string Output, string Errors)
{
    public override string ToString() => $"status {Status}\n{Output}\n{Errors}";
}

/// <summary>A program that the tests run: named in a variable, fetched by the set-up, or on PATH.</summary>
public sealed class Tool(string name, string variable)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    public static Tool Kubectl { get; } = new("kubectl", "SUPERSERVE_KUBECTL");

    public static Tool Helm { get; } = new("helm", "SUPERSERVE_HELM");

    public async Task<Outcome> RunAsync(string input, IReadOnlyDictionary<string, string> environment, params string[] arguments)
    {
        ProcessStartInfo start = new(Find(), arguments) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        foreach ((string key, string value) in environment) start.Environment[key] = value;
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

    private string Find()
    {
        if (Environment.GetEnvironmentVariable(variable) is { Length: > 0 } named)
            return File.Exists(named) ? named : throw new InvalidOperationException($"{variable} names {named}, which is not there.");
        string[] candidates =
        [
            Repository.PathTo($"artifacts/tools/{name}"),
            .. (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Select(folder => Path.Combine(folder, name)),
        ];
        return candidates.FirstOrDefault(File.Exists)
            ?? throw new InvalidOperationException($"{name} is not there: put it on PATH or at artifacts/tools/{name}, or name it in {variable}.");
    }
}
