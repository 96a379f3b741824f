using System.Globalization;

namespace Superserve.ApiServer.Documents;

/// <summary>What every object has.</summary>
internal static class ObjectMeta
{
    public static JsonObject Metadata(this JsonObject value) => value.Child("metadata");

    public static string Name(this JsonNode value) => value.Text("metadata", "name") ?? "";

    public static string Namespace(this JsonNode value) => value.Text("metadata", "namespace") ?? "";

    public static string Uid(this JsonNode value) => value.Text("metadata", "uid") ?? "";

    public static string ResourceVersion(this JsonNode value) => value.Text("metadata", "resourceVersion") ?? "";

    public static bool IsBeingDeleted(this JsonNode value) => value.At("metadata", "deletionTimestamp") is not null;

    public static bool HasFinalizers(this JsonNode value) => value.Array("metadata", "finalizers") is { Count: > 0 };

    public static string? Label(this JsonNode value, string name) => value.Text("metadata", "labels", name);

    /// <summary>A time the way Kubernetes writes it: UTC, to the second.</summary>
    public static string ToTimestamp(this DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    /// <summary>Sets one condition, keeping its transition time while its status stays.</summary>
    public static void SetCondition(JsonObject status, string type, string value, string reason, string message, DateTimeOffset now)
    {
        if (status["conditions"] is not JsonArray conditions) status["conditions"] = conditions = [];
        JsonObject? condition = conditions.OfType<JsonObject>().FirstOrDefault(item => item.Text("type") == type);
        if (condition is null) conditions.Add(condition = new JsonObject { ["type"] = type });
        if (condition.Text("status") != value) condition["lastTransitionTime"] = now.ToTimestamp();
        condition["status"] = value;
        condition["reason"] = reason;
        condition["message"] = message;
    }
}
