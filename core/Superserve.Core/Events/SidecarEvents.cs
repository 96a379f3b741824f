using System.Text.Json.Serialization;

namespace Superserve.Core.Events;

/// <summary>Something that a sandbox did, as one row of a log.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "kind")]
[JsonDerivedType(typeof(RequestEvent), "request")]
[JsonDerivedType(typeof(ConnectionEvent), "connection")]
[JsonDerivedType(typeof(DnsEvent), "dns")]
public abstract record SidecarEvent
{
    /// <summary>When it began.</summary>
    [JsonPropertyOrder(-4)]
    public required DateTimeOffset Time { get; init; }

    /// <summary>The sandbox's name.</summary>
    [JsonPropertyOrder(-3)]
    public required string Sandbox { get; init; }

    /// <summary>The canonical host name, or the address where there was no name.</summary>
    [JsonPropertyOrder(-2)]
    public required string Host { get; init; }

    /// <summary>The port.</summary>
    [JsonPropertyOrder(-1)]
    public required int Port { get; init; }

    /// <summary>How long it lasted.</summary>
    public required double DurationMilliseconds { get; init; }

    /// <summary>Bytes from the sandbox: of a request, its body's.</summary>
    public required long BytesSent { get; init; }

    /// <summary>Bytes to the sandbox: of a request, the answer's body's.</summary>
    public required long BytesReceived { get; init; }

    /// <summary>The refusal's reason, or <c>aborted</c> where the exchange broke off; null for success.</summary>
    public string? Error { get; init; }

    /// <summary>How many alike this row stands for; refusals soon after each other are one.</summary>
    public long Count { get; init; } = 1;
}

/// <summary>One row of the audit log: a request that used a secret, tried to, or was refused.</summary>
public sealed record RequestEvent : SidecarEvent
{
    /// <summary>The Superserve Secret; of several, separated by commas; null where no stand-in was involved.</summary>
    public string? Secret { get; init; }

    /// <summary>The environment variable, likewise.</summary>
    public string? Env { get; init; }

    /// <summary>The HTTP method.</summary>
    public required string Method { get; init; }

    /// <summary>The path without its query; a credential's place shows as <c>{{ value }}</c>.</summary>
    public required string Path { get; init; }

    /// <summary>What the sandbox was answered; 0 where the connection broke first.</summary>
    public required int Status { get; init; }

    /// <summary>What the service answered; null where it was not asked or did not answer.</summary>
    public int? UpstreamStatus { get; init; }

    /// <summary>HTTP/1.1 or HTTP/2.</summary>
    public required string Protocol { get; init; }

    /// <summary>What became of it.</summary>
    public required ConnectionVerdict Verdict { get; init; }
}

/// <summary>What became of a connection, a request or a look-up.</summary>
public enum ConnectionVerdict
{
    /// <summary>It was let through.</summary>
    [JsonStringEnumMemberName("allowed")]
    Allowed,

    /// <summary>A rule refused it.</summary>
    [JsonStringEnumMemberName("blocked")]
    Blocked,

    /// <summary>It was permitted, but could not be made or broke.</summary>
    [JsonStringEnumMemberName("failed")]
    Failed,
}

/// <summary>One row of the network log: a connection that the sandbox made or tried.</summary>
public sealed record ConnectionEvent : SidecarEvent
{
    /// <summary>tcp, udp, quic, icmp or other.</summary>
    public string Protocol { get; init; } = "tcp";

    /// <summary>The address that the sandbox dialled; null where it named the host to the proxy.</summary>
    public string? Address { get; init; }

    /// <summary>Of packets that the rules of the pod's network dropped: how many of them this row stands for, at least.</summary>
    public long? Packets { get; init; }

    /// <summary>intercepted, tunnelled, http, or dropped.</summary>
    public required string Handling { get; init; }

    /// <summary>What became of it.</summary>
    public required ConnectionVerdict Verdict { get; init; }

    /// <summary>The rule that decided, as its owner wrote it.</summary>
    public required string Rule { get; init; }

    /// <summary>Whether a rule in the mode LogOnly would have refused it.</summary>
    public bool LogOnly { get; init; }
}

/// <summary>One row of the network log: a name that the sandbox looked up.</summary>
public sealed record DnsEvent : SidecarEvent
{
    /// <summary>The type of records, as <c>AAAA</c> or <c>TYPE99</c>.</summary>
    public required string QueryType { get; init; }

    /// <summary>What became of it.</summary>
    public required ConnectionVerdict Verdict { get; init; }

    /// <summary>The rule that decided, as its owner wrote it.</summary>
    public required string Rule { get; init; }

    /// <summary>Whether a rule in the mode LogOnly would have refused it.</summary>
    public bool LogOnly { get; init; }

    /// <summary>What it was answered, as <c>NXDOMAIN</c>.</summary>
    public required string Response { get; init; }
}
