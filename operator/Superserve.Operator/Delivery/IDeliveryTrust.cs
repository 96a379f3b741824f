namespace Superserve.Operator.Delivery;

/// <summary>What sidecars have to trust to find the operator again.</summary>
public interface IDeliveryTrust
{
    /// <summary>Raised after <see cref="TrustBundle"/> has changed.</summary>
    event Action? TrustBundleChanged;

    /// <summary>The CAs in PEM, the coming one included; null while there is none.</summary>
    string? TrustBundle { get; }
}
