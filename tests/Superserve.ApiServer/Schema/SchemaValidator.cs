using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Superserve.ApiServer.Apply;

namespace Superserve.ApiServer.Schema;

/// <summary>Validation against a structural schema, in the words of the real server. CEL rules are not evaluated.</summary>
internal sealed class SchemaValidator
{
    private static readonly TimeSpan PatternTimeout = TimeSpan.FromSeconds(1);

    private readonly List<Violation> _violations = [];

    public static IReadOnlyList<Violation> Validate(JsonObject value, JsonObject schema)
    {
        SchemaValidator validator = new();
        foreach ((string name, JsonNode? child) in value)
        {
            if (name is "apiVersion" or "kind" or "metadata") continue;
            if (schema.Object("properties", name) is { } property) validator.Check(child, property, name);
        }

        validator.CheckRequired(value, schema, "");
        return validator._violations;
    }

    private void Check(JsonNode? value, JsonObject schema, string path)
    {
        if (value is null)
        {
            if (schema.Flag("nullable") != true) Add(Violation.Invalid(path, "null", $"{path} in body must be of type {schema.Text("type")}: \"null\""));
            return;
        }

        if (!CheckType(value, schema, path)) return;
        if (schema.Array("enum") is { } allowed && !allowed.Any(item => Json.Same(item, value)))
        {
            Add(Violation.NotSupported(path, value, allowed.Select(item => item.ToText())));
        }

        switch (value)
        {
            case JsonObject fields:
                CheckObject(fields, schema, path);
                break;
            case JsonArray items:
                CheckList(items, schema, path);
                break;
            case JsonValue scalar when scalar.GetValueKind() == JsonValueKind.String:
                CheckText(scalar.GetValue<string>(), schema, path);
                break;
            case JsonValue scalar when scalar.GetValueKind() == JsonValueKind.Number:
                CheckNumber(scalar, schema, path);
                break;
        }

        CheckCombinations(value, schema, path);
    }

    private bool CheckType(JsonNode value, JsonObject schema, string path)
    {
        string actual = TypeOf(value);
        if (schema.Flag("x-kubernetes-int-or-string") == true)
        {
            if (actual is "integer" or "string") return true;
            Add(Violation.Invalid(path, actual, $"{path} in body must be of type integer,string: \"{actual}\""));
            return false;
        }

        string? expected = schema.Text("type");
        if (expected is null || expected == actual || (expected == "number" && actual == "integer")) return true;
        Add(Violation.Invalid(path, actual, $"{path} in body must be of type {expected}: \"{actual}\""));
        return false;
    }

    private void CheckObject(JsonObject value, JsonObject schema, string path)
    {
        CheckRequired(value, schema, path);
        if (schema.Number("maxProperties") is { } most && value.Count > most) Add(new Violation(path, "FieldValueTooMany", $"Too many: {value.Count}: must have at most {most} items"));
        if (schema.Number("minProperties") is { } least && value.Count < least) Add(Violation.Invalid(path, value.Count, $"{path} in body should have at least {least} properties"));
        foreach ((string name, JsonNode? child) in value)
        {
            string below = path.Length == 0 ? name : $"{path}.{name}";
            if (schema.Object("properties", name) is { } property) Check(child, property, below);
            else if (schema.Object("additionalProperties") is { } any) Check(child, any, below);
        }
    }

    private void CheckRequired(JsonObject value, JsonObject schema, string path)
    {
        foreach (string name in schema.Texts("required"))
        {
            if (!value.ContainsKey(name)) Add(Violation.Required(path.Length == 0 ? name : $"{path}.{name}"));
        }
    }

    private void CheckList(JsonArray value, JsonObject schema, string path)
    {
        if (schema.Number("maxItems") is { } most && value.Count > most) Add(new Violation(path, "FieldValueTooMany", $"Too many: {value.Count}: must have at most {most} items"));
        if (schema.Number("minItems") is { } least && value.Count < least) Add(Violation.Invalid(path, value.Count, $"{path} in body should have at least {least} items"));
        if (schema.Object("items") is { } items)
        {
            for (int index = 0; index < value.Count; index++) Check(value[index], items, $"{path}[{index}]");
        }

        SchemaShape shape = new(schema);
        if (shape.List == ListKind.Atomic || !shape.Granular(value)) return;
        HashSet<string> seen = new(StringComparer.Ordinal);
        for (int index = 0; index < value.Count; index++)
        {
            string element = shape.ElementOf(value[index]);
            if (!seen.Add(element)) Add(Violation.Duplicate($"{path}[{index}]", Json.Parse(element[2..])));
        }
    }

