using Superserve.Core.Swapping;

namespace Superserve.Core.Network;

/// <summary>What the network rules say about one name or one address.</summary>
/// <param name="IsAllowed">Whether the connection may go on.</param>
/// <param name="Reason">
/// Why it is refused, or with <paramref name="IsLogOnly"/> why it would have been; null where the rules allow it.
/// </param>
/// <param name="Rule">The rule that decided, as the owner wrote it (<c>allowOut api.github.com</c>), for the log.</param>
/// <param name="IsLogOnly">
/// Whether it is allowed only because the rules that refuse it are in <see cref="NetworkMode.LogOnly"/>.
/// </param>
public readonly record struct NetworkVerdict(bool IsAllowed, RefusalReason? Reason, string Rule, bool IsLogOnly)
{
    internal static NetworkVerdict Refused(RefusalReason reason, string rule) => new(false, reason, rule, false);
}

/// <summary>What one policy says, whatever its mode; without a rule where none of its own names the destination.</summary>
internal readonly record struct Judgement(RefusalReason? Reason, string? Rule)
{
    public bool IsRefused => Reason is not null;

    public bool IsAllowedByRule => Reason is null && Rule is not null;

    public static Judgement Allow(string rule) => new(null, rule);

    public static Judgement Refuse(RefusalReason reason, string rule) => new(reason, rule);
}

/// <summary>The rules that no owner wrote, as they stand in the log.</summary>
internal static class BuiltInRules
{
    public const string BoundHost = "bound host";
    public const string Default = "default";
    public const string StrictList = "strict list";
    public const string Metadata = "metadata address";
    public const string ClusterDomain = "cluster domain";
    public const string ScopedAddress = "scoped address";
    public const string NotAHostName = "not a host name";
    public const string OtherResolver = "DNS resolver's port";
    public const string NoRulesLeft = "no rules left";
    public const string ReverseName = "reverse name";
    public const string LongName = "name too long for a wildcard";
    public const string QueryType = "query type";
}
