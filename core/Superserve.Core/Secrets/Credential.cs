using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Superserve.Core.Secrets;

/// <summary>
/// A real key, token or password. It shows itself only through <see cref="Latin1"/> and <see cref="Bytes"/>; its
/// <see cref="ToString"/>, and so every record that holds one, does not.
/// </summary>
public sealed class Credential
{
    /// <summary>In bytes.</summary>
    public const int MaxLength = 8 * 1024;

    private Credential(byte[] bytes)
    {
        Bytes = bytes;
        Latin1 = Encoding.Latin1.GetString(bytes);
    }

    /// <summary>The bytes.</summary>
    public ReadOnlyMemory<byte> Bytes { get; }

    /// <summary>The bytes as text, one character for one byte, as headers are read and written.</summary>
    internal string Latin1 { get; }

    /// <summary>
    /// Takes what a core Secret or a file holds, less exactly one newline at its end. On failure <paramref name="error"/> says
    /// what is wrong, and nothing of the value.
    /// </summary>
    public static bool TryCreate(ReadOnlySpan<byte> value, [NotNullWhen(true)] out Credential? credential, [NotNullWhen(false)] out string? error)
    {
        credential = null;
        if (value.EndsWith("\r\n"u8)) value = value[..^2];
        else if (value.EndsWith("\n"u8)) value = value[..^1];

        if (value.IsEmpty) error = "the credential is empty";
        else if (value.Length > MaxLength) error = $"the credential has more than {MaxLength} bytes";
        else if (value.ContainsAnyInRange((byte)0, (byte)0x1f) || value.Contains((byte)0x7f))
            error = "the credential holds a control character, as a line break or a tab; store the bare value (printf, not echo; no PEM file)";
        else if (value[0] == ' ' || value[^1] == ' ')
            // Services trim header values: what they echo would be another text than the one that is searched for.
            error = "the credential begins or ends with a space; store the bare value";
        else
        {
            error = null;
            credential = new Credential(value.ToArray());
        }

        return credential is not null;
    }

    /// <summary>Never the credential.</summary>
    public override string ToString() => "[credential]";
}

/// <summary>Whether a secret has a credential now.</summary>
public abstract record CredentialState
{
    private CredentialState()
    {
    }

    /// <summary>It has.</summary>
    public sealed record Available(Credential Credential) : CredentialState;

    /// <summary>Its owner removed it.</summary>
    public sealed record Revoked : CredentialState
    {
        /// <summary>The only one.</summary>
        public static Revoked Instance { get; } = new();
    }

    /// <summary>It is missing or malformed.</summary>
    /// <param name="Message">What is wrong, for the owner.</param>
    public sealed record Unavailable(string Message) : CredentialState;
}
