namespace Superserve.Operator.Resources;

/// <summary>The condition that every resource of the group has.</summary>
public static class ReadyCondition
{
    /// <summary>Its type.</summary>
    public const string Type = "Ready";

    private const int MaxMessage = 2048;

    /// <summary>The one among conditions.</summary>
    public static ResourceCondition? Ready(this IReadOnlyList<ResourceCondition>? conditions) => conditions?.FirstOrDefault(condition => condition.Type == Type);

    /// <summary>The condition as it is now: its time moves only when its status does.</summary>
    /// <param name="before">The object's conditions so far.</param>
    /// <param name="status">True, False or Unknown.</param>
    /// <param name="reason">One word for programs.</param>
    /// <param name="message">A sentence for people.</param>
    /// <param name="generation">The generation that was looked at.</param>
    /// <param name="now">The time.</param>
    public static ResourceCondition Next(
        IReadOnlyList<ResourceCondition>? before, string status, string reason, string message, long? generation, DateTimeOffset now)
    {
        ResourceCondition? old = before.Ready();
        return new ResourceCondition
        {
            Type = Type,
            Status = status,
            Reason = reason,
            Message = message.Length > MaxMessage ? message[..(MaxMessage - 1)] + "…" : message,
            ObservedGeneration = generation,
            LastTransitionTime = old?.Status == status ? old.LastTransitionTime : Seconds(now),
        };
    }

    /// <summary>As the API server keeps times.</summary>
    public static DateTimeOffset Seconds(DateTimeOffset time) => DateTimeOffset.FromUnixTimeSeconds(time.ToUnixTimeSeconds());
}
