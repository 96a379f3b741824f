using System.Text.Json.Nodes;
using Superserve.Core.Secrets;
using Superserve.Operator.Admission.Pods;

namespace Superserve.Operator.Tests.Admission.Pods;

/// <summary>What a sandbox must not have, one case each, and what it may well have.</summary>
public sealed class PodGuardTests
{
    private static readonly Dictionary<string, (Action<JsonObject> Change, string Path)> Forbidden = new()
    {
        // The node's and the sidecar's namespaces.
        ["the node's network"] = (pod => Spec(pod)["hostNetwork"] = true, "spec.hostNetwork"),
        ["the node's processes"] = (pod => Spec(pod)["hostPID"] = true, "spec.hostPID"),
        ["the node's IPC"] = (pod => Spec(pod)["hostIPC"] = true, "spec.hostIPC"),
        ["the sidecar's processes"] = (pod => Spec(pod)["shareProcessNamespace"] = true, "spec.shareProcessNamespace"),
        ["Windows"] = (pod => Spec(pod)["os"] = Json("""{"name":"windows"}"""), "spec.os.name"),
        ["a host process of the pod"] = (pod => Security(pod)["windowsOptions"] = Json("""{"hostProcess":true}"""), "spec.securityContext.windowsOptions.hostProcess"),
        ["a host process"] = (pod => SecurityOf(pod)["windowsOptions"] = Json("""{"hostProcess":true}"""), "spec.containers[0].securityContext.windowsOptions.hostProcess"),

        // Privileges.
        ["a privileged container"] = (pod => SecurityOf(pod)["privileged"] = true, "spec.containers[0].securityContext.privileged"),
        ["NET_ADMIN"] = (pod => Add(pod, "NET_ADMIN"), "spec.containers[0].securityContext.capabilities.add"),
        ["NET_RAW"] = (pod => Add(pod, "NET_RAW"), "spec.containers[0].securityContext.capabilities.add"),
        ["NET_RAW in lower case with CAP_"] = (pod => Add(pod, "cap_net_raw"), "spec.containers[0].securityContext.capabilities.add"),
        ["SYS_ADMIN"] = (pod => Add(pod, "SYS_ADMIN"), "spec.containers[0].securityContext.capabilities.add"),
        ["SYS_PTRACE"] = (pod => Add(pod, "CAP_SYS_PTRACE"), "spec.containers[0].securityContext.capabilities.add"),
        ["all capabilities"] = (pod => Add(pod, "all"), "spec.containers[0].securityContext.capabilities.add"),
        ["NET_RAW kept"] = (pod => Drop(pod, "NET_ADMIN"), "spec.containers[0].securityContext.capabilities.drop"),
        ["NET_ADMIN kept"] = (pod => Drop(pod, "NET_RAW"), "spec.containers[0].securityContext.capabilities.drop"),
        ["NET_RAW dropped under a name that drops nothing"] = (pod => SecurityOf(pod)["capabilities"]!["drop"] = new JsonArray("CAP_NET_RAW", "NET_ADMIN"), "spec.containers[0].securityContext.capabilities.drop"),
        ["all dropped under a name that drops nothing"] = (pod => Drop(pod, "CAP_ALL"), "spec.containers[0].securityContext.capabilities.drop"),
        ["nothing dropped"] = (pod => SecurityOf(pod).Remove("capabilities"), "spec.containers[0].securityContext.capabilities.drop"),
        ["a privileged init container"] = (pod => List(pod, "initContainers").Add(Json("""{"name":"x","securityContext":{"privileged":true,"capabilities":{"drop":["ALL"]}}}""")), "spec.initContainers[2].securityContext.privileged"),

        // Confinement.
        ["no seccomp for the pod"] = (pod => Security(pod)["seccompProfile"] = Json("""{"type":"Unconfined"}"""), "spec.securityContext.seccompProfile"),
        ["no seccomp for the container"] = (pod => SecurityOf(pod)["seccompProfile"] = Json("""{"type":"Unconfined"}"""), "spec.containers[0].securityContext.seccompProfile"),
        ["seccomp left out"] = (pod => Security(pod).Remove("seccompProfile"), "spec.containers[0].securityContext.seccompProfile"),
        ["no AppArmor for the pod"] = (pod => Security(pod)["appArmorProfile"] = Json("""{"type":"Unconfined"}"""), "spec.securityContext.appArmorProfile"),
        ["no AppArmor for the container"] = (pod => SecurityOf(pod)["appArmorProfile"] = Json("""{"type":"Unconfined"}"""), "spec.containers[0].securityContext.appArmorProfile"),
        ["no AppArmor by annotation"] = (pod => Annotations(pod)["container.apparmor.security.beta.kubernetes.io/agent"] = "unconfined", "metadata.annotations[container.apparmor.security.beta.kubernetes.io/agent]"),
        ["all of /proc"] = (pod => SecurityOf(pod)["procMount"] = "Unmasked", "spec.containers[0].securityContext.procMount"),
        ["an SELinux type"] = (pod => SecurityOf(pod)["seLinuxOptions"] = Json("""{"type":"spc_t"}"""), "spec.containers[0].securityContext.seLinuxOptions"),
        ["an SELinux role"] = (pod => Security(pod)["seLinuxOptions"] = Json("""{"role":"sysadm_r"}"""), "spec.securityContext.seLinuxOptions"),
        ["an unsafe sysctl"] = (pod => Security(pod)["sysctls"] = Json("""[{"name":"net.ipv4.ip_forward","value":"1"}]"""), "spec.securityContext.sysctls[0]"),

        // Files and devices.
        ["files of the node"] = (pod => AddVolume(pod, """{"name":"node","hostPath":{"path":"/var/lib/kubelet"}}"""), "spec.volumes[3].hostPath"),
        ["a block device"] = (pod => Agent(pod)["volumeDevices"] = Json("""[{"name":"disk","devicePath":"/dev/xvda"}]"""), "spec.containers[0].volumeDevices"),

        // What is the sidecar's.
        ["the CA's key"] = (pod => Mount(pod, """{"name":"superserve-state","mountPath":"/x"}"""), "spec.containers[0].volumeMounts[1]"),
        ["the CA's key, read-only, by a subPath"] = (pod => Mount(pod, """{"name":"superserve-state","mountPath":"/x","subPath":"ca.key","readOnly":true}"""), "spec.containers[0].volumeMounts[1]"),
        ["the sidecar's token"] = (pod => Mount(pod, """{"name":"superserve-token","mountPath":"/x","readOnly":true}"""), "spec.containers[0].volumeMounts[1]"),
        ["the trust volume, writable"] = (pod => Mount(pod, """{"name":"superserve-trust","mountPath":"/x"}"""), "spec.containers[0].volumeMounts[1]"),
        ["the trust volume, writable, in place"] = (pod => Agent(pod)["volumeMounts"]![0]!.AsObject().Remove("readOnly"), "spec.containers[0].volumeMounts[0]"),
        ["a file of the sidecar's as a variable"] = (pod => AddVariable(pod, """{"name":"X","valueFrom":{"fileKeyRef":{"volumeName":"superserve-state","path":"ca.key","key":"k"}}}"""), "spec.containers[0].env[14].valueFrom.fileKeyRef"),
        ["a token like the sidecar's"] = (pod => AddVolume(pod, """{"name":"t","projected":{"sources":[{"configMap":{"name":"c"}},{"serviceAccountToken":{"audience":"superserve.ai","path":"t"}}]}}"""), "spec.volumes[3].projected.sources[1].serviceAccountToken"),
        ["a name of the sidecar's"] = (pod => Agent(pod)["name"] = "superserve-agent", "spec.containers[0].name"),
        ["a second sidecar"] = (pod => List(pod, "containers").Add(Json("""{"name":"superserve-sidecar","securityContext":{"capabilities":{"drop":["ALL"]}}}""")), "spec.containers[1].name"),
        ["an init container ahead"] = (pod => List(pod, "initContainers").Insert(0, Json("""{"name":"first","securityContext":{"capabilities":{"drop":["ALL"]}}}""")), "spec.initContainers"),
        ["an init container in between"] = (pod => List(pod, "initContainers").Insert(1, Json("""{"name":"first","securityContext":{"capabilities":{"drop":["ALL"]}}}""")), "spec.initContainers"),
        ["no init container of ours"] = (pod => List(pod, "initContainers").RemoveAt(0), "spec.initContainers"),
        ["no sidecar"] = (pod => List(pod, "initContainers").RemoveAt(1), "spec.initContainers"),
        ["the two in the wrong order"] = (pod =>
        {
            JsonNode init = List(pod, "initContainers")[0]!;
            List(pod, "initContainers").RemoveAt(0);
            List(pod, "initContainers").Add(init);
        }, "spec.initContainers"),
        ["other rules for the pod's network"] = (pod => List(pod, "initContainers")[0]!["args"] = new JsonArray("init-network", "--help"), "spec.initContainers"),
        ["rules for the pod's network that cannot be installed"] = (pod => List(pod, "initContainers")[0]!["securityContext"]!["capabilities"]!.AsObject().Remove("add"), "spec.initContainers"),
        ["a variable for what installs them"] = (pod => List(pod, "initContainers")[0]!["env"] = Json("""[{"name":"LD_PRELOAD","value":"/x.so"}]"""), "spec.initContainers"),
        ["another image that installs them"] = (pod => List(pod, "initContainers")[0]!["image"] = "example.com/mine:1", "spec.initContainers[0].image"),
        ["capture by variables alone"] = (pod =>
        {
            JsonArray arguments = List(pod, "initContainers")[1]!["args"]!.AsArray();
            arguments[arguments.Select((argument, i) => (Text: (string?)argument, i)).Single(pair => pair.Text == "Transparent").i] = "Explicit";
        }, "spec.initContainers"),
        ["another image"] = (pod => List(pod, "initContainers")[1]!["image"] = "example.com/mine:1", "spec.initContainers[1].image"),
        ["another image that the seal names"] = (pod =>
        {
            List(pod, "initContainers")[1]!["image"] = "example.com/mine:1";
            Annotations(pod)["superserve.ai/seal"] = pod.Annotation("superserve.ai/seal")!.Split(' ')[0] + " example.com/mine:1";
        }, "spec.initContainers"),
        ["a mount in the sidecar"] = (pod => SidecarMounts(pod).Add(Json("""{"name":"kube-api-access-mine","mountPath":"/usr/lib","readOnly":true}""")), "spec.initContainers"),
        ["a writable mount in the sidecar"] = (pod => SidecarMounts(pod).Add(Json("""{"name":"kube-api-access-mine","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}""")), "spec.initContainers"),
        ["another volume in the sidecar"] = (pod => SidecarMounts(pod).Add(Json("""{"name":"mine","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","readOnly":true}""")), "spec.initContainers"),
        ["a part of a volume in the sidecar"] = (pod => SidecarMounts(pod).Add(Json("""{"name":"kube-api-access-mine","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","readOnly":true,"subPath":"x"}""")), "spec.initContainers"),
        ["no seal"] = (pod => Annotations(pod).Remove("superserve.ai/seal"), "spec.initContainers"),
        ["a seal that is none"] = (pod => Annotations(pod)["superserve.ai/seal"] = "yes", "spec.initContainers"),
        ["another pod's name"] = (pod => pod["metadata"]!["name"] = "other", "spec.initContainers"),
        ["another pod's id"] = (pod => Annotations(pod)["superserve.ai/sandbox-id"] = "6a1d7440020202020202020202020202", "spec.initContainers"),

        // The credentials themselves.
        ["a credential in a variable"] = (pod => AddVariable(pod, """{"name":"X","valueFrom":{"secretKeyRef":{"name":"anthropic-credentials","key":"api-key"}}}"""), "spec.containers[0].env[14].valueFrom.secretKeyRef"),
        ["a credential in variables"] = (pod => Agent(pod)["envFrom"] = Json("""[{"configMapRef":{"name":"c"}},{"secretRef":{"name":"github-credentials","optional":true}}]"""), "spec.containers[0].envFrom[1].secretRef"),
        ["a credential for a volume's driver"] = (pod => AddVolume(pod, """{"name":"c","csi":{"driver":"example.com","nodePublishSecretRef":{"name":"anthropic-credentials"}}}"""), "spec.volumes[3].csi.nodePublishSecretRef"),
        ["a credential for a file server"] = (pod => AddVolume(pod, """{"name":"c","azureFile":{"shareName":"s","secretName":"anthropic-credentials"}}"""), "spec.volumes[3].azureFile.secretName"),
        ["a credential for a plugin"] = (pod => AddVolume(pod, """{"name":"c","flexVolume":{"driver":"example.com/d","secretRef":{"name":"anthropic-credentials"}}}"""), "spec.volumes[3].flexVolume.secretRef"),
        ["a repository that the node clones"] = (pod => AddVolume(pod, """{"name":"c","gitRepo":{"repository":"https://example.com/r"}}"""), "spec.volumes[3].gitRepo"),
        ["a credential in a volume"] = (pod => AddVolume(pod, """{"name":"c","secret":{"secretName":"anthropic-credentials"}}"""), "spec.volumes[3].secret.secretName"),
        ["a credential in a projected volume"] = (pod => AddVolume(pod, """{"name":"c","projected":{"sources":[{"secret":{"name":"github-credentials"}}]}}"""), "spec.volumes[3].projected.sources[0].secret"),

        // Containers for debugging.
        ["debugging the sidecar"] = (pod => Debug(pod, """{"name":"d","targetContainerName":"superserve-sidecar","securityContext":{"capabilities":{"drop":["ALL"]}}}"""), "spec.ephemeralContainers[0].targetContainerName"),
        ["debugging with NET_RAW"] = (pod => Debug(pod, """{"name":"d"}"""), "spec.ephemeralContainers[0].securityContext.capabilities.drop"),
        ["debugging by kubectl's profile general"] = (pod => Debug(pod, """{"name":"d","targetContainerName":"agent","securityContext":{"capabilities":{"add":["SYS_PTRACE"]}}}"""), "spec.ephemeralContainers[0].securityContext.capabilities.add"),
        ["debugging by kubectl's profile netadmin"] = (pod => Debug(pod, """{"name":"d","securityContext":{"capabilities":{"add":["NET_ADMIN","NET_RAW"]}}}"""), "spec.ephemeralContainers[0].securityContext.capabilities.add"),
        ["debugging by kubectl's profile sysadmin"] = (pod => Debug(pod, """{"name":"d","securityContext":{"privileged":true}}"""), "spec.ephemeralContainers[0].securityContext.privileged"),
        ["debugging with the sidecar's files"] = (pod => Debug(pod, """{"name":"d","volumeMounts":[{"name":"superserve-token","mountPath":"/x"}],"securityContext":{"capabilities":{"drop":["ALL"]}}}"""), "spec.ephemeralContainers[0].volumeMounts[0]"),
        ["debugging with a credential"] = (pod => Debug(pod, """{"name":"d","env":[{"name":"X","valueFrom":{"secretKeyRef":{"name":"github-credentials","key":"token"}}}],"securityContext":{"capabilities":{"drop":["ALL"]}}}"""), "spec.ephemeralContainers[0].env[0].valueFrom.secretKeyRef"),
        ["debugging under the sidecar's name"] = (pod => Debug(pod, """{"name":"superserve-debug","securityContext":{"capabilities":{"drop":["ALL"]}}}"""), "spec.ephemeralContainers[0].name"),
    };

