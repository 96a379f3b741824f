using System.Text.Json.Nodes;

namespace Superserve.Operator.AuditApi;

/// <summary>Rows as a Table of meta.k8s.io, which kubectl prints.</summary>
internal static class AuditTable
{
    public static JsonObject Of(AuditResource resource, IEnumerable<AuditRow> rows, AnswerForm form, string? next)
    {
        JsonObject metadata = [];
        if (next is not null) metadata["continue"] = next;
        return new JsonObject
        {
            ["kind"] = "Table",
            ["apiVersion"] = "meta.k8s.io/v1",
            ["metadata"] = metadata,
            ["columnDefinitions"] = new JsonArray([.. resource.Columns.Select(column => new JsonObject
            {
                ["name"] = column.Name,
                ["type"] = column.Type,
                ["format"] = column.Format,
                ["description"] = column.Description,
                ["priority"] = column.Priority,
            })]),
            ["rows"] = new JsonArray([.. rows.Select(row =>
            {
                JsonObject written = new() { ["cells"] = row.Cells() };
                if (form.Included == "Object") written["object"] = row.Object();
                else if (form.Included == "Metadata")
                    written["object"] = new JsonObject { ["kind"] = "PartialObjectMetadata", ["apiVersion"] = "meta.k8s.io/v1", ["metadata"] = row.Metadata() };
                return written;
            })]),
        };
    }
}
