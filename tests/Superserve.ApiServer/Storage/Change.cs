namespace Superserve.ApiServer.Storage;

/// <summary>Which object: the resource is "group/plural", the same for all versions of a group.</summary>
internal readonly record struct ObjectKey(string Resource, string Namespace, string Name);

internal enum ChangeType
{
    Added,
    Modified,
    Deleted,
}

/// <summary>One write. A deleted object is kept as it was last, with the revision of its deletion.</summary>
internal sealed record Change(long Revision, ChangeType Type, ObjectKey Key, JsonObject Object, JsonObject? Previous);
