using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Superserve.Core.StandIns;

namespace Superserve.Operator.Bindings;

/// <summary>One variable of a pod and all that its stand-in is derived from, as admission had it.</summary>
/// <param name="Env">The environment variable.</param>
/// <param name="SecretName">The Superserve Secret's name.</param>
/// <param name="SecretUid">The Superserve Secret's UID: one that is made anew under the name is another one.</param>
/// <param name="BindingName">The SandboxBinding's name, for people.</param>
/// <param name="BindingUid">The SandboxBinding's UID.</param>
/// <param name="Shape">The token's shape: a later change of provider or catalog changes no running pod's stand-in.</param>
/// <param name="Containers">The containers that have the variable; all where null.</param>
public sealed record RecordedStandIn(
    string Env, string SecretName, string SecretUid, string BindingName, string BindingUid, TokenShape Shape, ImmutableArray<string>? Containers)
{
    /// <summary>Whether the container has the variable.</summary>
    public bool IsFor(string container) => Containers is not { } names || names.Contains(container);

    /// <summary>The stand-in itself.</summary>
    public StandIn Derive(ReadOnlySpan<byte> key, string @namespace, string sandboxId) =>
        StandIn.Derive(key, Shape, @namespace, sandboxId, Env, SecretName, SecretUid, BindingUid);
}

/// <summary>
/// The annotation <see cref="Marks.StandInsAnnotation"/>: which variable has which secret's stand-in, so that any replica derives it
/// again without a store. It holds no stand-in.
/// </summary>
public static class RecordedStandIns
{
    /// <summary>Variables of one pod. Kubernetes bounds all annotations together at 256 KiB; these take less than half of it.</summary>
    public const int MaxCount = 128;

    private const int MaxLength = 128 * 1024;

    // An annotation is read by people, and never becomes HTML.
    private static readonly RecordedStandInsJson Json = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        AllowDuplicateProperties = false,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    });

    /// <summary>Writes the annotation, compact.</summary>
    public static string Write(IEnumerable<RecordedStandIn> records) => JsonSerializer.Serialize(
        records.Select(record => new RecordedStandInText(
            record.Env, record.SecretName, record.SecretUid, record.BindingName, record.BindingUid, record.Shape.Text, record.Containers?.ToArray())).ToArray(),
        Json.RecordedStandInTextArray);

    /// <summary>Reads the annotation; on failure <paramref name="error"/> says what is wrong with it. No annotation is no variable.</summary>
    public static bool TryRead(string? annotation, out ImmutableArray<RecordedStandIn> records, [NotNullWhen(false)] out string? error)
    {
        records = [];
        error = null;
        if (annotation is null) return true;
        RecordedStandInText?[]? texts = null;
        try
        {
            if (annotation.Length <= MaxLength) texts = JsonSerializer.Deserialize(annotation, Json.RecordedStandInTextArray);
        }
        catch (JsonException)
        {
            // The exception's text quotes the annotation, which anybody can write.
        }

        if (texts is null || texts.Length > MaxCount) error = $"it is no list of up to {MaxCount} variables, as admission writes it";
        ImmutableArray<RecordedStandIn>.Builder read = ImmutableArray.CreateBuilder<RecordedStandIn>();
        HashSet<string> names = new(StringComparer.Ordinal);
        foreach (RecordedStandInText? text in error is null ? texts! : [])
        {
            if (text is not { Env.Length: > 0, Secret.Length: > 0, SecretUid.Length: > 0, Binding.Length: > 0, BindingUid.Length: > 0, Shape.Length: > 0 } || !names.Add(text.Env))
                error = "a variable in it is incomplete or stands twice";
            else if (!TokenShape.TryParse(text.Shape, out TokenShape? shape, out _)) error = "a shape in it is none";
            else read.Add(new(text.Env, text.Secret, text.SecretUid, text.Binding, text.BindingUid, shape, text.Containers is { } containers ? [.. containers] : null));
        }

        if (error is null) records = read.ToImmutable();
        return error is null;
    }
}

internal sealed record RecordedStandInText(string? Env, string? Secret, string? SecretUid, string? Binding, string? BindingUid, string? Shape, string[]? Containers);

[JsonSerializable(typeof(RecordedStandInText[]))]
internal sealed partial class RecordedStandInsJson : JsonSerializerContext;
