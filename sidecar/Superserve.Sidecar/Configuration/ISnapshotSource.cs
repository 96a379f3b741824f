using Superserve.Core.Snapshots;

namespace Superserve.Sidecar.Configuration;

/// <summary>Where the data path takes the snapshot that it decides by: once per connection and once per request.</summary>
internal interface ISnapshotSource
{
    /// <summary>The snapshot in force now. Never null, never changing once taken.</summary>
    Snapshot Current { get; }

    /// <summary>Another snapshot is in force. Raised after <see cref="Current"/> gives it, on any thread.</summary>
    event Action? Changed;

    /// <summary>Why there is no snapshot to serve requests by yet; null once there is one.</summary>
    string? Waiting => null;
}
