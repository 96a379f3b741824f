using Superserve.ApiServer.Schema;
using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Resources;

/// <summary>Brings objects into the form in which they are stored: known fields only, defaults set; and checks them.</summary>
internal sealed class Normalizer(ObjectStore store)
{
    /// <summary>Takes unknown fields out of what a user sent, with an error or a warning as the user wishes.</summary>
    public static void Prune(WriteRequest request, JsonObject value)
    {
        if (request.Type.Custom is not { Preserves: false } custom) return;
        IReadOnlyList<string> unknown = SchemaPruning.Prune(value, custom.Schema);
        if (unknown.Count == 0 || request.FieldValidation == "Ignore") return;
        string[] messages = [.. unknown.Select(path => $"unknown field \"{path}\"")];
        if (request.FieldValidation == "Strict")
        {
            string kind = request.Type.Kind;
            throw ApiErrors.BadRequest($"{kind} in version \"{request.Type.Version}\" cannot be handled as a {kind}: strict decoding error: {string.Join(", ", messages)}");
        }

        request.Warnings.AddRange(messages);
    }

    /// <summary>Sets defaults.</summary>
    public JsonObject Settle(WriteRequest request, JsonObject value, bool isNew)
    {
        if (request.Type.Custom is { } custom)
        {
            if (!custom.Preserves) SchemaPruning.Prune(value, custom.Schema);
            SchemaDefaults.Apply(value, custom.Schema);
            return value;
        }

        BuiltInRules.Default(request.Type, value);
        if (isNew && request.Type.Is("", "pods"))
        {
            string account = value.Text("spec", "serviceAccountName") ?? "default";
            JsonObject? found = store.Get(BuiltInTypes.Get("", "serviceaccounts").Key(request.Namespace, account));
            if (found is null) throw ApiErrors.Forbidden(request.Type, value.Name(), $"error looking up service account {request.Namespace}/{account}: serviceaccount \"{account}\" not found");
            PodRules.AdmitServiceAccount(value, found);
        }

        return value;
    }

    public static void Validate(ResourceType type, JsonObject value, JsonObject? old)
    {
        List<Violation> violations = [];
        if (old is null) violations.AddRange(Names.Validate(type, value.Name()));
        violations.AddRange(type.Custom is { } custom ? SchemaValidator.Validate(value, custom.Schema) : BuiltInRules.Validate(type, value, old));
        if (violations.Count > 0) throw ApiErrors.Invalid(type, value.Name(), violations);
    }
}
