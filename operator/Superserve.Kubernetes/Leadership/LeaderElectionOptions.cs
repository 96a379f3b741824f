namespace Superserve.Kubernetes.Leadership;

/// <summary>Which Lease is fought over, and how.</summary>
public sealed record LeaderElectionOptions(string Namespace, string Name)
{
    /// <summary>
    /// Who this process is. No two processes share one, nor does a process with the one before it in the same pod: that one's last
    /// write may still be on its way.
    /// </summary>
    public string Identity { get; init; } = $"{Environment.MachineName}_{Guid.NewGuid():N}";

    /// <summary>How long the others wait after the last renewal that they saw.</summary>
    public TimeSpan LeaseDuration { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long a leader leads after the last renewal that succeeded. The difference is the safety margin.</summary>
    public TimeSpan RenewDeadline { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How often to renew, or to look.</summary>
    public TimeSpan RetryPeriod { get; init; } = TimeSpan.FromSeconds(2);

    internal void Validate()
    {
        if (RetryPeriod <= TimeSpan.Zero || RetryPeriod * 2 > RenewDeadline || RenewDeadline >= LeaseDuration)
            throw new ArgumentException("Leader election needs 2 × RetryPeriod <= RenewDeadline < LeaseDuration.");
    }
}