    private static readonly Dictionary<string, Action<JsonObject>> Permitted = new()
    {
        ["nothing more"] = _ => { },
        ["a user namespace"] = pod => Spec(pod)["hostUsers"] = false,
        ["capabilities of the baseline"] = pod => Add(pod, "CAP_CHOWN"),
        ["all capabilities dropped"] = pod => Drop(pod, "all"),
        ["a safe sysctl"] = pod => Security(pod)["sysctls"] = Json("""[{"name":"net.ipv4.tcp_syncookies","value":"1"}]"""),
        ["a seccomp profile of the node's"] = pod => SecurityOf(pod)["seccompProfile"] = Json("""{"type":"Localhost","localhostProfile":"a.json"}"""),
        ["an SELinux level"] = pod => Security(pod)["seLinuxOptions"] = Json("""{"level":"s0:c1,c2","type":"container_t"}"""),
        ["the usual /proc"] = pod => SecurityOf(pod)["procMount"] = "Default",
        ["a GPU"] = pod => Agent(pod)["resources"] = Json("""{"limits":{"nvidia.com/gpu":"1"}}"""),
        ["other core Secrets"] = pod =>
        {
            AddVariable(pod, """{"name":"X","valueFrom":{"secretKeyRef":{"name":"other","key":"k"}}}""");
            AddVolume(pod, """{"name":"o","secret":{"secretName":"other"}}""");
            Spec(pod)["imagePullSecrets"] = Json("""[{"name":"registry"}]""");
        },
        ["a token for somebody else"] = pod => AddVolume(pod, """{"name":"t","projected":{"sources":[{"serviceAccountToken":{"audience":"vault","path":"t"}}]}}"""),
        ["the trust volume once more"] = pod => Mount(pod, """{"name":"superserve-trust","mountPath":"/etc/ssl/superserve","readOnly":true}"""),
        ["debugging by kubectl's profile restricted"] = pod => Debug(pod, """{"name":"d","targetContainerName":"agent","securityContext":{"runAsNonRoot":true,"capabilities":{"drop":["ALL"]},"seccompProfile":{"type":"RuntimeDefault"}}}"""),
        ["an init container behind"] = pod => List(pod, "initContainers").Add(Json("""{"name":"clone","securityContext":{"capabilities":{"drop":["ALL"]}}}""")),
        ["other labels"] = pod => pod["metadata"]!["labels"] = Json("""{"claimed":"true"}"""),

        // What the API server does to our own containers.
        ["the API server's token in the sidecar"] = pod => SidecarMounts(pod)
            .Add(Json("""{"name":"kube-api-access-x7k2p","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","readOnly":true}""")),
        ["the defaults of a LimitRange"] = pod => List(pod, "initContainers")[1]!["resources"] = Json("""{"limits":{"cpu":"2","memory":"1Gi"},"requests":{"cpu":"1"}}"""),
        ["the pull policy of AlwaysPullImages"] = pod => List(pod, "initContainers")[1]!["imagePullPolicy"] = "Always",
        ["how resources are resized"] = pod => List(pod, "initContainers")[1]!["resizePolicy"] = Json("""[{"resourceName":"cpu","restartPolicy":"NotRequired"}]"""),
        ["a default that was written down"] = pod => List(pod, "initContainers")[1]!["securityContext"]!["procMount"] = "Default",
        ["a UID and a status"] = pod =>
        {
            pod["metadata"]!["uid"] = "705ab4f5-6393-11e8-b7cc-42010a800002";
            pod["status"] = Json("""{"phase":"Running"}""");
        },
    };

