using System.CommandLine;
using System.Runtime.InteropServices;
using Superserve.Operator.Configuration;

namespace Superserve.Operator.Commands;

/// <summary><c>run --config FILE</c>: the operator, until it is told to end.</summary>
internal static class RunCommand
{
    private static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(15);

    public static Command Create()
    {
        Option<string> config = new("--config") { Description = "The operator's options, as JSON; the chart renders them from its values.", Required = true, HelpName = "FILE" };
        Option<string?> kubeconfig = new("--kubeconfig") { Description = "How to reach the API server from outside a cluster. In a pod the service account is used.", HelpName = "FILE" };
        Option<LogLevel> logLevel = new("--log-level") { Description = "The least level that is logged.", DefaultValueFactory = _ => LogLevel.Information };
        Command command = new("run", "Runs the operator until it gets SIGTERM or SIGINT.") { config, kubeconfig, logLevel };
        command.SetAction((result, _) => RunAsync(result.GetRequiredValue(config), result.GetValue(kubeconfig), result.GetValue(logLevel)));
        return command;
    }

    private static async Task<int> RunAsync(string configFile, string? kubeconfig, LogLevel logLevel)
    {
        try
        {
            OperatorOptions options = OptionsReader.Read(configFile);
            await using WebApplication app = OperatorHost.Build(options, kubeconfig, logLevel);
            TaskCompletionSource told = new(TaskCreationOptions.RunContinuationsAsynchronously);
            using PosixSignalRegistration terminate = OnSignal(PosixSignal.SIGTERM);
            using PosixSignalRegistration interrupt = OnSignal(PosixSignal.SIGINT);
            using CancellationTokenRegistration failed = app.Lifetime.ApplicationStopping.Register(() => told.TrySetException(new InvalidOperationException("A part of the operator failed; the log says which.")));

            await app.StartAsync();
            await told.Task;
            failed.Unregister();
            await OperatorHost.DrainAsync(app, options);
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
