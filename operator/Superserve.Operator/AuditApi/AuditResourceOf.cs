using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Superserve.Protocol.Audit;

namespace Superserve.Operator.AuditApi;

/// <summary>An <see cref="AuditResource"/> whose rows are a message of the protocol.</summary>
internal sealed class AuditResource<TRow> : AuditResource
{
    public required IReadOnlyList<Property> Properties { get; init; }

    public required IReadOnlyList<Func<TRow, JsonNode>> CellsOf { get; init; }

    public required Func<ListReply, IEnumerable<TRow>> RowsOf { get; init; }

    public required Func<TRow, (Origin Origin, long Time)> OriginOf { get; init; }

    public override IEnumerable<(string Name, JsonObject Schema)> Fields => Properties.Select(property => (property.Name, property.Schema));

    public override IEnumerable<AuditRow> Rows(ListReply reply) => RowsOf(reply).Select(row => new Written(this, row));

    /// <param name="Name">The field's name.</param>
    /// <param name="Schema">Its OpenAPI schema.</param>
    /// <param name="Value">Its value in a row; null where the row has none, and the field is left out.</param>
    public sealed record Property(string Name, JsonObject Schema, Func<TRow, JsonNode?> Value);

    private sealed class Written(AuditResource<TRow> resource, TRow row) : AuditRow
    {
        public override JsonObject Metadata()
        {
            (Origin origin, long time) = resource.OriginOf(row);
            return new JsonObject
            {
                ["name"] = origin.Name,
                ["namespace"] = origin.Namespace,
                ["uid"] = new Guid(SHA256.HashData(Encoding.UTF8.GetBytes($"{resource.Kind.Plural}/{origin.Namespace}/{origin.Name}")).AsSpan(0, 16)).ToString(),
                ["creationTimestamp"] = AuditText.Seconds(time),
            };
        }

        public override JsonObject Object()
        {
            JsonObject written = new() { ["apiVersion"] = ApiVersion, ["kind"] = resource.Kind.Kind, ["metadata"] = Metadata() };
            foreach (Property property in resource.Properties)
                if (property.Value(row) is { } value) written[property.Name] = value;
            return written;
        }

        public override JsonArray Cells() => [.. resource.CellsOf.Select(cell => cell(row))];
    }
}