    public static TheoryData<string> ForbiddenCases => [.. Forbidden.Keys];

    public static TheoryData<string> PermittedCases => [.. Permitted.Keys];

    [Theory]
    [MemberData(nameof(ForbiddenCases))]
    public async Task A_sandbox_may_not_have(string what)
    {
        (TestNamespace cluster, JsonObject pod) = await SandboxAsync();
        Forbidden[what].Change(pod);
        IReadOnlyList<SpecError> errors = cluster.Guard.Check(pod, TestNamespace.Name, TestNamespace.Credentials);
        Assert.Contains(Forbidden[what].Path, errors.Select(error => error.Path));
        Assert.All(errors, error => Assert.NotEmpty(error.Message));
    }

    [Theory]
    [MemberData(nameof(PermittedCases))]
    public async Task A_sandbox_may_have(string what)
    {
        (TestNamespace cluster, JsonObject pod) = await SandboxAsync();
        Permitted[what](pod);
        Assert.Empty(cluster.Guard.Check(pod, TestNamespace.Name, TestNamespace.Credentials));
    }

    [Fact]
    public async Task No_change_of_our_own_parts_goes_unseen()
    {
        (TestNamespace cluster, JsonObject pod) = await SandboxAsync();
        List<string> unseen = [];
        int count = 0;
        foreach ((string what, JsonObject changed) in Changes(pod, "spec.initContainers").Concat(Changes(pod, "spec.volumes")).Concat(Changes(pod, "metadata.annotations")))
        {
            count++;
            bool isMeant = !what.Contains(".resources", StringComparison.Ordinal) && !what.Contains(".imagePullPolicy", StringComparison.Ordinal) && !what.Contains("sidecar.istio.io", StringComparison.Ordinal)
                && what is not "metadata.annotations + a member" and not "spec.volumes + an item" and not "spec.volumes in reverse";
            if (isMeant && cluster.Guard.Check(changed, TestNamespace.Name, TestNamespace.Credentials).Count == 0) unseen.Add(what);
        }

        Assert.Empty(unseen);
        Assert.True(count > 300, $"only {count} changes were tried");
    }

