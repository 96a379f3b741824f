namespace Superserve.Core.Scrubbing;

/// <summary>A credential that a response may echo, and what the sandbox sees in its place.</summary>
public sealed class ScrubPair
{
    /// <summary>The longest credential, in bytes.</summary>
    public const int MaxCredentialLength = 8192;

    /// <param name="credential">1 to 8192 bytes, as they went to the service.</param>
    /// <param name="standIn">Not empty; safe in a header, a URL and a JSON string as it is.</param>
    /// <param name="basicUserNames">The user names under which the credential is sent as a Basic password.</param>
    public ScrubPair(ReadOnlyMemory<byte> credential, ReadOnlyMemory<byte> standIn, IReadOnlyList<string> basicUserNames)
    {
        ArgumentNullException.ThrowIfNull(basicUserNames);
        if (credential.Length is 0 or > MaxCredentialLength)
            throw new ArgumentException("A credential has 1 to 8192 bytes.", nameof(credential));
        if (standIn.IsEmpty) throw new ArgumentException("A stand-in is not empty.", nameof(standIn));
        Credential = credential;
        StandIn = standIn;
        BasicUserNames = basicUserNames;
    }

    /// <summary>The credential.</summary>
    public ReadOnlyMemory<byte> Credential { get; }

    /// <summary>What takes its place.</summary>
    public ReadOnlyMemory<byte> StandIn { get; }

    /// <summary>The user names under which the credential is sent as a Basic password.</summary>
    public IReadOnlyList<string> BasicUserNames { get; }

    /// <summary>The type's name: neither text nor length of a credential belongs in a log.</summary>
    public override string ToString() => nameof(ScrubPair);
}
