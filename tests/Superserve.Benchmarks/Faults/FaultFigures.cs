using System.Globalization;

namespace Superserve.Benchmarks.Faults;

/// <summary>What became of the requests of one fault.</summary>
public sealed record FaultFigures
{
    public const string Head = "| fault | requests | failed | refused | the service saw | rows | missing | twice | overflowed | interrupted | p99 before, ms | while away | after |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|";

    public required string Fault { get; init; }

    public required int Asked { get; init; }

    /// <summary>Got no answer, or a wrong one.</summary>
    public required int Failed { get; init; }

    /// <summary>Answered with audit_unavailable.</summary>
    public required int Refused { get; init; }

    public required int Seen { get; init; }

    /// <summary>Rows of requests that used the credential.</summary>
    public required int Rows { get; init; }

    /// <summary>Requests that the service saw and that are in no row.</summary>
    public required int Missing { get; init; }

    /// <summary>Rows beyond the first one of a request.</summary>
    public required int Twice { get; init; }

    /// <summary>Events of requests that the sidecar says it had no room for.</summary>
    public required long Overflowed { get; init; }

    /// <summary>Rows of requests that the sidecar's end interrupted.</summary>
    public required int Interrupted { get; init; }

    public required double Before { get; init; }

    public required double During { get; init; }

    public required double After { get; init; }

    /// <summary>What else there is to say.</summary>
    public string Note { get; init; } = "";

    /// <summary>What is not as it should be; null for nothing.</summary>
    public string? Problem { get; init; }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"| {Fault} | {Asked} | {Failed} | {Refused} | {Seen} | {Rows} | {Missing} | {Twice} | {Overflowed} | {Interrupted} | {Before:0.0} | {During:0.0} | {After:0.0} |");
}
