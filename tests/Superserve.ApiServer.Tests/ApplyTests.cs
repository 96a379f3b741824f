using System.Text.Json.Nodes;

namespace Superserve.ApiServer.Tests;

/// <summary>Server-side apply: who owns what, and what follows from it.</summary>
public class ApplyTests : ServerTest
{
    private const string One = Gadgets + "/one";

    [Fact]
    public async Task A_field_that_is_no_longer_applied_goes()
    {
        await ApplyAsync(One, Samples.Gadget(spec: "{size: small, code: abc, notes: {a: x, b: y}}"), "me");
        (int code, JsonNode value) = await ApplyAsync(One, Samples.Gadget(spec: "{size: small, notes: {a: x}}"), "me");
        Assert.Equal(200, code);
        Assert.Null(value["spec"]!["code"]);
        Assert.Equal("""{"a":"x"}""", value["spec"]!["notes"]!.ToJsonString());
        (_, value) = await ApplyAsync(One, Samples.Gadget(spec: "{size: small}"), "me");
        Assert.Null(value["spec"]!["notes"]);
    }

    [Fact]
    public async Task Items_of_a_map_list_belong_to_who_applied_them()
    {
        await ApplyAsync(One, Samples.Gadget(spec: "{size: small, parts: [{name: a, weight: 1}, {name: b}]}"), "me");
        (int code, JsonNode value) = await ApplyAsync(One, Samples.Gadget(spec: "{size: small, parts: [{name: c}, {name: a, color: red}]}"), "other");
        Assert.Equal(200, code);
        Assert.Equal(["a", "b", "c"], value["spec"]!["parts"]!.AsArray().Select(part => (string?)part!["name"]));
        Assert.Equal("""{"name":"a","weight":1,"color":"red"}""", value["spec"]!["parts"]![0]!.ToJsonString());

        (_, value) = await ApplyAsync(One, Samples.Gadget(spec: "{size: small}"), "me");
        Assert.Equal("""[{"name":"a","color":"red"},{"name":"c"}]""", value["spec"]!["parts"]!.ToJsonString());
    }

    [Fact]
    public async Task An_item_that_is_no_longer_applied_goes_with_what_others_changed_in_it()
    {
        await ApplyAsync(One, Samples.Gadget(spec: "{size: small, parts: [{name: a, weight: 1}, {name: b, weight: 1}]}"), "me");
        (int code, _) = await AskAsync(Http, HttpMethod.Patch, $"{One}?fieldManager=other", """[{"op": "add", "path": "/spec/parts/1/color", "value": "red"}]""", "application/json-patch+json");
        Assert.Equal(200, code);
        (_, JsonNode value) = await ApplyAsync(One, Samples.Gadget(spec: "{size: small, parts: [{name: a, weight: 1}]}"), "me");
        Assert.Equal("""[{"name":"a","weight":1}]""", value["spec"]!["parts"]!.ToJsonString());
    }

    [Fact]
    public async Task Values_of_a_set_join_and_an_atomic_list_is_replaced()
    {
        await ApplyAsync(One, Samples.Gadget(spec: "{size: small, tags: [a, b], hosts: [x]}"), "me");
        (_, JsonNode value) = await ApplyAsync(One, "{apiVersion: example.com/v1, kind: Gadget, metadata: {name: one}, spec: {size: small, tags: [b, c]}}", "other");
        Assert.Equal("""["a","b","c"]""", value["spec"]!["tags"]!.ToJsonString());
        (_, value) = await ApplyAsync(One, Samples.Gadget(spec: "{size: small, tags: [a], hosts: [y, z]}"), "me");
        Assert.Equal("""["a","b","c"]""", value["spec"]!["tags"]!.ToJsonString());
        Assert.Equal("""["y","z"]""", value["spec"]!["hosts"]!.ToJsonString());
    }

