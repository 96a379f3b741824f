using Microsoft.Net.Http.Headers;

namespace Superserve.Operator.AuditApi;

/// <summary>How rows are answered: what the header Accept asks for.</summary>
/// <param name="IsTable">A Table, as kubectl prints, in place of objects.</param>
/// <param name="Included">What each row of a table carries: None, Metadata or Object.</param>
internal sealed record AnswerForm(bool IsTable, string Included)
{
    private const int MaxAccepted = 16;

    /// <summary>The first form that is known, of those with the highest q.</summary>
    /// <exception cref="AuditApiException">There is none.</exception>
    public static AnswerForm Read(HttpRequest request)
    {
        string included = request.Query["includeObject"].ToString() switch
        {
            "" or "Metadata" => "Metadata",
            "None" => "None",
            "Object" => "Object",
            _ => throw AuditApiException.BadRequest("includeObject is one of None, Metadata and Object"),
        };
        string[] accepted = [.. request.Headers.Accept.Where(value => value is not null).Select(value => value!)];
        if (accepted.Length == 0) return new AnswerForm(false, included);
        IEnumerable<MediaTypeHeaderValue> known = MediaTypeHeaderValue.TryParseList(accepted, out IList<MediaTypeHeaderValue>? types)
            ? types.Take(MaxAccepted).Where(IsKnown) : [];
        // OrderBy keeps the order of what is equal.
        MediaTypeHeaderValue best = known.OrderByDescending(type => type.Quality ?? 1).FirstOrDefault()
            ?? throw AuditApiException.NotAcceptable("only the media types application/json and application/json;as=Table;v=v1;g=meta.k8s.io are answered");
        return new AnswerForm(Parameter(best, "as") == "Table", included);
    }

    private static bool IsKnown(MediaTypeHeaderValue type) =>
        type.Quality is null or > 0
        && type.MediaType.Value is "application/json" or "application/*" or "*/*"
        && (Parameter(type, "as"), Parameter(type, "v"), Parameter(type, "g")) is (null, _, _) or ("Table", "v1", "meta.k8s.io");

    private static string? Parameter(MediaTypeHeaderValue type, string name) =>
        type.Parameters.FirstOrDefault(parameter => parameter.Name.Equals(name, StringComparison.OrdinalIgnoreCase))?.Value.Value?.Trim('"');
}
