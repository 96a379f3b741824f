using System.Collections.Frozen;
using System.Text.Json.Nodes;
using Superserve.Core.Secrets;
using Superserve.Operator.Bindings;

namespace Superserve.Operator.Admission.Pods;

/// <summary>
/// The validating step: what a sandbox must not have, since it could reach the sidecar's secrets with it or leave around the sidecar.
/// Admission asks it, and delivery asks it again about the live pod, before the pod's first snapshot.
/// </summary>
public sealed class PodGuard(InjectionOptions options, ReadOnlyMemory<byte> key)
{
    // Those that Pod Security's baseline lets a pod set: each is the pod's own, and none opens a way out.
    private static readonly FrozenSet<string> SafeSysctls = FrozenSet.Create(StringComparer.Ordinal,
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem");

    private static readonly FrozenSet<string> SafeSelinuxTypes = FrozenSet.Create(StringComparer.Ordinal,
        "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t");

    private const string AppArmorAnnotation = "container.apparmor.security.beta.kubernetes.io/";

    /// <summary>All that is wrong with a sandbox; nothing, if it may be one.</summary>
    /// <param name="pod">A pod that has to be a sandbox.</param>
    /// <param name="namespace">Its namespace.</param>
    /// <param name="credentials">The core Secrets of the namespace that a Superserve Secret names.</param>
    public IReadOnlyList<SpecError> Check(JsonObject pod, string @namespace, IReadOnlySet<string> credentials)
    {
        if (!pod.Map("spec").Items("initContainers").Any(container => container.Text("name") == Marks.SidecarContainer))
            return [new("spec.initContainers", "the pod is to be a sandbox, and has no sidecar: create it again, so that admission adds one "
                + "(it is added to pods as they are created, in namespaces with the label superserve.ai/injection=enabled)")];

        List<SpecError> errors = [];
        CheckParts(pod, @namespace, errors);
        CheckPod(pod, errors);
        foreach ((JsonObject volume, int i) in pod.Map("spec").Items("volumes").Select((volume, i) => (volume, i)))
            CheckVolume($"spec.volumes[{i}]", volume, credentials, errors);
        foreach ((string path, JsonObject container) in pod.UserContainers().Concat(pod.Containers("ephemeralContainers")))
            CheckContainer(path, container, pod, credentials, errors);
        return errors;
    }

    /// <summary>
    /// What is wrong with an update, and was not before: a rule that is newer than the pod must not keep a Job from ending.
    /// </summary>
    public IReadOnlyList<SpecError> CheckUpdate(JsonObject pod, JsonObject old, string @namespace, IReadOnlySet<string> credentials) =>
        [.. Check(pod, @namespace, credentials).Except(Check(old, @namespace, credentials))];

    /// <summary>Why nobody may run a command in, or attach to, a container; null where they may.</summary>
    public static string? CheckExec(string? container) => container?.StartsWith(Marks.NamePrefix, StringComparison.Ordinal) != true
        ? null
        : $"{container} holds the credentials of the sandbox, and nobody may run a command in it or attach to it: its logs and its metrics say how it is; choose a container of the sandbox with -c";

    /// <summary>Our own containers, volumes and annotations are as admission made them, and come first.</summary>
    private void CheckParts(JsonObject pod, string @namespace, List<SpecError> errors)
    {
        JsonObject[] initContainers = [.. pod.Map("spec").Items("initContainers")];
        if (!PodSeal.Holds(pod, @namespace, key.Span))
            errors.Add(new("spec.initContainers", $"the sidecar, its volumes or the annotations {Marks.SandboxIdAnnotation} and {Marks.StandInsAnnotation} are not as admission made them for this pod: "
                + "leave them as they are; if another webhook changes them, let it leave out what is named superserve-…; if the pod was copied from another, copy what that was made from"));
        if (initContainers.SkipWhile(PodJson.IsOurs).Any(PodJson.IsOurs))
            errors.Add(new("spec.initContainers", "another init container stands ahead of the sidecar's, and would run with the network open: "
                + "put it behind (a webhook that inserts it has to run before Superserve's, or append)"));
        foreach ((string path, JsonObject container) in pod.Containers("initContainers").Where(item => item.Container.IsOurs()))
            if (container.Text("image") != PodSeal.ImageOf(pod) && container.Text("image") != options.Image)
                errors.Add(new(path + ".image", $"{container.Text("image")} is neither the image that the pod began with nor the operator's own, {options.Image}: only that one may replace it"));
    }

    private static void CheckPod(JsonObject pod, List<SpecError> errors)
    {
        JsonObject? spec = pod.Map("spec");
        foreach (string field in (ReadOnlySpan<string>)["hostNetwork", "hostPID", "hostIPC"])
            if (spec.IsTrue(field)) errors.Add(new($"spec.{field}", "a sandbox may not share a namespace with its node: remove it"));
        if (spec.IsTrue("shareProcessNamespace"))
            errors.Add(new("spec.shareProcessNamespace", "the sandbox's processes could look into the sidecar's: remove it (kubectl debug --copy-to sets it, unless --share-processes=false)"));
        if (spec.Map("os").Text("name") == "windows") errors.Add(new("spec.os.name", "sandboxes run on Linux alone"));

        JsonObject? security = spec.Map("securityContext");
        CheckSecurity("spec.securityContext", security, errors);
        foreach ((JsonObject sysctl, int i) in security.Items("sysctls").Select((sysctl, i) => (sysctl, i)))
            if (!SafeSysctls.Contains(sysctl.Text("name") ?? ""))
                errors.Add(new($"spec.securityContext.sysctls[{i}]", $"{sysctl.Text("name")} is not among the sysctls that Pod Security's baseline permits: remove it"));
        foreach ((string name, string profile) in pod.Map("metadata").TextMap("annotations"))
            if (name.StartsWith(AppArmorAnnotation, StringComparison.Ordinal) && profile == "unconfined")
                errors.Add(new($"metadata.annotations[{name}]", "a sandbox may not run without AppArmor where there is AppArmor: remove it"));
    }

    /// <summary>What a security context of pod or container must not say.</summary>
    private static void CheckSecurity(string path, JsonObject? security, List<SpecError> errors)
    {
        if (security.Map("seccompProfile").Text("type") == "Unconfined")
            errors.Add(new(path + ".seccompProfile", "Unconfined opens system calls that lead out of the sandbox: write RuntimeDefault"));
        if (security.Map("appArmorProfile").Text("type") == "Unconfined")
            errors.Add(new(path + ".appArmorProfile", "a sandbox may not run without AppArmor where there is AppArmor: write RuntimeDefault"));
        JsonObject? selinux = security.Map("seLinuxOptions");
        if (selinux is not null && (!SafeSelinuxTypes.Contains(selinux.Text("type") ?? "") || selinux.Text("user") is { Length: > 0 } || selinux.Text("role") is { Length: > 0 }))
            errors.Add(new(path + ".seLinuxOptions", "Pod Security's baseline permits no user, no role, and only the types container_t, "
                + "container_init_t, container_kvm_t and container_engine_t: remove it"));
        if (security.Map("windowsOptions").IsTrue("hostProcess")) errors.Add(new(path + ".windowsOptions.hostProcess", "sandboxes run on Linux alone"));
    }

    private static void CheckVolume(string path, JsonObject volume, IReadOnlySet<string> credentials, List<SpecError> errors)
    {
        if (volume.ContainsKey("hostPath")) errors.Add(new(path + ".hostPath", "a sandbox may not have files of its node: use another kind of volume"));
        if (volume.ContainsKey("gitRepo")) errors.Add(new(path + ".gitRepo", "it runs git on the node, on what the repository says: clone in an init container"));
        // Drivers are given core Secrets too, and some show them in the volume or send them to a server of the pod's choice.
        foreach ((string kind, JsonNode? member) in volume)
        {
            if (member is not JsonObject source) continue;
            CheckCredential($"{path}.{kind}.secretName", source.Text("secretName"), credentials, errors);
            CheckCredential($"{path}.{kind}.secretRef", source.Map("secretRef").Text("name"), credentials, errors);
            CheckCredential($"{path}.{kind}.nodePublishSecretRef", source.Map("nodePublishSecretRef").Text("name"), credentials, errors);
        }

        foreach ((JsonObject source, int i) in volume.Map("projected").Items("sources").Select((source, i) => (source, i)))
        {
            CheckCredential($"{path}.projected.sources[{i}].secret", source.Map("secret").Text("name"), credentials, errors);
            if (source.Map("serviceAccountToken").Text("audience") == Marks.TokenAudience && volume.Text("name") != SidecarParts.TokenVolume)
                errors.Add(new($"{path}.projected.sources[{i}].serviceAccountToken", $"with a token for {Marks.TokenAudience} the sandbox could pass for its sidecar "
                    + "and be sent the credentials: remove it, or choose another audience"));
        }
    }

    private static void CheckContainer(string path, JsonObject container, JsonObject pod, IReadOnlySet<string> credentials, List<SpecError> errors)
    {
        bool isForDebugging = path.StartsWith("spec.ephemeralContainers", StringComparison.Ordinal);
        if (container.Text("name")?.StartsWith(Marks.NamePrefix, StringComparison.Ordinal) == true)
            errors.Add(new(path + ".name", $"names that begin with {Marks.NamePrefix} are the sidecar's own: give the container another name"));
        if (container.Text("targetContainerName")?.StartsWith(Marks.NamePrefix, StringComparison.Ordinal) == true)
            errors.Add(new(path + ".targetContainerName", "a debug container would look into the sidecar, which holds the credentials: choose a container of the sandbox with --target"));

        JsonObject? security = container.Map("securityContext");
        CheckSecurity(path + ".securityContext", security, errors);
        if (security.Map("seccompProfile").Text("type") is null && pod.Map("spec").Map("securityContext").Map("seccompProfile").Text("type") is null)
            errors.Add(new(path + ".securityContext.seccompProfile", "neither container nor pod has a seccomp profile: write RuntimeDefault"));
        if (security.IsTrue("privileged")) errors.Add(new(path + ".securityContext.privileged", "a privileged container is no sandbox: remove it"));
        if (security.Text("procMount") is not (null or "Default"))
            errors.Add(new(path + ".securityContext.procMount", "it opens parts of /proc that lead out of the sandbox: remove it"));
        CheckCapabilities(path + ".securityContext.capabilities", security.Map("capabilities"), isForDebugging, errors);

        if (container.Items("volumeDevices").Any()) errors.Add(new(path + ".volumeDevices", "a sandbox may not have block devices: use a volume with a file system"));
        foreach ((JsonObject mount, int i) in container.Items("volumeMounts").Select((mount, i) => (mount, i)))
            if (mount.Text("name") is SidecarParts.StateVolume or SidecarParts.TokenVolume)
                errors.Add(new($"{path}.volumeMounts[{i}]", $"{mount.Text("name")} holds secrets of the sidecar, which alone mounts it: remove the mount"));
            else if (mount.Text("name") == SidecarParts.TrustVolume && !mount.IsTrue("readOnly"))
                errors.Add(new($"{path}.volumeMounts[{i}]", $"{SidecarParts.TrustVolume} says whom the sandbox's programs trust: mount it with readOnly: true"));

        foreach ((JsonObject variable, int i) in container.Items("env").Select((variable, i) => (variable, i)))
        {
            JsonObject? source = variable.Map("valueFrom");
            CheckCredential($"{path}.env[{i}].valueFrom.secretKeyRef", source.Map("secretKeyRef").Text("name"), credentials, errors);
            if (SidecarParts.Volumes.Contains(source.Map("fileKeyRef").Text("volumeName")))
                errors.Add(new($"{path}.env[{i}].valueFrom.fileKeyRef", "it reads a file of the sidecar's: remove it"));
        }

        foreach ((JsonObject source, int i) in container.Items("envFrom").Select((source, i) => (source, i)))
            CheckCredential($"{path}.envFrom[{i}].secretRef", source.Map("secretRef").Text("name"), credentials, errors);
    }

    private static void CheckCapabilities(string path, JsonObject? capabilities, bool isForDebugging, List<SpecError> errors)
    {
        foreach (string added in capabilities.Texts("add").Select(Capabilities.Normalize).Where(added => !Capabilities.Baseline.Contains(added)))
            errors.Add(new(path + ".add", added is "NET_RAW" or "NET_ADMIN"
                ? $"with {added} the sandbox could send around the sidecar: remove it"
                : $"{added} is not among the capabilities that Pod Security's baseline permits: remove it"));

        // Exactly these: runtimes put CAP_ in front, and drop nothing where it stands already.
        HashSet<string> dropped = new(capabilities.Texts("drop"), StringComparer.OrdinalIgnoreCase);
        if (!dropped.Contains("ALL") && !(dropped.Contains("NET_RAW") && dropped.Contains("NET_ADMIN")))
            errors.Add(new(path + ".drop", isForDebugging
                ? "a debug container that keeps NET_RAW could send around the sidecar: use kubectl debug --profile=restricted, or drop NET_RAW and NET_ADMIN in --custom"
                : "a container that keeps NET_RAW or NET_ADMIN could send around the sidecar: drop both"));
    }

    private static void CheckCredential(string path, string? name, IReadOnlySet<string> credentials, List<SpecError> errors)
    {
        if (name is not null && credentials.Contains(name))
            errors.Add(new(path, $"the core Secret {name} holds the credential of a Superserve Secret, which a sandbox must never hold: "
                + "remove it and bind the Superserve Secret, or keep other data in a core Secret of its own"));
    }
}
