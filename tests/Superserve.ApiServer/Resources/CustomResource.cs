namespace Superserve.ApiServer.Resources;

/// <summary>What one version in a CRD says beyond its names.</summary>
internal sealed record CustomResource(JsonObject Schema, IReadOnlyList<JsonObject> Columns, IReadOnlyList<string> SelectableFields, bool Preserves)
{
    public static CustomResource Of(JsonObject crd, JsonObject version)
    {
        JsonObject schema = version.Object("schema", "openAPIV3Schema") ?? new JsonObject { ["type"] = "object", ["x-kubernetes-preserve-unknown-fields"] = true };
        return new CustomResource(
            schema,
            [.. version.Objects("additionalPrinterColumns")],
            [.. version.Objects("selectableFields").Select(field => (field.Text("jsonPath") ?? "").TrimStart('.'))],
            crd.Flag("spec", "preserveUnknownFields") ?? false);
    }
}
