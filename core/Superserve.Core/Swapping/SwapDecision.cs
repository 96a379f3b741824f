using System.Collections.Immutable;
using Superserve.Core.Snapshots;

namespace Superserve.Core.Swapping;

/// <summary>A refusal with what the agent should know about it; never a stand-in or a credential.</summary>
/// <param name="Reason">Why.</param>
/// <param name="Detail">What happened, what it means, what to do.</param>
/// <param name="Secret">The secret it is about, if one is.</param>
public sealed record Refusal(RefusalReason Reason, string Detail, BoundSecret? Secret = null);

/// <summary>One header to replace whole: every field of the name goes, and one with the value comes, unless that is null.</summary>
public readonly record struct HeaderEdit(string Name, string? Value)
{
    /// <summary>Never the value.</summary>
    public override string ToString() => $"{Name}: [edited]";
}

/// <summary>How to write a request so that it carries its credentials.</summary>
/// <param name="Secrets">The secrets that it uses, each once.</param>
/// <param name="Headers">The headers to replace or remove.</param>
/// <param name="Target">The new path and query; null where it stays.</param>
public sealed record SwapPlan(ImmutableArray<BoundSecret> Secrets, ImmutableArray<HeaderEdit> Headers, string? Target)
{
    /// <summary>Never the values.</summary>
    public override string ToString() => $"swap of {Secrets.Length}";
}

/// <summary>What becomes of a request: it passes as it is, is rewritten by <see cref="Plan"/>, or is refused.</summary>
public readonly record struct SwapDecision(SwapPlan? Plan, Refusal? Refusal)
{
    /// <summary>The request holds no stand-in.</summary>
    public static SwapDecision Pass => default;

    /// <summary>The request is refused.</summary>
    public static SwapDecision Refuse(RefusalReason reason, string detail, BoundSecret? secret = null) => new(null, new Refusal(reason, detail, secret));
}
