namespace Superserve.ApiServer.Resources;

/// <summary>Every type that is served now: the built-in ones, and what CRDs add.</summary>
internal sealed class ResourceRegistry
{
    private readonly Lock _gate = new();
    private IReadOnlyList<ResourceType> _custom = [];

    /// <summary>In the order of discovery: built-in types first.</summary>
    public IReadOnlyList<ResourceType> All { get; private set; } = BuiltInTypes.All;

    public ResourceType? Find(string group, string version, string resource) =>
        All.FirstOrDefault(type => type.Resource == resource && type.Group == group && type.Version == version);

    /// <summary>Any served version of a resource.</summary>
    public ResourceType? FindAny(string group, string resource) => All.FirstOrDefault(type => type.Resource == resource && type.Group == group);

    public ResourceType? FindStored(string storageResource) => All.FirstOrDefault(type => type.StorageResource == storageResource && type.StoredAs is null);

    /// <summary>The types by kind, as a manifest names them.</summary>
    public ResourceType? FindKind(string apiVersion, string kind) => All.FirstOrDefault(type => type.Kind == kind && type.ApiVersion == apiVersion);

    /// <summary>The groups with their versions, the preferred one first.</summary>
    public IEnumerable<(string Group, IReadOnlyList<string> Versions)> Groups =>
        All.GroupBy(type => type.Group).Select(group => (group.Key, (IReadOnlyList<string>)[.. group.Select(type => type.Version).Distinct()]));

    /// <summary>Replaces what the CRD of that name served.</summary>
    public void Register(string group, string resource, IEnumerable<ResourceType> types)
    {
        lock (_gate)
        {
            _custom = [.. _custom.Where(type => !type.Is(group, resource)), .. types];
            All = [.. BuiltInTypes.All, .. _custom];
        }
    }
}
