using System.Globalization;
using System.Text.Json.Nodes;
using Superserve.Protocol.Audit;

namespace Superserve.Operator.AuditApi;

/// <summary>How values of rows are written, in fields and in tables.</summary>
internal static class AuditText
{
    /// <summary>A cell that has nothing to say.</summary>
    public const string None = "-";

    private const int MaxCell = 120;
    private const long LastMicrosecond = 253_402_300_799_999_999;

    public static DateTimeOffset Time(long microseconds) => DateTimeOffset.UnixEpoch.AddMicroseconds(Math.Clamp(microseconds, 0, LastMicrosecond));

    public static string Seconds(long microseconds) => Time(microseconds).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    public static string Microseconds(long microseconds) => Time(microseconds).ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture);

    public static string VerdictOf(Verdict verdict) => verdict switch
    {
        Verdict.Allowed => "allowed",
        Verdict.Blocked => "blocked",
        Verdict.Failed => "failed",
        _ => "unknown",
    };

    /// <summary>How many a row stands for.</summary>
    public static JsonNode Count(ulong count) => JsonValue.Create(Math.Max(count, 1));

    public static JsonNode? Text(string text) => text.Length > 0 ? JsonValue.Create(text) : null;

    public static JsonNode? Number(uint number) => number > 0 ? JsonValue.Create(number) : null;

    /// <summary>
    /// A table's cell. A sandbox chooses hosts and paths: nothing of them moves the cursor of whoever looks, and no row fills a screen.
    /// </summary>
    public static JsonNode Cell(string text)
    {
        string line = string.Create(Math.Min(text.Length, MaxCell), text, (span, from) =>
        {
            for (int i = 0; i < span.Length; i++) span[i] = char.IsControl(from[i]) || char.IsSurrogate(from[i]) || IsFormat(from[i]) ? '?' : from[i];
        });
        return JsonValue.Create(line.Length == 0 ? None : text.Length > MaxCell ? line[..(MaxCell - 1)] + "…" : line);

        static bool IsFormat(char c) => CharUnicodeInfo.GetUnicodeCategory(c) is UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator;
    }

    public static JsonNode Cell(uint number) => JsonValue.Create(number > 0 ? number.ToString(CultureInfo.InvariantCulture) : None);

    public static JsonNode Duration(long microseconds) => JsonValue.Create(microseconds switch
    {
        < 0 => None,
        < 1_000 => string.Create(CultureInfo.InvariantCulture, $"{microseconds}us"),
        < 1_000_000 => string.Create(CultureInfo.InvariantCulture, $"{microseconds / 1_000}ms"),
        < 60_000_000 => string.Create(CultureInfo.InvariantCulture, $"{microseconds / 1_000_000.0:0.0}s"),
        < 3_600_000_000 => string.Create(CultureInfo.InvariantCulture, $"{microseconds / 60_000_000}m{microseconds / 1_000_000 % 60}s"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{microseconds / 3_600_000_000}h{microseconds / 60_000_000 % 60}m"),
    });
}
