using System.Text.Json;
using System.Text.Json.Serialization;
using k8s;
using k8s.Models;
using Superserve.Core.Secrets;

namespace Superserve.Operator.Cluster;

/// <summary>A core Secret, as far as credentials need it.</summary>
[KubernetesEntity(Group = "", ApiVersion = "v1", Kind = "Secret", PluralName = "secrets")]
public sealed record CoreSecret : IKubernetesObject<V1ObjectMeta>
{
    /// <inheritdoc />
    public string ApiVersion { get; set; } = "v1";

    /// <inheritdoc />
    public string Kind { get; set; } = "Secret";

    /// <inheritdoc />
    public V1ObjectMeta Metadata { get; set; } = new();

    /// <summary>The values by key; of one that is too long for a credential only as much as shows that.</summary>
    public IReadOnlyDictionary<string, byte[]>? Data { get; init; }

    /// <summary>When each key last changed, as far as the API server can tell.</summary>
    [JsonIgnore]
    public IReadOnlyDictionary<string, DateTimeOffset> ChangedAt { get; private init; } = new Dictionary<string, DateTimeOffset>();

    /// <summary>Keeps what is needed. Annotations go: kubectl's last-applied-configuration holds the data once more.</summary>
    public static CoreSecret Shrink(CoreSecret full) => full with
    {
        Metadata = new V1ObjectMeta
        {
            Name = full.Metadata.Name,
            NamespaceProperty = full.Metadata.NamespaceProperty,
            Uid = full.Metadata.Uid,
            ResourceVersion = full.Metadata.ResourceVersion,
            CreationTimestamp = full.Metadata.CreationTimestamp,
        },
        Data = full.Data?.ToDictionary(pair => pair.Key, pair => pair.Value.Length > Credential.MaxLength + 2 ? pair.Value[..(Credential.MaxLength + 3)] : pair.Value),
        ChangedAt = (full.Data?.Keys ?? []).ToDictionary(key => key, key => ChangeOf(full.Metadata, key)),
    };

    /// <summary>Never the data.</summary>
    public override string ToString() => $"core Secret {Metadata.NamespaceProperty}/{Metadata.Name}";

    /// <summary>managedFields say when the manager that owns a field last changed one of its fields.</summary>
    private static DateTimeOffset ChangeOf(V1ObjectMeta metadata, string key)
    {
        DateTime? latest = metadata.ManagedFields?
            .Where(entry => entry.Time is not null && Owns(entry, key)).Max(entry => entry.Time);
        return new DateTimeOffset(DateTime.SpecifyKind(latest ?? metadata.CreationTimestamp ?? default, DateTimeKind.Utc));
    }

    private static bool Owns(V1ManagedFieldsEntry entry, string key) =>
        entry.FieldsV1 is JsonElement { ValueKind: JsonValueKind.Object } fields
        && fields.TryGetProperty("f:data", out JsonElement data) && data.ValueKind == JsonValueKind.Object
        && data.TryGetProperty("f:" + key, out _);
}
