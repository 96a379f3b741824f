using System.IO.Compression;

namespace Superserve.Sidecar.Forwarding;

/// <summary>How the body of an answer is read that is to be searched for credentials.</summary>
internal static class AnswerBody
{
    /// <summary>What is said of an answer whose encoding hides it.</summary>
    public const string Unreadable = "answered in an encoding that the request did not ask for and that cannot be searched for the credential";

    /// <summary>The encoding of a body in lower case; null for none. More than one is a name that nobody knows.</summary>
    public static string? Encoding(string field)
    {
        string encoding = field.Trim().ToLowerInvariant();
        return encoding is "" or "identity" ? null : encoding;
    }

    public static bool IsReadable(string? encoding) => encoding is null or "gzip" or "x-gzip" or "br" or "deflate";

    /// <summary>The body as it was before it was encoded.</summary>
    public static Stream Decode(Stream content, string? encoding) => encoding switch
    {
        null => content,
        "br" => new BrotliStream(content, CompressionMode.Decompress),
        "deflate" => new ZLibStream(content, CompressionMode.Decompress),
        _ => new GZipStream(content, CompressionMode.Decompress),
    };
}
