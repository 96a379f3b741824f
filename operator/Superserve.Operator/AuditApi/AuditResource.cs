using System.Text.Json.Nodes;
using Superserve.Kubernetes.Api;
using Superserve.Protocol.Audit;

namespace Superserve.Operator.AuditApi;

/// <summary>
/// One kind of row of the audit log, as users know it: its names, what it may be selected by, and all that is shown of a row. Discovery,
/// OpenAPI, lists and tables are made of this alone.
/// </summary>
internal abstract class AuditResource
{
    public const string Group = "audit.superserve.ai", Version = "v1alpha1", ApiVersion = Group + "/" + Version;

    /// <summary>All there are.</summary>
    public static IReadOnlyList<AuditResource> All { get; } = [SecretRequests.Resource, NetworkEvents.Resource];

    public required ResourceKind Kind { get; init; }

    public required string Singular { get; init; }

    public required string ShortName { get; init; }

    public required string Description { get; init; }

    public required Log Log { get; init; }

    /// <summary>Field selectors that the audit service answers; the times are beside them.</summary>
    public required IReadOnlyDictionary<string, Selectable> Selectors { get; init; }

    public required IReadOnlyList<Column> Columns { get; init; }

    /// <summary>The fields of an object and their OpenAPI schemas, beside apiVersion, kind and metadata.</summary>
    public abstract IEnumerable<(string Name, JsonObject Schema)> Fields { get; }

    /// <summary>The rows of an answer.</summary>
    public abstract IEnumerable<AuditRow> Rows(ListReply reply);
}

/// <summary>A row, not written out yet.</summary>
internal abstract class AuditRow
{
    /// <summary>Name, namespace, a UID that is the same for ever, and the time to the second.</summary>
    public abstract JsonObject Metadata();

    /// <summary>The whole object.</summary>
    public abstract JsonObject Object();

    /// <summary>A cell for each of the resource's columns.</summary>
    public abstract JsonArray Cells();
}

/// <param name="Field">What the audit service calls it.</param>
/// <param name="Values">The values there are; null where any will do.</param>
internal sealed record Selectable(Field Field, IReadOnlyList<string>? Values = null);

/// <summary>A table's column; one of priority 1 is shown by <c>-o wide</c> alone.</summary>
internal record Column(string Name, string Type, string Format, int Priority, string Description);
