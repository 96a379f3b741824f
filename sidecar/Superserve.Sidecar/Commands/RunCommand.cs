using System.CommandLine;
using System.Runtime;
using System.Runtime.InteropServices;
using Superserve.Sidecar.Capture;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Delivery;

namespace Superserve.Sidecar.Commands;

/// <summary>
/// <c>run --config FILE</c>, local mode, or <c>run --operator HOST:PORT</c>, in a pod: the sidecar, until it is told to end.
/// </summary>
internal static partial class RunCommand
{
    public static Command Create()
    {
        Option<string?> config = CommonOptions.Config(isRequired: false);
        Option<LogLevel> logLevel = CommonOptions.LogLevel(LogLevel.Information);
        Command command = new("run", "Runs the sidecar until it gets SIGTERM or SIGINT: in local mode (--config), or in a pod (--operator and the options after it).") { config, logLevel, OperatorFlags.Operator };
        foreach (Option option in OperatorFlags.Others) command.Add(option);
        command.SetAction((result, _) => RunAsync(Build(result, result.GetValue(config), result.GetValue(logLevel))));
        return command;
    }

    private static WebApplication Build(ParseResult result, string? configurationFile, LogLevel logLevel)
    {
        bool isInPod = result.GetResult(OperatorFlags.Operator) is not null;
        if (configurationFile is not null == isInPod) throw new UsageException("run needs either --config FILE, for local mode, or --operator HOST:PORT, in a pod.");
        if (configurationFile is null)
        {
            (SidecarOptions sidecar, DeliveryOptions delivery) = OperatorFlags.Read(result, Environment.GetEnvironmentVariable);
            return OperatorSidecar.Build(sidecar, delivery, logLevel);
        }

        foreach (Option option in OperatorFlags.Others)
            if (result.GetResult(option) is { Implicit: false }) throw new UsageException($"{option.Name} counts with --operator alone; in local mode the configuration says it.");
        return LocalSidecar.Build(configurationFile, logLevel);
    }

    private static async Task<int> RunAsync(WebApplication app)
    {
        TaskCompletionSource told = new(TaskCreationOptions.RunContinuationsAsynchronously);
        using PosixSignalRegistration terminate = OnSignal(PosixSignal.SIGTERM);
        using PosixSignalRegistration interrupt = OnSignal(PosixSignal.SIGINT);
        await using (app)
        {
            await SidecarHost.StartAsync(app, CancellationToken.None);
            if (GCSettings.LatencyMode == GCLatencyMode.NoGCRegion) GC.EndNoGCRegion();
            SidecarOptions options = app.Services.GetRequiredService<SidecarOptions>();
            ILogger logger = app.Services.GetRequiredService<ILoggerFactory>().CreateLogger("Superserve.Sidecar");
            LogListening(logger, options.ProxyAddress.ToString(), options.TrustDirectory);
            if (options.Capture == CaptureMode.Transparent) LogCapture(logger, options.TransparentPort, options.DnsPort);
            await told.Task;
            await SidecarHost.StopAsync(app);
        }

        return 0;

        PosixSignalRegistration OnSignal(PosixSignal signal) => PosixSignalRegistration.Create(signal, context =>
        {
            context.Cancel = true;
            told.TrySetResult();
        });
    }

    [LoggerMessage(10, LogLevel.Information, "The proxy listens on http://{Proxy}. Certificates and stand-ins are in {TrustDirectory}.")]
    private static partial void LogListening(ILogger logger, string proxy, string trustDirectory);

    [LoggerMessage(11, LogLevel.Information, "Capture is transparent: what the sandbox sends arrives at the ports {Transparent} (TCP) and {Dns} (DNS).")]
    private static partial void LogCapture(ILogger logger, int transparent, int dns);
}
