using Superserve.Core.Secrets;
using Superserve.Sidecar.Configuration;

namespace Superserve.Sidecar.Commands;

/// <summary>A sidecar in local mode: its snapshots come from a file.</summary>
internal static class LocalSidecar
{
    /// <summary>Reads the configuration and builds what runs it; nothing listens yet.</summary>
    /// <exception cref="UsageException">The configuration cannot be used.</exception>
    public static WebApplication Build(string configurationFile, LogLevel logLevel, TimeProvider? timeProvider = null)
    {
        if (!ConfigurationReader.TryRead(configurationFile, out LocalConfiguration? configuration, out IReadOnlyList<SpecError> errors))
            throw new UsageException($"{configurationFile} cannot be used:\n" + string.Join('\n', errors.Select(error => "  " + error)));

        return SidecarHost.Build(configuration.Options, logLevel, timeProvider, services =>
        {
            services.AddSingleton(provider => ActivatorUtilities.CreateInstance<LocalSnapshots>(provider, configurationFile, configuration));
            services.AddSingleton<ISnapshotSource>(provider => provider.GetRequiredService<LocalSnapshots>());
        });
    }
}