    [Fact]
    public async Task A_seal_holds_however_the_JSON_is_written()
    {
        (TestNamespace cluster, JsonObject pod) = await SandboxAsync();
        // The API server writes members in another order and escapes other characters.
        JsonObject rewritten = JsonNode.Parse(Reversed(pod)!.ToJsonString().Replace("-----BEGIN", "\\u002d----BEGIN"))!.AsObject();
        Assert.Empty(cluster.Guard.Check(rewritten, TestNamespace.Name, TestNamespace.Credentials));
    }

    [Fact]
    public async Task An_operator_of_another_version_takes_the_seal()
    {
        (TestNamespace cluster, JsonObject pod) = await SandboxAsync();
        cluster.Options = cluster.Options with { Image = "ghcr.io/superserve-k8s/superserve-sidecar:0.2.0", LogLevel = "Debug", OperatorAuthorities = "-----BEGIN CERTIFICATE-----\nnext\n" };
        Assert.Empty(cluster.Guard.Check(pod, TestNamespace.Name, TestNamespace.Credentials));

        // Patching the image is how a sidecar is brought up to date in place.
        foreach (JsonNode? container in List(pod, "initContainers")) container!["image"] = cluster.Options.Image;
        Assert.Empty(cluster.Guard.Check(pod, TestNamespace.Name, TestNamespace.Credentials));
    }

