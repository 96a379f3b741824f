namespace Superserve.Operator.Bindings;

/// <summary>The labels, annotations and names that make a pod a sandbox.</summary>
public static class Marks
{
    /// <summary>Label of a namespace: its pods are looked at. The value is <see cref="Enabled"/>.</summary>
    public const string InjectionLabel = "superserve.ai/injection";

    /// <summary>The value of <see cref="InjectionLabel"/>.</summary>
    public const string Enabled = "enabled";

    /// <summary>Label of a pod, <c>true</c>: it must not run unless a binding selects it.</summary>
    public const string SandboxLabel = "superserve.ai/sandbox";

    /// <summary>Annotation of such a pod, <c>true</c>: it may start before a binding selects it, as the pods of a warm pool do.</summary>
    public const string AllowUnboundAnnotation = "superserve.ai/allow-unbound";

    /// <summary>Annotation that admission sets: 32 hexadecimal digits that no other pod has; <see cref="SandboxId"/> makes them.</summary>
    public const string SandboxIdAnnotation = "superserve.ai/sandbox-id";

    /// <summary>Annotation that admission sets: what each variable's stand-in is derived from, as JSON.</summary>
    public const string StandInsAnnotation = "superserve.ai/stand-ins";

    /// <summary>Annotation that admission sets: proof that what it added is as it made it.</summary>
    public const string SealAnnotation = "superserve.ai/seal";

    /// <summary>How the names of our containers and volumes begin, and those of nobody else.</summary>
    public const string NamePrefix = "superserve-";

    /// <summary>The init container that captures the pod's network.</summary>
    public const string InitContainer = "superserve-init";

    /// <summary>Audience of the token by which a sidecar proves which pod it is in; no other token has it.</summary>
    public const string TokenAudience = "superserve.ai";

    /// <summary>The sidecar.</summary>
    public const string SidecarContainer = "superserve-sidecar";

    /// <summary>Condition of a pod: its sidecar is connected to the operator and has the newest snapshot.</summary>
    public const string ConnectedCondition = "superserve.ai/SidecarConnected";
}
