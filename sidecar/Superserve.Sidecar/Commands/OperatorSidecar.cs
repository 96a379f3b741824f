using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Delivery;

namespace Superserve.Sidecar.Commands;

/// <summary>A sidecar in a pod: its snapshots come from the operator.</summary>
internal static class OperatorSidecar
{
    /// <summary>Builds what runs it; nothing listens yet.</summary>
    /// <exception cref="UsageException">The state directory cannot be used.</exception>
    public static WebApplication Build(SidecarOptions options, DeliveryOptions delivery, LogLevel logLevel, TimeProvider? timeProvider = null)
    {
        string state = options.StateDirectory ?? throw new ArgumentException("A sidecar in a pod keeps its state.", nameof(options));
        try
        {
            // Whatever the kubelet made of the volume: nobody else reads what is in it.
            const UnixFileMode Own = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
            Directory.CreateDirectory(state, Own);
            File.SetUnixFileMode(state, Own);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"--state-directory: {state} cannot be made the sidecar's own ({exception.Message}). Name a directory that it owns.");
        }

        return SidecarHost.Build(options, logLevel, timeProvider, services =>
        {
            services.AddSingleton(delivery);
            services.AddSingleton<DeliveryMetrics>();
            services.AddSingleton<OperatorTrust>();
            services.AddSingleton<OperatorSnapshots>();
            services.AddSingleton<ISnapshotSource>(provider => provider.GetRequiredService<OperatorSnapshots>());
            services.AddSingleton<ServiceChannels>();
            services.AddSingleton<OperatorStream>();
            services.AddHostedService<OperatorClient>();
        });
    }
}
