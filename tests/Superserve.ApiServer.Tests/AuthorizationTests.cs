using Superserve.Testing;
using System.Net;
using System.Text.Json.Nodes;

namespace Superserve.ApiServer.Tests;

/// <summary>Who may what.</summary>
public class AuthorizationTests : ServerTest
{
    private const string Reader = """
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata: {name: reader, namespace: default}
        rules:
        - {apiGroups: [""], resources: [pods, pods/log], verbs: [get, list]}
        - {apiGroups: [""], resources: [secrets], resourceNames: [mine], verbs: [get, list]}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata: {name: reader, namespace: default}
        roleRef: {kind: Role, name: reader}
        subjects: [{kind: User, name: ann}, {kind: Group, name: readers}, {kind: ServiceAccount, name: default, namespace: kube-system}]
        """;

    [Fact]
    public async Task Nobody_gets_in_without_a_token()
    {
        using HttpClient http = Server.Client().CreateHttpClient();
        http.DefaultRequestHeaders.Authorization = null;
        Assert.Equal(401, (await AskAsync(http, HttpMethod.Get, "version")).Code);
        http.DefaultRequestHeaders.Authorization = new("Bearer", "guessed");
        Assert.Equal(401, (await AskAsync(http, HttpMethod.Get, Pods)).Code);
    }

