namespace Superserve.Operator.Delivery;

/// <summary>Every bound of delivery; tests make some of them smaller.</summary>
internal sealed record DeliveryLimits
{
    /// <summary>A message of a sidecar; tokens are the longest.</summary>
    public const int MaxMessage = 64 * 1024;

    /// <summary>A token; the API server's own limit on a header is near.</summary>
    public const int MaxToken = 16 * 1024;

    /// <summary>Open streams of one replica.</summary>
    public int Streams { get; init; } = 20_000;

    /// <summary>Streams that have not shown yet that they may be open.</summary>
    public int Handshakes { get; init; } = 512;

    /// <summary>TokenReviews at one time.</summary>
    public int Reviews { get; init; } = 32;

    /// <summary>Connections, each with one stream in the ordinary course.</summary>
    public int Connections => Streams + (2 * Handshakes);

    /// <summary>From the call to a vetted pod.</summary>
    public TimeSpan Handshake { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>From a vetted pod to its Hello.</summary>
    public TimeSpan Hello { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Between two heartbeats of ours.</summary>
    public TimeSpan Heartbeat { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>A stream that is silent for longer is dead.</summary>
    public TimeSpan Silence { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>A message that the sidecar has not taken by then never gets there.</summary>
    public TimeSpan Write { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Messages that a sidecar may send at once, beside an answer to each of ours.</summary>
    public int Burst { get; init; } = 60;

    /// <summary>And then as many in a second.</summary>
    public double MessagesPerSecond { get; init; } = 2;

    /// <summary>What a renewal counts for: it makes us ask the API server.</summary>
    public int RenewalCost { get; init; } = 10;

    /// <summary>Changes that come together go out together.</summary>
    public TimeSpan Coalescing { get; init; } = TimeSpan.FromMilliseconds(5);

    /// <summary>How long a snapshot waits for a credential that is about to be read.</summary>
    public TimeSpan Pending { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long the pods' cache may be behind a pod that the API server has shown.</summary>
    public TimeSpan CacheLag { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a sandbox counts as connected after its stream has ended.</summary>
    public TimeSpan Disconnected { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How often a replica says that it lives, and the leader looks whether the others do.</summary>
    public TimeSpan ReplicaBeat { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Looks in a row without a sign of life after which a replica is gone: together longer than a stream may be silent and its sidecar away.</summary>
    public int ReplicaLooks { get; init; } = 7;
}
