namespace Superserve.Operator.Resources;

/// <summary>The API group of the resources.</summary>
public static class ResourceGroup
{
    /// <summary>The group.</summary>
    public const string Name = "superserve.ai";

    /// <summary>The version.</summary>
    public const string Version = "v1alpha1";

    /// <summary>Both.</summary>
    public const string ApiVersion = Name + "/" + Version;
}

/// <summary>A condition as metav1.Condition has it.</summary>
public sealed record ResourceCondition
{
    /// <summary>Ready, for one.</summary>
    public string? Type { get; init; }

    /// <summary>True, False or Unknown.</summary>
    public string? Status { get; init; }

    /// <summary>The generation that it speaks of.</summary>
    public long? ObservedGeneration { get; init; }

    /// <summary>When the status last changed.</summary>
    public DateTimeOffset? LastTransitionTime { get; init; }

    /// <summary>One word for programs.</summary>
    public string? Reason { get; init; }

    /// <summary>A sentence for people.</summary>
    public string? Message { get; init; }
}