    [Fact]
    public async Task A_conflict_names_the_manager_and_the_field_and_force_takes_it()
    {
        await ApplyAsync(One, Samples.Gadget(spec: "{size: small, parts: [{name: a, weight: 1}]}"), "me");
        (int code, JsonNode status) = await ApplyAsync(One, Samples.Gadget(spec: "{size: large, parts: [{name: a, weight: 2}]}"), "other");
        Assert.Equal(409, code);
        Assert.Equal("Conflict", (string?)status["reason"]);
        Assert.Equal("Apply failed with 2 conflicts: conflicts with \"me\":\n- .spec.parts[name=\"a\"].weight\n- .spec.size", (string?)status["message"]);
        Assert.Equal(["FieldManagerConflict", "FieldManagerConflict"], status["details"]!["causes"]!.AsArray().Select(cause => (string?)cause!["reason"]));

        (code, _) = await ApplyAsync(One, Samples.Gadget(spec: "{size: large, parts: [{name: a, weight: 2}]}"), "other", force: true);
        Assert.Equal(200, code);
        (code, status) = await ApplyAsync(One, Samples.Gadget(spec: "{size: small}"), "me");
        Assert.Equal(409, code);
        Assert.Contains("conflict with \"other\": .spec.size", (string?)status["message"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Who_agrees_owns_together_and_the_last_one_takes_the_field_along()
    {
        await ApplyAsync(One, Samples.Gadget(spec: "{size: small, code: abc}"), "me");
        await ApplyAsync(One, Samples.Gadget(spec: "{size: small, code: abc}"), "other");
        (_, JsonNode value) = await ApplyAsync(One, Samples.Gadget(spec: "{size: small}"), "me");
        Assert.Equal("abc", (string?)value["spec"]!["code"]);
        (_, value) = await ApplyAsync(One, Samples.Gadget(spec: "{size: small}"), "other");
        Assert.Null(value["spec"]!["code"]);
    }

    [Fact]
    public async Task An_update_takes_the_fields_that_it_changes()
    {
        await ApplyAsync(One, Samples.Gadget(spec: "{size: small, code: abc}"), "me");
        await MergeAsync($"{One}?fieldManager=editor", """{"spec":{"code":"xyz"}}""");
        (int code, JsonNode status) = await ApplyAsync(One, Samples.Gadget(spec: "{size: small, code: abc}"), "me");
        Assert.Equal(409, code);
        Assert.Contains("conflict with \"editor\" using example.com/v1: .spec.code", (string?)status["message"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Applying_the_same_again_changes_nothing()
    {
        (int first, JsonNode created) = await ApplyAsync(One, Samples.Gadget(), "me");
        (int second, JsonNode again) = await ApplyAsync(One, Samples.Gadget(), "me");
        Assert.Equal((201, 200), (first, second));
        Assert.Equal(created.ToJsonString(), again.ToJsonString());
    }

    [Fact]
    public async Task Status_is_applied_apart_and_conditions_merge_by_type()
    {
        await ApplyAsync(One, Samples.Gadget() + "\nstatus: {seen: 1}", "me");
        Assert.Null((await GetAsync(One))["status"]);
        const string Head = "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: one}\n";
        await ApplyAsync($"{One}/status", Head + "spec: {size: large}\nstatus: {conditions: [{type: Ready, status: 'True'}]}", "controller");
        (_, JsonNode value) = await ApplyAsync($"{One}/status", Head + "status: {conditions: [{type: Synced, status: 'False'}]}", "another");
        Assert.Equal("small", (string?)value["spec"]!["size"]);
        Assert.Equal(["Ready", "Synced"], value["status"]!["conditions"]!.AsArray().Select(condition => (string?)condition!["type"]));
        Assert.Equal(1, (int?)value["metadata"]!["generation"]);
        Assert.Contains(value["metadata"]!["managedFields"]!.AsArray(), entry => (string?)entry!["subresource"] == "status" && (string?)entry["manager"] == "controller");
    }

    [Fact]
    public async Task Containers_and_variables_of_built_in_types_merge_by_name()
    {
        const string Path = "apis/apps/v1/namespaces/default/deployments/web";
        static string Deployment(string containers) =>
            $"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec: {{selector: {{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{containers}]}}}}}}";
        await ApplyAsync(Path, Deployment("{name: app, image: x, env: [{name: A, value: '1'}], ports: [{containerPort: 80}]}"), "me");
        (int code, JsonNode value) = await ApplyAsync(Path, Deployment("{name: app, env: [{name: B, value: '2'}], ports: [{containerPort: 80, protocol: UDP}]}"), "other");
        Assert.True(code == 200, value.ToJsonString());
        JsonNode container = value["spec"]!["template"]!["spec"]!["containers"]![0]!;
        Assert.Equal(["A", "B"], container["env"]!.AsArray().Select(variable => (string?)variable!["name"]));
        Assert.Equal(2, container["ports"]!.AsArray().Count);
    }

    [Fact]
    public async Task A_CA_bundle_is_applied_into_somebody_elses_webhooks()
    {
        const string Path = "apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/hooks";
        const string Head = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: hooks}\n";
        const string Chart = Head + "webhooks: [{name: a.example.com, admissionReviewVersions: [v1], sideEffects: None, clientConfig: {service: {name: s, namespace: n}}}]";
        await ApplyAsync(Path, Chart, "helm");
        (int code, JsonNode value) = await ApplyAsync(Path, Head + "webhooks: [{name: a.example.com, clientConfig: {caBundle: QQ==}}]", "operator");
        Assert.True(code == 200, value.ToJsonString());
        (code, value) = await ApplyAsync(Path, Chart, "helm");
        Assert.Equal(200, code);
        Assert.Equal("QQ==", (string?)value["webhooks"]![0]!["clientConfig"]!["caBundle"]);
    }

    [Fact]
    public async Task Two_that_create_at_once_both_apply()
    {
        (int Code, JsonNode Body)[] answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(number => ApplyAsync(One, Samples.Gadget(metadata: $", labels: {{n{number}: x}}"), $"m{number}")));
        Assert.All(answers, answer => Assert.True(answer.Code is 200 or 201, answer.Body.ToJsonString()));
        Assert.Single(answers, answer => answer.Code == 201);
        Assert.Equal(8, (await GetAsync(One))["metadata"]!["labels"]!.AsObject().Count);
    }

    [Fact]
    public async Task Labels_are_owned_one_by_one()
    {
        await ApplyAsync(One, Samples.Gadget(metadata: ", labels: {a: '1', b: '2'}"), "me");
        await MergeAsync($"{One}?fieldManager=editor", """{"metadata":{"labels":{"c":"3"}}}""");
        (_, JsonNode value) = await ApplyAsync(One, Samples.Gadget(metadata: ", labels: {a: '1'}"), "me");
        Assert.Equal("""{"a":"1","c":"3"}""", value["metadata"]!["labels"]!.ToJsonString());
    }

    [Fact]
    public async Task Apply_needs_a_manager_and_refuses_a_stale_version()
    {
        (int code, _) = await AskAsync(Http, HttpMethod.Patch, One, Samples.Gadget(), "application/apply-patch+yaml");
        Assert.Equal(400, code);
        await ApplyAsync(One, Samples.Gadget(), "me");
        (code, _) = await ApplyAsync(One, Samples.Gadget(metadata: ", resourceVersion: '1'"), "me");
        Assert.Equal(409, code);
    }
}
