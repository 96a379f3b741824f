namespace Superserve.ApiServer.Apply;

/// <summary>The shape that a CRD's structural schema gives.</summary>
internal sealed class SchemaShape(JsonObject? schema) : Shape
{
    public override bool IsAtomic => schema.Text("x-kubernetes-map-type") == "atomic";

    public override ListKind List => schema.Text("x-kubernetes-list-type") switch
    {
        "map" => ListKind.Map,
        "set" => ListKind.Set,
        _ => ListKind.Atomic,
    };

    public override IReadOnlyList<string> Keys => schema.Texts("x-kubernetes-list-map-keys");

    public override Shape Item => new SchemaShape(schema.Object("items"));

    public override bool Declares(string field) => schema.Object("properties", field) is not null;

    public override Shape Field(string name) => new SchemaShape(schema.Object("properties", name) ?? schema.Object("additionalProperties"));

    public override JsonNode? DefaultKey(string key) => schema.At("items", "properties", key, "default");
}

/// <summary>The top of a custom resource: its metadata is what every object's is.</summary>
internal sealed class CustomResourceShape(JsonObject schema) : Shape
{
    private readonly SchemaShape _schema = new(schema);

    public override Shape Item => _schema.Item;

    public override bool Declares(string field) => field is "apiVersion" or "kind" or "metadata" || _schema.Declares(field);

    public override Shape Field(string name) => name == "metadata" ? BuiltInShape.Metadata : _schema.Field(name);
}
