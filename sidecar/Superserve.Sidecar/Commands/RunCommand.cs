using System.CommandLine;

namespace Superserve.Sidecar.Commands;

/// <summary><c>run --config FILE</c>: the sidecar in local mode, until it is told to end.</summary>
internal static partial class RunCommand
{
    public static Command Create()
    {
        Option<string> config = CommonOptions.Config();
        Option<LogLevel> logLevel = CommonOptions.LogLevel(LogLevel.Information);
        Command command = new("run", "Runs the sidecar until it gets SIGTERM or SIGINT.") { config, logLevel };
        command.SetAction((result, cancellationToken) => RunAsync(result.GetRequiredValue(config), result.GetValue(logLevel), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(string configurationFile, LogLevel logLevel, CancellationToken cancellationToken)
    {
        await using WebApplication app = LocalSidecar.Build(configurationFile, logLevel);
        await LocalSidecar.StartAsync(app, cancellationToken);
        Configuration.SidecarOptions options = app.Services.GetRequiredService<Configuration.SidecarOptions>();
        ILogger logger = app.Services.GetRequiredService<ILoggerFactory>().CreateLogger("Superserve.Sidecar");
        LogListening(logger, options.ProxyAddress.ToString(), options.TrustDirectory);
        // The command line turns SIGTERM and SIGINT into a cancellation.
        await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        using CancellationTokenSource drain = new(TimeSpan.FromSeconds(10), TimeProvider.System);
        await app.StopAsync(drain.Token);
        return 0;
    }

    [LoggerMessage(10, LogLevel.Information, "The proxy listens on http://{Proxy}. Certificates and stand-ins are in {TrustDirectory}.")]
    private static partial void LogListening(ILogger logger, string proxy, string trustDirectory);
}
