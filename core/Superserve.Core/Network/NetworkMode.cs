namespace Superserve.Core.Network;

/// <summary>What a binding's network rules do with a destination that they do not let through.</summary>
public enum NetworkMode
{
    /// <summary>Refuse it.</summary>
    Enforce,

    /// <summary>Let it through, and log what would have been refused. What is closed without any rules stays closed.</summary>
    LogOnly,
}
