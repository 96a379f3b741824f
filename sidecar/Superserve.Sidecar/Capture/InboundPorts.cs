using Superserve.Sidecar.Configuration;

namespace Superserve.Sidecar.Capture;

/// <summary>Has the rules keep those ports open to others that the snapshot in force says.</summary>
internal sealed class InboundPorts(ISnapshotSource snapshots, InboundLease lease) : IHostedService
{
    public Task StartAsync(CancellationToken cancellationToken)
    {
        snapshots.Changed += Set;
        Set();
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken)
    {
        snapshots.Changed -= Set;
        return Task.CompletedTask;
    }

    private void Set() => lease.Set(snapshots.Current.AllowIn);
}