    [Fact]
    public async Task A_seal_is_worth_nothing_elsewhere()
    {
        (TestNamespace cluster, JsonObject pod) = await SandboxAsync();
        Assert.NotEmpty(cluster.Guard.Check(pod, "others", TestNamespace.Credentials));
        Assert.NotEmpty(new PodGuard(cluster.Options, new byte[32]).Check(pod, TestNamespace.Name, TestNamespace.Credentials));
    }

    [Fact]
    public void A_pod_without_sidecar_is_told_so_and_nothing_else()
    {
        SpecError error = Assert.Single(new TestNamespace().Guard.Check(TestNamespace.Pod(), TestNamespace.Name, TestNamespace.Credentials));
        Assert.Contains("has no sidecar", error.Message);
    }

    [Theory]
    [InlineData("superserve-sidecar", false)]
    [InlineData("superserve-init", false)]
    [InlineData("agent", true)]
    [InlineData("", true)]
    [InlineData(null, true)]
    public void Nobody_runs_a_command_in_the_sidecar(string? container, bool isAllowed) => Assert.Equal(isAllowed, PodGuard.CheckExec(container) is null);

    [Theory]
    [InlineData("{}")]
    [InlineData("""{"metadata":null,"spec":null}""")]
    [InlineData("""{"metadata":[],"spec":"x"}""")]
    [InlineData("""{"spec":{"initContainers":[null,1,{"name":"superserve-sidecar"}],"containers":[null,{"name":3,"env":[null,{}],"securityContext":[]}],"volumes":[[]]}}""")]
    public void A_pod_of_a_shape_that_cannot_be_is_refused_and_breaks_nothing(string pod) =>
        Assert.NotEmpty(new TestNamespace().Guard.Check(Json(pod).AsObject(), TestNamespace.Name, TestNamespace.Credentials));

