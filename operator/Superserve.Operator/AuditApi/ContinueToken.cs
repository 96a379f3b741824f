using System.Buffers.Text;
using System.Text;
using System.Text.Json;
using Superserve.Protocol.Audit;

namespace Superserve.Operator.AuditApi;

/// <summary>
/// Where a list goes on: the window of the first page, since "an hour ago" is another moment by then, how many rows it may still show,
/// and the audit service's own cursor. A user can write one too; it opens nothing that its own request would not, because what may be
/// seen is decided by the request, and nothing of it by the token.
/// </summary>
/// <param name="Log">The log that it is of.</param>
/// <param name="Namespace">The namespace that it is of; empty for all.</param>
/// <param name="Since">Microseconds since 1970.</param>
/// <param name="Before">The same; 0 for no bound.</param>
/// <param name="Left">How many rows may follow; null without a bound.</param>
/// <param name="Cursor">The audit service's.</param>
internal sealed record ContinueToken(Log Log, string Namespace, long Since, long Before, int? Left, byte[] Cursor)
{
    private const int MaxLength = 8 * 1024;

    public string Write() => Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(this));

    /// <summary>Reads one that is of this list.</summary>
    /// <exception cref="AuditApiException">It is none.</exception>
    public static ContinueToken Read(string text, Log log, string inNamespace)
    {
        ContinueToken? token = null;
        try
        {
            if (text.Length <= MaxLength && Ascii.IsValid(text)) token = JsonSerializer.Deserialize<ContinueToken>(Base64Url.DecodeFromChars(text));
        }
        catch (Exception exception) when (exception is FormatException or JsonException)
        {
            // Answered below.
        }

        if (token is not { Namespace: not null, Cursor.Length: > 0, Left: null or > 0, Since: >= 0, Before: >= 0 } || token.Log != log || token.Namespace != inNamespace)
            throw AuditApiException.BadRequest("continue key is not valid: it is not one that this list gave; start the list again without it");
        return token;
    }
}
