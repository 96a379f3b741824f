using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
using System.Text.Unicode;

namespace Superserve.Operator.Admission;

/// <summary>The AdmissionReview of <c>admission.k8s.io/v1</c>: reading the question, writing the answer.</summary>
internal static partial class AdmissionReview
{
    private const string ApiVersion = "admission.k8s.io/v1";
    private const string Kind = "AdmissionReview";

    // The API server sends 36 characters. The answer repeats them, so there must be an end.
    private const int MaxUidLength = 128;
    private const int MaxNameLength = 253;
    private const int MaxDepth = 64;

    // Where a name stands twice, this reader and the API server's could each take another one.
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = MaxDepth };

    /// <summary>Reads a body; null, with what is wrong with it, where it is not exactly one JSON text.</summary>
    public static JsonDocument? Parse(ReadOnlyMemory<byte> body, out string error)
    {
        error = "";
        try
        {
            // The parser looks at strings only when they are read, and would throw there.
            if (Utf8.IsValid(body.Span)) return JsonDocument.Parse(body, Strict);
            error = "the body is not UTF-8; send an AdmissionReview as JSON";
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // The exception's own text quotes the body. A property's name that is no Unicode text is an InvalidOperationException.
            string where = (exception as JsonException)?.LineNumber is { } line ? $"near line {line + 1} " : "";
            error = $"the body is not one JSON object: {where}it is torn, goes on after its end, "
                + $"is nested deeper than {MaxDepth} levels, or names a property twice; send an AdmissionReview as the API server does";
        }

        return null;
    }

    /// <summary>Reads the question; <paramref name="error"/> says what is missing. The objects in it are the document's.</summary>
    public static bool TryRead(JsonElement review, [NotNullWhen(true)] out AdmissionRequest? request, out string error)
    {
        request = null;
        try
        {
            error = Check(review);
            if (error.Length == 0) request = Read(Member(review, "request"));
        }
        catch (InvalidOperationException)
        {
            // An escape such as \ud800 is JSON, and no text.
            error = "a string in the request is not Unicode text; send an AdmissionReview as the API server does";
        }

        return request is not null;
    }

    /// <summary>Writes the answer.</summary>
    public static byte[] Write(string uid, AdmissionDecision decision)
    {
        Answer answer = new(
            uid,
            decision.IsAllowed,
            decision.IsAllowed ? null : new AnswerStatus("Failure", (int)decision.Code, decision.Reason, decision.Message),
            decision.Warnings.Count > 0 ? decision.Warnings : null,
            decision.Patch is null ? null : "JSONPatch",
            decision.Patch);
        return JsonSerializer.SerializeToUtf8Bytes(new AnsweredReview(ApiVersion, Kind, answer), AdmissionJson.Default.AnsweredReview);
    }

    private static string Check(JsonElement review)
    {
        JsonElement request = Member(review, "request");
        JsonElement resource = Member(request, "resource");
        if (Text(review, "kind") != Kind) return "the body is no AdmissionReview; only the API server has something to ask here";
        if (Text(review, "apiVersion") != ApiVersion)
            return $"the AdmissionReview is not of the version {ApiVersion}; write admissionReviewVersions: [v1] in the webhook configuration";
        if (request.ValueKind != JsonValueKind.Object) return "the AdmissionReview has no request";
        if (Text(request, "uid").Length is 0 or > MaxUidLength) return $"request.uid is missing or longer than {MaxUidLength} characters";
        if (Text(request, "operation").Length == 0) return "request.operation is missing";
        if (Text(resource, "resource").Length == 0) return "request.resource is missing";
        if (Text(Member(request, "userInfo"), "username").Length == 0) return "request.userInfo.username is missing";
        // They go into the log.
        string[] names = [Text(request, "operation"), Text(resource, "group"), Text(resource, "resource"), Text(request, "subResource"), Text(request, "namespace"), Text(request, "name")];
        if (names.Any(name => name.Length > MaxNameLength || name.Any(char.IsControl))) return "a name in the request is none that Kubernetes gives";
        // It goes into paths, where nothing, or a dot, would mean all namespaces.
        if (!NamespaceName().IsMatch(Text(request, "namespace"))) return "request.namespace is no namespace; all that is judged here is namespaced";
        return "";
    }

    [GeneratedRegex(@"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\z")]
    private static partial Regex NamespaceName();

    private static AdmissionRequest Read(JsonElement request) => new()
    {
        Uid = Text(request, "uid"),
        Operation = Text(request, "operation"),
        Group = Text(Member(request, "resource"), "group"),
        Resource = Text(Member(request, "resource"), "resource"),
        SubResource = Text(request, "subResource"),
        Kind = Text(Member(request, "kind"), "kind"),
        Namespace = Text(request, "namespace"),
        Name = Text(request, "name"),
        User = ReadUser(Member(request, "userInfo")),
        Object = ObjectOrNull(Member(request, "object")),
        OldObject = ObjectOrNull(Member(request, "oldObject")),
        DryRun = Member(request, "dryRun").ValueKind == JsonValueKind.True,
    };

    // What has the wrong type counts as absent: a user without groups may do less, an object that is none is refused.
    private static Requester ReadUser(JsonElement user)
    {
        JsonElement extra = Member(user, "extra");
        Dictionary<string, IReadOnlyList<string>> read = new(StringComparer.Ordinal);
        if (extra.ValueKind == JsonValueKind.Object)
            foreach (JsonProperty property in extra.EnumerateObject()) read[property.Name] = Texts(property.Value);
        return new Requester(Text(user, "username"), Text(user, "uid"), Texts(Member(user, "groups")), read);
    }

    private static JsonElement Member(JsonElement parent, string name) =>
        parent.ValueKind == JsonValueKind.Object && parent.TryGetProperty(name, out JsonElement member) ? member : default;

    private static JsonElement? ObjectOrNull(JsonElement element) => element.ValueKind == JsonValueKind.Object ? element : null;

    private static string Text(JsonElement parent, string name) =>
        Member(parent, name) is { ValueKind: JsonValueKind.String } text ? text.GetString()! : "";

    private static string[] Texts(JsonElement list) => list.ValueKind != JsonValueKind.Array
        ? []
        : [.. list.EnumerateArray().Where(item => item.ValueKind == JsonValueKind.String).Select(item => item.GetString()!)];
}

internal sealed record AnsweredReview(string ApiVersion, string Kind, Answer Response);

internal sealed record Answer(string Uid, bool Allowed, AnswerStatus? Status, IReadOnlyList<string>? Warnings, string? PatchType, byte[]? Patch);

internal sealed record AnswerStatus(string Status, int Code, string Reason, string Message);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(AnsweredReview))]
internal sealed partial class AdmissionJson : JsonSerializerContext;