    private static async Task<(TestNamespace Cluster, JsonObject Pod)> SandboxAsync()
    {
        TestNamespace cluster = new();
        return (cluster, await cluster.InjectAsync(TestNamespace.Pod()));
    }

    /// <summary>Copies of a pod with one change each at or below a path: every value, every member, every item.</summary>
    private static IEnumerable<(string What, JsonObject Changed)> Changes(JsonObject pod, string path)
    {
        JsonNode start = path.Split('.').Aggregate((JsonNode)pod, (node, step) => node[step]!);
        foreach ((string at, Func<JsonNode, JsonNode> find) in Places(start, path, pod => path.Split('.').Aggregate(pod, (node, step) => node[step]!)))
        {
            JsonNode node = find(pod);
            if (node is JsonValue)
                yield return (at, Changed(target => target.ReplaceWith(node.GetValueKind() == System.Text.Json.JsonValueKind.String ? JsonValue.Create(node.GetValue<string>() + "x") : JsonValue.Create(4711))));
            if (node != start && node.Parent is JsonObject) yield return (at + " removed", Changed(target => target.Parent!.AsObject().Remove(target.GetPropertyName())));
            if (node != start && node.Parent is JsonArray) yield return (at + " removed", Changed(target => target.Parent!.AsArray().Remove(target)));
            if (node is JsonObject) yield return (at + " + a member", Changed(target => target["injected"] = "x"));
            if (node is JsonArray) yield return (at + " + an item", Changed(target => target.AsArray().Add(target.AsArray()[0]!.DeepClone())));
            if (node is JsonArray { Count: > 1 }) yield return (at + " in reverse", Changed(target => target.ReplaceWith(new JsonArray([.. target.AsArray().Reverse().Select(item => item!.DeepClone())]))));

            JsonObject Changed(Action<JsonNode> change)
            {
                JsonObject copy = pod.DeepClone().AsObject();
                change(find(copy));
                return copy;
            }
        }
    }

