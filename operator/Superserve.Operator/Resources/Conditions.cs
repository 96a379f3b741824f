namespace Superserve.Operator.Resources;

/// <summary>The conditions of the resources, and how they move.</summary>
public static class Conditions
{
    /// <summary>Whether the resource does what its owner wants; both kinds have it.</summary>
    public const string ReadyType = "Ready";

    /// <summary>Whether the sandboxes of a binding cannot go around their sidecars.</summary>
    public const string EnforcedType = "Enforced";

    private const int MaxMessage = 2048;

    /// <summary>The one of that type.</summary>
    public static ResourceCondition? Ready(this IReadOnlyList<ResourceCondition>? conditions) => conditions.Of(ReadyType);

    /// <summary>The condition as it is now: its time moves only when its status does.</summary>
    /// <param name="before">The object's conditions so far.</param>
    /// <param name="type">Which one.</param>
    /// <param name="status">True, False or Unknown.</param>
    /// <param name="reason">One word for programs.</param>
    /// <param name="message">A sentence for people.</param>
    /// <param name="generation">The generation that was looked at.</param>
    /// <param name="now">The time.</param>
    public static ResourceCondition Next(
        IReadOnlyList<ResourceCondition>? before, string type, string status, string reason, string message, long? generation, DateTimeOffset now)
    {
        ResourceCondition? old = before.Of(type);
        return new ResourceCondition
        {
            Type = type,
            Status = status,
            Reason = reason,
            Message = message.Length > MaxMessage ? message[..(MaxMessage - 1)] + "…" : message,
            ObservedGeneration = generation,
            LastTransitionTime = old?.Status == status ? old.LastTransitionTime : Seconds(now),
        };
    }

    private static ResourceCondition? Of(this IReadOnlyList<ResourceCondition>? conditions, string type) => conditions?.FirstOrDefault(condition => condition.Type == type);

    /// <summary>As the API server keeps times.</summary>
    public static DateTimeOffset Seconds(DateTimeOffset time) => DateTimeOffset.FromUnixTimeSeconds(time.ToUnixTimeSeconds());
}
