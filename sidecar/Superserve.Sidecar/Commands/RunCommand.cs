using System.CommandLine;
using System.Runtime.InteropServices;

namespace Superserve.Sidecar.Commands;

/// <summary><c>run --config FILE</c>: the sidecar in local mode, until it is told to end.</summary>
internal static partial class RunCommand
{
    public static Command Create()
    {
        Option<string> config = CommonOptions.Config();
        Option<LogLevel> logLevel = CommonOptions.LogLevel(LogLevel.Information);
        Command command = new("run", "Runs the sidecar until it gets SIGTERM or SIGINT.") { config, logLevel };
        command.SetAction((result, _) => RunAsync(result.GetRequiredValue(config), result.GetValue(logLevel)));
        return command;
    }

    private static async Task<int> RunAsync(string configurationFile, LogLevel logLevel)
    {
        TaskCompletionSource told = new(TaskCreationOptions.RunContinuationsAsynchronously);
        using PosixSignalRegistration terminate = OnSignal(PosixSignal.SIGTERM);
        using PosixSignalRegistration interrupt = OnSignal(PosixSignal.SIGINT);
        await using WebApplication app = LocalSidecar.Build(configurationFile, logLevel);
        await LocalSidecar.StartAsync(app, CancellationToken.None);
        Configuration.SidecarOptions options = app.Services.GetRequiredService<Configuration.SidecarOptions>();
        ILogger logger = app.Services.GetRequiredService<ILoggerFactory>().CreateLogger("Superserve.Sidecar");
        LogListening(logger, options.ProxyAddress.ToString(), options.TrustDirectory);
        await told.Task;
        await LocalSidecar.StopAsync(app);
        return 0;

        PosixSignalRegistration OnSignal(PosixSignal signal) => PosixSignalRegistration.Create(signal, context =>
        {
            context.Cancel = true;
            told.TrySetResult();
        });
    }

    [LoggerMessage(10, LogLevel.Information, "The proxy listens on http://{Proxy}. Certificates and stand-ins are in {TrustDirectory}.")]
    private static partial void LogListening(ILogger logger, string proxy, string trustDirectory);
}
