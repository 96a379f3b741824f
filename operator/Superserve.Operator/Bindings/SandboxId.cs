using System.Buffers.Binary;
using System.Globalization;

namespace Superserve.Operator.Bindings;

/// <summary>
/// What makes the stand-ins of one pod its own: 8 hexadecimal digits of the second in which admission made it, and 24 random ones.
/// Pods have no UID yet when they are admitted.
/// </summary>
public static class SandboxId
{
    /// <summary>How many random bytes one takes.</summary>
    public const int RandomBytes = 12;

    /// <summary>Makes one.</summary>
    public static string Create(DateTimeOffset now, ReadOnlySpan<byte> random)
    {
        if (random.Length != RandomBytes) throw new ArgumentException($"A sandbox id takes {RandomBytes} random bytes.", nameof(random));
        Span<byte> id = stackalloc byte[sizeof(uint) + RandomBytes];
        BinaryPrimitives.WriteUInt32BigEndian(id, (uint)now.ToUnixTimeSeconds());
        random.CopyTo(id[sizeof(uint)..]);
        return Convert.ToHexStringLower(id);
    }

    /// <summary>When it was made; null where it is none.</summary>
    public static DateTimeOffset? CreatedAt(string? id) =>
        id?.Length == 2 * (sizeof(uint) + RandomBytes) && uint.TryParse(id.AsSpan(0, 2 * sizeof(uint)), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint seconds)
            ? DateTimeOffset.FromUnixTimeSeconds(seconds)
            : null;
}
