using System.CommandLine;
using System.Runtime.InteropServices;
using Superserve.Audit;
using Superserve.Operator.Configuration;

namespace Superserve.Operator.Commands;

/// <summary><c>audit --config FILE</c>: the audit service, until it is told to end.</summary>
internal static class AuditCommand
{
    private static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(20);

    public static Command Create()
    {
        Option<string> config = new("--config") { Description = "The audit service's options, as JSON; the chart renders them from its values.", Required = true, HelpName = "FILE" };
        Option<string?> kubeconfig = new("--kubeconfig") { Description = "How to reach the API server from outside a cluster. In a pod the service account is used.", HelpName = "FILE" };
        Command command = new("audit", "Runs the audit service until it gets SIGTERM or SIGINT.") { config, kubeconfig };
        command.SetAction((result, _) => RunAsync(result.GetRequiredValue(config), result.GetValue(kubeconfig)));
        return command;
    }

    private static async Task<int> RunAsync(string configFile, string? kubeconfig)
    {
        try
        {
            AuditOptions options = OptionsReader.ReadAudit(configFile);
            await using WebApplication app = AuditHost.Build(options, kubeconfig, Enum.Parse<LogLevel>(options.LogLevel));
            TaskCompletionSource told = new(TaskCreationOptions.RunContinuationsAsynchronously);
            using PosixSignalRegistration terminate = OnSignal(PosixSignal.SIGTERM);
            using PosixSignalRegistration interrupt = OnSignal(PosixSignal.SIGINT);
            using CancellationTokenRegistration failed = app.Lifetime.ApplicationStopping.Register(() => told.TrySetException(new InvalidOperationException("A part of the audit service failed; the log says which.")));

            await app.StartAsync();
            await told.Task;
            failed.Unregister();
            // Takes no more calls, answers those that are under way, and writes what is queued.
            using CancellationTokenSource deadline = new(StopTimeout, TimeProvider.System);
            await app.StopAsync(deadline.Token);
            return 0;

            PosixSignalRegistration OnSignal(PosixSignal signal) => PosixSignalRegistration.Create(signal, context =>
            {
                context.Cancel = true;
                told.TrySetResult();
            });
        }
        catch (Exception exception) when (exception is UsageException or InvalidOperationException or k8s.Exceptions.KubeConfigException or IOException)
        {
            await Console.Error.WriteLineAsync($"superserve-operator: {exception.Message}");
            return exception is UsageException ? 2 : 1;
        }
    }
}
