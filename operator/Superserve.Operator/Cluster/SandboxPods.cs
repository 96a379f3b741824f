using System.Collections.Immutable;
using k8s.Models;
using Superserve.Operator.Admission.Pods;
using Superserve.Operator.Bindings;

namespace Superserve.Operator.Cluster;

/// <summary>What the operator looks at in a pod.</summary>
public static class SandboxPods
{
    private const string Replica = " (replica ";

    /// <summary>Whether admission made it a sandbox.</summary>
    public static bool IsInjected(this V1Pod pod) =>
        pod.SandboxId() is not null && pod.Spec?.InitContainers?.Any(container => container.Name == Marks.SidecarContainer) == true;

    /// <summary>The id that admission gave it.</summary>
    public static string? SandboxId(this V1Pod pod) => pod.Metadata.Annotations?.TryGetValue(Marks.SandboxIdAnnotation, out string? id) == true ? id : null;

    /// <summary>Whether it has ended: it has no processes any more.</summary>
    public static bool IsFinished(this V1Pod pod) => pod.Status?.Phase is "Succeeded" or "Failed";

    /// <summary>Its labels; none where it has none.</summary>
    public static IReadOnlyDictionary<string, string> LabelsOf(this V1Pod pod) => (pod.Metadata.Labels ?? ImmutableDictionary<string, string>.Empty).AsReadOnly();

    /// <summary>Whether two pods, or two states of one, have the same labels.</summary>
    public static bool HasSameLabels(this V1Pod pod, V1Pod other)
    {
        IReadOnlyDictionary<string, string> some = pod.LabelsOf(), others = other.LabelsOf();
        return some.Count == others.Count && some.All(label => others.TryGetValue(label.Key, out string? value) && value == label.Value);
    }

    /// <summary>What a replica of the operator last said of its sidecar's connection.</summary>
    public static V1PodCondition? Connected(this V1Pod pod) => pod.Status?.Conditions?.FirstOrDefault(condition => condition.Type == Marks.ConnectedCondition);

    /// <summary>Whether its sidecar is connected, on whichever replica.</summary>
    public static bool IsConnected(this V1Pod pod) => pod.Connected()?.Status == "True";

    /// <summary>The replica that called its sidecar connected; null where it is not, or none is named.</summary>
    public static string? ConnectedTo(this V1Pod pod)
    {
        if (!pod.IsConnected() || pod.Connected()!.Message is not { } message || !message.EndsWith(')')) return null;
        int at = message.LastIndexOf(Replica, StringComparison.Ordinal);
        return at < 0 ? null : message[(at + Replica.Length)..^1];
    }

    /// <summary>Whether its sidecar is connected and says that nothing goes around it.</summary>
    public static bool IsTransparent(this V1Pod pod) => pod.IsConnected() && pod.Connected()!.Message?.StartsWith(Captured(nameof(CaptureMode.Transparent)), StringComparison.Ordinal) == true;

    /// <summary>How the message of the condition begins.</summary>
    public static string Captured(string capture) => $"capture {capture}, ";

    /// <summary>How the message of the condition ends.</summary>
    public static string By(string replica) => $"{Replica}{replica})";

    /// <summary>Keeps what the above and the bindings need: there may be tens of thousands of pods.</summary>
    public static V1Pod Shrink(V1Pod pod) => new()
    {
        ApiVersion = pod.ApiVersion,
        Kind = pod.Kind,
        Metadata = new V1ObjectMeta
        {
            Name = pod.Metadata.Name,
            NamespaceProperty = pod.Metadata.NamespaceProperty,
            Uid = pod.Metadata.Uid,
            ResourceVersion = pod.Metadata.ResourceVersion,
            CreationTimestamp = pod.Metadata.CreationTimestamp,
            DeletionTimestamp = pod.Metadata.DeletionTimestamp,
            Labels = pod.Metadata.Labels,
            Annotations = pod.Metadata.Annotations?.Where(annotation => annotation.Key.StartsWith("superserve.ai/", StringComparison.Ordinal)).ToDictionary(),
        },
        Spec = new V1PodSpec
        {
            Containers = [],
            InitContainers = pod.Spec?.InitContainers?.Where(container => container.Name == Marks.SidecarContainer)
                .Select(container => new V1Container { Name = container.Name, Image = container.Image }).ToList(),
        },
        Status = new V1PodStatus
        {
            Phase = pod.Status?.Phase,
            Conditions = pod.Status?.Conditions?.Where(condition => condition.Type == Marks.ConnectedCondition).ToList(),
        },
    };
}
