namespace Superserve.ApiServer.Resources;

/// <summary>Events are stored as core writes them; the group events.k8s.io has other names for the same fields.</summary>
internal static class EventConversion
{
    private static readonly (string Core, string Newer)[] Names =
    [
        ("involvedObject", "regarding"),
        ("message", "note"),
        ("reportingComponent", "reportingController"),
        ("source", "deprecatedSource"),
        ("firstTimestamp", "deprecatedFirstTimestamp"),
        ("lastTimestamp", "deprecatedLastTimestamp"),
        ("count", "deprecatedCount"),
    ];

    public static JsonObject ToCore(JsonObject value) => Rename(value, "v1", name => Names.FirstOrDefault(pair => pair.Newer == name).Core);

    public static JsonObject ToNewer(JsonObject value) => Rename(value, "events.k8s.io/v1", name => Names.FirstOrDefault(pair => pair.Core == name).Newer);

    private static JsonObject Rename(JsonObject value, string apiVersion, Func<string, string?> other)
    {
        JsonObject result = [];
        foreach ((string name, JsonNode? child) in value) result[other(name) ?? name] = child?.DeepClone();
        result["apiVersion"] = apiVersion;
        return result;
    }
}