    [Fact]
    public async Task A_user_may_what_the_roles_say_and_no_more()
    {
        await Server.ApplyAsync(Reader);
        Server.AddUser("ann");
        Server.AddUser("bob", "readers");
        Server.AddUser("eve");
        Assert.Equal(HttpStatusCode.OK, await StatusOfAsync(Server.Client("ann"), Pods));
        Assert.Equal(HttpStatusCode.OK, await StatusOfAsync(Server.Client("bob"), Pods));
        Assert.Equal(HttpStatusCode.OK, await StatusOfAsync(Server.ServiceAccountClient("kube-system", "default"), Pods));
        Assert.Equal(HttpStatusCode.Forbidden, await StatusOfAsync(Server.Client("ann"), "api/v1/pods"));
        Assert.Equal(HttpStatusCode.Forbidden, await StatusOfAsync(Server.Client("ann"), $"{Pods}?watch=true"));
        Assert.Equal(HttpStatusCode.OK, await StatusOfAsync(Server.Client("eve"), "apis"));

        using HttpClient eve = Server.Client("eve").CreateHttpClient();
        (int code, JsonNode status) = await AskAsync(eve, HttpMethod.Get, Pods);
        Assert.Equal(403, code);
        Assert.Equal("pods is forbidden: User \"eve\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"", (string?)status["message"]);
    }

    [Fact]
    public async Task A_rule_with_names_is_for_those_alone()
    {
        await Server.ApplyAsync(Reader);
        await Server.ApplyAsync("{apiVersion: v1, kind: Secret, metadata: {name: mine}}");
        await Server.ApplyAsync("{apiVersion: v1, kind: Secret, metadata: {name: yours}}");
        Server.AddUser("ann");
        const string Secrets = "api/v1/namespaces/default/secrets";
        Assert.Equal(HttpStatusCode.OK, await StatusOfAsync(Server.Client("ann"), $"{Secrets}/mine"));
        Assert.Equal(HttpStatusCode.OK, await StatusOfAsync(Server.Client("ann"), $"{Secrets}?fieldSelector=metadata.name%3Dmine"));
        Assert.Equal(HttpStatusCode.Forbidden, await StatusOfAsync(Server.Client("ann"), $"{Secrets}/yours"));
        Assert.Equal(HttpStatusCode.Forbidden, await StatusOfAsync(Server.Client("ann"), Secrets));
    }

    [Fact]
    public async Task Roles_with_the_label_join_the_default_ones()
    {
        Server.AddUser("ann");
        await Server.ApplyAsync("""
            apiVersion: rbac.authorization.k8s.io/v1
            kind: RoleBinding
            metadata: {name: ann, namespace: default}
            roleRef: {kind: ClusterRole, name: view}
            subjects: [{kind: User, name: ann}]
            """);
        Assert.Equal(HttpStatusCode.OK, await StatusOfAsync(Server.Client("ann"), Pods));
        Assert.Equal(HttpStatusCode.Forbidden, await StatusOfAsync(Server.Client("ann"), Gadgets));
        Assert.Equal(HttpStatusCode.Forbidden, await StatusOfAsync(Server.Client("ann"), "api/v1/namespaces/default/secrets"));
        await Server.ApplyAsync("""
            apiVersion: rbac.authorization.k8s.io/v1
            kind: ClusterRole
            metadata: {name: view-gadgets, labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}
            rules: [{apiGroups: [example.com], resources: [gadgets], verbs: [get, list]}]
            """);
        Assert.Equal(HttpStatusCode.OK, await StatusOfAsync(Server.Client("ann"), Gadgets));
        Assert.Contains("gadgets", Server.Get("rbac.authorization.k8s.io/v1", "ClusterRole", "", "admin"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Subresources_need_rules_of_their_own()
    {
        await Server.ApplyAsync("""
            apiVersion: rbac.authorization.k8s.io/v1
            kind: ClusterRole
            metadata: {name: status-writer}
            rules: [{apiGroups: [example.com], resources: [gadgets/status], verbs: [patch]}]
            ---
            apiVersion: rbac.authorization.k8s.io/v1
            kind: ClusterRoleBinding
            metadata: {name: ann}
            roleRef: {kind: ClusterRole, name: status-writer}
            subjects: [{kind: User, name: ann}]
            """);
        await Server.ApplyAsync(Samples.Gadget());
        Server.AddUser("ann");
        using HttpClient ann = Server.Client("ann").CreateHttpClient();
        Assert.Equal(200, (await AskAsync(ann, HttpMethod.Patch, $"{Gadgets}/one/status", """{"status":{"seen":1}}""", "application/merge-patch+json")).Code);
        Assert.Equal(403, (await AskAsync(ann, HttpMethod.Patch, $"{Gadgets}/one", """{"spec":{"count":3}}""", "application/merge-patch+json")).Code);
    }

    [Fact]
    public async Task An_apply_that_creates_needs_the_right_to_create()
    {
        await Server.ApplyAsync("""
            apiVersion: rbac.authorization.k8s.io/v1
            kind: Role
            metadata: {name: patcher, namespace: default}
            rules: [{apiGroups: [example.com], resources: [gadgets], verbs: [patch]}]
            ---
            apiVersion: rbac.authorization.k8s.io/v1
            kind: RoleBinding
            metadata: {name: ann, namespace: default}
            roleRef: {kind: Role, name: patcher}
            subjects: [{kind: User, name: ann}]
            """);
        Server.AddUser("ann");
        using HttpClient ann = Server.Client("ann").CreateHttpClient();
        Task<(int Code, JsonNode Body)> Apply() => AskAsync(ann, HttpMethod.Patch, $"{Gadgets}/one?fieldManager=ann&force=true", Samples.Gadget(), "application/apply-patch+yaml");
        (int code, JsonNode status) = await Apply();
        Assert.Equal(403, code);
        Assert.Contains("cannot create resource \"gadgets\"", (string?)status["message"], StringComparison.Ordinal);
        await Server.ApplyAsync(Samples.Gadget());
        Assert.Equal(200, (await Apply()).Code);
    }

    [Fact]
    public async Task Access_reviews_answer_for_others_and_for_oneself()
    {
        await Server.ApplyAsync(Reader);
        async Task<bool?> Allowed(string user, string verb, string resource, string more = "")
        {
            (int code, JsonNode review) = await PostAsync("apis/authorization.k8s.io/v1/subjectaccessreviews",
                $"spec: {{user: {user}, groups: [], resourceAttributes: {{namespace: default, verb: {verb}, resource: {resource}{more}}}}}");
            Assert.Equal(201, code);
            return (bool?)review["status"]!["allowed"];
        }

        Assert.True(await Allowed("ann", "list", "pods"));
        Assert.False(await Allowed("ann", "delete", "pods"));
        Assert.True(await Allowed("ann", "get", "secrets", ", name: mine"));
        Assert.False(await Allowed("ann", "get", "secrets", ", name: yours"));
        Assert.True(await Allowed("ann", "get", "pods", ", subresource: log"));

        Server.AddUser("ann");
        Server.WriteKubeconfig("ann", Server.KubeconfigPath + "-ann");
        Kubectl ann = new(Server.KubeconfigPath + "-ann");
        Assert.Equal("yes", await ann.RunAsync("auth", "can-i", "list", "pods"));
        Assert.Equal("no", (await ann.TryAsync("", "auth", "can-i", "create", "gadgets.example.com")).Output.Trim());
        Assert.Contains("pods", await ann.RunAsync("auth", "can-i", "--list"), StringComparison.Ordinal);
        Assert.Contains("Forbidden", await ann.FailAsync("", "get", "gadgets"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Impersonation_needs_a_right_of_its_own()
    {
        await Server.ApplyAsync(Reader);
        Server.AddUser("eve");
        Assert.Contains("No resources", (await Kubectl.TryAsync("", "get", "pods", "--as=ann")).Errors, StringComparison.Ordinal);
        Assert.Contains("Forbidden", await Kubectl.FailAsync("", "get", "pods", "--as=eve"), StringComparison.Ordinal);
        using HttpClient eve = Server.Client("eve").CreateHttpClient();
        eve.DefaultRequestHeaders.Add("Impersonate-User", "ann");
        (int code, JsonNode status) = await AskAsync(eve, HttpMethod.Get, Pods);
        Assert.Equal(403, code);
        Assert.Contains("cannot impersonate resource \"users\"", (string?)status["message"], StringComparison.Ordinal);
    }
}
