using System.CommandLine;
using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;
using Superserve.Core.Snapshots;
using Superserve.Core.Trust;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Trust;

namespace Superserve.Sidecar.Commands;

/// <summary><c>exec --config FILE -- COMMAND</c>: runs one command behind a sidecar of its own.</summary>
internal static partial class ExecCommand
{
    /// <summary>As a shell answers when it finds no such command, or cannot run it.</summary>
    private const int NotFound = 127;
    private const int NotExecutable = 126;
    private const int AccessDenied = 13;

    public static Command Create()
    {
        Option<string?> config = CommonOptions.Config(isRequired: true);
        Option<LogLevel> logLevel = CommonOptions.LogLevel(LogLevel.Warning);
        Argument<string[]> words = new("COMMAND") { Description = "The command and its arguments, behind --.", Arity = ArgumentArity.OneOrMore };
        Command command = new("exec",
            "Runs one command with the stand-ins, the proxy and the trust variables in its environment, and ends with its exit status. "
            + "The command runs as the same user, who can read the credential files: this is for trying out, and no boundary.") { config, logLevel, words };
        command.SetAction((result, _) => ExecAsync(result.GetRequiredValue(config)!, result.GetValue(logLevel), result.GetRequiredValue(words)));
        return command;
    }

    private static async Task<int> ExecAsync(string configurationFile, LogLevel logLevel, string[] words)
    {
        // From the very start: SIGTERM comes to this process alone and is passed on, and the command decides what comes of it. A
        // terminal sends SIGINT to both.
        using CancellationTokenSource terminated = new();
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context =>
        {
            context.Cancel = true;
            terminated.Cancel();
        });
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, static context => context.Cancel = true);
        await using WebApplication app = LocalSidecar.Build(configurationFile, logLevel);
        await SidecarHost.StartAsync(app, CancellationToken.None);
        ProcessStartInfo start = new(words[0], words[1..]) { UseShellExecute = false };
        SetEnvironment(start.Environment, app);
        int status;
        try
        {
            using Process child = Process.Start(start)!;
            using CancellationTokenRegistration forward = terminated.Token.Register(() => _ = Kill(child.Id, SigTerm));
            await child.WaitForExitAsync(CancellationToken.None);
            status = child.ExitCode;
        }
        catch (Win32Exception exception)
        {
            throw new UsageException($"{words[0]} cannot be run: {exception.Message}", exception.NativeErrorCode == AccessDenied ? NotExecutable : NotFound);
        }

        await SidecarHost.StopAsync(app);
        return status;
    }

    private static void SetEnvironment(IDictionary<string, string?> environment, WebApplication app)
    {
        SidecarOptions options = app.Services.GetRequiredService<SidecarOptions>();
        TrustDirectory trust = app.Services.GetRequiredService<TrustDirectory>();
        foreach (BoundSecret secret in app.Services.GetRequiredService<ISnapshotSource>().Current.Secrets)
            if (!secret.IsDetached) environment[secret.Env] = secret.StandIn.Value;

        string proxy = $"http://{options.ProxyAddress}";
        foreach (string name in TrustVariables.ProxyNames) environment[name] = proxy;
        // An exemption of the user's would lead around the sidecar, where a stand-in is worth nothing.
        environment.Remove("NO_PROXY");
        environment.Remove("no_proxy");
        environment.TryAdd(TrustVariables.NodeUseProxy, "1");
        foreach ((string name, string value) in trust.Variables)
        {
            // The system's own bundle is in ours; a bundle of the user's is not.
            if (!environment.TryGetValue(name, out string? user) || user == value || PublicRoots.IsSystemBundle(user)) environment[name] = value;
            else Console.Error.WriteLine($"superserve-sidecar: {name} is set and stays as it is: programs that read it do not trust the sidecar. Unset it, or add {trust.Path}/ca.crt to the file that it names.");
        }

        environment[TrustVariables.JavaToolOptions] = environment.TryGetValue(TrustVariables.JavaToolOptions, out string? java) && !string.IsNullOrEmpty(java) ? $"{java} {trust.JavaOptions}" : trust.JavaOptions;
    }

    private const int SigTerm = 15;

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);
}
