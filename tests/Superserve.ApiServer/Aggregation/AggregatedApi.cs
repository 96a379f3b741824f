namespace Superserve.ApiServer.Aggregation;

/// <summary>One group and version that another server answers, as its APIService says.</summary>
internal sealed record AggregatedApi(JsonObject Definition)
{
    public string Group => Definition.Text("spec", "group") ?? "";

    public string Version => Definition.Text("spec", "version") ?? "";

    public JsonObject Service => Definition.Object("spec", "service") ?? [];

    public string Path => $"apis/{Group}/{Version}";

    /// <summary>What tells its client apart: where it is and whom to trust.</summary>
    public JsonObject Connection => new()
    {
        ["service"] = Service.DeepClone(),
        ["caBundle"] = Definition.At("spec", "caBundle")?.DeepClone(),
    };
}
