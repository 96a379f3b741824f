using Microsoft.AspNetCore.Http;
using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Tables;

namespace Superserve.ApiServer.Serving;

/// <summary>The form in which a client takes objects: as they are, as a table, or their metadata alone.</summary>
internal sealed record Representation(string Form, string IncludeObject, DateTimeOffset Now)
{
    public static Representation Of(HttpRequest request, DateTimeOffset now)
    {
        string include = request.Query["includeObject"].ToString();
        foreach (string accepted in request.Headers.Accept.ToString().Split(','))
        {
            string[] parts = [.. accepted.Split(';').Select(part => part.Trim())];
            string? form = parts.FirstOrDefault(part => part.StartsWith("as=", StringComparison.Ordinal))?[3..];
            if (parts[0] is not ("application/json" or "*/*" or "") || (form is not null && !parts.Contains("v=v1"))) continue;
            return new Representation(form ?? "", include, now);
        }

        return new Representation("", include, now);
    }

    public JsonNode One(ResourceType type, JsonObject value)
    {
        JsonObject versioned = InVersion(type, value);
        return Form switch
        {
            "Table" => Table.Of(type, [versioned], new JsonObject { ["resourceVersion"] = value.ResourceVersion() }, IncludeObject, Now),
            "PartialObjectMetadata" => Table.PartialObject(versioned),
            _ => versioned,
        };
    }

    public JsonObject List(ResourceType type, IEnumerable<JsonObject> items, JsonObject metadata)
    {
        IEnumerable<JsonObject> versioned = items.Select(item => InVersion(type, item));
        if (Form == "Table") return Table.Of(type, versioned, metadata, IncludeObject, Now);
        bool partial = Form == "PartialObjectMetadataList";
        return new JsonObject
        {
            ["kind"] = partial ? "PartialObjectMetadataList" : type.ListKind,
            ["apiVersion"] = partial ? "meta.k8s.io/v1" : type.ApiVersion,
            ["metadata"] = metadata,
            ["items"] = Json.ToArray(versioned.Select(item => partial ? Table.PartialObject(item) : item)),
        };
    }

    private static JsonObject InVersion(ResourceType type, JsonObject value)
    {
        if (value.Text("apiVersion") == type.ApiVersion) return value;
        if (type.StoredAs is not null) return EventConversion.ToNewer(value);
        JsonObject copy = value.Copy();
        copy["apiVersion"] = type.ApiVersion;
        return copy;
    }
}