    private void CheckText(string value, JsonObject schema, string path)
    {
        int length = value.EnumerateRunes().Count();
        if (schema.Number("maxLength") is { } most && length > most) Add(new Violation(path, "FieldValueTooLong", $"Too long: may not be more than {most} bytes"));
        if (schema.Number("minLength") is { } least && length < least) Add(Violation.Invalid(path, value, $"{path} in body should be at least {least} chars long"));
        if (schema.Text("pattern") is { } pattern && !Regex.IsMatch(value, GoPattern(pattern), RegexOptions.CultureInvariant, PatternTimeout))
        {
            Add(Violation.Invalid(path, value, $"{path} in body should match '{pattern}'"));
        }

        bool formed = schema.Text("format") switch
        {
            "date-time" => DateTimeOffset.TryParse(value, CultureInfo.InvariantCulture, DateTimeStyles.None, out _) && value.Contains('T'),
            "byte" => Convert.TryFromBase64String(value, new byte[value.Length], out _),
            "uuid" => Guid.TryParse(value, out _),
            _ => true,
        };
        if (!formed) Add(Violation.Invalid(path, value, $"{path} in body must be of type {schema.Text("format")}: {JsonValue.Create(value).ToText()}"));
    }

    private void CheckNumber(JsonValue value, JsonObject schema, string path)
    {
        double number = double.Parse(value.ToJsonString(), CultureInfo.InvariantCulture);
        double? Limit(string name) => schema[name] is JsonValue limit ? double.Parse(limit.ToJsonString(), CultureInfo.InvariantCulture) : null;
        string Text(double limit) => limit.ToString(CultureInfo.InvariantCulture);

        if (Limit("minimum") is { } least && (number < least || (schema.Flag("exclusiveMinimum") == true && number <= least)))
        {
            Add(Violation.Invalid(path, value, $"{path} in body should be greater than {(schema.Flag("exclusiveMinimum") == true ? "" : "or equal to ")}{Text(least)}"));
        }

        if (Limit("maximum") is { } most && (number > most || (schema.Flag("exclusiveMaximum") == true && number >= most)))
        {
            Add(Violation.Invalid(path, value, $"{path} in body should be less than {(schema.Flag("exclusiveMaximum") == true ? "" : "or equal to ")}{Text(most)}"));
        }

        if (Limit("multipleOf") is { } factor && number % factor != 0) Add(Violation.Invalid(path, value, $"{path} in body should be a multiple of {Text(factor)}"));
    }

    private void CheckCombinations(JsonNode value, JsonObject schema, string path)
    {
        bool Passes(JsonObject alternative)
        {
            SchemaValidator inner = new();
            inner.Check(value, alternative, path);
            return inner._violations.Count == 0;
        }

        foreach (JsonObject part in schema.Objects("allOf")) Check(value, part, path);
        if (schema.Array("anyOf") is not null && !schema.Objects("anyOf").Any(Passes)) Add(Violation.Invalid(path, value, $"{path} in body must validate at least one schema (anyOf)"));
        if (schema.Array("oneOf") is not null && schema.Objects("oneOf").Count(Passes) != 1) Add(Violation.Invalid(path, value, $"{path} in body must validate one and only one schema (oneOf)"));
        if (schema.Object("not") is { } not && Passes(not)) Add(Violation.Invalid(path, value, $"{path} in body must not validate the schema (not)"));
    }

    private void Add(Violation violation) => _violations.Add(violation);

    /// <summary>In Go's patterns "$" is the end of the text alone; .NET's lets a last newline pass.</summary>
    private static string GoPattern(string pattern)
    {
        StringBuilder result = new();
        bool inClass = false;
        for (int index = 0; index < pattern.Length; index++)
        {
            char c = pattern[index];
            if (c == '\\' && index + 1 < pattern.Length)
            {
                result.Append(c).Append(pattern[++index]);
                continue;
            }

            if (c == '[') inClass = true;
            else if (c == ']') inClass = false;
            result.Append(c == '$' && !inClass ? @"\z" : c.ToString());
        }

        return result.ToString();
    }

    private static string TypeOf(JsonNode value) => value.GetValueKind() switch
    {
        JsonValueKind.Object => "object",
        JsonValueKind.Array => "array",
        JsonValueKind.String => "string",
        JsonValueKind.True or JsonValueKind.False => "boolean",
        JsonValueKind.Number => value.Number() is not null || double.IsInteger(double.Parse(value.ToJsonString(), CultureInfo.InvariantCulture)) ? "integer" : "number",
        _ => "null",
    };
}
