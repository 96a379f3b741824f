using System.Text.Json.Nodes;

namespace Superserve.ApiServer.Tests;

/// <summary>Structural schemas: defaults, pruning, and refusals in the real server's words.</summary>
public class ValidationTests : ServerTest
{
    [Theory]
    [InlineData("{}", "spec.size: Required value")]
    [InlineData("{size: 1}", "spec.size: Invalid value: \"integer\": spec.size in body must be of type string: \"integer\"")]
    [InlineData("{size: medium}", "spec.size: Unsupported value: \"medium\": supported values: \"small\", \"large\"")]
    [InlineData("{size: small, count: 0}", "spec.count: Invalid value: 0: spec.count in body should be greater than or equal to 1")]
    [InlineData("{size: small, count: 10}", "spec.count: Invalid value: 10: spec.count in body should be less than or equal to 9")]
    [InlineData("{size: small, count: 1.5}", "spec.count in body must be of type integer: \"number\"")]
    [InlineData("{size: small, code: A}", "spec.code: Invalid value: \"A\": spec.code in body should match '^[a-z]+$'")]
    [InlineData("{size: small, code: \"a\\n\"}", "spec.code in body should match")]
    [InlineData("{size: small, code: abcdef}", "spec.code: Too long: may not be more than 5 bytes")]
    [InlineData("{size: small, hosts: [a, b, c, d]}", "spec.hosts: Too many: 4: must have at most 3 items")]
    [InlineData("{size: small, notes: {a: x, b: x, c: x}}", "spec.notes: Too many: 3: must have at most 2 items")]
    [InlineData("{size: small, notes: {a: 1}}", "spec.notes.a in body must be of type string")]
    [InlineData("{size: small, tags: [a, a]}", "spec.tags[1]: Duplicate value: \"a\"")]
    [InlineData("{size: small, parts: [{name: a}, {name: a}]}", "spec.parts[1]: Duplicate value: {\"name\":\"a\"}")]
    [InlineData("{size: small, parts: [{weight: 1}]}", "spec.parts[0].name: Required value")]
    [InlineData("{size: small, port: true}", "spec.port in body must be of type integer,string: \"boolean\"")]
    public async Task A_value_outside_of_the_schema_is_refused(string spec, string message)
    {
        (int code, JsonNode status) = await PostAsync(Gadgets, Samples.Gadget(spec: spec));
        Assert.Equal(422, code);
        Assert.Equal("Invalid", (string?)status["reason"]);
        Assert.StartsWith("Gadget.example.com \"one\" is invalid: ", (string?)status["message"], StringComparison.Ordinal);
        Assert.Contains(message, (string?)status["message"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Unknown_fields_are_pruned_with_a_warning_and_free_ones_stay()
    {
        (int code, JsonNode value) = await PostAsync(Gadgets, Samples.Gadget(spec: "{size: small, colour: red, port: http, free: {any: {thing: [1]}}}"));
        Assert.Equal(201, code);
        Assert.Null(value["spec"]!["colour"]);
        Assert.Equal("""{"any":{"thing":[1]}}""", value["spec"]!["free"]!.ToJsonString());
        Assert.Equal(2, (int?)value["spec"]!["count"]);

        (code, JsonNode status) = await PostAsync($"{Gadgets}?fieldValidation=Strict", Samples.Gadget("two", "{size: small, colour: red}"));
        Assert.Equal(400, code);
        Assert.Contains("strict decoding error: unknown field \"spec.colour\"", (string?)status["message"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_null_where_none_may_be_counts_as_missing()
    {
        (int code, JsonNode value) = await PostAsync(Gadgets, Samples.Gadget(spec: "{size: small, count: null, code: null}"));
        Assert.Equal(201, code);
        Assert.Equal("""{"size":"small","count":2}""", value["spec"]!.ToJsonString());
        Assert.Equal(422, (await PostAsync(Gadgets, Samples.Gadget("two", "{size: null}"))).Code);
    }

    [Fact]
    public async Task An_object_of_another_kind_name_or_namespace_is_refused()
    {
        Assert.Equal(400, (await PostAsync(Gadgets, Samples.Pod())).Code);
        Assert.Equal(400, (await ApplyAsync($"{Gadgets}/other", Samples.Gadget(), "me")).Code);
        Assert.Equal(400, (await PostAsync("apis/example.com/v1/namespaces/kube-system/gadgets", Samples.Gadget())).Code);
        Assert.Equal(422, (await PostAsync(Gadgets, Samples.Gadget("Big"))).Code);
        Assert.Equal(404, (await PostAsync("api/v1/namespaces/nowhere/configmaps", "{metadata: {name: a}}")).Code);
    }

    [Fact]
    public async Task A_running_pod_changes_its_images_and_little_else()
    {
        await Server.ApplyAsync(Samples.Pod());
        JsonNode pod = await GetAsync($"{Pods}/web");
        pod["spec"]!["containers"]![0]!["image"] = "nginx:2";
        Assert.Equal(200, (await PutAsync($"{Pods}/web", pod)).Code);
        (int code, JsonNode status) = await MergeAsync($"{Pods}/web", """{"spec":{"hostNetwork":true}}""");
        Assert.Equal(422, code);
        Assert.Contains("pod updates may not change fields other than", (string?)status["message"], StringComparison.Ordinal);
        Assert.Equal(400, (await PostAsync(Pods, Samples.Pod("x").Replace("image: \"nginx:1\"", "image: a, env: [{name: A, value: true}]", StringComparison.Ordinal))).Code);
        Assert.Equal(422, (await PostAsync(Pods, "{metadata: {name: none}, spec: {containers: []}}")).Code);
    }

    [Fact]
    public async Task Text_in_a_secret_is_encoded()
    {
        (_, JsonNode value) = await PostAsync("api/v1/namespaces/default/secrets", "{metadata: {name: s}, stringData: {token: abc}}");
        Assert.Equal("YWJj", (string?)value["data"]!["token"]);
        Assert.Null(value["stringData"]);
        Assert.Equal("Opaque", (string?)value["type"]);
        Assert.Equal(422, (await PostAsync("api/v1/namespaces/default/secrets", "{metadata: {name: t}, data: {token: '%%%'}}")).Code);
    }
}
