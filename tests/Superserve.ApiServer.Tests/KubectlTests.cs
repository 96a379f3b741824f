using Superserve.Testing;
using System.Text.Json.Nodes;

namespace Superserve.ApiServer.Tests;

/// <summary>What people and scripts do with kubectl.</summary>
public class KubectlTests : ServerTest
{
    [Fact]
    public async Task A_CRD_is_applied_and_its_resources_are_listed_with_its_columns()
    {
        await Kubectl.RunAsync("delete", "crd", "gadgets.example.com");
        Assert.Contains("serverside-applied", await Kubectl.FeedAsync(Samples.Crd, "apply", "--server-side", "-f", "-"), StringComparison.Ordinal);
        await Kubectl.RunAsync("wait", "--for=condition=Established", "crd/gadgets.example.com", "--timeout=10s");
        Assert.Contains("gadget.example.com/one serverside-applied", await Kubectl.FeedAsync(Samples.Gadget(), "apply", "--server-side", "-f", "-"), StringComparison.Ordinal);
        await Server.ApplyAsync("""
            apiVersion: example.com/v1
            kind: Gadget
            metadata: {name: one}
            status: {conditions: [{type: Other, status: "False"}, {type: Ready, status: "True"}]}
            """, "controller");

        string[] table = (await Kubectl.RunAsync("get", "gd")).Split('\n');
        Assert.Equal(["NAME", "SIZE", "READY", "AGE"], table[0].Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal(["one", "small", "True"], table[1].Split(' ', StringSplitOptions.RemoveEmptyEntries)[..3]);
        Assert.Matches("[0-9]+s$", table[1].Trim());
        Assert.Contains("COUNT", await Kubectl.RunAsync("get", "gadgets", "-o", "wide"), StringComparison.Ordinal);
        Assert.Equal("gadget.example.com/one", await Kubectl.RunAsync("get", "toys", "-o", "name"));
        Assert.StartsWith("NAMESPACE", await Kubectl.RunAsync("get", "gadgets.example.com", "-A"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_object_is_shown_as_yaml_json_and_by_a_path()
    {
        await Server.ApplyAsync(Samples.Gadget());
        Assert.Contains("  size: small", await Kubectl.RunAsync("get", "gd", "one", "-o", "yaml"), StringComparison.Ordinal);
        JsonNode json = JsonNode.Parse(await Kubectl.RunAsync("get", "gd", "one", "-o", "json"))!;
        Assert.Equal("small", (string?)json["spec"]!["size"]);
        Assert.Equal("small 2", await Kubectl.RunAsync("get", "gd", "one", "-o", "jsonpath={.spec.size} {.spec.count}"));
        Assert.Contains("Size:   small", await Kubectl.RunAsync("describe", "gd", "one"), StringComparison.Ordinal);
        Assert.Contains("How big it is.", await Kubectl.RunAsync("explain", "gadget.spec.size"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Waiting_ends_with_a_condition_a_value_and_a_deletion()
    {
        await Server.ApplyAsync(Samples.Gadget());
        Task<string> ready = Kubectl.RunAsync("wait", "--for=condition=Ready", "gd/one", "--timeout=20s");
        Task<string> counted = Kubectl.RunAsync("wait", "--for=jsonpath={.spec.count}=5", "gd/one", "--timeout=20s");
        await EventuallyAsync(() => Task.FromResult(Server.Watches.Active >= 2), "two watches");
        await MergeAsync($"{Gadgets}/one/status", """{"status":{"conditions":[{"type":"Ready","status":"True"}]}}""");
        await MergeAsync($"{Gadgets}/one", """{"spec":{"count":5}}""");
        Assert.Contains("condition met", await ready, StringComparison.Ordinal);
        Assert.Contains("condition met", await counted, StringComparison.Ordinal);

        Task<string> deleted = Kubectl.RunAsync("wait", "--for=delete", "gd/one", "--timeout=20s");
        await EventuallyAsync(() => Task.FromResult(Server.Watches.Active >= 1), "a watch");
        await Kubectl.RunAsync("delete", "gd", "one");
        await deleted;
    }

    [Fact]
    public async Task Labels_annotations_and_patches_are_set()
    {
        await Server.ApplyAsync(Samples.Gadget());
        await Server.ApplyAsync(Samples.Pod());
        foreach (string target in new[] { "gd/one", "pod/web" })
        {
            await Kubectl.RunAsync("label", target, "a=b");
            await Kubectl.RunAsync("annotate", target, "n=1");
            Assert.Equal("b 1", await Kubectl.RunAsync("get", target, "-o", "jsonpath={.metadata.labels.a} {.metadata.annotations.n}"));
            await Kubectl.RunAsync("label", target, "a-");
            Assert.Equal("", await Kubectl.RunAsync("get", target, "-o", "jsonpath={.metadata.labels.a}"));
        }

        await Kubectl.RunAsync("patch", "gd", "one", "--type", "merge", "-p", """{"spec":{"count":4}}""");
        await Kubectl.RunAsync("patch", "gd", "one", "--type", "json", "-p", """[{"op":"replace","path":"/spec/size","value":"large"}]""");
        await Kubectl.RunAsync("patch", "pod", "web", "-p", """{"spec":{"containers":[{"name":"app","image":"nginx:2"}]}}""");
        Assert.Equal("large 4", await Kubectl.RunAsync("get", "gd", "one", "-o", "jsonpath={.spec.size} {.spec.count}"));
        Assert.Equal("nginx:2", await Kubectl.RunAsync("get", "pod", "web", "-o", "jsonpath={.spec.containers[0].image}"));
    }

    [Fact]
    public async Task Client_side_apply_works_and_repeats()
    {
        string deployment = """
            apiVersion: apps/v1
            kind: Deployment
            metadata: {name: web, labels: {a: b}}
            spec:
              selector: {matchLabels: {app: web}}
              template:
                metadata: {labels: {app: web}}
                spec: {containers: [{name: app, image: "nginx:1"}, {name: side, image: "side:1"}]}
            """;
        Assert.Contains("created", await Kubectl.FeedAsync(deployment, "apply", "-f", "-"), StringComparison.Ordinal);
        Assert.Contains("unchanged", await Kubectl.FeedAsync(deployment, "apply", "-f", "-"), StringComparison.Ordinal);
        Assert.Contains("configured", await Kubectl.FeedAsync(deployment.Replace(", {name: side, image: \"side:1\"}", "", StringComparison.Ordinal), "apply", "-f", "-"), StringComparison.Ordinal);
        Assert.Equal("app", await Kubectl.RunAsync("get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[*].name}"));
    }

    [Fact]
    public async Task What_is_created_gets_a_name_and_what_is_deleted_is_gone()
    {
        string generated = Samples.Pod("x").Replace("name: x", "generateName: web-", StringComparison.Ordinal);
        string name = await Kubectl.FeedAsync(generated, "create", "-f", "-", "-o", "name");
        Assert.Matches("^pod/web-[a-z0-9]{5}$", name);
        Assert.Contains("Pending", await Kubectl.RunAsync("get", "pods"), StringComparison.Ordinal);
        Assert.Contains("Service Account:  default", await Kubectl.RunAsync("describe", name), StringComparison.Ordinal);
        await Kubectl.RunAsync("delete", "pod", "--all");
        Assert.Equal("", await Kubectl.RunAsync("get", "pods", "-o", "name"));
        Assert.Contains("not found", await Kubectl.FailAsync("", "get", name), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Typed_commands_speak_protobuf_and_are_understood()
    {
        await Kubectl.RunAsync("create", "namespace", "team");
        await Kubectl.RunAsync("create", "serviceaccount", "bot", "-n", "team");
        await Kubectl.RunAsync("create", "secret", "generic", "key", "--from-literal=token=abc", "-n", "team");
        await Kubectl.RunAsync("create", "configmap", "settings", "--from-literal=a=b", "-n", "team");
        await Kubectl.RunAsync("create", "role", "reader", "--verb=get,list", "--resource=pods", "-n", "team");
        await Kubectl.RunAsync("create", "rolebinding", "bot", "--role=reader", "--serviceaccount=team:bot", "-n", "team");
        Assert.Equal("YWJj", await Kubectl.RunAsync("get", "secret", "key", "-n", "team", "-o", "jsonpath={.data.token}"));
        Assert.Equal("yes", await Kubectl.RunAsync("auth", "can-i", "list", "pods", "-n", "team", "--as=system:serviceaccount:team:bot"));
        Assert.Equal("no", (await Kubectl.TryAsync("", "auth", "can-i", "delete", "pods", "-n", "team", "--as=system:serviceaccount:team:bot")).Output.Trim());
        Assert.Equal(3, (await Kubectl.RunAsync("create", "token", "bot", "-n", "team", "--audience=x")).Split('.').Length);
        Assert.Contains("admin", await Kubectl.RunAsync("auth", "whoami"), StringComparison.Ordinal);
        await Kubectl.RunAsync("delete", "namespace", "team");
        Assert.Equal("", await Kubectl.RunAsync("get", "secrets", "-n", "team", "-o", "name"));
    }

    [Fact]
    public async Task Discovery_lists_what_is_served()
    {
        string resources = await Kubectl.RunAsync("api-resources");
        Assert.Matches(@"gadgets +gd +example\.com/v1 +true +Gadget", resources);
        Assert.Matches(@"pods +po +v1 +true +Pod", resources);
        Assert.Contains("example.com/v1", await Kubectl.RunAsync("api-versions"), StringComparison.Ordinal);
        Assert.Contains("v1.36", await Kubectl.RunAsync("version"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_dry_run_on_the_server_stores_nothing()
    {
        Assert.Contains("server dry run", await Kubectl.FeedAsync(Samples.Gadget(), "apply", "--server-side", "--dry-run=server", "-f", "-"), StringComparison.Ordinal);
        Assert.Equal("", await Kubectl.RunAsync("get", "gd", "-o", "name"));
        await Server.ApplyAsync(Samples.Gadget());
        await Kubectl.RunAsync("delete", "gd", "one", "--dry-run=server");
        await Kubectl.RunAsync("label", "gd", "one", "a=b", "--dry-run=server");
        Assert.Equal("", await Kubectl.RunAsync("get", "gd", "one", "-o", "jsonpath={.metadata.labels}"));
    }

    [Fact]
    public async Task Unknown_fields_and_bad_values_are_refused_by_name()
    {
        Assert.Contains("unknown field \"spec.colour\"", await Kubectl.FailAsync(Samples.Gadget(spec: "{size: small, colour: red}"), "apply", "--server-side", "-f", "-"), StringComparison.Ordinal);
        Assert.Contains("spec.size: Unsupported value: \"medium\": supported values: \"small\", \"large\"",
            await Kubectl.FailAsync(Samples.Gadget(spec: "{size: medium}"), "apply", "-f", "-"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_apply_over_somebody_elses_fields_shows_the_conflict()
    {
        await Server.ApplyAsync(Samples.Gadget(), "controller");
        string refused = await Kubectl.FailAsync(Samples.Gadget(spec: "{size: large}"), "apply", "--server-side", "-f", "-");
        Assert.Contains("Apply failed with 1 conflict: conflict with \"controller\": .spec.size", refused, StringComparison.Ordinal);
        await Kubectl.FeedAsync(Samples.Gadget(spec: "{size: large}"), "apply", "--server-side", "--force-conflicts", "-f", "-");
    }

    [Fact]
    public async Task Selectors_select()
    {
        await Server.ApplyAsync(Samples.Gadget("one", "{size: small}", ", labels: {app: a, tier: front}"));
        await Server.ApplyAsync(Samples.Gadget("two", "{size: large}", ", labels: {app: b}"));
        async Task<string> Names(params string[] selector) => await Kubectl.RunAsync(["get", "gd", "-o", "jsonpath={.items[*].metadata.name}", .. selector]);
        Assert.Equal("one", await Names("-l", "app=a"));
        Assert.Equal("two", await Names("-l", "app!=a"));
        Assert.Equal("one two", await Names("-l", "app in (a, b)"));
        Assert.Equal("two", await Names("-l", "app notin (a),!tier"));
        Assert.Equal("one", await Names("-l", "tier"));
        Assert.Equal("two", await Names("--field-selector", "spec.size=large"));
        Assert.Equal("one", await Names("--field-selector", "metadata.name=one"));
        Assert.Contains("field label not supported", await Kubectl.FailAsync("", "get", "gd", "--field-selector", "spec.count=1"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Scale_changes_the_replicas()
    {
        await Server.ApplyAsync("""
            apiVersion: apps/v1
            kind: Deployment
            metadata: {name: web}
            spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: x}]}}}
            """);
        await Kubectl.RunAsync("scale", "deployment", "web", "--replicas=3");
        Assert.Contains("0/3", await Kubectl.RunAsync("get", "deployments"), StringComparison.Ordinal);
    }
}
