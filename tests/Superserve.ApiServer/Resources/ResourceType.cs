using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Resources;

/// <summary>One version of one kind of object, as discovery lists it.</summary>
internal sealed record ResourceType(string Group, string Version, string Resource, string Kind, bool Namespaced)
{
    public string Singular { get; init; } = Kind.ToLowerInvariant();

    public string ListKind { get; init; } = Kind + "List";

    public IReadOnlyList<string> ShortNames { get; init; } = [];

    public IReadOnlyList<string> Categories { get; init; } = [];

    public IReadOnlyList<string> Subresources { get; init; } = [];

    /// <summary>A question with an answer, like TokenReview: created and never stored.</summary>
    public bool IsReview { get; init; }

    /// <summary>Whether metadata.generation counts changes of the desired state.</summary>
    public bool TracksGeneration { get; init; }

    /// <summary>Another group under which the same objects are served: events.</summary>
    public string? StoredAs { get; init; }

    /// <summary>What the CRD says, for a custom resource.</summary>
    public CustomResource? Custom { get; init; }

    public bool HasStatus => Subresources.Contains("status");

    public string ApiVersion => Group.Length == 0 ? Version : $"{Group}/{Version}";

    public string StorageResource => StoredAs ?? $"{Group}/{Resource}";

    public IReadOnlyList<string> Verbs => IsReview ? ["create"] : ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

    public ObjectKey Key(string inNamespace, string name) => new(StorageResource, Namespaced ? inNamespace : "", name);

    public bool Is(string group, string resource) => Group == group && Resource == resource;
}
