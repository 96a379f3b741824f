using Superserve.ApiServer.Resources;

namespace Superserve.ApiServer.Apply;

/// <summary>One manager's fields, as metadata.managedFields lists them.</summary>
internal sealed record Manager(string Name, bool Applies, string ApiVersion, string Subresource)
{
    public override string ToString() =>
        $"\"{Name}\"" + (Subresource.Length > 0 ? $" with subresource \"{Subresource}\"" : "") + (Applies ? "" : $" using {ApiVersion}");

    public bool Is(Manager other) => Name == other.Name && Applies == other.Applies && Subresource == other.Subresource && (Applies || ApiVersion == other.ApiVersion);
}

/// <summary>Who owns which fields of an object.</summary>
internal sealed class ManagedFields
{
    private static readonly FieldSet Unowned = FieldSet.Parse((JsonObject)Json.Parse("""
        {"f:apiVersion":{},"f:kind":{},"f:metadata":{"f:name":{},"f:namespace":{},"f:creationTimestamp":{},"f:selfLink":{},"f:uid":{},
        "f:generation":{},"f:managedFields":{},"f:resourceVersion":{},"f:deletionTimestamp":{},"f:deletionGracePeriodSeconds":{}}}
        """)!);

    private readonly List<Entry> _entries = [];

    public static ManagedFields Of(JsonObject value)
    {
        ManagedFields fields = new();
        foreach (JsonObject entry in value.Objects("metadata", "managedFields"))
        {
            Manager manager = new(entry.Text("manager") ?? "", entry.Text("operation") == "Apply", entry.Text("apiVersion") ?? "", entry.Text("subresource") ?? "");
            fields._entries.Add(new Entry(manager, FieldSet.Parse(entry.Object("fieldsV1") ?? []), entry.Text("time")));
        }

        return fields;
    }

    public static Shape ShapeOf(ResourceType type) => type.Custom is { } custom ? new CustomResourceShape(custom.Schema) : BuiltInShape.Root;

    public FieldSet Owned(Manager manager) => _entries.FirstOrDefault(entry => entry.Manager.Is(manager))?.Fields ?? new FieldSet();

    public FieldSet OwnedByOthers(Manager manager) =>
        _entries.Where(entry => !entry.Manager.Is(manager)).Aggregate(new FieldSet(), (all, entry) => all.Union(entry.Fields));

    /// <summary>The fields among these that somebody else owns, by owner.</summary>
    public IReadOnlyList<(Manager Manager, FieldSet Fields)> Conflicts(Manager manager, FieldSet touched) =>
        [.. _entries.Where(entry => !entry.Manager.Is(manager)).Select(entry => (entry.Manager, Fields: entry.Fields.Intersect(touched))).Where(conflict => !conflict.Fields.IsEmpty)];

    public void Set(Manager manager, FieldSet fields, string time)
    {
        FieldSet owned = fields.Minus(Unowned);
        int index = _entries.FindIndex(entry => entry.Manager.Is(manager));
        if (index >= 0)
        {
            bool same = Json.Same(_entries[index].Fields.ToFields(), owned.ToFields());
            _entries[index] = new Entry(manager, owned, same ? _entries[index].Time : time);
        }
        else
        {
            _entries.Add(new Entry(manager, owned, time));
        }
    }

    /// <summary>Takes fields away from everybody but one.</summary>
    public void TakeFromOthers(Manager manager, FieldSet fields)
    {
        for (int index = 0; index < _entries.Count; index++)
        {
            if (!_entries[index].Manager.Is(manager)) _entries[index] = _entries[index] with { Fields = _entries[index].Fields.Minus(fields) };
        }
    }

    /// <summary>Forgets fields that are gone, with all below them.</summary>
    public void Forget(FieldSet removed)
    {
        for (int index = 0; index < _entries.Count; index++) _entries[index] = _entries[index] with { Fields = _entries[index].Fields.MinusBelow(removed) };
    }

    public void WriteTo(JsonObject value)
    {
        JsonArray list = [];
        foreach (Entry entry in _entries.Where(entry => !entry.Fields.IsEmpty))
        {
            JsonObject written = new()
            {
                ["manager"] = entry.Manager.Name,
                ["operation"] = entry.Manager.Applies ? "Apply" : "Update",
                ["apiVersion"] = entry.Manager.ApiVersion,
                ["time"] = entry.Time,
                ["fieldsType"] = "FieldsV1",
                ["fieldsV1"] = entry.Fields.ToFields(),
            };
            if (entry.Manager.Subresource.Length > 0) written["subresource"] = entry.Manager.Subresource;
            list.Add(written);
        }

        if (list.Count > 0) value.Metadata()["managedFields"] = list;
        else value.Metadata().Remove("managedFields");
    }

    private sealed record Entry(Manager Manager, FieldSet Fields, string? Time);
}