    private static IEnumerable<(string At, Func<JsonNode, JsonNode> Find)> Places(JsonNode node, string at, Func<JsonNode, JsonNode> find)
    {
        yield return (at, find);
        IEnumerable<(string, Func<JsonNode, JsonNode>)> below = node switch
        {
            JsonObject map => map.SelectMany(pair => Places(pair.Value!, $"{at}.{pair.Key}", pod => find(pod)[pair.Key]!)),
            JsonArray list => list.SelectMany((item, i) => Places(item!, $"{at}[{i}]", pod => find(pod)[i]!)),
            _ => [],
        };
        foreach ((string, Func<JsonNode, JsonNode>) place in below) yield return place;
    }

    private static JsonNode? Reversed(JsonNode? node) => node switch
    {
        JsonObject map => new JsonObject(map.Reverse().Select(pair => KeyValuePair.Create(pair.Key, Reversed(pair.Value)))),
        JsonArray list => new JsonArray([.. list.Select(Reversed)]),
        _ => node?.DeepClone(),
    };

    private static JsonNode Json(string json) => JsonNode.Parse(json)!;

    private static JsonObject Spec(JsonObject pod) => pod["spec"]!.AsObject();

    private static JsonObject Annotations(JsonObject pod) => pod["metadata"]!["annotations"]!.AsObject();

    private static JsonObject Security(JsonObject pod) => Spec(pod)["securityContext"]!.AsObject();

    private static JsonObject Agent(JsonObject pod) => Spec(pod)["containers"]![0]!.AsObject();

    private static JsonObject SecurityOf(JsonObject pod) => Agent(pod)["securityContext"]!.AsObject();

    private static JsonArray List(JsonObject pod, string name) => Spec(pod)[name]!.AsArray();

    private static JsonArray SidecarMounts(JsonObject pod) => List(pod, "initContainers")[1]!["volumeMounts"]!.AsArray();

    private static void Add(JsonObject pod, string capability) => SecurityOf(pod)["capabilities"]!["add"] = new JsonArray("KILL", capability);

    private static void Drop(JsonObject pod, string capability) => SecurityOf(pod)["capabilities"]!["drop"] = new JsonArray(capability);

    private static void AddVolume(JsonObject pod, string volume) => List(pod, "volumes").Add(Json(volume));

    private static void Mount(JsonObject pod, string mount) => Agent(pod)["volumeMounts"]!.AsArray().Add(Json(mount));

    private static void AddVariable(JsonObject pod, string variable) => Agent(pod)["env"]!.AsArray().Add(Json(variable));

    private static void Debug(JsonObject pod, string container) => Spec(pod)["ephemeralContainers"] = new JsonArray(Json(container));
}
