using System.Net;
using System.Text.Json.Nodes;
using Superserve.Core.StandIns;
using Superserve.Operator.Admission;
using Superserve.Operator.Admission.Pods;
using Superserve.Operator.Bindings;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Admission.Pods;

/// <summary>Requests as the API server sends them, one after the other.</summary>
public sealed class PodAdmissionTests
{
    private readonly TestNamespace _cluster = new();

    [Fact]
    public async Task A_binding_that_was_applied_together_with_the_pod_is_seen()
    {
        _cluster.IsCached = false;
        JsonObject pod = await _cluster.InjectAsync(TestNamespace.Pod());
        Assert.True(pod.IsMarked());
        Assert.Equal(2, _cluster.Lists);
    }

    [Fact]
    public async Task The_API_server_is_not_asked_for_what_is_known()
    {
        await _cluster.InjectAsync(TestNamespace.Pod());
        Assert.Equal(0, _cluster.Lists);
    }

    [Fact]
    public async Task The_variables_hold_what_delivery_derives_from_the_record()
    {
        JsonObject pod = await _cluster.InjectAsync(TestNamespace.Pod());
        Assert.True(RecordedStandIns.TryRead(pod.Annotation(Marks.StandInsAnnotation), out var records, out _));
        string id = pod.Annotation(Marks.SandboxIdAnnotation)!;
        Assert.Equal(["ANTHROPIC_API_KEY", "GITHUB_TOKEN"], records.Select(record => record.Env));
        foreach (RecordedStandIn record in records)
        {
            StandIn standIn = record.Derive(TestNamespace.Key, TestNamespace.Name, id);
            Assert.Equal(standIn.Value, Variable(pod, record.Env));
            Assert.DoesNotContain(standIn.Value, pod["metadata"]!.ToJsonString(), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Two_pods_of_one_template_have_different_stand_ins()
    {
        JsonObject template = TestNamespace.Pod("deployment");
        Assert.NotEqual(Variable(await _cluster.InjectAsync(template), "GITHUB_TOKEN"), Variable(await _cluster.InjectAsync(template), "GITHUB_TOKEN"));
    }

    [Fact]
    public async Task An_id_that_is_older_than_the_admission_is_replaced()
    {
        JsonObject pod = await _cluster.InjectAsync(TestNamespace.Pod());
        _cluster.Time.Advance(TimeSpan.FromSeconds(61));
        JsonObject again = await _cluster.InjectAsync(pod);
        Assert.NotEqual(pod.Annotation(Marks.SandboxIdAnnotation), again.Annotation(Marks.SandboxIdAnnotation));
        Assert.NotEqual(Variable(pod, "GITHUB_TOKEN"), Variable(again, "GITHUB_TOKEN"));
        Assert.Empty(_cluster.Guard.Check(again, TestNamespace.Name, TestNamespace.Credentials));
    }

    [Fact]
    public async Task An_id_that_the_user_chose_is_replaced()
    {
        JsonObject pod = TestNamespace.Pod();
        pod["metadata"]!["annotations"] = new JsonObject { [Marks.SandboxIdAnnotation] = SandboxId.Create(_cluster.Time.GetUtcNow(), new byte[12]), [Marks.StandInsAnnotation] = "[]" };
        Assert.NotEqual(pod.Annotation(Marks.SandboxIdAnnotation), (await _cluster.InjectAsync(pod)).Annotation(Marks.SandboxIdAnnotation));
    }

    [Fact]
    public async Task What_another_webhook_did_to_our_parts_is_undone_when_we_are_asked_again()
    {
        JsonObject pod = await _cluster.InjectAsync(TestNamespace.Pod());
        JsonArray initContainers = pod["spec"]!["initContainers"]!.AsArray();
        initContainers[1]!["env"]!.AsArray().Add(new JsonObject { ["name"] = "LD_PRELOAD", ["value"] = "/x.so" });
        initContainers.Insert(0, new JsonObject { ["name"] = "vault-init", ["image"] = "example.com/vault:1" });
        pod["spec"]!["containers"]!.AsArray().Add(new JsonObject { ["name"] = "collector", ["image"] = "example.com/collector:1" });
        Assert.False((await _cluster.ValidateAsync(TestNamespace.Request("CREATE", pod))).IsAllowed);

        JsonObject again = await _cluster.InjectAsync(pod);
        AdmissionDecision decision = await _cluster.ValidateAsync(TestNamespace.Request("CREATE", again));
        Assert.True(decision.IsAllowed, decision.Message);
        Assert.Equal([Marks.InitContainer, Marks.SidecarContainer, "vault-init"], again.Map("spec").Items("initContainers").Select(container => container.Text("name")));
        Assert.Equal(Variable(again, "GITHUB_TOKEN"), Variable(again, "GITHUB_TOKEN", container: 1));
    }

    [Fact]
    public async Task A_copy_without_its_labels_does_not_run_as_if_it_were_a_sandbox()
    {
        JsonObject pod = await _cluster.InjectAsync(TestNamespace.Pod());
        pod["metadata"]!["name"] = "copy";
        pod["metadata"]!.AsObject().Remove("labels");
        AdmissionDecision decision = await _cluster.MutateAsync(pod);
        Assert.False(decision.IsAllowed);
        Assert.Contains("--keep-labels", decision.Message);
    }

    [Fact]
    public async Task A_copy_that_shares_processes_is_refused_with_the_flag_that_helps()
    {
        JsonObject pod = await _cluster.InjectAsync(TestNamespace.Pod());
        pod["metadata"]!["name"] = "copy";
        pod["spec"]!["shareProcessNamespace"] = true;
        AdmissionDecision decision = await _cluster.ValidateAsync(TestNamespace.Request("CREATE", await _cluster.InjectAsync(pod)));
        Assert.False(decision.IsAllowed);
        Assert.Contains("--share-processes=false", decision.Message);
    }

    [Fact]
    public async Task A_copy_keeps_no_stand_in_of_the_original()
    {
        JsonObject original = await _cluster.InjectAsync(TestNamespace.Pod("expansion-order"));
        JsonObject copy = original.DeepClone().AsObject();
        copy["metadata"]!["name"] = "copy";
        string text = (await _cluster.InjectAsync(copy)).ToJsonString();
        foreach (string env in (string[])["ANTHROPIC_API_KEY", "GITHUB_TOKEN"]) Assert.DoesNotContain(Variable(original, env)!, text, StringComparison.Ordinal);
        Assert.DoesNotContain(original.Annotation(Marks.SandboxIdAnnotation)!, text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_copy_is_captured_as_the_installation_captures_now()
    {
        _cluster.Options = _cluster.Options with { Capture = CaptureMode.Explicit };
        JsonObject copy = await _cluster.InjectAsync(TestNamespace.Pod());
        Assert.NotNull(Variable(copy, "HTTPS_PROXY"));
        copy["metadata"]!["name"] = "copy";
        _cluster.Options = _cluster.Options with { Capture = CaptureMode.Transparent };
        JsonObject captured = await _cluster.InjectAsync(copy);
        Assert.DoesNotContain(captured.Map("spec").Items("containers").Single().Items("env"), entry => entry.Text("name") is "HTTPS_PROXY" or "NODE_USE_ENV_PROXY");
        Assert.Equal([Marks.InitContainer, Marks.SidecarContainer], captured.Map("spec").Items("initContainers").Select(container => container.Text("name")));
    }

    [Theory]
    [InlineData("bare-pod", false)]
    [InlineData("sandbox-label-without-binding", false)]
    [InlineData("agent-sandbox-warm-pool", false)]
    [InlineData("not-selected", true)]
    public async Task A_pod_that_has_to_be_a_sandbox_may_not_start_without_being_one(string file, bool isAllowed) =>
        Assert.Equal(isAllowed, (await _cluster.ValidateAsync(TestNamespace.Request("CREATE", TestNamespace.Pod(file)))).IsAllowed);

    [Theory]
    [InlineData("exec")]
    [InlineData("attach")]
    public async Task Exec_and_attach_reach_the_sandbox_and_not_the_sidecar(string subResource)
    {
        AdmissionRequest request = TestNamespace.Request("CONNECT", new JsonObject { ["kind"] = "PodExecOptions", ["container"] = "agent", ["stdin"] = true }, subResource: subResource);
        Assert.True((await _cluster.ValidateAsync(request)).IsAllowed);
        request = TestNamespace.Request("CONNECT", new JsonObject { ["kind"] = "PodExecOptions", ["container"] = Marks.SidecarContainer }, subResource: subResource);
        AdmissionDecision decision = await _cluster.ValidateAsync(request);
        Assert.Equal((false, HttpStatusCode.Forbidden), (decision.IsAllowed, decision.Code));
        Assert.Contains(Marks.SidecarContainer, decision.Message);
    }

    [Fact]
    public async Task A_debug_container_gets_in_only_as_weak_as_the_sandbox()
    {
        JsonObject pod = await _cluster.InjectAsync(TestNamespace.Pod());
        AdmissionDecision general = await UpdateAsync(pod, changed => Debug(changed, """{"add":["SYS_PTRACE"]}"""), "ephemeralcontainers");
        Assert.False(general.IsAllowed);
        Assert.Contains("--profile=restricted", general.Message);
        Assert.True((await UpdateAsync(pod, changed => Debug(changed, """{"drop":["ALL"]}"""), "ephemeralcontainers")).IsAllowed);
    }

    [Fact]
    public async Task A_rule_that_is_newer_than_the_pod_does_not_keep_its_Job_from_ending()
    {
        JsonObject pod = TestNamespace.Pod("job");
        pod["spec"]!["volumes"] = JsonNode.Parse("""[{"name":"v","secret":{"secretName":"later-credentials"}}]""");
        JsonObject running = await _cluster.InjectAsync(pod);
        TestNamespace later = new(PodYaml.ParseAll("""
            kind: Secret
            metadata: {name: later, uid: 5ec2e700-0000-4000-8000-000000000009}
            spec: {valueFrom: {secretKeyRef: {name: later-credentials, key: k}}, provider: anthropic}
            """));
        Assert.False((await later.ValidateAsync(TestNamespace.Request("CREATE", running))).IsAllowed);

        JsonObject ended = running.DeepClone().AsObject();
        ended["metadata"]!.AsObject().Remove("finalizers");
        Assert.True((await later.ValidateAsync(TestNamespace.Request("UPDATE", ended, running))).IsAllowed);

        // And yet nothing new comes in that way.
        ended["spec"]!["containers"]![0]!["env"]!.AsArray().Add(JsonNode.Parse("""{"name":"X","valueFrom":{"secretKeyRef":{"name":"later-credentials","key":"k"}}}"""));
        Assert.False((await later.ValidateAsync(TestNamespace.Request("UPDATE", ended, running))).IsAllowed);
    }

    [Theory]
    [InlineData(Marks.SandboxIdAnnotation)]
    [InlineData(Marks.StandInsAnnotation)]
    [InlineData(Marks.SealAnnotation)]
    public async Task What_admission_wrote_down_stays(string annotation)
    {
        JsonObject pod = await _cluster.InjectAsync(TestNamespace.Pod());
        Assert.False((await UpdateAsync(pod, changed => changed["metadata"]!["annotations"]![annotation] = "[]")).IsAllowed);
        Assert.False((await UpdateAsync(pod, changed => changed["metadata"]!["annotations"]!.AsObject().Remove(annotation))).IsAllowed);
    }

    [Fact]
    public async Task Labels_and_the_users_images_may_change()
    {
        JsonObject pod = await _cluster.InjectAsync(TestNamespace.Pod());
        Assert.True((await UpdateAsync(pod, changed => changed["metadata"]!["labels"] = new JsonObject { ["claimed"] = "true" })).IsAllowed);
        Assert.True((await UpdateAsync(pod, changed => changed["spec"]!["containers"]![0]!["image"] = "example.com/agent:2")).IsAllowed);
    }

    [Fact]
    public async Task A_sidecars_image_becomes_the_operators_and_no_other()
    {
        JsonObject pod = await _cluster.InjectAsync(TestNamespace.Pod());
        Assert.False((await UpdateAsync(pod, changed => changed["spec"]!["initContainers"]![1]!["image"] = "example.com/mine:1")).IsAllowed);
        _cluster.Options = _cluster.Options with { Image = "ghcr.io/superserve-k8s/superserve-sidecar:0.2.0" };
        Assert.True((await UpdateAsync(pod, changed => changed["spec"]!["initContainers"]![1]!["image"] = _cluster.Options.Image)).IsAllowed);
    }

    [Fact]
    public async Task A_running_pod_that_is_no_sandbox_may_be_changed_though_a_binding_selects_it()
    {
        JsonObject pod = TestNamespace.Pod("not-selected");
        Assert.True((await UpdateAsync(pod, changed => changed["metadata"]!["labels"] = new JsonObject { ["app"] = "agent" })).IsAllowed);
    }

    [Theory]
    [InlineData("UPDATE", "")]
    [InlineData("DELETE", "")]
    [InlineData("CREATE", "binding")]
    public async Task The_changing_step_is_for_new_pods_alone(string operation, string subResource)
    {
        AdmissionDecision decision = await _cluster.Admission.Mutating.AdmitAsync(TestNamespace.Request(operation, TestNamespace.Pod(), subResource: subResource), CancellationToken.None);
        Assert.Equal((false, HttpStatusCode.BadRequest), (decision.IsAllowed, decision.Code));
    }

    [Fact]
    public async Task What_the_judging_step_does_not_know_it_denies()
    {
        Assert.False((await _cluster.ValidateAsync(TestNamespace.Request("DELETE", null, TestNamespace.Pod()))).IsAllowed);
        Assert.False((await _cluster.ValidateAsync(TestNamespace.Request("CREATE", null))).IsAllowed);
        Assert.False((await _cluster.ValidateAsync(TestNamespace.Request("CREATE", TestNamespace.Pod("not-selected"), subResource: "eviction"))).IsAllowed);
        Assert.False((await _cluster.ValidateAsync(TestNamespace.Request("CONNECT", new JsonObject(), subResource: "portforward"))).IsAllowed);
    }

    [Fact]
    public async Task Where_the_API_server_does_not_say_nothing_is_decided()
    {
        _cluster.IsCached = false;
        PodAdmission admission = new(new Unreachable(), Superserve.Core.Providers.ProviderCatalog.BuiltIn, () => _cluster.Options, () => TestNamespace.Key, () => new byte[12], _cluster.Time);
        await Assert.ThrowsAsync<CannotDecideException>(() => admission.Mutating.AdmitAsync(TestNamespace.Request("CREATE", TestNamespace.Pod()), CancellationToken.None));
    }

    [Fact]
    public async Task The_webhooks_call_the_handlers_and_fail_closed()
    {
        IEnumerable<string> manifests = (await Chart.RenderAsync("superserve", "superserve-system"))
            .Where(manifest => Chart.IsKind(manifest, "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"))
            .OrderBy(manifest => Chart.IsKind(manifest, "ValidatingWebhookConfiguration"));
        JsonObject[] webhooks = [.. manifests.SelectMany(PodYaml.ParseAll).SelectMany(configuration => configuration.Items("webhooks"))
            .Where(webhook => webhook.Text("name")!.Contains("pods", StringComparison.Ordinal))];
        Assert.Equal([PodAdmission.MutatePath, PodAdmission.ValidatePath, PodAdmission.ValidatePath], webhooks.Select(webhook => webhook.Map("clientConfig").Map("service").Text("path")));
        foreach (JsonObject webhook in webhooks)
        {
            Assert.Equal(("Fail", "None"), (webhook.Text("failurePolicy"), webhook.Text("sideEffects")));
            // What runs is guarded whether or not its namespace still has the label.
            string? label = webhook.Text("name")!.StartsWith("guard.", StringComparison.Ordinal) ? null : Marks.Enabled;
            Assert.Equal(label, webhook.Map("namespaceSelector").Map("matchLabels").Text(Marks.InjectionLabel));
        }

        // An update that touches none of these is let through unseen.
        string condition = webhooks[2].Items("matchConditions").Single().Text("expression")!;
        Assert.All((string[])[Marks.SandboxIdAnnotation, Marks.StandInsAnnotation, Marks.SealAnnotation, "object.spec != oldObject.spec"], part => Assert.Contains(part, condition));
    }

    [Theory]
    [InlineData("""{"metadata":{"labels":{"app":"agent"}}}""")]
    [InlineData("""{"metadata":{"labels":{"app":"agent"},"annotations":[]},"spec":[]}""")]
    [InlineData("""{"metadata":{"labels":{"app":"agent","x":3}},"spec":{"containers":[null,{"env":[null,1,{"name":2}],"volumeMounts":{},"securityContext":""}],"initContainers":{},"volumes":[1]}}""")]
    [InlineData("""{"metadata":{"labels":{"app":"agent"},"annotations":{"superserve.ai/stand-ins":"[null]","superserve.ai/sandbox-id":"x"}},"spec":{"containers":[]}}""")]
    public async Task A_pod_of_a_shape_that_cannot_be_breaks_nothing(string pod) =>
        Assert.True((await _cluster.MutateAsync(JsonNode.Parse(pod)!.AsObject())).IsAllowed);

    private async Task<AdmissionDecision> UpdateAsync(JsonObject pod, Action<JsonObject> change, string subResource = "")
    {
        JsonObject changed = pod.DeepClone().AsObject();
        change(changed);
        return await _cluster.ValidateAsync(TestNamespace.Request("UPDATE", changed, pod, subResource));
    }

    private static void Debug(JsonObject pod, string capabilities) => pod["spec"]!["ephemeralContainers"] =
        new JsonArray(new JsonObject { ["name"] = "debugger", ["targetContainerName"] = "agent", ["securityContext"] = new JsonObject { ["capabilities"] = JsonNode.Parse(capabilities) } });

    private static string? Variable(JsonObject pod, string name, int container = 0) =>
        pod.Map("spec").Items("containers").ElementAt(container).Items("env").Last(entry => entry.Text("name") == name).Text("value");

    private sealed class Unreachable : INamespaceResources
    {
        public IReadOnlyList<Resources.SandboxBindingResource> Bindings(string @namespace) => [];

        public IReadOnlyList<Resources.SecretResource> Secrets(string @namespace) => [];

        public Task<IReadOnlyList<Resources.SandboxBindingResource>> ListBindingsAsync(string @namespace, CancellationToken cancellationToken) =>
            throw new CannotDecideException("the API server does not answer", new TimeoutException());

        public Task<IReadOnlyList<Resources.SecretResource>> ListSecretsAsync(string @namespace, CancellationToken cancellationToken) =>
            throw new CannotDecideException("the API server does not answer", new TimeoutException());
    }
}
