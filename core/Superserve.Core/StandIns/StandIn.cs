using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;

namespace Superserve.Core.StandIns;

/// <summary>
/// The token that a sandbox sees instead of a credential. Its text never shows in <see cref="ToString"/>, so that no log,
/// exception or debugger line spreads it.
/// </summary>
public sealed class StandIn
{
    /// <summary>A shorter one could stand in ordinary text by accident.</summary>
    public const int MinLength = 16;

    private const int MaxLength = 512;

    private readonly byte[] _bytes;

    private StandIn(string value)
    {
        Value = value;
        _bytes = Encoding.Latin1.GetBytes(value);
    }

    /// <summary>The token itself.</summary>
    public string Value { get; }

    /// <summary>
    /// The stand-in of one variable of one sandbox: HMAC-SHA256 under <paramref name="key"/> of the length-prefixed fields,
    /// written in the token's shape. The same key and fields give the same token on every replica.
    /// </summary>
    /// <param name="key">At least 32 bytes.</param>
    /// <param name="shape">The token's shape.</param>
    /// <param name="fields">In an order that never changes: namespace, sandbox id, variable, secret's name and UID, binding's UID.</param>
    public static StandIn Derive(ReadOnlySpan<byte> key, TokenShape shape, params ReadOnlySpan<string> fields)
    {
        if (key.Length < 32) throw new ArgumentException("The key of stand-ins has at least 32 bytes.", nameof(key));
        using IncrementalHash hash = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, key);
        AppendField(hash, shape.Text);
        foreach (string field in fields) AppendField(hash, field);
        byte[] seed = hash.GetHashAndReset();

        // A token can need more than 32 bytes: HMAC in counter mode under the seed.
        byte[] block = [];
        int next = 0;
        uint counter = 0;
        byte[] input = new byte[sizeof(uint)];
        return new StandIn(shape.Write(() =>
        {
            if (next == block.Length)
            {
                BinaryPrimitives.WriteUInt32BigEndian(input, counter++);
                block = HMACSHA256.HashData(seed, input);
                next = 0;
            }

            return block[next++];
        }));
    }

    /// <summary>Takes a token that an owner chose; on failure <paramref name="error"/> says what to change.</summary>
    public static bool TryCreate(string text, [NotNullWhen(true)] out StandIn? standIn, [NotNullWhen(false)] out string? error)
    {
        standIn = null;
        error = null;
        if (text.Length is < MinLength or > MaxLength) error = $"a stand-in has {MinLength} to {MaxLength} characters";
        foreach (char c in text)
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_' or '.' or ':' or '~')) error ??= "a stand-in holds letters, digits and - _ . : ~ only, so that it is safe in URLs and headers";
        if (error is null) standIn = new StandIn(text);
        return standIn is not null;
    }

    /// <summary>Whether a text is this token, exactly; takes as long for every text of the same length.</summary>
    public bool Matches(ReadOnlySpan<char> text)
    {
        if (text.Length != _bytes.Length) return false;
        int difference = 0;
        for (int i = 0; i < text.Length; i++) difference |= text[i] ^ _bytes[i];
        return difference == 0;
    }

    /// <summary>Never the token.</summary>
    public override string ToString() => "[stand-in]";

    private static void AppendField(IncrementalHash hash, string field)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(field);
        Span<byte> length = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32BigEndian(length, bytes.Length);
        hash.AppendData(length);
        hash.AppendData(bytes);
    }
}
