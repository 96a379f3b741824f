using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;

namespace Superserve.Core.StandIns;

/// <summary>
/// How a service's tokens look: literal text and runs of random characters, as <c>ghp_{base62:30}{crc32}</c>. SDKs that check
/// the form of a key accept a stand-in of the shape.
/// </summary>
public sealed record TokenShape
{
    /// <summary>A stand-in cannot be guessed with less.</summary>
    public const int MinEntropyBits = 128;

    private const string Base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    private const int ChecksumLength = 6;
    private const int MaxLength = 512;

    private TokenShape(string text, ImmutableArray<Part> parts, double entropyBits)
    {
        Text = text;
        Parts = parts;
        EntropyBits = entropyBits;
    }

    /// <summary>For secrets without a provider.</summary>
    public static TokenShape Default { get; } = TryParse("superserve_{base62:40}", out TokenShape? shape, out _) ? shape : null!;

    /// <summary>The shape as it was written.</summary>
    public string Text { get; }

    /// <summary>How many random bits a token of the shape holds.</summary>
    public double EntropyBits { get; }

    private ImmutableArray<Part> Parts { get; }

    /// <summary>Reads a shape; on failure <paramref name="error"/> says what to change.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out TokenShape? shape, [NotNullWhen(false)] out string? error)
    {
        shape = null;
        error = null;
        ImmutableArray<Part>.Builder parts = ImmutableArray.CreateBuilder<Part>();
        double bits = 0;
        int length = 0;
        for (int i = 0; i < text.Length && error is null;)
        {
            if (text[i] != '{')
            {
                int end = text.IndexOf('{', i);
                string literal = end < 0 ? text[i..] : text[i..end];
                foreach (char c in literal)
                    if (!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_' or '.' or ':' or '~')) error = $"'{c}' in a token is not safe in URLs and headers";
                parts.Add(new Part(literal, null, 0));
                length += literal.Length;
                i += literal.Length;
                continue;
            }

            int close = text.IndexOf('}', i);
            string run = close < 0 ? "" : text[(i + 1)..close];
            i = close + 1;
            if (run == "crc32" && parts.Count > 0 && parts[^1].Alphabet is not null)
            {
                parts.Add(new Part(null, null, ChecksumLength));
                length += ChecksumLength;
            }
            else if (run.Split(':') is [string name, string count] && Alphabet(name) is { } alphabet
                && int.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out int n) && n is > 0 and <= MaxLength)
            {
                parts.Add(new Part(null, alphabet, n));
                bits += n * Math.Log2(alphabet.Length);
                length += n;
            }
            else error = $"'{{{run}}}' is no run of characters; write one as {{base62:40}}";
        }

        if (error is null && length > MaxLength) error = $"a token is longer than {MaxLength} characters";
        if (error is null && bits < MinEntropyBits) error = $"a token of the shape '{text}' holds {(int)bits} random bits; at least {MinEntropyBits} are needed";
        if (error is not null) return false;
        shape = new TokenShape(text, parts.ToImmutable(), bits);
        return true;
    }

    /// <summary>Writes a token of the shape from a stream of uniform random bytes.</summary>
    internal string Write(Func<byte> random)
    {
        StringBuilder token = new();
        int runStart = 0;
        foreach (Part part in Parts)
        {
            if (part.Literal is not null) token.Append(part.Literal);
            else if (part.Alphabet is not null)
            {
                runStart = token.Length;
                for (int i = 0; i < part.Length; i++) token.Append(Pick(part.Alphabet, random));
            }
            else AppendChecksum(token, token.ToString(runStart, token.Length - runStart));
        }

        return token.ToString();
    }

    // Rejecting the bytes above the last whole multiple keeps every character equally likely.
    private static char Pick(string alphabet, Func<byte> random)
    {
        int limit = 256 - (256 % alphabet.Length);
        int value;
        do value = random();
        while (value >= limit);
        return alphabet[value % alphabet.Length];
    }

    // GitHub and npm end a token with the CRC32 of its random part in base 62, six digits, so that scanners can tell it from noise:
    // https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
    private static void AppendChecksum(StringBuilder token, string run)
    {
        uint crc = ~0u;
        foreach (char c in run)
        {
            crc ^= (byte)c;
            for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1)));
        }

        crc = ~crc;
        Span<char> digits = stackalloc char[ChecksumLength];
        for (int i = ChecksumLength - 1; i >= 0; i--, crc /= 62) digits[i] = Base62[(int)(crc % 62)];
        token.Append(digits);
    }

    private static string? Alphabet(string name) => name switch
    {
        "digits" => "0123456789",
        "hex" => "0123456789abcdef",
        "upper-hex" => "0123456789ABCDEF",
        "base32" => "abcdefghijklmnopqrstuvwxyz234567",
        "base36" => "0123456789abcdefghijklmnopqrstuvwxyz",
        "upper36" => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "lower" => "abcdefghijklmnopqrstuvwxyz",
        "letters" => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "base62" => Base62,
        "base64url" => Base62 + "-_",
        _ => null,
    };

    /// <summary>The shape as it was written.</summary>
    public override string ToString() => Text;

    private sealed record Part(string? Literal, string? Alphabet, int Length);
}
