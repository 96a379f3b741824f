using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Json;

namespace Superserve.Sidecar.Delivery;

/// <summary>A service account token. It shows itself only through <see cref="Text"/>.</summary>
/// <param name="text">The token.</param>
/// <param name="expiresAt">When it ends; null where it does not say so.</param>
internal sealed class Token(string text, DateTimeOffset? expiresAt)
{
    public string Text { get; } = text;

    public DateTimeOffset? ExpiresAt { get; } = expiresAt;

    /// <summary>Never the token.</summary>
    public override string ToString() => "[token]";
}

/// <summary>The projected token, read anew at each use.</summary>
internal sealed class TokenFile(string path)
{
    private const int MaxLength = 16 * 1024;

    /// <summary>Reads the token; on failure <paramref name="error"/> says what to do.</summary>
    public bool TryRead([NotNullWhen(true)] out Token? token, [NotNullWhen(false)] out string? error)
    {
        token = null;
        try
        {
            using FileStream file = File.OpenRead(path);
            byte[] bytes = new byte[MaxLength + 1];
            int length = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            string text = Encoding.ASCII.GetString(bytes, 0, length).Trim();
            error = null;
            if (text.Length == 0) error = "is empty";
            else if (length > MaxLength) error = $"has more than {MaxLength} bytes";
            else if (text.AsSpan().ContainsAnyExceptInRange('!', '~') || text.Contains('?')) error = "holds characters that no token has";
            if (error is null) token = new Token(text, ReadExpiry(text));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            error = $"cannot be read ({exception.GetType().Name})";
        }

        if (error is not null) error = $"the token {path} {error}. The pod's volume with a service account token for the audience superserve.ai is not as admission makes it: make the pod anew.";
        return token is not null;
    }

    /// <summary>Reads <c>exp</c> of a JWT (RFC 7519) without verifying it: that is the operator's part.</summary>
    private static DateTimeOffset? ReadExpiry(string token)
    {
        if (token.Split('.') is not [_, string payload, _]) return null;
        try
        {
            using JsonDocument claims = JsonDocument.Parse(Base64Url.DecodeFromChars(payload));
            return claims.RootElement.ValueKind == JsonValueKind.Object && claims.RootElement.TryGetProperty("exp", out JsonElement expiry)
                && expiry.ValueKind == JsonValueKind.Number && expiry.TryGetInt64(out long seconds) ? DateTimeOffset.FromUnixTimeSeconds(seconds) : null;
        }
        catch (Exception exception) when (exception is JsonException or FormatException or ArgumentOutOfRangeException)
        {
            return null;
        }
    }
}
