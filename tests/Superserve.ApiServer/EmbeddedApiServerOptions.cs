namespace Superserve.ApiServer;

/// <summary>How a server is started.</summary>
public sealed record EmbeddedApiServerOptions
{
    /// <summary>The port on the loopback address; 0 takes a free one.</summary>
    public int Port { get; init; }

    /// <summary>Where the admin's kubeconfig is written; without it, into a directory of the server's own that goes with it.</summary>
    public string? KubeconfigPath { get; init; }

    /// <summary>The clock of timestamps, of token lifetimes and of watches. Certificates go by the real one.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>How often a watch that allows bookmarks gets one.</summary>
    public TimeSpan BookmarkInterval { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How many changes are kept for watches to resume from.</summary>
    public int HistoryLimit { get; init; } = 10_000;
}
