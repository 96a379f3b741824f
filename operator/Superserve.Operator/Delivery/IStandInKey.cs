namespace Superserve.Operator.Delivery;

/// <summary>The key that stand-ins are derived with.</summary>
public interface IStandInKey
{
    /// <summary>Whether there is a key.</summary>
    bool IsReady { get; }

    /// <summary>At least 32 bytes.</summary>
    ReadOnlySpan<byte> Bytes { get; }
}
