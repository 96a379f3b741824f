using Superserve.Protocol.Audit;

namespace Superserve.Audit.Storing;

/// <summary>
/// How an event ended, as one small number: of a request status class and verdict, of the network log kind and verdict. Every index has it
/// ahead of the time, and there are few: a question about some outcomes is one walk through an index for each.
/// </summary>
internal static class Outcomes
{
    private static readonly string[] Verdicts = ["allowed", "blocked", "failed"];
    private static readonly string[] Classes = ["error", "1xx", "2xx", "3xx", "4xx", "5xx"];
    private static readonly string[] Kinds = ["connection", "dns"];

    public static short Of(RequestRecord record) => (short)((Math.Min(record.Status / 100, 5) * Verdicts.Length) + (int)record.Verdict - 1);

    public static short Of(NetworkRecord record) => (short)((record.Kind == Kinds[1] ? Verdicts.Length : 0) + (int)record.Verdict - 1);

    /// <summary>Every outcome of a log.</summary>
    public static IEnumerable<short> All(Log log) => Enumerable.Range(0, (log == Log.Requests ? Classes : Kinds).Length * Verdicts.Length).Select(number => (short)number);

    /// <summary>The values that a field of the outcome has; null for a field of another sort.</summary>
    public static IReadOnlyList<string>? ValuesOf(Log log, Field field) => (log, field) switch
    {
        (_, Field.Verdict) => Verdicts,
        (Log.Requests, Field.StatusClass) => Classes,
        (Log.Network, Field.Kind) => Kinds,
        _ => null,
    };

    /// <summary>Whether an outcome has a value of a field that <see cref="ValuesOf"/> knows.</summary>
    public static bool Has(short outcome, Field field, string value) =>
        field == Field.Verdict ? Verdicts[outcome % Verdicts.Length] == value
        : (field == Field.Kind ? Kinds : Classes)[outcome / Verdicts.Length] == value;
}
