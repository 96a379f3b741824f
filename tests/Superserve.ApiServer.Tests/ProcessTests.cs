using Superserve.Testing;
using System.Diagnostics;

namespace Superserve.ApiServer.Tests;

/// <summary>The server as a process, as the demo runs it.</summary>
public class ProcessTests
{
    [Fact]
    public async Task The_program_writes_a_kubeconfig_serves_and_ends_when_told()
    {
        string directory = Directory.CreateTempSubdirectory("superserve-apiserver-tests-").FullName;
        string kubeconfig = Path.Combine(directory, "kubeconfig");
        ProcessStartInfo start = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "Superserve.ApiServer.dll"), "--kubeconfig", kubeconfig]) { RedirectStandardOutput = true };
        using Process process = Process.Start(start)!;
        try
        {
            Assert.StartsWith("listening on https://127.0.0.1:", await process.StandardOutput.ReadLineAsync(), StringComparison.Ordinal);
            Assert.Contains("kube-system", await new Kubectl(kubeconfig).RunAsync("get", "namespaces"), StringComparison.Ordinal);
            using Process told = Process.Start("kill", [$"{process.Id}"]);
            using CancellationTokenSource timeout = new(TimeSpan.FromSeconds(20), TimeProvider.System);
            await process.WaitForExitAsync(timeout.Token);
            Assert.Equal(0, process.ExitCode);
        }
        finally
        {
            if (!process.HasExited) process.Kill();
            Directory.Delete(directory, recursive: true);
        }
    }
}
