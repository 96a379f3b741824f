namespace Superserve.ApiServer.Schema;

/// <summary>One reason why an object is invalid, as a Status's cause says it.</summary>
internal sealed record Violation(string Field, string Reason, string Message)
{
    public static Violation Required(string field, string detail = "") => new(field, "FieldValueRequired", detail.Length == 0 ? "Required value" : $"Required value: {detail}");

    public static Violation Invalid(string field, JsonNode? value, string detail) => new(field, "FieldValueInvalid", $"Invalid value: {value.ToText()}: {detail}");

    public static Violation Forbidden(string field, string detail) => new(field, "FieldValueForbidden", $"Forbidden: {detail}");

    public static Violation Duplicate(string field, JsonNode? value) => new(field, "FieldValueDuplicate", $"Duplicate value: {value.ToText()}");

    public static Violation NotSupported(string field, JsonNode? value, IEnumerable<string> supported) =>
        new(field, "FieldValueNotSupported", $"Unsupported value: {value.ToText()}: supported values: {string.Join(", ", supported)}");

    public override string ToString() => $"{Field}: {Message}";
}
